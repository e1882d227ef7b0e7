"""Makes the data the tests share, by the pipeline's own stages: `python -m tests.make_data DIR`.

The embedded audio, with fewer speech mixtures than the mini preset has.
"""

import os
import shutil
import sys
from pathlib import Path

from stages import csv_music, csv_speech, fetch_music, fetch_speech, mix_speech, params
from stages.params import Mixtures


def main(root: Path) -> None:
    loaded = params.load()
    music = loaded.music
    speech = loaded.speech.model_copy(update={"mixtures": Mixtures(train=6, valid=2, test=2)})
    prompts = fetch_speech.read_prompts(fetch_speech.PROMPTS)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    os.chdir(root)  # the lists' paths are relative to their workspace
    fetch_music.fetch(music, fetch_music.MUSIC)
    csv_music.write_lists(music, fetch_music.MUSIC, csv_music.LISTS)
    fetch_speech.fetch(speech, prompts, fetch_speech.CORPUS)
    fetch_speech.write_recipes(speech, fetch_speech.CORPUS, fetch_speech.RECIPES)
    mix_speech.mix_all(speech, fetch_speech.CORPUS, fetch_speech.RECIPES, mix_speech.MIXTURES)
    csv_speech.write_lists(speech, mix_speech.MIXTURES, csv_speech.LISTS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
