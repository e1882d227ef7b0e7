"""Other data than the embedded through the pipeline, to its scores, by the real DVC. In the order
written: each test goes on from the one before."""

import json
import shutil

import pytest

from stages.fetching.checksums import list_sha256
from tests.pipeline.conftest import TINY_MODELS
from tests.pipeline.test_pipeline import DATA_STAGES, MODELS, TRAINING, ran, read
from tests.stages import standin


@pytest.fixture(scope="module")
def own(repository):
    """Songs and mixtures of one's own, outside of the repository: the embedded ones by other names,
    one song more to train on. → overrides"""
    root = repository.root.parent / "own"
    shutil.copytree(repository.root / "data/music", root / "songs")
    for number, song in enumerate(sorted((root / "songs" / "train").iterdir())):
        song.rename(song.with_name(f"song {number}"))
    shutil.copytree(repository.root / "data/speech/mixtures/wav8k/min", root / "mixtures")
    return [
        *("music=folder", f"music.path={root / 'songs'}"),
        *("speech=folder", f"speech.path={root / 'mixtures'}"),
    ]


def lists(repository, data):
    return {
        split: read(repository.root / "data/csv" / data / f"{split}.csv")
        for split in ("train", "valid", "test")
    }


def test_ones_own_songs_and_mixtures(repository, own):
    before = lists(repository, "speech")
    output = repository.experiment(*own, base=TINY_MODELS, name="own").stdout
    assert ran(output).issuperset([*DATA_STAGES, "train_spleeter"])
    for model in MODELS:
        assert json.loads((repository.root / f"results/{model}/scores.json").read_text())
    listed = lists(repository, "music")
    assert [list(rows.mix_path) for rows in listed.values()][:2] == [
        ["data/music/train/song 0/mixture.wav"],
        ["data/music/train/song 1/mixture.wav"],
    ]
    for split, rows in lists(repository, "speech").items():
        assert list(rows.length) == list(before[split].length)


def test_back_and_forth_nothing_is_fetched_again(repository, own):
    shutil.move(own[1].partition("=")[2], repository.root.parent / "elsewhere")
    for overrides, base in (([], None), (own, TINY_MODELS), ([], None)):
        how = {"base": base} if base else {}
        output = repository.experiment(*overrides, **how).stdout
        assert ran(output).isdisjoint([*DATA_STAGES, *TRAINING]), output
        songs = sorted(path.name for path in (repository.root / "data/music/train").iterdir())
        assert songs[0].startswith("song 0" if overrides else "The Easton Ellises")


def test_mixtures_like_the_studys(repository):
    root = repository.root.parent / "studys"
    standin.write_study_mixtures(root)
    known = repository.root / "conf/speech/svoice_debug.sha256"
    known.write_text(list_sha256(root))
    study = ["speech=svoice_debug", f"speech.path={root}", "svoice.epochs=1"]
    output = repository.experiment(*study, base=TINY_MODELS, name="study").stdout
    assert "fetch_music" not in ran(output)
    listed = lists(repository, "speech")
    assert len(listed["train"]) == 8
    scores = read(repository.root / "results/svoice/scores.csv")
    assert len(scores) == 16  # mixtures × speakers
    assert json.loads((repository.root / "results/svoice/scores.json").read_text())["mixtures"] == 8


@pytest.mark.parametrize(
    ("overrides", "line"),
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
            "In 'config': Could not find 'music/musdb18'; available options in 'music': "
            "folder, mini, musdb18_7s, musdb18hq",
        ),
    ],
)
def test_a_data_set_that_is_not_whole_changes_nothing(repository, overrides, line):
    params = (repository.root / "params.yaml").read_text()
    done = repository.experiment(*overrides, base=TINY_MODELS, check=False)
    assert done.returncode != 0
    assert done.stdout == f"ERROR: {line}\n"
    assert (repository.root / "params.yaml").read_text() == params
