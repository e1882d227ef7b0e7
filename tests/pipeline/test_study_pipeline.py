"""A study with the real DVC is interrupted, resumes, and is reported with its results.

The tests run in this order: each continues from the one before.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo
from dvc.repo.experiments.refs import ExpRefInfo

from report.experiments import summary
from studies.revisions import read, states
from tests.conftest import IN_CI
from tests.pipeline.conftest import OVERRIDES, Repository
from tests.stages.patience import SECONDS
from tests.yaml_files import parse_yaml, write_yaml

STUDY = {
    "targets": ["evaluate_svoice"],
    "overrides": OVERRIDES,
    "cells": [
        {"optimizer": ["adam", "sgd"]},
        {"optimizer": "momentum", "optimizer.svoice.lr": 1e30},
        {"optimizer": "nesterov", "runtime.gpus": 99},
    ],
    "baseline": {"optimizer": "adam"},
}
# Without the failed one, and outside CI without the diverged one either.
COMPLETED = STUDY["cells"][: 2 if IN_CI else 1]
COUNT = 3 if IN_CI else 2
DONE, STOPPED, DIVERGED, FAILED = NAMES = [
    "tiny-adam-seed0",
    "tiny-sgd-seed0",
    "tiny-momentum-lr1e30-seed0",
    "tiny-nesterov-gpus99-seed0",
]


@contextmanager
def started(
    repository: Repository, path: Path, text: str, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs the study in the background, and yields its process once it has printed a text.

    Args:
        repository: in which it runs.
        path: the file that it prints to.
        text: what it has to print.
        options: of the command.
    """
    with path.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "studies.study", "tiny", *options],
            cwd=repository.root,
            env=repository.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while text not in path.read_text():
            assert process.poll() is None and time.monotonic() < deadline, path.read_text()
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def interrupted(repository, tmp_path_factory):
    """What the study printed until Ctrl-C stopped it, while its second experiment ran."""
    write_yaml(repository.root / "conf/study/tiny.yaml", STUDY)
    repository.commit("A study")
    path = tmp_path_factory.mktemp("study") / "output"
    with started(repository, path, f"running  {STOPPED}") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 128 + signal.SIGINT
    return path.read_text()


@pytest.fixture(scope="module")
def resumed(repository, interrupted):
    """The process of the same command, after the interruption."""
    return repository(sys.executable, "-m", "studies.study", "tiny", check=False)


def test_ctrl_c_stops_the_running_experiments(repository, interrupted):
    assert f"done     {DONE} (1 of 4, about " in interrupted
    experiment_states = states(repository.root)
    assert experiment_states[DONE] == "done"
    assert "running" not in experiment_states.values()


def test_a_done_experiment_does_not_run_again(resumed):
    assert "tiny: 4 experiments, 1 of them done or running" in resumed.stdout
    assert f"running  {DONE}" not in resumed.stdout
    assert f"done     {STOPPED}" in resumed.stdout
    assert f"done     {DIVERGED}" in resumed.stdout
    assert f"failed   {FAILED}" in resumed.stdout


def test_a_failed_experiment_fails_the_command_after_the_report(repository, resumed):
    assert resumed.returncode == 1
    assert f"failed: {FAILED} (see: dvc queue logs {FAILED})" in resumed.stdout
    assert "reports/tiny.html: 4 experiments" in resumed.stdout
    page = (repository.root / "reports/tiny.html").read_text()
    assert f"▲ {FAILED} failed." in page
    assert "runtime.gpus: requests 99 GPUs, but " in page  # the end of its log says why
    assert "1 of 1 run diverged" in page
    assert "1 of 1 run failed" in page


def test_every_experiment_has_its_status_and_score(repository, resumed, tmp_path):
    runs = summary(read(repository.root, NAMES, tmp_path)).set_index(["model", "experiment"])
    speech = runs.loc["svoice"]
    assert speech["status"].tolist() == ["completed", "completed", "diverged", "failed"]
    assert speech["score"].notna().tolist() == [True, True, True, False]
    # The study ran SVoice alone: Spleeter's results in these commits are not of these settings.
    assert runs.loc["spleeter"]["status"].tolist() == ["completed", "missing", "missing", "failed"]


def test_the_report_mentions_a_file_that_the_cache_has_lost(repository, resumed, tmp_path):
    (experiment,) = read(repository.root, [DONE], tmp_path)
    lock = parse_yaml(repository("git", "show", f"{experiment.commit}:dvc.lock").stdout)
    outs = {out["path"]: out["md5"] for out in lock["stages"]["train_svoice"]["outs"]}
    md5 = outs["results/svoice/steps.csv"]
    cached = repository.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    content = cached.read_bytes()
    cached.unlink()
    try:
        done = repository(sys.executable, "-m", "studies.report", DONE, "--out", "lost.html")
        assert "lost.html: 1 experiments" in done.stdout
        assert "completed, no steps.csv" in (repository.root / "lost.html").read_text()
    finally:
        cached.write_bytes(content)


