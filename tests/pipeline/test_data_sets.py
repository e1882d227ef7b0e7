"""Other data than the embedded ones go through the pipeline to their scores, with the real DVC.

The tests run in this order: each continues from the one before.
"""

import json
import shutil

import pandas as pd
import pytest

from stages.fetching.checksums import list_sha256
from tests.pipeline.conftest import OVERRIDES, TINY_MODELS, Repository
from tests.pipeline.test_pipeline import MODELS, read_table, stages_run
from tests.stages import standin

DATA_STAGES = ["fetch_music", "csv_music", "fetch_speech", "mix_speech", "csv_speech"]


@pytest.fixture(scope="module")
def own_data(repository):
    """The overrides for the user's own songs and mixtures, which are outside of the repository.

    They are the embedded ones, the songs with other names. Without a list of songs for validation,
    the last song of the train folder validates.
    """
    root = repository.root.parent / "own"
    shutil.copytree(repository.root / "data/music", root / "songs")
    for number, song in enumerate(sorted((root / "songs" / "train").iterdir())):
        song.rename(song.with_name(f"song {number}"))
    shutil.copytree(repository.root / "data/speech/mixtures/wav8k/min", root / "mixtures")
    return [
        *("music=folder", f"music.path={root / 'songs'}"),
        *("speech=folder", f"speech.path={root / 'mixtures'}"),
    ]


def lists(repository: Repository, data: str) -> dict[str, pd.DataFrame]:
    """The trainers' lists of `music` or `speech`, by split."""
    return {
        split: read_table(repository.root / "data/csv" / data / f"{split}.csv")
        for split in ("train", "valid", "test")
    }


def test_the_users_own_songs_and_mixtures_reach_their_scores(repository, own_data):
    before = lists(repository, "speech")
    output = repository.experiment(*own_data, base=TINY_MODELS, name="own").stdout
    assert stages_run(output).issuperset([*DATA_STAGES, "train_spleeter"])
    for model in MODELS:
        assert json.loads((repository.root / f"results/{model}/details.json").read_text())
    songs = lists(repository, "music")
    assert list(songs["train"].mix_path) == ["data/music/train/song 0/mixture.wav"]
    assert list(songs["valid"].mix_path) == ["data/music/train/song 1/mixture.wav"]
    for split, rows in lists(repository, "speech").items():
        assert list(rows.length) == list(before[split].length)


def test_going_back_and_forth_between_data_sets_fetches_and_trains_nothing(repository, own_data):
    """The user's own songs are no longer there: DVC has them in its cache."""
    shutil.move(own_data[1].partition("=")[2], repository.root.parent / "elsewhere")
    for overrides, base in (([], OVERRIDES), (own_data, TINY_MODELS), ([], OVERRIDES)):
        output = repository.experiment(*overrides, base=base).stdout
        assert stages_run(output).isdisjoint([*DATA_STAGES, "train_spleeter", "train_svoice"]), (
            output
        )
        songs = sorted(path.name for path in (repository.root / "data/music/train").iterdir())
        assert songs[0].startswith("song 0" if overrides else "The Easton Ellises")


def test_mixtures_as_in_the_study_reach_their_scores(repository):
    root = repository.root.parent / "study_mixtures"
    standin.write_study_mixtures(root)
    checksums = repository.root / "conf/speech/svoice_debug.sha256"
    checksums.write_text(list_sha256(root))
    study = ["speech=svoice_debug", f"speech.path={root}", "svoice.epochs=1"]
    output = repository.experiment(*study, base=TINY_MODELS, name="study").stdout
    assert "fetch_music" not in stages_run(output)
    assert len(lists(repository, "speech")["train"]) == 8
    scores = read_table(repository.root / "results/svoice/scores.csv")
    assert len(scores) == 16  # mixtures × speakers
    assert (
        json.loads((repository.root / "results/svoice/details.json").read_text())["mixtures"] == 8
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["music=folder"],
            "music.path: is not set; set it to the folder that holds train/ and test/",
        ),
        (
            ["speech=wsj0_2mix"],
            "speech.corpus: is not set; set it to your licensed copy of WSJ0 (LDC93S6A), the "
            "folder that holds wsj0/si_tr_s",
        ),
        (
            ["music=musdb18"],
            "music: found 'musdb18', expected one of folder, mini, musdb18_7s, musdb18hq",
        ),
    ],
)
def test_a_data_set_that_lacks_a_setting_or_does_not_exist_changes_nothing(
    repository, overrides, message
):
    params = (repository.root / "configuration.yaml").read_text()
    done = repository.experiment(*overrides, base=TINY_MODELS, check=False)
    assert done.returncode == 1
    assert done.stdout == f"ERROR: {message}\n"
    assert (repository.root / "configuration.yaml").read_text() == params
