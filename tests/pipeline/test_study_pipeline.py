"""A study through the real DVC: it is interrupted, resumes, and is reported with its results."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from dvc.repo import Repo
from dvc.repo.experiments.refs import ExpRefInfo

from report.experiments import summary
from studies.revisions import read, states
from tests.pipeline.conftest import OVERRIDES
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
DONE, STOPPED, DIVERGED, FAILED = NAMES = [
    "tiny-adam-seed0",
    "tiny-sgd-seed0",
    "tiny-momentum-lr1e30-seed0",
    "tiny-nesterov-gpus99-seed0",
]


@contextmanager
def started(repository, said, until, *options):
    """The study in the background, once its output in the file `said` has the line `until`."""
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "studies.study", "tiny", *options],
            cwd=repository.root,
            env=repository.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        last = time.monotonic() + 300
        while until not in said.read_text():
            assert process.poll() is None and time.monotonic() < last, said.read_text()
            time.sleep(0.2)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def interrupted(repository, tmp_path_factory):
    """The study, stopped by Ctrl-C while its second experiment runs: what it had said."""
    write_yaml(repository.root / "conf/study/tiny.yaml", STUDY)
    repository.commit("A study")
    said = tmp_path_factory.mktemp("study") / "output"
    with started(repository, said, f"running  {STOPPED}") as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 128 + signal.SIGINT
    return said.read_text()


@pytest.fixture(scope="module")
def gone_on(repository, interrupted):
    """The same command again: what it said and how it ended."""
    return repository(sys.executable, "-m", "studies.study", "tiny", check=False)


def test_ctrl_c_stops_what_runs(repository, interrupted):
    assert f"done     {DONE} (1 of 4)" in interrupted
    found = states(repository.root)
    assert found[DONE] == "done"
    assert "running" not in found.values()


def test_what_is_done_is_not_run_again(gone_on):
    assert "tiny: 4 experiments, 1 of them done or running" in gone_on.stdout
    assert f"running  {DONE}" not in gone_on.stdout
    assert f"done     {STOPPED}" in gone_on.stdout
    assert f"done     {DIVERGED}" in gone_on.stdout
    assert f"failed   {FAILED}" in gone_on.stdout


def test_a_failed_experiment_fails_the_command_after_the_report(repository, gone_on):
    assert gone_on.returncode == 1
    assert f"failed: {FAILED} (see: dvc queue logs {FAILED})" in gone_on.stdout
    assert "reports/tiny.html: 4 experiments" in gone_on.stdout
    page = (repository.root / "reports/tiny.html").read_text()
    assert f"▲ {FAILED} failed." in page
    assert "runtime.gpus: requests 99 GPUs, but " in page  # the end of its log says why
    assert "1 of 1 run diverged" in page
    assert "1 of 1 run failed" in page


def test_each_is_what_it_is(repository, gone_on, tmp_path):
    runs = summary(read(repository.root, NAMES, tmp_path)).set_index(["model", "experiment"])
    speech = runs.loc["svoice"]
    assert speech["status"].tolist() == ["completed", "completed", "diverged", "failed"]
    assert speech["score"].notna().tolist() == [True, True, True, False]
    # The study ran SVoice alone: Spleeter's results in these commits are not of these settings.
    assert runs.loc["spleeter"]["status"].tolist() == ["completed", "missing", "missing", "failed"]


def test_a_file_that_the_cache_lost_is_told(repository, gone_on, tmp_path):
    (experiment,) = read(repository.root, [DONE], tmp_path)
    lock = parse_yaml(repository("git", "show", f"{experiment.commit}:dvc.lock").stdout)
    outs = {out["path"]: out["md5"] for out in lock["stages"]["train_svoice"]["outs"]}
    md5 = outs["results/svoice/steps.csv"]
    cached = repository.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    kept = cached.read_bytes()
    cached.unlink()
    try:
        made = repository(sys.executable, "-m", "studies.report", DONE, "--out", "lost.html")
        assert "lost.html: 1 experiments" in made.stdout
        assert "completed, no steps.csv" in (repository.root / "lost.html").read_text()
    finally:
        cached.write_bytes(kept)


def test_again_nothing_runs(repository, gone_on):
    repository("dvc", "queue", "remove", FAILED)
    path = repository.root / "conf/study/tiny.yaml"
    write_yaml(path, {**STUDY, "cells": STUDY["cells"][:2]})
    again = repository(sys.executable, "-m", "studies.study", "tiny")
    assert "tiny: 3 experiments, 3 of them done or running" in again.stdout
    assert "queued" not in again.stdout


def test_what_died_with_its_worker_is_run_again(repository, gone_on, tmp_path):
    """As by a power cut, while the first of the repetitions ran."""
    said = tmp_path / "output"
    with started(repository, said, "running  tiny-adam-seed1", "--seeds", "2") as process:
        process.kill()
        with Repo(str(repository.root)) as repo:
            queue = repo.experiments.celery_queue
            (entry,) = queue.iter_active()
            queue.wait_for_start(entry)  # a worker has taken it a moment before it has a process
            os.killpg(os.getpgid(queue.proc[entry.stash_rev].pid), signal.SIGKILL)
    assert states(repository.root)["tiny-adam-seed1"] == "running"  # so it seems to DVC
    more = repository(sys.executable, "-m", "studies.study", "tiny", "--seeds", "2", "--jobs", "2")
    assert "tiny: 6 experiments, 4 of them done or running" in more.stdout
    assert "retry    tiny-adam-seed1: its worker died\n" in more.stdout
    assert "reports/tiny.html: 6 experiments" in more.stdout
    found = states(repository.root)
    assert [found[f"tiny-{name}-seed1"] for name in ("adam", "sgd")] == ["done", "done"]


def command_of(process: psutil.Process) -> list[str]:
    """Empty if it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_a_training_whose_worker_is_killed_goes_on_under_another(repository, gone_on, tmp_path):
    said = tmp_path / "output"
    name = "tiny-adam-seed2"
    with started(repository, said, f"running  {name}", "--seeds", "3", "--jobs", "2") as process:
        with Repo(str(repository.root)) as repo:
            queue = repo.experiments.celery_queue
            (entry,) = (each for each in queue.iter_active() if each.name == name)
            queue.wait_for_start(entry)
            executor = psutil.Process(queue.proc[entry.stash_rev].pid)
        worker = executor.parent()
        while not any("svoice.train" in command_of(child) for child in executor.children(True)):
            assert process.poll() is None, said.read_text()
            time.sleep(0.1)
        orphans = executor.children(recursive=True)
        worker.kill()
        assert process.wait(300) == 0
    assert not any(orphan.is_running() for orphan in (executor, *orphans))
    assert f"retry    {name}: its worker died\n" in said.read_text()
    assert states(repository.root)[name] == "done"
    (experiment,) = read(repository.root, [name], tmp_path)
    steps = experiment.workspace.svoice.steps["step"]
    assert steps.tolist() == list(range(1, len(steps) + 1))


