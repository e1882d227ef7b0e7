"""The names of folders and files, relative to the repository.

What the tables in them hold is in `contract.sources`, `contract.records` and `contract.scores`.
"""

import os
from pathlib import Path

from contract.errors import InputError

CONF = Path("conf")  # the Hydra groups that configuration.yaml is composed from
CONFIGURATION = Path("configuration.yaml")  # the composed configuration
PARAMS = Path("params.yaml")  # what it says in short, for DVC's tables
SETTINGS = Path("settings")  # a file for each stage: the part of it that the stage depends on
PIPELINE = Path("dvc.yaml")  # the stages
LOCK = Path("dvc.lock")  # what each stage last ran with, and what it wrote
SCRATCH = "scratch"  # a folder of the repository that git ignores
# The environment variable with the absolute path of the folder that is used instead of it.
SCRATCH_VARIABLE = "SEPARATION_SCRATCH"

# Data.
MUSIC = Path("data/music")
SPEECH = Path("data/speech")
CORPUS = SPEECH / "corpus"
RECIPES = SPEECH / "recipes"
MIXTURES = SPEECH / "mixtures"
MUSIC_LISTS = Path("data/csv/music")
SPEECH_LISTS = Path("data/csv/speech")


def list_file(split: str) -> str:
    """Returns the file name of a trainer's list.

    Args:
        split: `train`, `valid` or `test`.
    """
    return f"{split}.csv"


MUSIC_TEST = MUSIC_LISTS / list_file("test")
SPEECH_TEST = SPEECH_LISTS / list_file("test")

# Outputs of the trainers and of the evaluation.
SPLEETER_MODEL = Path("models/spleeter")  # a folder, as Spleeter writes it
SVOICE_MODEL = Path("models/svoice/model.pt")
SPLEETER_RESULTS = Path("results/spleeter")
SVOICE_RESULTS = Path("results/svoice")
ESTIMATES = "estimates"  # the folder of estimates in the results of a model
MUSEVAL = "museval"  # the folder of scores in museval's format, in the results of Spleeter
REPORT = Path("results/report.html")
# What the scores of a data set lie between, by track and target, or by mixture and speaker.
MUSIC_BOUNDS = Path("results/bounds/music.csv")
SPEECH_BOUNDS = Path("results/bounds/speech.csv")

# Records of a training, in the results of its model: a table with one row per optimizer step, one
# with a row per validation, and a summary.
STEPS = "steps.csv"
CURVES = "curves.csv"  # steps.csv with fewer rows, for `dvc plots`
EPOCHS = "epochs.csv"
TRAIN = "train.json"
ENVIRONMENT = "environment.json"  # the packages and the hardware of the trainer
RECORDS = (STEPS, EPOCHS, TRAIN)
TENSORBOARD = "tensorboard"  # the folder of the same numbers for TensorBoard

# Scores, in the results of a model: a table with one row per track and target, or per mixture and
# speaker; what it comes to over the test set; and of that the few numbers that DVC's tables show.
SCORES = "scores.csv"
DETAILS = "details.json"
HEADLINES = "scores.json"


def scratch_root() -> Path:
    """Returns the folder for unfinished work, and for what experiments share.

    That is the folder that `SCRATCH_VARIABLE` names, as on a cluster, where work that one node has
    begun goes on in a new clone on another. Without it, it is `SCRATCH` in the repository.

    Raises:
        InputError: the variable holds a relative path.
    """
    if not (folder := os.environ.get(SCRATCH_VARIABLE)):
        return _repository() / SCRATCH
    if not os.path.isabs(folder):
        raise InputError.mismatch(SCRATCH_VARIABLE, folder, "an absolute path")
    return Path(folder)


def configured_path(path: str) -> Path:
    """Returns a path that the user sets in the configuration as an absolute path.

    A relative path starts at the repository, also when a stage runs in one of DVC's temporary
    workspaces. `~` stands for the home folder, and `~NAME` for that of another user; if there is no
    such user, it is part of the path, as in a shell.

    Args:
        path: as the configuration has it.
    """
    return _repository() / os.path.expanduser(path)


def _repository() -> Path:
    """Returns the root of the repository.

    The process works there, or in a temporary workspace of DVC in it.
    """
    workspace = Path.cwd()
    for parent in workspace.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return workspace
