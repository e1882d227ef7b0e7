"""What the commands say of input that they cannot use: one line, before anything is written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from svoice import checkpoint, estimate, train, training
from svoice.errors import InputError, one_line
from svoice.params import read_params

LISTS = Path("data/csv/speech")
COLUMNS = "mix_path,s1_path,s2_path,length,sample_rate"


def first_row(name):
    return (LISTS / f"{name}.csv").read_text().splitlines()[1].split(",")


def write_list(name, *rows, columns=COLUMNS):
    lines = [columns, *(",".join(map(str, row)) for row in rows)]
    (LISTS / f"{name}.csv").write_text("\n".join(lines) + "\n")


def replace_file(name, position, change):
    """Put a changed copy of a file of the list's first row in its place."""
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
    """Change the samples. 16-bit stays 16-bit, unless the change asks for more."""
    samples = change(soundfile.read(path)[0])
    soundfile.write(path, samples, rate, subtype=None if np.isfinite(samples).all() else "FLOAT")


def with_a(value):
    def change(samples):
        samples[len(samples) // 2] = value
        return samples

    return change


def cut_to(size):
    return lambda path: path.write_bytes(path.read_bytes()[:size])


# What is done to the list `name`, and what the error says of it.
CASES = {
    "no list": (
        lambda name: (LISTS / f"{name}.csv").unlink(),
        "{list}: found no file, expected a list of mixtures",
    ),
    "empty list": (
        lambda name: (LISTS / f"{name}.csv").write_text(""),
        f"{{list}}: found the columns (none), expected {COLUMNS} (speech.speakers = 2)",
    ),
    "no rows": (
        lambda name: write_list(name),
        "{list}: found no rows, expected at least one mixture",
    ),
    "not text": (
        lambda name: (LISTS / f"{name}.csv").write_bytes(b"RIFF\xff\xfe"),
        "{list}: found no CSV (",
    ),
    "columns of three speakers": (
        lambda name: write_list(name, columns=COLUMNS.replace("s2_path", "s2_path,s3_path")),
        "{list}: found the columns mix_path,s1_path,s2_path,s3_path,length,sample_rate, "
        f"expected {COLUMNS} (speech.speakers = 2)",
    ),
    "a field too few": (
        lambda name: write_list(name, first_row(name)[:-1]),
        "{list}, line 2: found 4 fields, expected 5",
    ),
    "length in words": (
        lambda name: change_field(name, 3, "long"),
        "{list}, line 2: found length 'long', expected a positive whole number",
    ),
    "no length": (
        lambda name: change_field(name, 3, "0"),
        "{list}, line 2: found length '0', expected a positive whole number",
    ),
    "another rate in the list": (
        lambda name: change_field(name, 4, "16000"),
        "{list}, line 2: found 16000 Hz, expected speech.sample_rate = 8000 Hz",
    ),
    "another length in the list": (
        lambda name: change_field(name, 3, int(first_row(name)[3]) + 1),
        "{mixture}: found {length} samples, expected {longer} ({list}, line 2)",
    ),
    "missing file": (
        lambda name: change_field(name, 1, "data/speech/nowhere.wav"),
        "data/speech/nowhere.wav: found no such file, expected the audio of {list}, line 2",
    ),
    "folder for a file": (
        lambda name: change_field(name, 1, "data/speech"),
        "data/speech: found no such file, expected the audio of {list}, line 2",
    ),
    "empty file": (
        lambda name: replace_file(name, 2, cut_to(0)),
        "changed.wav: found an empty file, expected {length} samples ({list}, line 2)",
    ),
    "truncated in the header": (
        lambda name: replace_file(name, 2, cut_to(30)),
        "changed.wav: found no readable audio (",
    ),
    "truncated in the samples": (
        lambda name: replace_file(name, 2, cut_to(6044)),
        "changed.wav: found 3000 samples, expected {length} ({list}, line 2)",
    ),
    "no samples": (
        lambda name: replace_file(name, 2, lambda path: rewrite(path, lambda samples: samples[:0])),
        "changed.wav: found 0 samples, expected {length} ({list}, line 2)",
    ),
    "not audio": (
        lambda name: replace_file(name, 0, lambda path: path.write_text("speech")),
        "changed.wav: found no readable audio (",
    ),
    "stereo": (
        lambda name: replace_file(
            name, 0, lambda path: rewrite(path, lambda samples: np.stack([samples, samples], 1))
        ),
        "changed.wav: found 2 channels, expected mono",
    ),
    "a mixture at another rate": (
        lambda name: replace_file(name, 0, lambda path: rewrite(path, rate=16000)),
        "changed.wav: found 16000 Hz, expected speech.sample_rate = 8000 Hz",
    ),
    "a source at another rate": (
        lambda name: replace_file(name, 1, lambda path: rewrite(path, rate=16000)),
        "changed.wav: found 16000 Hz, expected speech.sample_rate = 8000 Hz",
    ),
    "a shorter mixture": (
        lambda name: replace_file(
            name, 0, lambda path: rewrite(path, lambda samples: samples[:-1])
        ),
        "changed.wav: found {shorter} samples, expected {length} ({list}, line 2)",
    ),
    "a longer source": (
        lambda name: replace_file(
            name, 2, lambda path: rewrite(path, lambda samples: np.append(samples, 0))
        ),
        "changed.wav: found {longer} samples, expected {length} ({list}, line 2)",
    ),
    "NaN samples of a mixture": (
        lambda name: replace_file(name, 0, lambda path: rewrite(path, with_a(np.nan))),
        "changed.wav: found NaN or infinite samples, expected finite ones",
    ),
    "infinite samples of a source": (
        lambda name: replace_file(name, 1, lambda path: rewrite(path, with_a(-np.inf))),
        "changed.wav: found NaN or infinite samples, expected finite ones",
    ),
}


@pytest.fixture
def earlier(tiny):
    """The outputs of an earlier run; afterwards they are all that was written."""
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
    with pytest.raises(SystemExit) as exit:
        main(["--params", "params.yaml", *arguments])
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
    assert refusal(*READERS[name]).startswith(f"ERROR: {expected}")


def test_the_command_prints_one_line(earlier, command):
    write_list("train")
    finished = command.run("train")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr == (
        "ERROR: data/csv/speech/train.csv: found no rows, expected at least one mixture\n"
    )


@pytest.mark.parametrize(
    ("group", "values", "expected"),
    [
        ("svoice", {"N": 16}, "svoice.N: found 16, expected N/L at least L/2"),
        ("svoice", {"stride_seconds": 1e-5}, "svoice.stride_seconds: found 1e-05, expected at"),
        ("svoice", {"L": 7}, "svoice.L: found 7, expected an even number"),
        ("svoice", {"N": 36}, "svoice.N: found 36, expected a multiple of svoice.L = 8"),
        ("optimizer", {"name": "lion"}, "optimizer.name: found 'lion', expected one of sgd, "),
        ("schedule", {"name": "linear"}, "schedule.name: found 'linear', expected one of const"),
        ("clipping", {"name": "hard"}, "clipping.name: found 'hard', expected one of none, norm"),
    ],
)
def test_bad_configuration(earlier, group, values, expected):
    earlier.params[group].update(values)
    earlier.write_params()
    assert refusal(*TRAIN).startswith(f"ERROR: {expected}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "params.yaml: found 'No such file or directory', expected it to exist"),
        ("seed: [", "params.yaml: found no YAML ("),
        ("seed: 2026-13-01", "params.yaml: found no YAML ("),
        ("", "params.yaml: found no key seed, expected the composed configuration"),
        ("seed: 0\nspeech: {speakers: 2}", "params.yaml: found no key speech.sample_rate"),
    ],
)
def test_bad_params_file(earlier, content, expected):
    path = Path("params.yaml")
    path.unlink() if content is None else path.write_text(content)
    assert refusal(*TRAIN).startswith(f"ERROR: {expected}")
    assert refusal(estimate.main).startswith(f"ERROR: {expected}")


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1e3"])
def test_numbers_written_by_hand(earlier, written):
    path = Path("params.yaml")
    earlier.params["optimizer"]["svoice"]["lr"] = 0.0123
    earlier.write_params()
    text = path.read_text()
    assert text.count("0.0123") == 1
    path.write_text(text.replace("0.0123", written))
    assert read_params(path)["optimizer"]["svoice"]["lr"] == float(written)


