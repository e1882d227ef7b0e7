"""Bad input ends in one line that says what is wrong where, before TensorFlow is loaded."""

import csv
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import soundfile

from spleeter_mod import estimate, train

LISTS = Path("data/csv/music")


@pytest.fixture
def place(workspace, monkeypatch):
    """The workspace as the working directory, with outputs of an earlier run."""
    monkeypatch.chdir(workspace.root)
    for path in (
        *("results/spleeter/steps.csv", "results/spleeter/train.json"),
        *("results/spleeter/estimates/song/vocals.wav", "models/spleeter/config.json"),
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("of an earlier run")
    return workspace


def change_row(split="train", **values):
    """Change fields of the only row of a list; functions are given the old value."""
    path = LISTS / f"{split}.csv"
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    for column, value in values.items():
        row[column] = value(row[column]) if callable(value) else value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)


def repeat_row(split):
    path = LISTS / f"{split}.csv"
    header, row = path.read_text().splitlines()
    path.write_text("\n".join([header, row, row]))


def copy_of(path, change):
    """A file beside the list with the samples that `change` makes of those of `path`."""
    samples, rate = soundfile.read(path, dtype="int16")
    samples, rate = change(samples, rate)
    soundfile.write("changed.wav", samples, rate)
    return "changed.wav"


def params(**groups):
    def change(place):
        for group, values in groups.items():
            place.params[group].update(values)
        place.write_params()

    return change


def row(split="train", **values):
    return lambda place: change_row(split, **values)


def text(path, content):
    return lambda place: Path(path).write_bytes(content)


