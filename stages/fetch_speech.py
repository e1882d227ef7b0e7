"""fetch_speech: the utterances, and the recipes from which mixtures are made.

data/speech/corpus/ holds the utterances of `speech=mini`; of a large corpus, which stays where it
is, the index of the utterances; of ready-made mixtures, {tr,cv,tt}/{mix,s1,s2,…}/<name>.wav.
data/speech/recipes/ holds WSJ0-mix's recipe lists, mix_<speakers>_spk_{tr,cv,tt}.txt, and the
levels list, activlev.txt. It is empty for ready-made mixtures.
"""

from __future__ import annotations

from pathlib import Path

from contract.layout import CORPUS, RECIPES
from contract.params import (
    LibriSpeechMix,
    MiniSpeech,
    Speech,
    SpeechFolder,
    SVoiceDebug,
    WSJ0Mix,
    load,
)
from stages.datasets import librispeech, prompts, speech_folder, svoice_debug, wsj0
from stages.run import run

FETCH = {
    MiniSpeech: prompts.fetch,
    WSJ0Mix: wsj0.fetch,
    LibriSpeechMix: librispeech.fetch,
    SVoiceDebug: svoice_debug.fetch,
    SpeechFolder: speech_folder.fetch,
}


def main() -> None:
    """Fetches the speech that configuration.yaml chooses."""
    fetch(load().speech, CORPUS, RECIPES)


def fetch(speech: Speech, corpus: Path, recipes: Path) -> None:
    """Makes both folders, or neither.

    Args:
        speech: the configuration.
        corpus: the new folder of the utterances, their index, or ready-made mixtures.
        recipes: the new folder of the recipe and level lists.

    Raises:
        InputError: something is missing, cannot be downloaded, or is not what is expected.
    """
    FETCH[type(speech)](speech, corpus, recipes)


if __name__ == "__main__":
    run(main)
