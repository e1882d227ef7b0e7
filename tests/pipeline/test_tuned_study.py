"""The smallest tuned study with the real DVC: it is killed once, resumes, and is reported.

The tests run in this order: each looks at what the one run has left.
"""

import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from dvc.repo import Repo

from report.experiments import summary
from studies.queue_messages import QueueReader
from studies.revisions import read, states
from tests.pipeline.conftest import Repository
from tests.stages.patience import SECONDS

NAME = "tuned_tiny"
COMMAND = [sys.executable, "-m", "studies.study", NAME, "--jobs", "2"]
CELLS = [f"tuned-tiny-{optimizer}-step-norm" for optimizer in ("adam", "sgd")]
TRIALS = [f"{cell}-trial{trial}" for cell in CELLS for trial in range(2)]
FINALS = [f"{cell}-seed{seed}" for seed in range(2) for cell in CELLS]
RATES = {"spleeter": "learning_rate", "svoice": "lr"}


@pytest.fixture(scope="module")
def killed(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the study printed until it was killed, when its first trial was done."""
    path = tmp_path_factory.mktemp("study") / "output"
    with path.open("w") as output:
        process = subprocess.Popen(
            COMMAND,
            cwd=repository.root,
            env=repository.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    deadline = time.monotonic() + SECONDS
    try:
        while "done     " not in path.read_text():
            assert process.poll() is None and time.monotonic() < deadline, path.read_text()
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    return path.read_text()


@pytest.fixture(scope="module")
def resumed(repository: Repository, killed: str) -> str:
    """What the same command printed, to its end."""
    return repository(*COMMAND).stdout


@pytest.fixture(scope="module")
def runs(
    repository: Repository, resumed: str, tmp_path_factory: pytest.TempPathFactory
) -> pd.DataFrame:
    """All runs, by the model and the name of the experiment, with the rate of each."""
    experiments = read(repository.root, [*TRIALS, *FINALS], tmp_path_factory.mktemp("read"))
    params = {experiment.name: experiment.workspace.params for experiment in experiments}
    table = summary(experiments)
    table["rate"] = [
        params[name]["optimizer"][model][RATES[model]]
        for name, model in zip(table["experiment"], table["model"], strict=True)
    ]
    return table.set_index(["model", "experiment"])


def test_a_killed_study_has_trials_only(killed):
    assert f"{NAME}, trials: 4 experiments, 0 of them done or running" in killed
    assert all(f"queued   {name}\n" in killed for name in TRIALS)
    assert "what was chosen" not in killed


def test_the_same_command_runs_what_is_missing(repository, killed, resumed):
    first = next(name for name in TRIALS if f"done     {name} " in killed)
    assert f"queued   {first}\n" not in resumed
    assert f"{NAME}, what was chosen: 4 experiments, 0 of them done or running" in resumed
    assert resumed.index(f"done     {TRIALS[-1]} ") < resumed.index(f"queued   {FINALS[0]}\n")
    at_head = states(repository.root)
    assert [at_head[name] for name in (*TRIALS, *FINALS)] == ["done"] * 8


@pytest.mark.parametrize("model", RATES)
def test_every_run_of_a_cell_has_the_rate_of_its_best_trial(runs, model):
    for cell in CELLS:
        trials = runs.loc[[(model, f"{cell}-trial{trial}") for trial in range(2)]]
        assert trials["rate"].nunique() == 2
        best = trials.loc[trials["best_valid_loss"].astype(float).idxmin(), "rate"]
        for seed in range(2):
            run = runs.loc[(model, f"{cell}-seed{seed}")]
            assert (run["rate"], run["seed"], run["status"]) == (best, seed, "completed")


def test_a_choice_of_the_first_seed_is_not_trained_again(repository, resumed):
    """It has the settings of a trial, whose training DVC's run cache restores."""
    with Repo(str(repository.root)) as repo:
        queue = repo.experiments.celery_queue
        logs = {
            entry.name: Path(queue.proc[entry.stash_rev].stdout).read_text()
            for _, entry, state in QueueReader().read(queue)
            if state == "done"
        }
    for cell in CELLS:
        assert "Running stage 'train_" not in logs[f"{cell}-seed0"]
        assert "Running stage 'train_spleeter'" in logs[f"{cell}-seed1"]
        assert "Running stage 'train_svoice'" in logs[f"{cell}-seed1"]


def test_the_report_compares_what_was_chosen(repository, resumed):
    assert f"reports/{NAME}.html: 4 experiments" in resumed
    page = (repository.root / "reports" / f"{NAME}.html").read_text()
    assert all(name in page for name in FINALS)
    assert "with 2 seeds" in page.replace("<em>", "").replace("</em>", "")


def test_the_report_is_drawn_in_a_browser(repository, resumed, browse):
    page = browse((repository.root / "reports" / f"{NAME}.html").read_text())
    for title in ("Which should I use?", "How it was tuned", "How sensitive is it?", "For papers"):
        assert page.get_by_role("heading", name=title).is_visible()
    answers = page.locator(".answer").all_inner_texts()
    assert [answer.split(":")[0] for answer in answers] == ["Music", "Speech"]
    assert page.locator("#sensitivity figure").count() == 2 * len(RATES)  # score and loss


def test_a_completed_study_runs_nothing(repository, resumed):
    done = repository(*COMMAND).stdout
    assert f"{NAME}, trials: 4 experiments, 4 of them done or running\n" in done
    assert f"{NAME}, what was chosen: 4 experiments, 4 of them done or running\n" in done
    assert "queued" not in done
