"""How trainings start on the GPUs and nodes of a job of Slurm. The tasks are real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.params import ContainerRuntime, LocalRuntime
from stages.runtime import launcher, slurm
from tests.conftest import ROOT
from tests.stages.contained import DEFAULT
from tests.stages.patience import SECONDS, line

TRAIN = ["-m", "svoice.train", "--params", "configuration.yaml", "--scratch", "/tmp/x"]
JOB = slurm.Job(123456, ("10.0.0.1", "node-b", "10.0.0.1"), cpus_per_task=None)
# As Slurm 22.05 prints it, with fewer fields.
NODES = """\
NodeName=n1 Arch=x86_64 Gres=gpu:2 NodeAddr=10.0.0.1 NodeHostName=vm Port=33695 Version=22.05.8
NodeName=n2 Arch=x86_64 Gres=gpu:2 NodeAddr=n2.cluster NodeHostName=n2 Port=33696 Version=22.05.8
"""


def test_each_node_has_a_worker_of_its_own():
    assert JOB.workers == ["10.0.0.1:18456", "node-b:18456", "10.0.0.1:18457"]


SRUN = [
    *("srun", "--nodes=3", "--ntasks=3", "--ntasks-per-node=1"),
    *("--input=none", "--kill-on-bad-exit=0", "--wait=300"),
    *(sys.executable, "-m", "stages.runtime.slurm"),
]
WORKERS = "--workers=10.0.0.1:18456,node-b:18456,10.0.0.1:18457"


@pytest.mark.parametrize(("gpus", "processes"), [(0, 1), (1, 1), (4, 4)])
def test_svoice_on_several_nodes_is_started_by_torchrun(gpus, processes):
    assert slurm.on_all_nodes("svoice", "python", TRAIN, gpus, JOB) == [
        *(*SRUN, f"--gpus={gpus}", WORKERS, "--"),
        *("python", "-m", "torch.distributed.run", "--nnodes=3", "--rdzv-backend=c10d"),
        *("--rdzv-endpoint=10.0.0.1:18456", "--rdzv-id=123456", f"--nproc-per-node={processes}"),
        *TRAIN,
    ]


def test_spleeter_on_several_nodes_is_one_process_on_each():
    command = slurm.on_all_nodes("spleeter", "python", TRAIN, 2, JOB)
    assert command == [*SRUN, "--gpus=2", WORKERS, "--", "python", *TRAIN]


def test_a_task_has_the_processors_that_the_job_has_requested():
    job = slurm.Job(1, ("a", "b"), cpus_per_task="8")
    command = slurm.on_all_nodes("spleeter", "python", TRAIN, 0, job)
    assert command[:5] == [
        *("srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=8")
    ]


def test_a_task_gets_its_place_and_its_gpus():
    allotted = {"SLURM_PROCID": "1", "CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b", "HOME": "/tmp/x"}
    environment = slurm.task_environment(allotted, JOB.workers, 1)
    assert json.loads(environment.pop("TF_CONFIG")) == {
        "cluster": {"worker": JOB.workers},
        "task": {"type": "worker", "index": 1},
    }
    assert environment == {
        **allotted,
        "CUDA_VISIBLE_DEVICES": "MIG-a",
        "PET_LOCAL_ADDR": "node-b",
    }


@pytest.mark.parametrize("variables", [{}, {"CUDA_VISIBLE_DEVICES": "0,1"}])
def test_a_task_without_gpus_sees_none(variables):
    environment = slurm.task_environment({"SLURM_PROCID": "0", **variables}, JOB.workers, 0)
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_a_node_with_fewer_gpus_is_one_line():
    allotted = {"SLURM_PROCID": "1", "CUDA_VISIBLE_DEVICES": "0", "SLURMD_NODENAME": "n2"}
    with pytest.raises(InputError) as raised:
        slurm.task_environment(allotted, JOB.workers, 2)
    assert str(raised.value) == (
        "runtime.gpus: Slurm has allotted 1 of 2 GPUs on n2; request as many on each node"
    )


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A job on two nodes, whose `scontrol` knows their addresses."""
    monkeypatch.setenv("SLURM_JOB_ID", "15007")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "scontrol"


def write_program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_nodes_of_a_job_are_those_that_scontrol_describes(job):
    hostnames = 'test "$*" = "show hostnames n[1-2]" && echo n1 && echo n2 && exit'
    nodes = f'test "$*" = "--oneliner show node n[1-2]" && echo "{NODES}"'
    write_program(job, f"{hostnames}\n{nodes}")
    assert slurm.nodes() == 2
    assert slurm.this_job() == slurm.Job(15007, ("10.0.0.1", "n2.cluster"), "3")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (None, "there is no such program"),
        ("echo 'slurm_load_node error' >&2; exit 1", "slurm_load_node error"),
        ("exit 3", "exit code 3"),
    ],
)
def test_a_scontrol_that_fails_is_one_line(job, script, problem):
    if script:
        write_program(job, script)
    with pytest.raises(InputError) as raised:
        slurm.this_job()
    remedy = "it has to work on the nodes of a training on several of them"
    assert str(raised.value) == f"scontrol show hostnames n[1-2]: {problem}; {remedy}"


def test_outside_of_a_job_there_is_one_node(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")  # of `salloc`, perhaps
    assert slurm.nodes() == 1


@pytest.mark.parametrize(
    ("runtime", "message"),
    [
        (
            ContainerRuntime(**DEFAULT),
            "runtime=docker: a training on 2 nodes cannot run in containers; "
            "use runtime=local, or one node",
        ),
        (
            LocalRuntime(name="local", gpus=[0]),
            "runtime.gpus: names GPUs, but a training on 2 nodes takes as many on each; "
            "set it to auto, all, none or a count",
        ),
    ],
)
def test_what_cannot_train_on_several_nodes_is_one_line(job, tmp_path, runtime, message):
    with pytest.raises(InputError) as raised:
        launcher.run_python("svoice", TRAIN, "svoice.train", runtime, writable=tmp_path)
    assert str(raised.value) == message


def start_task(*command: str) -> subprocess.Popen:
    """Starts a task as `srun` does, in a group of processes of its own."""
    options = ["--gpus=0", f"--workers={','.join(JOB.workers)}", "--"]
    return subprocess.Popen(
        [sys.executable, "-m", "stages.runtime.slurm", *options, *command],
        cwd=ROOT,
        env={**os.environ, "SLURM_PROCID": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_task_has_the_exit_code_of_its_trainer():
    with start_task("sh", "-c", "echo $PET_LOCAL_ADDR; exit 7") as process:
        assert process.communicate(timeout=SECONDS) == ("10.0.0.1\n", "")
    assert process.returncode == 7
    with start_task("sh", "-c", "kill -9 $$") as process:
        assert process.wait(SECONDS) == 128 + 9


# The shell would say on stderr that the signal has ended its `sleep`.
SAVE = (
    "exec 2>/dev/null; trap 'sleep 0.3; echo saved; exit {code}' TERM; echo started; "
    "while :; do sleep 0.1; done"
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("code", [143, 1])  # of a trainer; of torchrun
def test_a_trainer_saves_a_checkpoint_when_its_task_is_asked_to_end(number, code):
    """Slurm sends each signal to all processes of a task."""
    with start_task("sh", "-c", SAVE.format(code=code)) as process:
        assert line(process.stdout) == "started\n"
        os.killpg(process.pid, number)
        assert process.communicate(timeout=SECONDS) == ("saved\n", "")
    assert process.returncode == 143
