"""The cluster of the tests does to jobs what a cluster does.

The jobs do nothing. They note what happens to them.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import slurm_cluster
from tests.conftest import ROOT
from tests.slurm_cluster import NORMAL, URGENT, Cluster, NotInstalledError

# Notes each start of the job, and in it the number of the restart, the node and the GPUs.
START = """
note() { echo "$*" >> notes.${SLURM_ARRAY_TASK_ID-0}; }
note start "${SLURM_RESTART_COUNT-0}" "$SLURMD_NODENAME" "$CUDA_VISIBLE_DEVICES"
"""
# Ends only when a file appears. The shell stays able to act on a signal.
UNTIL_GATE = "while [ ! -e gate ]; do sleep 0.1 & wait $!; done\nnote end\n"
# The same in the first start; a later one ends at once.
ONLY_FIRST_WAITS = f'if [ -z "$SLURM_RESTART_COUNT" ]; then\n{UNTIL_GATE}else note end; fi\n'
WHOLE_CLUSTER = ("--nodes=2", "--exclusive")


@pytest.fixture(autouse=True)
def _restored(cluster: Cluster) -> Iterator[None]:
    """Leaves the cluster to the next test without jobs, and with all its nodes."""
    yield
    cluster.restore()


def notes(folder: Path, task: int = 0) -> list[str]:
    """The lines that a job has noted in its folder."""
    return (folder / f"notes.{task}").read_text().splitlines()


def start(cluster: Cluster, folder: Path, script: str, *options: str) -> str:
    """Submits a job, waits until it has noted its start, and returns the job's number."""
    number = cluster.submit(START + script, *options, folder=folder)
    cluster.wait_for_file(folder / "notes.0")
    return number


def test_an_array_runs_on_all_nodes_and_each_task_has_gpus_of_its_own(cluster, tmp_path):
    script = START + "while [ $(ls notes.* | wc -l) -lt 4 ]; do sleep 0.1; done"
    number = cluster.submit(script, "--array=0-3", "--gres=gpu:3", folder=tmp_path)
    for task in range(4):
        cluster.wait_for_job(f"{number}_{task}", "COMPLETED")
    starts = sorted(notes(tmp_path, task)[0] for task in range(4))
    assert starts == [
        *("start 0 n1 0,1,2", "start 0 n1 3,4,5"),
        *("start 0 n2 0,1,2", "start 0 n2 3,4,5"),
    ]


def test_the_tasks_of_an_array_that_wait_are_listed_one_by_one(cluster, tmp_path):
    number = start(cluster, tmp_path, UNTIL_GATE, "--array=0-2%1")
    listed = {job.name: job for job in cluster.jobs() if job.name.startswith(f"{number}_")}
    assert {name: job.state for name, job in listed.items()} == {
        f"{number}_0": "RUNNING",
        f"{number}_1": "PENDING",
        f"{number}_2": "PENDING",
    }
    # A task has a number of its own from its start on. The last to start has the array's.
    numbers = [listed[f"{number}_{task}"].number for task in range(3)]
    assert [each == int(number) for each in numbers] == [False, True, True]


def test_the_job_of_a_node_that_dies_is_requeued_and_ends_on_another(cluster, tmp_path):
    number = start(cluster, tmp_path, "echo $$ $PPID > pids\n" + ONLY_FIRST_WAITS, "--requeue")
    node = cluster.job(number).node
    pids = {int(pid) for pid in cluster.wait_for_file(tmp_path / "pids").split()}
    assert pids <= {process.pid for process in cluster.job_processes(node)}
    cluster.kill_node(node)
    assert not any(map(psutil.pid_exists, pids))
    assert cluster.wait_for_job(number, "COMPLETED").node != node
    assert cluster.node_state(node) == "down*"
    (other,) = {*cluster.nodes} - {node}
    assert notes(tmp_path) == [f"start 0 {node} ", f"start 1 {other} ", "end"]
    cluster.start_node(node)
    assert cluster.node_state(node) == "idle"


