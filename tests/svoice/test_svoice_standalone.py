"""Training without the pipeline: a Hydra application over conf/."""

import csv
import json
import os
import shutil
import sys
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from contract import menu
from contract.errors import InputError
from contract.ranges import COUNT, WHOLE
from svoice import standalone
from svoice.params import Params
from svoice.train import main
from tests.yaml_files import read_yaml

CONF = Path(__file__).resolve().parents[2] / "conf"
OPTIMIZERS = sorted(path.stem for path in (CONF / "optimizer").glob("*.yaml"))
TINY = ["svoice.N=32", "svoice.H=8", "svoice.R=1", "svoice.epochs=2", "optimizer=sgd"]
TINY += ["svoice.segment_seconds=0.25", "svoice.stride_seconds=0.5"]
OUTPUTS = {"model.pt", "steps.csv", "epochs.csv", "train.json", "params.yaml", "tensorboard"}


@pytest.fixture
def bare(tiny):
    """A working directory with the data and nothing else."""
    Path("configuration.yaml").unlink()
    return tiny


def train(command, *overrides):
    finished = command.run("train", *TINY, *overrides)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert set(os.listdir()) == {"data", "outputs"}
    return finished.stdout.splitlines()


def outcome(out):
    out = Path(out)
    assert set(os.listdir(out)) == OUTPUTS
    steps = [line.rsplit(",", 1)[0] for line in (out / "steps.csv").read_text().splitlines()]
    weights = torch.load(out / "model.pt", weights_only=True)["state_dict"]
    return steps, (out / "epochs.csv").read_text(), weights


def assert_same(actual, expected):
    assert actual[:2] == expected[:2]
    assert all(torch.equal(actual[2][name], expected[2][name]) for name in expected[2])


def test_the_configuration_names_the_folder(bare, command):
    first, *_ = train(command)
    out = first.removeprefix("training in ")
    assert out.startswith("outputs/svoice/sgd-cosine-norm-")
    steps, epochs, _ = outcome(out)
    assert epochs.count("\n") == 3
    with open(Path(out, "steps.csv"), newline="") as file:
        assert next(csv.DictReader(file))["learning_rate"] == "0.1"
    written = read_yaml(Path(out, "params.yaml"))
    assert written["svoice"]["N"] == 32
    assert written["optimizer"] == {"name": "sgd", "svoice": {"lr": 0.1}}
    summary = json.loads(Path(out, "train.json").read_text())
    assert (summary["status"], summary["steps"]) == ("completed", len(steps) - 1)

    before = Path(out, "model.pt").stat().st_mtime_ns
    assert train(command) == [f"{out}: this training is complete; nothing to do"]
    assert Path(out, "model.pt").stat().st_mtime_ns == before

    other = train(command, "seed=1")[0].removeprefix("training in ")
    assert other.startswith("outputs/svoice/sgd-cosine-norm-") and other != out
    assert outcome(other)[0] != steps


def test_a_killed_training_resumes_and_its_checkpoint_does_elsewhere(bare, command):
    train(command, "out=outputs/uninterrupted")
    expected = outcome("outputs/uninterrupted")
    command.trainer = command.every_step
    for rows in (2, 5):
        with command.started(rows, *TINY, "out=outputs/one", scratch="outputs/one/unfinished"):
            pass
    start = "outputs/one/unfinished/checkpoint.pt"
    assert Path(start).exists()

    for changed in (["seed=1"], ["optimizer.svoice.lr=0.02"]):
        refused = command.run("train", *TINY, "out=outputs/two", f"checkpoint={start}", *changed)
        assert (refused.returncode, refused.stderr) == (
            1,
            f"ERROR: {start}: belongs to another configuration; "
            "remove it, or restore that configuration\n",
        )
        assert not Path("outputs/two").exists()

    lines = train(command, "out=outputs/two", f"checkpoint={start}")
    assert lines[:2] == [f"continuing from {start}", "training in outputs/two"]
    assert lines[2].startswith("resuming after step ")
    assert_same(outcome("outputs/two"), expected)

    assert train(command, "out=outputs/one")[1].startswith("resuming after step ")
    assert_same(outcome("outputs/one"), expected)


def test_the_folder_of_another_training_is_refused(bare, command):
    train(command, "svoice.epochs=1", "out=outputs/first")
    expected = outcome("outputs/first")
    for change in (["seed=1"], []):
        if not change:  # other data
            rows = Path("data/csv/speech/train.csv").read_text().splitlines()
            Path("data/csv/speech/train.csv").write_text("\n".join(rows[:-1]) + "\n")
        refused = command.run("train", *TINY, "svoice.epochs=1", "out=outputs/first", *change)
        assert (refused.returncode, refused.stderr) == (
            1,
            "ERROR: outputs/first/params.yaml: belongs to another training; "
            "choose another folder with out=…\n",
        )
    assert_same(outcome("outputs/first"), expected)


class NoTraining:
    """Takes the place of a training, and takes no step."""

    def __init__(self, params, places):
        self.places = places

    def complete(self):
        self.places.scratch.mkdir()


