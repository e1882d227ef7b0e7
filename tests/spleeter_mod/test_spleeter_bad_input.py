"""Bad input ends a command with one line that says what is wrong, before TensorFlow is imported."""

import csv
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import soundfile

from contract.menu import OPTIMIZERS
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
    """Changes fields of the only row of a list, to a value or by a function of the old value."""
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
    """Repeats the only row of a list."""
    path = LISTS / f"{split}.csv"
    header, row = path.read_text().splitlines()
    path.write_text("\n".join([header, row, row]))


def copy_of(path, change):
    """Writes a changed copy of an audio file, and returns its path."""
    samples, rate = soundfile.read(path, dtype="int16")
    samples, rate = change(samples, rate)
    soundfile.write("changed.wav", samples, rate)
    return "changed.wav"


def params(**groups):
    """Returns a function that changes values in configuration.yaml."""

    def change(place):
        for group, values in groups.items():
            place.params[group].update(values)
        place.write_params()

    return change


def row(split="train", **values):
    """Returns a function that changes fields of a list."""
    return lambda place: change_row(split, **values)


def text(path, content):
    """Returns a function that replaces the content of a file."""
    return lambda place: Path(path).write_bytes(content)


def truncated(path):
    """Writes the first half of a file, and returns its path."""
    content = Path(path).read_bytes()
    Path("changed.wav").write_bytes(content[: len(content) // 2])
    return "changed.wav"


def resaved(change):
    """Returns a function that writes a changed copy of an audio file and returns its path."""
    return lambda path: copy_of(path, change)


TRAIN_LIST = "data/csv/music/train.csv"
HEADER = "mix_path,vocals_path,drums_path,bass_path,other_path,duration"
MAKE_LIST = "correct the list, or make it again with `dvc repro`"
MISSING = "but there is no such file; correct the path, or restore the file"
# How the workspace is spoilt, and the error. `*` stands for anything.
BAD_TRAINING = {
    "no list": (
        lambda place: Path(TRAIN_LIST).unlink(),
        f"{TRAIN_LIST}: there is no such file; "
        "make the lists with `dvc repro`, or correct the path",
    ),
    "empty list": (
        text(TRAIN_LIST, b""),
        f"{TRAIN_LIST}: has no header; {MAKE_LIST}",
    ),
    "list without rows": (
        text(TRAIN_LIST, f"{HEADER}\n".encode()),
        f"{TRAIN_LIST}: has no rows; {MAKE_LIST}",
    ),
    "wrong columns": (
        text(TRAIN_LIST, b"mix_path,vocals_path\na,b\n"),
        f"{TRAIN_LIST}: has the columns mix_path,vocals_path instead of {HEADER}; {MAKE_LIST}",
    ),
    "short row": (
        text(TRAIN_LIST, f"{HEADER}\na.wav,b.wav\n".encode()),
        f"{TRAIN_LIST}, line 2: has 2 fields instead of 6; {MAKE_LIST}",
    ),
    "long row": (
        text(TRAIN_LIST, f"{HEADER}\na,b,c,d,e,1,f,g\n".encode()),
        f"{TRAIN_LIST}, line 2: has 8 fields instead of 6; {MAKE_LIST}",
    ),
    "not a list": (
        text(TRAIN_LIST, b"\xff\xfe\x00\x01"),
        f"{TRAIN_LIST}: is not a CSV file (*); {MAKE_LIST}",
    ),
    "missing file": (
        row(drums_path="nowhere.wav"),
        f"{TRAIN_LIST}, line 2: drums_path is 'nowhere.wav', {MISSING}",
    ),
    "missing file to validate on": (
        row("valid", mix_path="nowhere.wav"),
        f"data/csv/music/valid.csv, line 2: mix_path is 'nowhere.wav', {MISSING}",
    ),
    "wrong duration": (
        row(duration="17"),
        f"{TRAIN_LIST}, line 2, duration: found 17, expected 2.500 s as in *mixture.wav",
    ),
    "another duration": (
        row(duration="2.56"),
        f"{TRAIN_LIST}, line 2, duration: found 2.56, expected 2.500 s as in *mixture.wav",
    ),
    "no number as duration": (
        row(duration="long"),
        f"{TRAIN_LIST}, line 2, duration: found long, expected 2.500 s as in *mixture.wav",
    ),
    "truncated file": (
        row(mix_path=truncated),
        "changed.wav: is cut short: it has * bytes and its header says *; copy it again",
    ),
    "no audio": (
        lambda place: (
            text("changed.wav", b"no audio")(place),
            change_row(bass_path="changed.wav"),
        ),
        "changed.wav: cannot be read as audio (Format not recognised); replace it with a WAV file",
    ),
    "mono mixture": (
        row(mix_path=resaved(lambda x, rate: (x[:, 0], rate))),
        "changed.wav: has 1 channel(s) instead of 2; convert it to stereo",
    ),
    "mono stem": (
        row(vocals_path=resaved(lambda x, rate: (x[:, :1], rate))),
        "changed.wav: has 1 channel(s), but *mixture.wav has 2; replace one of them",
    ),
    "slow stem": (
        row(vocals_path=resaved(lambda x, rate: (x[::2], rate // 2))),
        "changed.wav: has 22050 Hz, but *mixture.wav has 44100; replace one of them",
    ),
    "short stem": (
        row(other_path=resaved(lambda x, rate: (x[:-1], rate))),
        "changed.wav: has 110249 samples, but *mixture.wav has 110250; replace one of them",
    ),
    "another sample rate": (
        params(music={"sample_rate": 48000}),
        "*mixture.wav: has 44100 Hz, but sample_rate is 48000 Hz; resample it, or set sample_rate",
    ),
    "song shorter than T": (
        params(spleeter={"T": 128, "chunk_seconds": 5.0}),
        "*mixture.wav: lasts 2.500 s, but T frames last 2.972 s; "
        "remove the song from the list, or reduce T",
    ),
    "chunk shorter than T": (
        params(spleeter={"T": 128}),
        "spleeter.chunk_seconds: found 2.5, expected at least 3.065 s, to hold T = 128 frames",
    ),
    "odd T": (
        params(spleeter={"T": 100}),
        "spleeter.T: found 100, expected a multiple of 64, at most 2147483647",
    ),
    "odd F": (
        params(spleeter={"F": 1000}),
        "spleeter.F: found 1000, expected a multiple of 64, at most 2147483647",
    ),
    "large F": (
        params(spleeter={"F": 2112}),
        "spleeter.F: found 2112, expected at most frame_length / 2 + 1 = 2049 frequency bins",
    ),
    "frames with gaps between them": (
        params(spleeter={"frame_step": 4097}),
        "spleeter.frame_step: found 4097, expected at most frame_length = 4096 samples",
    ),
    "few filters": (
        params(spleeter={"filters": [16, 32]}),
        "spleeter.filters: found [[]16, 32], expected a list of 6, each a whole number "
        "from 1 to 2147483647",
    ),
    "unknown optimizer": (
        params(optimizer={"name": "adamant"}),
        f"optimizer.name: found 'adamant', expected one of {', '.join(OPTIMIZERS)}",
    ),
    "missing key": (
        lambda place: (place.params["spleeter"].pop("T"), place.write_params()),
        "spleeter.T: is missing; set it to a multiple of 64, at most 2147483647",
    ),
    "no YAML": (
        text("configuration.yaml", b"a: [1,"),
        "configuration.yaml: is not valid YAML (*); correct it",
    ),
    "no configuration.yaml": (
        lambda place: Path("configuration.yaml").unlink(),
        "configuration.yaml: there is no such file; compose it from conf/",
    ),
}
BAD_ESTIMATION = {
    "no model": (
        lambda place: Path("models/spleeter/config.json").unlink(),
        "models/spleeter/config.json: there is no such file; train Spleeter first",
    ),
    "no configuration": (
        lambda place: None,
        "models/spleeter/config.json: is not a JSON file (*); train Spleeter again",
    ),
    "model without weights": (
        text("models/spleeter/config.json", b"{}"),
        "models/spleeter: has no checkpoint; train Spleeter again",
    ),
    "missing song": (
        row("test", mix_path="nowhere.wav"),
        f"data/csv/music/test.csv, line 2: mix_path is 'nowhere.wav', {MISSING}",
    ),
    "two songs of one name": (
        lambda place: repeat_row("test"),
        "data/csv/music/test.csv: lists the track * twice; remove one of the two, or rename it",
    ),
}


@pytest.mark.parametrize(("spoil", "line"), BAD_TRAINING.values(), ids=BAD_TRAINING)
def test_training_refuses(place, capsys, spoil, line):
    spoil(place)
    arguments = ["--params", "configuration.yaml", "--scratch", "scratch"]
    assert_refused(train.main, arguments, line, capsys)
    assert not Path("scratch").exists()


@pytest.mark.parametrize(("spoil", "line"), BAD_ESTIMATION.values(), ids=BAD_ESTIMATION)
def test_estimation_refuses(place, capsys, spoil, line):
    spoil(place)
    assert_refused(estimate.main, ["--params", "configuration.yaml"], line, capsys)


def assert_refused(main, arguments, line, capsys):
    """Asserts that a command ends with this line and writes nothing; `*` stands for anything."""
    before = outputs()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    # `sys.exit` prints a text to stderr, and exits with 1.
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
