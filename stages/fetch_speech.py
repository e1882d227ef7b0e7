"""fetch_speech: the utterances, and the recipes that mixtures are made by.

data/speech/corpus/ holds the utterances of `speech=mini`; of a large corpus, which stays where it
is, an index (corpus.py); of mixtures that are ready, {tr,cv,tt}/{mix,s1,s2,…}/<name>.wav.
data/speech/recipes/ holds WSJ0-mix's recipe lists, mix_<speakers>_spk_{tr,cv,tt}.txt, and the
levels list, activlev.txt; nothing where mixtures are ready.
"""

from pathlib import Path

from stages import librispeech, prompts, speech_folder, svoice_debug, wsj0
from stages.layout import CORPUS, RECIPES
from stages.params import (
    LibriSpeechMix,
    MiniSpeech,
    Speech,
    SpeechFolder,
    SVoiceDebug,
    WSJ0Mix,
    load,
)
from stages.run import run

FETCH = {
    MiniSpeech: prompts.fetch,
    WSJ0Mix: wsj0.fetch,
    LibriSpeechMix: librispeech.fetch,
    SVoiceDebug: svoice_debug.fetch,
    SpeechFolder: speech_folder.fetch,
}


def main() -> None:
    fetch(load().speech, CORPUS, RECIPES)


def fetch(speech: Speech, corpus: Path, recipes: Path) -> None:
    """Makes both folders, or neither.

    Raises:
        InputError: something is not there, cannot be had, or is not what it should be.
    """
    FETCH[type(speech)](speech, corpus, recipes)


if __name__ == "__main__":
    run(main)