def test_other_audio_code_or_libraries_make_another_training(bare, monkeypatch, tmp_path, capsys):
    """Even if the lists are the same, and the audio files have the same lengths."""
    monkeypatch.setattr(standalone, "Training", NoTraining)
    monkeypatch.setattr(sys, "argv", ["svoice.train"])
    packages = tmp_path / "packages"
    for name in ("svoice", "contract"):
        shutil.copytree(CONF.parent / name, packages / name)
    monkeypatch.setattr(standalone, "PACKAGE", packages / "svoice")
    for name in ("train", "valid"):
        path = Path(f"data/csv/speech/{name}.csv")
        header, row, *rows = path.read_text().splitlines()
        source = row.split(",")[1]
        shutil.copy(source, f"{name}.wav")
        row = row.replace(source, f"{name}.wav")
        path.write_text("\n".join([header, row, *rows]) + "\n")

    def folder():
        main(TINY)
        return capsys.readouterr().out.removeprefix("training in ").rstrip("\n")

    def change(path):
        """Changes the last byte of a file: in audio, a sample."""
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    folders = [folder()]
    assert folder() == folders[0]
    for path in ("train.wav", "valid.wav"):
        change(Path(path))
        folders.append(folder())
    for name in ("svoice/network.py", "contract/schedules.py"):
        change(packages / name)
        folders.append(folder())
    for library in ("torch", "numpy"):
        monkeypatch.setattr(
            standalone, "version", lambda name, new=library: "9" if name == new else version(name)
        )
        folders.append(folder())
    assert len(set(folders)) == len(folders) == 7
    with pytest.raises(SystemExit) as exit:
        main([*TINY, f"out={folders[0]}"])
    assert exit.value.code == (
        f"ERROR: {folders[0]}/params.yaml: belongs to another training; "
        "choose another folder with out=…"
    )


def test_one_command_trains_by_several_configurations(bare, command):
    train(command, "svoice.epochs=1", "seed=0,1", "clipping=norm,none", "--multirun")
    runs = sorted(path.name for path in Path("outputs/svoice").iterdir() if path.is_dir())
    assert [name.rsplit("-", 1)[0] for name in runs] == 2 * ["sgd-cosine-none"] + 2 * [
        "sgd-cosine-norm"
    ]
    # Each is the same as alone: nothing in the process carries over to the next training.
    out = train(command, "svoice.epochs=1", "seed=1", "out=outputs/alone")[0]
    losses = {outcome(f"outputs/svoice/{name}")[1] for name in runs}
    assert out == "training in outputs/alone"
    assert outcome("outputs/alone")[1] in losses
    assert len(losses) == 4