def trained(params):
    """A model file of the right configuration."""
    network = training.make_network(params)
    return checkpoint.model_bytes(network, checkpoint.snapshot(network))


def test_estimate_needs_a_model(tiny):
    path = Path("models/svoice/model.pt")
    expected = "ERROR: models/svoice/model.pt: found {}, expected the network that svoice.train"
    assert refusal(estimate.main).startswith(expected.format("no file"))
    path.parent.mkdir(parents=True)
    whole = trained(tiny.params)
    for content in (b"", b"weights", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert refusal(estimate.main).startswith(expected.format("an unreadable file"))
    path.write_bytes(checkpoint.to_bytes({"state_dict": {}}))
    assert refusal(estimate.main).startswith(expected.format("another kind of file"))
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("speakers", 3, "a network for speakers = 2, expected speech.speakers = 3"),
        (
            "sample_rate",
            16000,
            "a network for sample_rate = 8000, expected speech.sample_rate = 16",
        ),
    ],
)
def test_the_model_must_fit_the_data(tiny, key, value, expected):
    path = Path("models/svoice/model.pt")
    path.parent.mkdir(parents=True)
    path.write_bytes(trained(tiny.params))
    tiny.params["speech"][key] = value
    tiny.write_params()
    assert refusal(estimate.main).startswith(f"ERROR: models/svoice/model.pt: found {expected}")
    assert not Path("results").exists()


def test_estimate_needs_a_name_for_each_mixture(tiny):
    path = Path("models/svoice/model.pt")
    path.parent.mkdir(parents=True)
    path.write_bytes(trained(tiny.params))
    row = first_row("test")
    shutil.copy(row[0], Path(row[0]).name)
    write_list("test", row, [Path(row[0]).name, *row[1:]])
    assert "expected a file name of its own for each mixture" in refusal(estimate.main)
    assert not Path("results").exists()


def test_a_checkpoint_must_be_readable(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for content in (b"", b"PK\x03\x04 cut short", b"text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="found an unreadable file, expected a checkpoint"):
            checkpoint.load_checkpoint(path, {})


@pytest.mark.parametrize(
    ("raised", "ends", "code"),
    [
        (KeyboardInterrupt(), SystemExit, 130),
        (InputError("two\nlines", 1, 2), SystemExit, "ERROR: two lines: found 1, expected 2"),
        (OSError(5, "Input/output error"), OSError, None),
        (ValueError("a programming error"), ValueError, None),
    ],
)
def test_what_ends_a_command(raised, ends, code):
    @one_line
    def command():
        raise raised

    with pytest.raises(ends) as end:
        command()
    assert getattr(end.value, "code", None) == code