def test_what_the_cache_has_lost_is_made_again(repository, gone_on, tmp_path):
    """One that shares no results with the present commit, which DVC would look for first."""
    with Repo(str(repository.root)) as repo:
        head = repo.scm.get_rev()
        before = repo.scm.get_ref(str(ExpRefInfo(head, STOPPED)))
        locked = parse_yaml(repository("git", "show", f"{before}:dvc.lock").stdout)
        for stage in ("train_svoice", "evaluate_svoice"):
            for out in locked["stages"][stage]["outs"]:
                if out["path"].endswith(("steps.csv", "scores.csv")):
                    Path(repo.cache.local.oid_to_path(out["md5"])).unlink()
    again = repository(sys.executable, "-m", "studies.study", "tiny")
    gone = "results/svoice/steps.csv, results/svoice/scores.csv"
    assert f"rerun    {STOPPED}: DVC's cache has lost its {gone}\n" in again.stdout
    assert f"done     {STOPPED}" in again.stdout
    (experiment,) = read(repository.root, [STOPPED], tmp_path)
    assert experiment.commit != before
    assert experiment.workspace.svoice.steps is not None
    assert experiment.workspace.svoice.scores is not None


def test_an_amended_commit_trains_nothing_again(repository, gone_on):
    repository("git", "commit", "-q", "--amend", "--allow-empty", "-m", "In other words")
    again = repository(sys.executable, "-m", "studies.study", "tiny")
    assert "tiny: 3 experiments, 0 of them done or running" in again.stdout
    assert again.stdout.count(", not at the current commit; DVC's run cache restores ") == 3
    assert again.stdout.count(", from DVC's run cache") == 3
    assert "reports/tiny.html: 3 experiments" in again.stdout