def test_a_job_survives_the_death_of_its_nodes_daemon(cluster, tmp_path):
    number = start(cluster, tmp_path, UNTIL_GATE)
    node = cluster.job(number).node
    cluster.kill_node(node, jobs=False)
    cluster.start_node(node)
    (tmp_path / "gate").touch()
    cluster.wait_for_job(number, "COMPLETED")
    assert notes(tmp_path) == [f"start 0 {node} ", "end"]


def test_an_urgent_job_preempts_one_that_is_then_requeued(cluster, tmp_path):
    script = "trap 'note terminated' TERM\n" + ONLY_FIRST_WAITS
    number = start(cluster, tmp_path, script, *WHOLE_CLUSTER, "-p", NORMAL)
    urgent = cluster.submit("cp notes.0 seen", *WHOLE_CLUSTER, "-p", URGENT, folder=tmp_path)
    cluster.wait_for_job(urgent, "COMPLETED")
    cluster.wait_for_job(number, "COMPLETED")
    first = ["start 0 n1 0,1,2,3,4,5", "terminated"]
    assert (tmp_path / "seen").read_text().splitlines() == first
    assert notes(tmp_path) == [*first, "start 1 n1 0,1,2,3,4,5", "end"]


def test_a_restart_of_the_controller_loses_no_job_and_starts_none_twice(cluster, tmp_path):
    number = start(cluster, tmp_path, UNTIL_GATE, "--array=0-3%2")
    cluster.wait_for_file(tmp_path / "notes.1")
    cluster.stop_controller()
    assert cluster.run("squeue", check=False).returncode == 1
    cluster.start_controller()
    (tmp_path / "gate").touch()
    for task in range(4):
        cluster.wait_for_job(f"{number}_{task}", "COMPLETED")
        assert [line.split()[:2] for line in notes(tmp_path, task)] == [["start", "0"], ["end"]]


def test_a_job_near_its_time_limit_gets_a_signal_and_requeues_itself(cluster, tmp_path):
    """The shortest limit is a minute, and Slurm compares times with limits every 30 s."""
    requeue = "scontrol requeue ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    script = f"trap 'note signalled; {requeue}; exit' USR2\n" + ONLY_FIRST_WAITS
    options = ("--array=0", "--time=1", "--signal=B:USR2@59", "--requeue")
    number = start(cluster, tmp_path, script, *options)
    cluster.wait_for_job(f"{number}_0", "COMPLETED")
    starts = [line.split()[1] for line in notes(tmp_path) if line.startswith("start")]
    assert starts == ["0", "1"]
    assert notes(tmp_path)[1] == "signalled"
    assert notes(tmp_path)[-1] == "end"


def test_a_cluster_by_hand_stands_beside_another_and_leaves_nothing_running(cluster, tmp_path):
    start(cluster, tmp_path, UNTIL_GATE)
    folder = tmp_path / "second"
    command = [sys.executable, "-m", "tests.slurm_cluster", "--folder", folder, "--nodes", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    variable = re.fullmatch(rf"export SLURM_CONF=({folder}/slurm\.conf)\n", line)
    assert variable, line
    environment = {**os.environ, "SLURM_CONF": variable[1]}

    def second(*arguments: str) -> str:
        return subprocess.run(
            arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert second("sinfo", "-h", "-p", NORMAL, "-o", "%N") == "n1\n"
    assert second("squeue", "-h") == ""
    second("sbatch", "-o", str(folder / "output"), "--wrap", f"touch {folder}/ran; sleep 600")
    cluster.wait((folder / "ran").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0

    def remaining() -> list[list[str]]:
        listed = psutil.process_iter(["cmdline", "environ"])
        return [
            each.info["cmdline"]
            for each in listed
            if str(folder) in " ".join(each.info["cmdline"] or [])
            or (each.info["environ"] or {}).get("SLURM_CONF") == variable[1]
        ]

    assert remaining() == []
    assert len(cluster.run("squeue", "-h").stdout.splitlines()) == 1  # the first cluster's job


def test_a_program_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(slurm_cluster, "PLACES", str(tmp_path))
    with pytest.raises(NotInstalledError, match=r"^sbatch is missing: apt-get install slurm-"):
        Cluster(tmp_path / "cluster").start()
    assert not (tmp_path / "cluster").exists()