def truncated(path):
    content = Path(path).read_bytes()
    Path("changed.wav").write_bytes(content[: len(content) // 2])
    return "changed.wav"


def resaved(change):
    return lambda path: copy_of(path, change)


TRAIN_LIST = "data/csv/music/train.csv"
HEADER = "mix_path,vocals_path,drums_path,bass_path,other_path,duration"
# What is done to the workspace, and the line it ends in.
BAD_TRAINING = {
    "no list": (
        lambda place: Path(TRAIN_LIST).unlink(),
        f"{TRAIN_LIST}: found no such file, expected the list of tracks",
    ),
    "empty list": (
        text(TRAIN_LIST, b""),
        f"{TRAIN_LIST}: found the columns (none), expected {HEADER}",
    ),
    "list without rows": (
        text(TRAIN_LIST, f"{HEADER}\n".encode()),
        f"{TRAIN_LIST}: found no rows, expected at least one track",
    ),
    "wrong columns": (
        text(TRAIN_LIST, b"mix_path,vocals_path\na,b\n"),
        f"{TRAIN_LIST}: found the columns mix_path,vocals_path, expected {HEADER}",
    ),
    "short row": (
        text(TRAIN_LIST, f"{HEADER}\na.wav,b.wav\n".encode()),
        f"{TRAIN_LIST} line 2: found another number of fields, expected 6",
    ),
    "not a list": (
        text(TRAIN_LIST, b"\xff\xfe\x00\x01"),
        f"{TRAIN_LIST}: found no CSV (*), expected a list of tracks",
    ),
    "missing file": (
        row(drums_path="nowhere.wav"),
        f"{TRAIN_LIST} line 2: found drums_path 'nowhere.wav', which does not exist, "
        "expected a WAV file",
    ),
    "missing file to validate on": (
        row("valid", mix_path="nowhere.wav"),
        "data/csv/music/valid.csv line 2: found mix_path 'nowhere.wav', which does not exist, "
        "expected a WAV file",
    ),
    "wrong duration": (
        row(duration="17"),
        f"{TRAIN_LIST} line 2: found duration 17, expected 2.500 s as in *mixture.wav",
    ),
    "no number as duration": (
        row(duration="long"),
        f"{TRAIN_LIST} line 2: found duration long, expected 2.500 s as in *mixture.wav",
    ),
    "truncated file": (
        row(mix_path=truncated),
        "changed.wav: found * bytes, expected * as its header says",
    ),
    "no audio": (
        lambda place: (
            text("changed.wav", b"no audio")(place),
            change_row(bass_path="changed.wav"),
        ),
        "changed.wav: found no audio (*), expected a WAV file",
    ),
    "mono mixture": (
        row(mix_path=resaved(lambda x, rate: (x[:, 0], rate))),
        "changed.wav: found 1 channel(s), expected 2",
    ),
    "mono stem": (
        row(vocals_path=resaved(lambda x, rate: (x[:, :1], rate))),
        "changed.wav: found 1 channel(s), expected 2 channel(s) as in *mixture.wav",
    ),
    "slow stem": (
        row(vocals_path=resaved(lambda x, rate: (x[::2], rate // 2))),
        "changed.wav: found 22050 Hz, expected 44100 Hz as in *mixture.wav",
    ),
    "short stem": (
        row(other_path=resaved(lambda x, rate: (x[:-1], rate))),
        "changed.wav: found 110249 samples, expected 110250 samples as in *mixture.wav",
    ),
    "another sample rate": (
        params(music={"sample_rate": 48000}),
        "*mixture.wav: found 44100 Hz, expected sample_rate 48000 Hz",
    ),
    "song shorter than T": (
        params(spleeter={"T": 128, "chunk_seconds": 5.0}),
        "*mixture.wav: found 2.500 s, expected at least 2.972 s, for T frames",
    ),
    "chunk shorter than T": (
        params(spleeter={"T": 128}),
        "spleeter.chunk_seconds: found 2.5, expected at least 3.065 s, to hold T = 128 frames",
    ),
    "odd T": (
        params(spleeter={"T": 100}),
        "spleeter.T: found 100, expected a multiple of 64",
    ),
    "odd F": (
        params(spleeter={"F": 1000}),
        "spleeter.F: found 1000, expected a multiple of 64",
    ),
    "large F": (
        params(spleeter={"F": 2112}),
        "spleeter.F: found 2112, expected at most frame_length / 2 + 1 = 2049 frequency bins",
    ),
    "few filters": (
        params(spleeter={"filters": [16, 32]}),
        "spleeter.filters: found 2 numbers, expected 6",
    ),
    "unknown optimizer": (
        params(optimizer={"name": "adamant"}),
        "optimizer.name: found adamant, expected one of sgd, momentum, *, nadam",
    ),
    "missing key": (
        lambda place: (place.params["spleeter"].pop("T"), place.write_params()),
        "params.yaml: found no key spleeter.T, expected a composed params.yaml",
    ),
    "no YAML": (
        text("params.yaml", b"a: [1,"),
        "params.yaml: found no valid YAML (*), expected a composed params.yaml",
    ),
    "no params.yaml": (
        lambda place: Path("params.yaml").unlink(),
        "params.yaml: found 'No such file or directory', expected it to exist",
    ),
}
BAD_ESTIMATION = {
    "no model": (
        lambda place: Path("models/spleeter/config.json").unlink(),
        "models/spleeter/config.json: found no file, expected the model of spleeter_mod.train",
    ),
    "no configuration": (
        lambda place: None,
        "models/spleeter/config.json: found no JSON (*), expected Spleeter's configuration",
    ),
    "model without weights": (
        text("models/spleeter/config.json", b"{}"),
        "models/spleeter: found no checkpoint, expected the model of spleeter_mod.train",
    ),
    "missing song": (
        row("test", mix_path="nowhere.wav"),
        "data/csv/music/test.csv line 2: found mix_path 'nowhere.wav', which does not exist, "
        "expected a WAV file",
    ),
    "two songs of one name": (
        lambda place: repeat_row("test"),
        "data/csv/music/test.csv: found two tracks named *, expected one",
    ),
}


@pytest.mark.parametrize(("spoil", "line"), BAD_TRAINING.values(), ids=BAD_TRAINING)
def test_training_refuses(place, capsys, spoil, line):
    spoil(place)
    arguments = ["--params", "params.yaml", "--scratch", "scratch"]
    assert_refused(train.main, arguments, line, capsys)
    assert not Path("scratch").exists()


@pytest.mark.parametrize(("spoil", "line"), BAD_ESTIMATION.values(), ids=BAD_ESTIMATION)
def test_estimation_refuses(place, capsys, spoil, line):
    spoil(place)
    assert_refused(estimate.main, ["--params", "params.yaml"], line, capsys)


def assert_refused(main, arguments, line, capsys):
    """`*` in the line stands for anything."""
    before = outputs()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    # What `sys.exit` is given as text it prints to stderr, and exits with 1.
    assert isinstance(end.value.code, str)
    assert "\n" not in end.value.code
    assert fnmatchcase(end.value.code, f"ERROR: {line}"), end.value.code
    assert capsys.readouterr() == ("", "")
    assert outputs() == before


def outputs():
    folders = (Path("models"), Path("results"))
    return {path: path.read_bytes() for top in folders for path in top.rglob("*") if path.is_file()}


def test_the_command_prints_the_line_and_fails(place, command):
    change_row(drums_path="nowhere.wav")
    finished = command("train", place.root).run()
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr == f"ERROR: {BAD_TRAINING['missing file'][1]}\n"


def test_checks_come_before_tensorflow():
    code = (
        "import sys, spleeter_mod.train, spleeter_mod.estimate;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
