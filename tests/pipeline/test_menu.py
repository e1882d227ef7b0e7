"""Both trainers have the same schedules, and a new optimizer needs no more than the menu says."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contract.menu import SCHEDULES
from contract.models import MODELS, Model
from contract.schedules import Length, Schedule
from stages.runtime.virtual_environments import interpreter
from tests.conftest import ROOT, TEST_DATA, TINY
from tests.project import copy_project
from tests.spleeter_mod.material import STUDY
from tests.yaml_files import read_yaml, write_yaml

RATE = 1e-3
# Under plateau some validation must bring no new best: at these rates Spleeter's loss goes up and
# down, and SVoice's hardly moves.
PLATEAU_RATES = {"spleeter": 1.0, "svoice": 1e-7}
LENGTH = Length(epoch=3, total=12)
# Trains in each of several folders.
TRAIN = """
import json, os, sys
from importlib import import_module
package, *folders = sys.argv[1:]
train = import_module(f"{package}.train")
for folder in folders:
    os.chdir(folder)
    train.main(["--params", "configuration.yaml", "--scratch", "scratch"])
"""


def make_workspace(root: Path, **groups: Any) -> Path:
    """Makes a folder in which a trainer runs, with the tests' data and the smallest configuration.

    An epoch has the same number of steps in both trainers.

    Args:
        root: the folder.
        groups: of configuration.yaml, to replace those of the repository.

    Returns:
        The folder.
    """
    params = read_yaml(ROOT / "configuration.yaml")
    for group, values in TINY.items():
        params[group].update(values)
    params["spleeter"].update(steps=LENGTH.total, validate_every=LENGTH.epoch)
    # One segment of each of the six mixtures, two in a batch.
    params["svoice"].update(H=4, R=1, segment_seconds=0.25, stride_seconds=100.0)
    params["svoice"].update(batch_size=2, epochs=LENGTH.total // LENGTH.epoch)
    params.update(groups)
    root.mkdir()
    (root / "data").symlink_to(TEST_DATA / "data")
    write_yaml(root / "configuration.yaml", params)
    return root


def run_code(
    python: str | Path, code: str, *arguments: str | Path, folder: Path, project: Path
) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own.

    Args:
        python: the interpreter.
        code: the code.
        arguments: its command-line arguments.
        folder: its working directory.
        project: the folder that holds the packages.
    """
    return subprocess.run(
        [python, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def train(model: Model, *folders: Path, project: Path = ROOT) -> None:
    """Trains in several folders, one after the other.

    One process does so, because starting TensorFlow takes longer than these trainings.

    Args:
        model: the one to train.
        folders: as `make_workspace` makes them.
        project: the folder that holds the package.
    """
    arguments = (model.package, *folders)
    done = run_code(interpreter(model.key), TRAIN, *arguments, folder=project, project=project)
    assert done.returncode == 0, done.stderr


def rows(path: Path) -> list[dict[str, float]]:
    """The rows of a table of numbers."""
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def settings(schedule: str) -> dict[str, Any]:
    """The settings of a schedule, such that it acts within the few epochs of these trainings."""
    values = read_yaml(ROOT / "conf" / "schedule" / f"{schedule}.yaml") | {"warmup_steps": 2}
    quick = {"epochs": 1, "factor": 0.5, "patience": 0}
    return values | {key: value for key, value in quick.items() if key in values}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders in which both models have been trained, by the name of their schedule."""
    root = tmp_path_factory.mktemp("schedules")
    folders = {}
    for name in SCHEDULES:
        rates = PLATEAU_RATES if name == "plateau" else dict.fromkeys(MODELS, RATE)
        optimizer = {
            "name": "sgd",
            "spleeter": {"learning_rate": rates["spleeter"]},
            "svoice": {"lr": rates["svoice"]},
        }
        folders[name] = make_workspace(root / name, optimizer=optimizer, schedule=settings(name))
    for model in MODELS.values():
        train(model, *folders.values())
    return folders


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_both_trainers_have_the_rates_of_the_schedule(trained, schedule):
    results = trained[schedule] / "results"
    rates = {
        model: [row["learning_rate"] for row in rows(results / model / "steps.csv")]
        for model in MODELS
    }
    if schedule != "plateau":
        formula = Schedule(RATE, settings(schedule), LENGTH)
        expected = [formula.rate(step) for step in range(LENGTH.total)]
        assert rates == dict.fromkeys(MODELS, expected)
        return
    # The rates depend on each model's own validations.
    for model in MODELS:
        plateau = Schedule(PLATEAU_RATES[model], settings(schedule), LENGTH)
        expected = []
        for epoch in rows(results / model / "epochs.csv"):
            expected += [plateau.rate(step) for step in range(len(expected), int(epoch["step"]))]
            plateau.validated(epoch["valid_loss"])
        assert rates[model] == expected
        after_first = expected[LENGTH.epoch :]
        assert min(after_first) < max(after_first)


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
# Two steps from known weights and gradients. The second gradient alone would have other signs than
# the momentum has.
MOMENTUM = 0.5
WEIGHTS = [1.0, -2.0, 0.5, 3.0]
GRADIENTS = [[1.0, -1.0, 0.0, 4.0], [-4.0, 0.0, -1.0, -1.0]]
AFTER_EACH_STEP = [[0.9, -1.9, 0.5, 2.9], [1.0, -1.8, 0.6, 2.8]]  # at a learning rate of 0.1
# Take these steps, and print the weights after each.
STEPS_OF_TENSORFLOW = """
import json, sys
import tensorflow as tf
from spleeter_mod.optimizers import make_optimizer
momentum, values, gradients = json.loads(sys.argv[1])
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    weights = tf.compat.v1.get_variable("weights", initializer=values, use_resource=True)
    gradient = tf.compat.v1.placeholder(tf.float32, weights.shape)
    settings = {"name": "signum", "learning_rate": None, "momentum": momentum}
    optimizer = make_optimizer(settings, tf.constant(0.1), tf.constant(0, tf.int64))
    step = optimizer.apply_gradients([(gradient, weights)])
    session.run(tf.compat.v1.global_variables_initializer())
    for values in gradients:
        session.run(step, {gradient: values})
        print(json.dumps(session.run(weights).tolist()))
"""
STEPS_OF_PYTORCH = """
import json, sys
import torch
from svoice.optimizers import make_optimizer
momentum, values, gradients = json.loads(sys.argv[1])
weights = torch.nn.Parameter(torch.tensor(values))
optimizer = make_optimizer("signum", {"lr": 0.1, "momentum": momentum}, [weights])
for values in gradients:
    weights.grad = torch.tensor(values)
    optimizer.step()
    print(json.dumps(weights.tolist()))
"""
# Reads Spleeter's JSON configuration.
READ = """
from pathlib import Path
from contract.errors import one_line
from spleeter_mod import configuration

@one_line
def read():
    print(configuration.read(Path("config.json")).settings.optimizer)

read()
"""
# Composes and checks a configuration with the new optimizer, and writes the report of a run with it
# and a comparison of that run with one of another optimizer.
PAGES = """
import sys
from dataclasses import replace
from pathlib import Path
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from contract.params import check
from report import comparison, page
from report.experiments import Experiment
from report.results import Workspace
with initialize_config_dir(sys.argv[1], version_base=None):
    params = OmegaConf.to_container(compose("config", overrides=["optimizer=signum"]), resolve=True)
print(check(params).optimizer["svoice"])
Path("report.html").write_text(page.build(Path()), encoding="utf-8")
run = Workspace.read(Path())
other = replace(run, params={**run.params, "optimizer": {"name": "sgd"}})
experiments = [Experiment("new", "", run), Experiment("other", "", other)]
Path("comparison.html").write_text(comparison.compare(experiments), encoding="utf-8")
"""


def read_json_configuration(
    root: Path, project: Path, **settings: float
) -> subprocess.CompletedProcess[str]:
    """Reads Spleeter's JSON configuration with the new optimizer.

    Args:
        root: the folder for the configuration.
        project: the folder that holds the package `spleeter_mod`.
        settings: of the optimizer, in the configuration.
    """
    values = {**STUDY, "optimizer": {"name": "signum", **settings}}
    (root / "config.json").write_text(json.dumps(values))
    return run_code(interpreter("spleeter"), READ, folder=root, project=project)


def colors_of_figures(page: str, title: str) -> list[dict[str, str]]:
    """The colour of each line, by its name, in all figures of a title on a page."""
    pattern = rf'aria-label="{title}\. "></div><script type="application/json">(.*?)</script>'
    figures = [json.loads(figure) for figure in re.findall(pattern, page)]
    return [{line["name"]: line["meta"] for line in figure["data"]} for figure in figures]


def test_a_new_optimizer_needs_an_entry_a_file_and_two_formulas(tmp_path):
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
    root = make_workspace(tmp_path / "workspace", optimizer=optimizer)
    for model in MODELS.values():
        train(model, root, project=project)
    for model in MODELS:
        assert json.loads((root / f"results/{model}/train.json").read_text())["steps"] == 12
        losses = [row["loss"] for row in rows(root / f"results/{model}/steps.csv")]
        assert min(losses[6:]) < losses[0]
    known = json.dumps([MOMENTUM, WEIGHTS, GRADIENTS])
    for model, code in (("spleeter", STEPS_OF_TENSORFLOW), ("svoice", STEPS_OF_PYTORCH)):
        done = run_code(interpreter(model), code, known, folder=root, project=project)
        assert done.returncode == 0, done.stderr
        weights = [json.loads(line) for line in done.stdout.splitlines()]
        assert weights == [pytest.approx(expected, rel=1e-6) for expected in AFTER_EACH_STEP]

    conf = project / "conf"
    done = run_code(sys.executable, PAGES, conf, folder=root, project=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'lr': 0.001, 'momentum': 0.9}\n"
    assert "--signum: #7a4a2b;" in (root / "report.html").read_text(encoding="utf-8")
    page = (root / "comparison.html").read_text(encoding="utf-8")
    colors = {"signum": "--signum", "sgd": "--sgd"}
    for title in ("Training loss", "Validation loss"):
        assert colors_of_figures(page, title) == [colors] * len(MODELS)
    for model in MODELS.values():
        ranking = page.split(f"<caption>Variants by {model.score}, the best first</caption>")[1]
        variants = re.findall('<th scope="row">(.*?)</th>', ranking.split("</table>")[0])
        assert variants == ["signum (baseline)", "sgd"]

    done = read_json_configuration(root, project, momentum=0.5)
    assert done.stdout == "{'name': 'signum', 'learning_rate': 0.1, 'momentum': 0.5}\n", done.stderr
    # The menu's entry has no value for a configuration without it.
    assert read_json_configuration(root, project).stderr == (
        "ERROR: config.json: optimizer.momentum: is missing; set it to a number from 0 to below 1\n"
    )
