"""Where the stages keep their data: folders relative to the repository."""

from pathlib import Path

MUSIC = Path("data/music")
CORPUS = Path("data/speech/corpus")
RECIPES = Path("data/speech/recipes")
MIXTURES = Path("data/speech/mixtures")
MUSIC_LISTS = Path("data/csv/music")
SPEECH_LISTS = Path("data/csv/speech")