def test_a_completed_study_runs_nothing(repository, resumed):
    repository("dvc", "queue", "remove", FAILED)
    path = repository.root / "conf/study/tiny.yaml"
    write_yaml(path, {**STUDY, "cells": COMPLETED})
    done = repository(sys.executable, "-m", "studies.study", "tiny")
    assert f"tiny: {COUNT} experiments, {COUNT} of them done or running" in done.stdout
    assert "queued" not in done.stdout


def test_an_experiment_that_died_with_its_worker_is_retried(repository, resumed, tmp_path):
    """As after a power cut while the first of the repetitions ran and DVC wrote about it."""
    output = tmp_path / "output"
    with started(repository, output, "running  tiny-adam-seed1", "--seeds", "2") as process:
        process.kill()
        with Repo(str(repository.root)) as repo:
            queue = repo.experiments.celery_queue
            (entry,) = queue.iter_active()
            queue.wait_for_start(entry)  # it gets its process a moment after a worker has taken it
            os.killpg(os.getpgid(queue.proc[entry.stash_rev].pid), signal.SIGKILL)
            Path(queue.get_infofile_path(entry.stash_rev)).write_text("")
    assert states(repository.root)["tiny-adam-seed1"] == "running"  # DVC does not notice
    done = repository(sys.executable, "-m", "studies.study", "tiny", "--seeds", "2", "--jobs", "2")
    assert f"tiny: {2 * COUNT} experiments, {COUNT + 1} of them done or running" in done.stdout
    assert "retry    tiny-adam-seed1: its worker died\n" in done.stdout
    assert f"reports/tiny.html: {2 * COUNT} experiments" in done.stdout
    experiment_states = states(repository.root)
    for name in ("tiny-adam-seed1", "tiny-sgd-seed1"):
        assert experiment_states[name] == "done"


def command_of(process: psutil.Process) -> list[str]:
    """The command of a process; empty if the process has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_training_whose_worker_is_killed_resumes_under_another(repository, resumed, tmp_path):
    output = tmp_path / "output"
    name = "tiny-adam-seed2"
    with started(repository, output, f"running  {name}", "--seeds", "3", "--jobs", "2") as process:
        with Repo(str(repository.root)) as repo:
            queue = repo.experiments.celery_queue
            (entry,) = (each for each in queue.iter_active() if each.name == name)
            queue.wait_for_start(entry)
            executor = psutil.Process(queue.proc[entry.stash_rev].pid)
        worker = executor.parent()
        while not any("svoice.train" in command_of(child) for child in executor.children(True)):
            assert process.poll() is None, output.read_text()
            time.sleep(0.1)
        orphans = executor.children(recursive=True)
        worker.kill()
        assert process.wait(SECONDS) == 0
    assert not any(orphan.is_running() for orphan in (executor, *orphans))
    assert f"retry    {name}: its worker died\n" in output.read_text()
    assert states(repository.root)[name] == "done"
    (experiment,) = read(repository.root, [name], tmp_path)
    steps = experiment.workspace.svoice.steps["step"]
    assert steps.tolist() == list(range(1, len(steps) + 1))


def test_results_that_the_cache_has_lost_are_made_again(repository, resumed, tmp_path):
    """The experiment shares no results with the current commit, where DVC would look first."""
    with Repo(str(repository.root)) as repo:
        head = repo.scm.get_rev()
        before = repo.scm.get_ref(str(ExpRefInfo(head, STOPPED)))
        locked = parse_yaml(repository("git", "show", f"{before}:dvc.lock").stdout)
        for stage in ("train_svoice", "evaluate_svoice"):
            for out in locked["stages"][stage]["outs"]:
                if out["path"].endswith(("steps.csv", "scores.csv")):
                    Path(repo.cache.local.oid_to_path(out["md5"])).unlink()
    done = repository(sys.executable, "-m", "studies.study", "tiny")
    lost = "results/svoice/steps.csv, results/svoice/scores.csv"
    assert f"rerun    {STOPPED}: DVC's cache has lost its {lost}\n" in done.stdout
    assert f"done     {STOPPED}" in done.stdout
    (experiment,) = read(repository.root, [STOPPED], tmp_path)
    assert experiment.commit != before
    assert experiment.workspace.svoice.steps is not None
    assert experiment.workspace.svoice.scores is not None


def test_after_an_amended_commit_nothing_is_trained_again(repository, resumed):
    repository("git", "commit", "-q", "--amend", "--allow-empty", "-m", "Another message")
    done = repository(sys.executable, "-m", "studies.study", "tiny")
    assert f"tiny: {COUNT} experiments, 0 of them done or running" in done.stdout
    assert done.stdout.count(", not at the current commit; DVC's run cache restores ") == COUNT
    assert done.stdout.count(", from DVC's run cache") == COUNT
    assert f"reports/tiny.html: {COUNT} experiments" in done.stdout
