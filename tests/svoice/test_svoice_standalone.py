"""Training by itself: a Hydra application over conf/."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from svoice import params
from svoice.errors import InputError
from svoice.train import main
from tests.yaml_files import read_yaml

CONF = Path(__file__).resolve().parents[2] / "conf"
TINY = ["svoice.N=32", "svoice.H=8", "svoice.R=1", "svoice.epochs=2", "optimizer=sgd"]
TINY += ["svoice.segment_seconds=0.25", "svoice.stride_seconds=0.5"]
OUTPUTS = {"model.pt", "steps.csv", "epochs.csv", "train.json", "params.yaml", "tensorboard"}


@pytest.fixture
def bare(tiny):
    """A working directory that holds the data and nothing else."""
    Path("params.yaml").unlink()
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


def assert_same(found, expected):
    assert found[:2] == expected[:2]
    assert all(torch.equal(found[2][name], expected[2][name]) for name in expected[2])


def test_the_configuration_names_the_folder(bare, command):
    first, *_ = train(command)
    out = first.removeprefix("training in ")
    assert out.startswith("outputs/svoice/sgd-step-norm-")
    steps, epochs, _ = outcome(out)
    assert epochs.count("\n") == 3
    with open(Path(out, "steps.csv"), newline="") as file:
        assert {row["learning_rate"] for row in csv.DictReader(file)} == {"0.01"}
    kept = read_yaml(Path(out, "params.yaml"))
    assert kept["svoice"]["N"] == 32
    assert kept["optimizer"] == {"name": "sgd", "svoice": {"lr": 0.01}}
    summary = json.loads(Path(out, "train.json").read_text())
    assert (summary["status"], summary["steps"]) == ("completed", len(steps) - 1)

    before = Path(out, "model.pt").stat().st_mtime_ns
    assert train(command) == [f"{out}: trained already"]
    assert Path(out, "model.pt").stat().st_mtime_ns == before

    other = train(command, "seed=1")[0].removeprefix("training in ")
    assert other.startswith("outputs/svoice/sgd-step-norm-") and other != out
    assert outcome(other)[0] != steps


def test_killed_it_goes_on_and_so_does_its_checkpoint_elsewhere(bare, command):
    train(command, "out=outputs/whole")
    expected = outcome("outputs/whole")
    command.trainer = command.every_step
    for rows in (2, 5):
        with command.started(rows, *TINY, "out=outputs/one", scratch="outputs/one/unfinished"):
            pass
    given = "outputs/one/unfinished/checkpoint.pt"
    assert Path(given).exists()

    for changed in (["seed=1"], ["optimizer.svoice.lr=0.02"]):
        refused = command.run("train", *TINY, "out=outputs/two", f"checkpoint={given}", *changed)
        assert (refused.returncode, refused.stderr) == (
            1,
            f"ERROR: {given}: found another configuration's checkpoint, "
            "expected this configuration's\n",
        )
        assert not Path("outputs/two").exists()

    lines = train(command, "out=outputs/two", f"checkpoint={given}")
    assert lines[:2] == [f"going on from {given}", "training in outputs/two"]
    assert lines[2].startswith("resuming after step ")
    assert_same(outcome("outputs/two"), expected)

    assert train(command, "out=outputs/one")[1].startswith("resuming after step ")
    assert_same(outcome("outputs/one"), expected)


def test_anothers_folder_is_refused(bare, command):
    train(command, "svoice.epochs=1", "out=outputs/mine")
    kept = outcome("outputs/mine")
    for change in (["seed=1"], []):
        if not change:  # other data
            rows = Path("data/csv/speech/train.csv").read_text().splitlines()
            Path("data/csv/speech/train.csv").write_text("\n".join(rows[:-1]) + "\n")
        refused = command.run("train", *TINY, "svoice.epochs=1", "out=outputs/mine", *change)
        assert (refused.returncode, refused.stderr) == (
            1,
            "ERROR: outputs/mine/params.yaml: found another training's, "
            "expected this one's, or another `out`\n",
        )
    assert_same(outcome("outputs/mine"), kept)


def test_many_in_one_command(bare, command):
    train(command, "svoice.epochs=1", "seed=0,1", "clipping=norm,none", "--multirun")
    runs = sorted(path.name for path in Path("outputs/svoice").iterdir() if path.is_dir())
    assert [name.rsplit("-", 1)[0] for name in runs] == 2 * ["sgd-step-none"] + 2 * [
        "sgd-step-norm"
    ]
    # As each is alone: what a run leaves in the process does not reach the next.
    out = train(command, "svoice.epochs=1", "seed=1", "out=outputs/alone")[0]
    losses = {outcome(f"outputs/svoice/{name}")[1] for name in runs}
    assert out == "training in outputs/alone"
    assert outcome("outputs/alone")[1] in losses
    assert len(losses) == 4


def test_from_any_directory(bare, command, monkeypatch, tmp_path):
    """Lists whose paths do not depend on it are found from anywhere."""
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
    assert len(train(command, "svoice.epochs=1", "out=outputs/two")) == 2
    one, two = (
        [float(line.split(",")[2]) for line in outcome(out)[0][1:]]
        for out in ("outputs/one", "outputs/two")
    )
    assert two == pytest.approx(one, rel=1e-5)
    refused = command.run("train", "optimizer=adm")
    assert refused.returncode == 1
    assert refused.stderr.count("ERROR: ") == 1


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer=adm"], "optimizer: found 'adm', expected one of adadelta, adagrad, "),
        (["svoice.foo=1"], "svoice.foo: found no such key, expected a key of the configuration"),
        (["optimizer"], "the command line: found Error parsing override 'optimizer', expected "),
        (["+svoice.foo=1"], "svoice.foo: found 1, expected no such key"),
        (["svoice.N=many"], "svoice.N: found 'many', expected a whole number from 1 to 2"),
        (["out=5"], "out: found 5, expected a path"),
        (["seed=???"], "the configuration: found Missing mandatory value: seed, expected values"),
        (["lists=nowhere"], "nowhere/train.csv: found 'No such file or directory', expected"),
        (["svoice.L=7"], "svoice.L: found 7, expected an even number"),
        (["checkpoint=gone.pt"], "gone.pt: found no file, expected a checkpoint of svoice.train"),
    ],
)
def test_what_it_says_of_a_bad_command(bare, monkeypatch, overrides, expected):
    monkeypatch.setattr(sys, "argv", ["svoice.train"])
    with pytest.raises(SystemExit) as exit:
        main([*TINY, *overrides])
    assert exit.value.code.startswith(f"ERROR: {expected}")
    assert "\n" not in exit.value.code
    assert os.listdir() == ["data"]


def test_the_command_prints_one_line(bare, command):
    finished = command.run("train", "optimizer=adm")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("ERROR: optimizer: found 'adm', expected one of adadelta, ")
    assert finished.stderr.count("\n") == 1


def test_help_is_for_both_ways(bare, command):
    finished = command.run("train", "--help")
    assert finished.returncode == 0
    for word in ("--params FILE", "--scratch DIR", "lists=DIR", "checkpoint=FILE", "torchrun"):
        assert word in finished.stdout
    assert "optimizer: adadelta, adagrad, adam" in finished.stdout
    assert os.listdir() == ["data"]


def composed():
    """The committed configuration, all choices of one group after the other in it."""
    base = read_yaml(CONF.parent / "params.yaml")
    for group in ("optimizer", "schedule", "clipping"):
        for path in sorted((CONF / group).glob("*.yaml")):
            yield {**base, group: OmegaConf.to_container(OmegaConf.load(path))}


def test_the_menu_keeps_the_rules():
    for values in composed():
        checked = params.check(values)
        assert checked == params.choose(values, "here")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "seed: found -1, expected a whole number from 0 to 2"),
        ("seed", 2**31, "seed: found 2147483648, expected a whole number from 0 to 2"),
        ("seed", True, "seed: found True, expected a whole number from 0 to 2"),
        (
            "speech.speakers",
            1,
            "speech.speakers: found 1, expected a whole number from 2 to 2",
        ),
        (
            "svoice.epochs",
            2.0,
            "svoice.epochs: found 2.0, expected a whole number from 1 to 2",
        ),
        ("svoice.tf32", 1, "svoice.tf32: found 1, expected true or false"),
        ("svoice.count_padding", 0, "svoice.count_padding: found 0, expected true or false"),
        ("svoice.precision", "fp8", "svoice.precision: found 'fp8', expected one of fp32, bf16, "),
        ("svoice.segment_seconds", 0, "svoice.segment_seconds: found 0, expected a number above 0"),
        ("svoice.accumulation_steps", 9, "found 9, expected at most svoice.batch_size = 4"),
        ("optimizer.svoice.lr", float("nan"), "optimizer.svoice.lr: found nan, expected a number"),
        ("optimizer.svoice.beta1", 1.0, "found 1.0, expected a number from 0 up to but not 1"),
        ("optimizer.svoice.rho", 0.9, "optimizer.svoice.rho: found 0.9, expected no such key"),
        ("optimizer.name", "lion", "optimizer.name: found 'lion', expected one of sgd, momentum"),
        ("optimizer.svoice", 1, "optimizer.svoice: found 1, expected a group of keys"),
        ("schedule.factor", 1.0, "schedule.factor: found 1.0, expected a number between 0 and 1"),
        ("schedule.name", "cosine", "schedule.epochs: found 2, expected no such key"),
        ("schedule", None, "schedule: found None, expected a group of keys"),
        ("clipping.name", None, "clipping.name: found None, expected one of none, norm, value"),
        ("clipping.max_norm", "5", "clipping.max_norm: found '5', expected a number above 0"),
    ],
)
def test_the_rules(key, value, expected):
    values = read_yaml(CONF.parent / "params.yaml")
    *groups, name = key.split(".")
    group = values
    for part in groups:
        group = group[part]
    group[name] = value
    with pytest.raises(InputError) as refused:
        params.check(values)
    assert expected in str(refused.value)
    assert key in str(refused.value) or key == "schedule.name"


def test_whole_numbers_are_numbers_too():
    values = next(composed())
    values["svoice"]["segment_seconds"] = 2
    checked = params.check(values)["svoice"]["segment_seconds"]
    assert (type(checked), checked) == (float, 2.0)
