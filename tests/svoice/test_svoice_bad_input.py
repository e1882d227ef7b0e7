"""Bad input ends a command with one line that says what is wrong, before anything is written."""

import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
import soundfile

from contract import menu
from contract.errors import InputError, one_line
from svoice import checkpoint, estimate, train, training
from svoice.params import Params
from tests.svoice.conftest import BETAS

LISTS = Path("data/csv/speech")
COLUMNS = "mix_path,s1_path,s2_path,length,sample_rate"


def first_row(name):
    """Returns the fields of the first row of a list."""
    return (LISTS / f"{name}.csv").read_text().splitlines()[1].split(",")


def write_list(name, *rows, columns=COLUMNS):
    lines = [columns, *(",".join(map(str, row)) for row in rows)]
    (LISTS / f"{name}.csv").write_text("\n".join(lines) + "\n")


def replace_file(name, position, change):
    """Replaces a file of the list's first row by a changed copy."""
    row = first_row(name)
    copy = Path("changed.wav")
    shutil.copy(row[position], copy)
    change(copy)
    row[position] = copy
    write_list(name, row)


def change_field(name, position, value):
    row = first_row(name)
    row[position] = value
    write_list(name, row)


def rewrite(path, change=lambda samples: samples, rate=8000):
    """Changes the samples of a file, or its rate. NaN and infinity need 32-bit floats."""
    samples = change(soundfile.read(path)[0])
    soundfile.write(path, samples, rate, subtype=None if np.isfinite(samples).all() else "FLOAT")


