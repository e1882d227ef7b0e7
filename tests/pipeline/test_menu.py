"""The menu in both trainers: the same schedules, and what it takes to add an optimizer."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract.menu import SCHEDULES
from contract.schedules import Length, Plateau, learning_rate
from stages.runtime.virtual_environments import PACKAGES, interpreter
from tests.conftest import ROOT, TEST_DATA, TINY
from tests.pipeline.conftest import copy_project
from tests.yaml_files import read_yaml, write_yaml

RATE = 1e-3
LENGTH = Length(epoch=3, total=12)
TRAIN = """
import json, os, sys
from importlib import import_module
package, *folders = sys.argv[1:]
train = import_module(f"{package}.train")
for folder in folders:
    os.chdir(folder)
    train.main(["--params", "params.yaml", "--scratch", "scratch"])
"""


def workspace(root: Path, **groups) -> Path:
    """A folder as a trainer finds it: the tests' data under the smallest configuration, in which
    an epoch has as many steps for both."""
    params = read_yaml(ROOT / "params.yaml")
    for group, values in TINY.items():
        params[group].update(values)
    params["spleeter"].update(steps=LENGTH.total, validate_every=LENGTH.epoch)
    # One segment of each of the six mixtures, two in a batch.
    params["svoice"].update(H=4, R=1, segment_seconds=0.25, stride_seconds=100.0)
    params["svoice"].update(batch_size=2, epochs=LENGTH.total // LENGTH.epoch)
    params.update(groups)
    root.mkdir()
    (root / "data").symlink_to(TEST_DATA / "data")
    write_yaml(root / "params.yaml", params)
    return root


def train(package: str, *folders: Path, project: Path = ROOT) -> None:
    """Trains in each of the folders, one after the other in one process: to start TensorFlow takes
    longer than these trainings."""
    (model,) = (model for model, name in PACKAGES.items() if name == package)
    done = subprocess.run(
        [interpreter(model), "-c", TRAIN, package, *folders],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def settings(schedule: str) -> dict:
    values = read_yaml(ROOT / "conf" / "schedule" / f"{schedule}.yaml") | {"warmup_steps": 2}
    # As quick as the training is short; without patience some validation brings no new best.
    quick = {"epochs": 1, "factor": 0.5, "patience": 0}
    return values | {key: value for key, value in quick.items() if key in values}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of a training under every schedule, the same for both models."""
    root = tmp_path_factory.mktemp("schedules")
    optimizer = {"name": "sgd", "spleeter": {"learning_rate": RATE}, "svoice": {"lr": RATE}}
    folders = {
        name: workspace(root / name, optimizer=optimizer, schedule=settings(name))
        for name in SCHEDULES
    }
    for package in PACKAGES.values():
        train(package, *folders.values())
    return folders


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_both_trainers_have_the_same_rates(trained, schedule):
    results = trained[schedule] / "results"
    rates = {
        model: [row["learning_rate"] for row in rows(results / model / "steps.csv")]
        for model in PACKAGES
    }
    if schedule != "plateau":
        expected = [
            learning_rate(RATE, settings(schedule), step, LENGTH) for step in range(LENGTH.total)
        ]
        assert rates == dict.fromkeys(PACKAGES, expected)
        return
    # The rates follow each model's own validations.
    for model in PACKAGES:
        plateau = Plateau.of(RATE, settings(schedule))
        expected = []
        for epoch in rows(results / model / "epochs.csv"):
            expected += [
                learning_rate(RATE, settings(schedule), step, LENGTH, plateau.scale)
                for step in range(len(expected), int(epoch["step"]))
            ]
            plateau.validated(epoch["valid_loss"])
        assert rates[model] == expected


MENU_ENTRY = """    Optimizer(
        "signum",
        (LEARNING_RATE, Setting("momentum", FRACTION)),
        "the sign of the momentum (Bernstein et al. 2018)",
        colors=("#7a4a2b", "#d9a37c"),
    ),
"""
CONF_FILE = """# Bernstein et al. 2018.
name: signum
spleeter: {learning_rate: 1e-3, momentum: 0.9}
svoice: {lr: 1e-3, momentum: 0.9}
"""
TENSORFLOW_FORMULA = '''

class Signum(_Optimizer):
    """b = μb + g; p -= lr sign(b)."""

    SLOTS = ("buffer",)

    def __init__(self, learning_rate, step, momentum):
        super().__init__(learning_rate, step)
        self._momentum = momentum

    def _update(self, gradient, variable, buffer):
        update = buffer.assign(self._momentum * buffer + gradient, read_value=True)
        return variable.assign_sub(self._rate * tf.sign(update), read_value=False)


OPTIMIZERS["signum"] = Signum
'''
PYTORCH_FORMULA = '''

class Signum(optim.Optimizer):
    """b = μb + g; p -= lr sign(b)."""

    def __init__(self, parameters, lr, momentum):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                buffer = self.state[parameter].setdefault("buffer", torch.zeros_like(parameter))
                buffer.mul_(group["momentum"]).add_(parameter.grad)
                parameter.sub_(buffer.sign(), alpha=group["lr"])


OPTIMIZERS["signum"] = Signum
'''
PAGE = """
from pathlib import Path
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from contract.params import check
from report.page import build
import sys
with initialize_config_dir(sys.argv[1], version_base=None):
    params = OmegaConf.to_container(compose("config", overrides=["optimizer=signum"]), resolve=True)
print(check(params).optimizer["svoice"])
Path("report.html").write_text(build(Path()), encoding="utf-8")
"""


def test_one_more_optimizer_is_an_entry_a_file_and_two_formulas(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    copy_project(project)
    menu = project / "contract" / "menu.py"
    head, tail = menu.read_text().split("    Optimizer(\n", 1)
    menu.write_text(f"{head}{MENU_ENTRY}    Optimizer(\n{tail}")
    (project / "conf" / "optimizer" / "signum.yaml").write_text(CONF_FILE)
    for package, formula in (("spleeter_mod", TENSORFLOW_FORMULA), ("svoice", PYTORCH_FORMULA)):
        with (project / package / "optimizers.py").open("a") as file:
            file.write(formula)

    optimizer = read_yaml(project / "conf" / "optimizer" / "signum.yaml")
    root = workspace(tmp_path / "workspace", optimizer=optimizer)
    for package in PACKAGES.values():
        train(package, root, project=project)
    for model in PACKAGES:
        assert json.loads((root / f"results/{model}/train.json").read_text())["steps"] == 12
        losses = [row["loss"] for row in rows(root / f"results/{model}/steps.csv")]
        assert min(losses[6:]) < losses[0]

    composed = subprocess.run(
        [sys.executable, "-c", PAGE, project / "conf"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
    )
    assert composed.returncode == 0, composed.stderr
    assert composed.stdout == "{'lr': 0.001, 'momentum': 0.9}\n"
    page = (root / "report.html").read_text(encoding="utf-8")
    assert "--signum: #7a4a2b;" in page
    assert "signum" in page.replace("--signum", "")