def test_a_training_runs_in_any_directory(bare, command, monkeypatch, tmp_path):
    """With lists of absolute paths."""
    root = Path.cwd()
    for path in Path("data/csv/speech").glob("*.csv"):
        path.write_text(path.read_text().replace("data/speech/", f"{root}/data/speech/"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    overrides = ["svoice.epochs=1", f"lists={root}/data/csv/speech", f"out={root}/outputs/far"]
    finished = command.run("train", *TINY, *overrides)
    assert finished.returncode == 0, finished.stderr
    outcome(root / "outputs" / "far")
    assert os.listdir() == []


def test_several_processes(bare, command):
    train(command, "svoice.epochs=1", "out=outputs/one")
    command.trainer = command.torchrun(2)
    assert len(train(command, "svoice.epochs=1", "out=outputs/two")) == 3
    one, two = (
        [float(line.split(",")[2]) for line in outcome(out)[0][1:]]
        for out in ("outputs/one", "outputs/two")
    )
    assert two == pytest.approx(one, rel=1e-5)
    refused = command.run("train", "optimizer=adm")
    assert refused.returncode == 1
    # torchrun itself prints many lines about a process that has failed.
    assert [line for line in refused.stderr.splitlines() if "ERROR: " in line] == [
        f"ERROR: optimizer: found 'adm', expected one of {', '.join(OPTIMIZERS)}"
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer=adm"], f"optimizer: found 'adm', expected one of {', '.join(OPTIMIZERS)}"),
        (["svoice.foo=1"], "svoice.foo: there is no such key; --help shows the keys"),
        (
            ["optimizer"],
            "the command line: Error parsing override 'optimizer'; write group=choice or key=value",
        ),
        (
            ["+svoice.foo=1"],
            "svoice.foo: there is no such setting (its value is 1); the settings of svoice are: *",
        ),
        (["svoice.N=many"], f"svoice.N: found 'many', expected {COUNT.words}"),
        (["out=5"], "out: found 5, expected a path"),
        (
            ["seed=???"],
            "the configuration: Missing mandatory value: seed; give every key a value",
        ),
        (
            ["lists=nowhere"],
            "nowhere/train.csv: no such file or directory; create it, or name one that exists",
        ),
        (["svoice.L=7"], "svoice.L: found 7, expected a multiple of 2, at most 2147483647"),
        (
            ["checkpoint=gone.pt"],
            "gone.pt: there is no such file; name the checkpoint.pt of an unfinished training",
        ),
    ],
)
def test_a_bad_command_is_refused(bare, monkeypatch, overrides, expected):
    monkeypatch.setattr(sys, "argv", ["svoice.train"])
    with pytest.raises(SystemExit) as exit:
        main([*TINY, *overrides])
    assert fnmatchcase(exit.value.code, f"ERROR: {expected}"), exit.value.code
    assert "\n" not in exit.value.code
    assert os.listdir() == ["data"]


def test_the_command_prints_one_line(bare, command):
    finished = command.run("train", "optimizer=adm")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == (
        f"ERROR: optimizer: found 'adm', expected one of {', '.join(OPTIMIZERS)}\n"
    )


def test_the_help_describes_both_ways(bare, command):
    finished = command.run("train", "--help")
    assert finished.returncode == 0
    for word in ("--params FILE", "--scratch DIR", "lists=DIR", "checkpoint=FILE", "torchrun"):
        assert word in finished.stdout
    assert "optimizer: adadelta, adagrad, adam" in finished.stdout
    assert os.listdir() == ["data"]


def composed():
    """Yields the committed configuration with each choice of each group."""
    base = read_yaml(CONF.parent / "configuration.yaml")
    for group in ("optimizer", "schedule", "clipping"):
        for path in sorted((CONF / group).glob("*.yaml")):
            yield {**base, group: OmegaConf.to_container(OmegaConf.load(path))}


def test_every_choice_in_conf_is_valid():
    for values in composed():
        speech, optimizer = values["speech"], values["optimizer"]
        assert Params.of(values).configuration() == {
            "seed": values["seed"],
            "speech": {key: speech[key] for key in ("speakers", "sample_rate")},
            "svoice": values["svoice"],
            "optimizer": {key: optimizer[key] for key in ("name", "svoice")},
            **{group: values[group] for group in ("schedule", "clipping")},
        }


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, f"seed: found -1, expected {WHOLE.words}"),
        ("seed", 2**31, f"seed: found 2147483648, expected {WHOLE.words}"),
        ("seed", True, f"seed: found True, expected {WHOLE.words}"),
        (
            "speech.speakers",
            1,
            "speech.speakers: found 1, expected a whole number from 2 to 10",
        ),
        (
            "svoice.epochs",
            2.0,
            f"svoice.epochs: found 2.0, expected {COUNT.words}",
        ),
        ("svoice.tf32", 1, "svoice.tf32: found 1, expected true or false"),
        ("svoice.count_padding", 0, "svoice.count_padding: found 0, expected true or false"),
        (
            "svoice.precision",
            "fp8",
            "svoice.precision: found 'fp8', expected one of fp32, bf16, fp16",
        ),
        ("svoice.segment_seconds", 0, "svoice.segment_seconds: found 0, expected a number above 0"),
        (
            "svoice.accumulation_steps",
            9,
            "svoice.accumulation_steps: found 9, expected at most svoice.batch_size = 4",
        ),
        (
            "optimizer.svoice.lr",
            float("nan"),
            "optimizer.svoice.lr: found nan, expected a number above 0",
        ),
        (
            "optimizer.svoice.beta1",
            1.0,
            "optimizer.svoice.beta1: found 1.0, expected a number from 0 to below 1",
        ),
        (
            "optimizer.svoice.rho",
            0.9,
            "optimizer.svoice.rho: there is no such setting (its value is 0.9); the settings of "
            "optimizer.svoice are: lr, beta1, beta2, eps, epsilon_before_correction",
        ),
        (
            "optimizer.name",
            "lamb",
            f"optimizer.name: found 'lamb', expected one of {', '.join(menu.OPTIMIZERS)}",
        ),
        (
            "optimizer.svoice",
            1,
            "optimizer.svoice: found 1, expected the settings lr, beta1, beta2, eps, "
            "epsilon_before_correction",
        ),
        ("schedule.floor", 1.0, "schedule.floor: found 1.0, expected a number from 0 to below 1"),
        (
            "schedule.name",
            "constant",
            "schedule.floor: there is no such setting (its value is 0.0); "
            "the settings of schedule are: warmup_steps",
        ),
        ("schedule", None, "schedule: found None, expected a group of settings with a name"),
        (
            "clipping.name",
            None,
            f"clipping.name: found None, expected one of {', '.join(menu.CLIPPINGS)}",
        ),
        ("clipping.max_norm", "5", "clipping.max_norm: found '5', expected a number above 0"),
    ],
)
def test_a_wrong_value_is_refused(key, value, expected):
    values = read_yaml(CONF.parent / "configuration.yaml")
    *groups, name = key.split(".")
    group = values
    for part in groups:
        group = group[part]
    group[name] = value
    with pytest.raises(InputError) as refused:
        Params.of(values)
    assert str(refused.value) == expected


def test_a_whole_number_is_a_valid_duration():
    values = next(composed())
    values["svoice"]["segment_seconds"] = 2
    seconds = Params.of(values).svoice.segment_seconds
    assert (type(seconds), seconds) == (float, 2.0)