def with_a(value):
    """Returns a function that puts a value in the middle of the samples."""

    def change(samples):
        samples[len(samples) // 2] = value
        return samples

    return change


def cut_to(size):
    """Returns a function that cuts a file to a size in bytes."""
    return lambda path: path.write_bytes(path.read_bytes()[:size])


MAKE_LIST = "correct the list, or make it again with `dvc repro`"
MAKE_AUDIO = "make the mixtures again, or correct the list"
# How a list is spoilt, and the error. `*` stands for anything.
CASES = {
    "no list": (
        lambda name: (LISTS / f"{name}.csv").unlink(),
        "{list}: there is no such file; make the lists with `dvc repro`, or correct the path",
    ),
    "empty list": (
        lambda name: (LISTS / f"{name}.csv").write_text(""),
        f"{{list}}: has no header; {MAKE_LIST}",
    ),
    "no header": (
        lambda name: (LISTS / f"{name}.csv").write_text("\na.wav,b.wav"),
        f"{{list}}: has no header; {MAKE_LIST}",
    ),
    "no rows": (
        lambda name: write_list(name),
        f"{{list}}: has no rows; {MAKE_LIST}",
    ),
    "not text": (
        lambda name: (LISTS / f"{name}.csv").write_bytes(b"RIFF\xff\xfe"),
        f"{{list}}: is not a CSV file (*); {MAKE_LIST}",
    ),
    "columns of three speakers": (
        lambda name: write_list(name, columns=COLUMNS.replace("s2_path", "s2_path,s3_path")),
        "{list}: has the columns mix_path,s1_path,s2_path,s3_path,length,sample_rate "
        f"instead of {COLUMNS}; make the list for speech.speakers = 2",
    ),
    "a field too few": (
        lambda name: write_list(name, first_row(name)[:-1]),
        f"{{list}}, line 2: has 4 fields instead of 5; {MAKE_LIST}",
    ),
    "length in words": (
        lambda name: change_field(name, 3, "long"),
        "{list}, line 2, length: found 'long', expected a positive whole number",
    ),
    "no length": (
        lambda name: change_field(name, 3, "0"),
        "{list}, line 2, length: found '0', expected a positive whole number",
    ),
    "another rate in the list": (
        lambda name: change_field(name, 4, "16000"),
        "{list}, line 2, sample_rate: found 16000 Hz, expected speech.sample_rate = 8000 Hz",
    ),
    "another length in the list": (
        lambda name: change_field(name, 3, int(first_row(name)[3]) + 1),
        f"{{mixture}}: has {{length}} samples, but {{longer}} in {{list}}, line 2; {MAKE_AUDIO}",
    ),
    "missing file": (
        lambda name: change_field(name, 1, "data/speech/nowhere.wav"),
        "data/speech/nowhere.wav: there is no such file, but {list}, line 2 names it; "
        f"{MAKE_AUDIO}",
    ),
    "folder for a file": (
        lambda name: change_field(name, 1, "data/speech"),
        f"data/speech: there is no such file, but {{list}}, line 2 names it; {MAKE_AUDIO}",
    ),
    "empty file": (
        lambda name: replace_file(name, 2, cut_to(0)),
        f"changed.wav: is empty, but has {{length}} samples in {{list}}, line 2; {MAKE_AUDIO}",
    ),
    "truncated in the header": (
        lambda name: replace_file(name, 2, cut_to(30)),
        "changed.wav: cannot be read as audio (*); replace it with a WAV file",
    ),
    "truncated in the samples": (
        lambda name: replace_file(name, 2, cut_to(6044)),
        f"changed.wav: has 3000 samples, but {{length}} in {{list}}, line 2; {MAKE_AUDIO}",
    ),
    "no samples": (
        lambda name: replace_file(name, 2, lambda path: rewrite(path, lambda samples: samples[:0])),
        f"changed.wav: has 0 samples, but {{length}} in {{list}}, line 2; {MAKE_AUDIO}",
    ),
    "not audio": (
        lambda name: replace_file(name, 0, lambda path: path.write_text("speech")),
        "changed.wav: cannot be read as audio (Format not recognised); replace it with a WAV file",
    ),
    "stereo": (
        lambda name: replace_file(
            name, 0, lambda path: rewrite(path, lambda samples: np.stack([samples, samples], 1))
        ),
        "changed.wav: has 2 channels; convert it to mono",
    ),
    "a mixture at another rate": (
        lambda name: replace_file(name, 0, lambda path: rewrite(path, rate=16000)),
        "changed.wav: has 16000 Hz, but speech.sample_rate is 8000 Hz; "
        "resample it, or set speech.sample_rate",
    ),
    "a source at another rate": (
        lambda name: replace_file(name, 1, lambda path: rewrite(path, rate=16000)),
        "changed.wav: has 16000 Hz, but speech.sample_rate is 8000 Hz; "
        "resample it, or set speech.sample_rate",
    ),
    "a shorter mixture": (
        lambda name: replace_file(
            name, 0, lambda path: rewrite(path, lambda samples: samples[:-1])
        ),
        f"changed.wav: has {{shorter}} samples, but {{length}} in {{list}}, line 2; {MAKE_AUDIO}",
    ),
    "a longer source": (
        lambda name: replace_file(
            name, 2, lambda path: rewrite(path, lambda samples: np.append(samples, 0))
        ),
        f"changed.wav: has {{longer}} samples, but {{length}} in {{list}}, line 2; {MAKE_AUDIO}",
    ),
    "NaN samples of a mixture": (
        lambda name: replace_file(name, 0, lambda path: rewrite(path, with_a(np.nan))),
        f"changed.wav: has NaN or infinite samples; {MAKE_AUDIO}",
    ),
    "infinite samples of a source": (
        lambda name: replace_file(name, 1, lambda path: rewrite(path, with_a(-np.inf))),
        f"changed.wav: has NaN or infinite samples; {MAKE_AUDIO}",
    ),
}


@pytest.fixture
def earlier(tiny):
    """The outputs of an earlier run. After the test, there must be no others."""
    outputs = {
        Path("models/svoice/model.pt"): trained(tiny.params),
        Path("results/svoice/steps.csv"): b"earlier steps",
        Path("results/svoice/estimates/s1/a.wav"): b"an earlier estimate",
    }
    for path, content in outputs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    yield tiny
    written = {
        path: path.read_bytes()
        for top in ("models", "results", "scratch")
        for path in Path(top).rglob("*")
        if path.is_file()
    }
    assert written == outputs


def refusal(main, *arguments):
    """Returns the line with which a command refuses its input."""
    with pytest.raises(SystemExit) as exit:
        main(["--params", "configuration.yaml", *arguments])
    line = exit.value.code
    assert line.startswith("ERROR: ")
    assert "\n" not in line
    return line


TRAIN = (train.main, "--scratch", "scratch")
READERS = {"train": TRAIN, "valid": TRAIN, "test": (estimate.main,)}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("case", CASES)
def test_bad_data(earlier, case, name):
    spoil, expected = CASES[case]
    mixture, *_, length, _ = first_row(name)
    lengths = {"length": length, "longer": int(length) + 1, "shorter": int(length) - 1}
    expected = expected.format(list=LISTS / f"{name}.csv", mixture=mixture, **lengths)
    spoil(name)
    line = refusal(*READERS[name])
    assert fnmatchcase(line, f"ERROR: {expected}"), line


def test_the_command_prints_one_line(earlier, command):
    write_list("train")
    finished = command.run("train")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr == (f"ERROR: data/csv/speech/train.csv: has no rows; {MAKE_LIST}\n")


@pytest.mark.parametrize(
    ("group", "values", "expected"),
    [
        (
            "svoice",
            {"N": 16},
            "svoice.N: found 16, expected at least L²/2 = 32, else the decoder leaves gaps",
        ),
        (
            "svoice",
            {"stride_seconds": 1e-5},
            "svoice.stride_seconds: found 1e-05, expected at least one sample, at most 2147483647",
        ),
        (
            "svoice",
            {"segment_seconds": 0.0005},
            "svoice.segment_seconds: found 0.0005, expected at least as long as svoice.L = 8 "
            "samples",
        ),
        ("svoice", {"L": 7}, "svoice.L: found 7, expected a multiple of 2, at most 2147483647"),
        ("svoice", {"N": 36}, "svoice.N: found 36, expected a multiple of svoice.L = 8"),
        (
            "optimizer",
            {"name": "lamb"},
            f"optimizer.name: found 'lamb', expected one of {', '.join(menu.OPTIMIZERS)}",
        ),
        (
            "schedule",
            {"name": "stairs"},
            f"schedule.name: found 'stairs', expected one of {', '.join(menu.SCHEDULES)}",
        ),
        (
            "clipping",
            {"name": "hard"},
            f"clipping.name: found 'hard', expected one of {', '.join(menu.CLIPPINGS)}",
        ),
        (
            "optimizer",
            {
                "name": "schedulefree",
                "svoice": {"lr": 1e-2, **BETAS, "weight_decay": 0, "beta1": 0},
            },
            "optimizer.svoice.beta1: found 0, expected a number between 0 and 1",
        ),
    ],
)
def test_bad_configuration(earlier, group, values, expected):
    earlier.params[group].update(values)
    earlier.write_params()
    assert refusal(*TRAIN) == f"ERROR: {expected}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "configuration.yaml: there is no such file; compose it from conf/"),
        ("seed: [", "configuration.yaml: is not valid YAML (*); correct it"),
        ("seed: 2026-13-01", "configuration.yaml: is not valid YAML (*); correct it"),
        ("", "configuration.yaml: has no key speech.speakers; compose it from conf/"),
        (
            "seed: 0\nspeech: {speakers: 2}",
            "configuration.yaml: has no key speech.sample_rate; compose it from conf/",
        ),
    ],
)
def test_bad_params_file(earlier, content, expected):
    path = Path("configuration.yaml")
    path.unlink() if content is None else path.write_text(content)
    for line in (refusal(*TRAIN), refusal(estimate.main)):
        assert fnmatchcase(line, f"ERROR: {expected}"), line


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1e3"])
def test_numbers_in_scientific_notation(earlier, written):
    path = Path("configuration.yaml")
    earlier.params["optimizer"]["svoice"]["lr"] = 0.0123
    earlier.write_params()
    text = path.read_text()
    assert text.count("0.0123") == 1
    path.write_text(text.replace("0.0123", written))
    assert Params.read(path).learning_rate == float(written)


def trained(params):
    """Returns a model file of this configuration."""
    network = training.make_network(Params.of(params))
    return checkpoint.model_bytes(network, checkpoint.snapshot(network))


def test_estimate_needs_a_model(tiny):
    path = Path("models/svoice/model.pt")
    expected = "ERROR: models/svoice/model.pt: {}; train SVoice {}"
    again = "again, or name another file of svoice.train"
    assert refusal(estimate.main) == expected.format(
        "there is no such file", "first, or correct the path"
    )
    path.parent.mkdir(parents=True)
    model = trained(tiny.params)
    for content in (b"", b"weights", model[: len(model) // 2]):
        path.write_bytes(content)
        assert refusal(estimate.main) == expected.format(
            "is not a file of PyTorch, or is damaged", again
        )
    path.write_bytes(checkpoint.to_bytes({"state_dict": {}}))
    assert refusal(estimate.main) == expected.format(
        "does not hold a network of svoice.train", again
    )
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("speakers", 3, "speech.speakers = 2, but configuration.yaml has 3"),
        ("sample_rate", 16000, "speech.sample_rate = 8000, but configuration.yaml has 16000"),
    ],
)
def test_the_model_must_fit_the_data(tiny, key, value, expected):
    path = Path("models/svoice/model.pt")
    path.parent.mkdir(parents=True)
    path.write_bytes(trained(tiny.params))
    tiny.params["speech"][key] = value
    tiny.write_params()
    assert refusal(estimate.main) == (
        f"ERROR: models/svoice/model.pt: was trained for {expected}; "
        "train it again, or set the value that it was trained for"
    )
    assert not Path("results").exists()


@pytest.mark.parametrize("folder", ["another", "the same"])
def test_estimate_needs_a_name_for_each_mixture(tiny, folder):
    path = Path("models/svoice/model.pt")
    path.parent.mkdir(parents=True)
    path.write_bytes(trained(tiny.params))
    row = first_row("test")
    name = Path(row[0]).name
    if folder == "another":
        shutil.copy(row[0], name)
        write_list("test", row, [name, *row[1:]])
    else:
        write_list("test", row, row)
    assert refusal(estimate.main) == (
        f"ERROR: data/csv/speech/test.csv: lists the file {name} twice; "
        "remove one of the two, or rename it"
    )
    assert not Path("results").exists()


def test_a_checkpoint_must_be_readable(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for content in (b"", b"PK\x03\x04 cut short", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError) as refused:
            checkpoint.load_checkpoint(path, {})
        assert str(refused.value) == (
            f"{path}: is not a file of PyTorch, or is damaged; "
            "remove it, or replace it with a checkpoint of svoice.train"
        )


@pytest.mark.parametrize(
    ("raised", "ends", "code"),
    [
        (KeyboardInterrupt(), SystemExit, 130),
        (
            InputError.mismatch("two\nlines", 1, 2),
            SystemExit,
            "ERROR: two lines: found 1, expected 2",
        ),
        (OSError(5, "Input/output error"), OSError, None),
        (ValueError("a programming error"), ValueError, None),
    ],
)
def test_only_expected_errors_end_a_command_with_one_line(raised, ends, code):
    @one_line
    def command():
        raise raised

    with pytest.raises(ends) as end:
        command()
    assert getattr(end.value, "code", None) == code
