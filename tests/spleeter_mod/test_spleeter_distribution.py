"""Training on several devices and in several processes, against training on one device."""

import csv
import json
import os
import random
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from spleeter_mod import session
from tests import forked
from tests.conftest import in_ci
from tests.spleeter_mod.material import choice

ROOT = Path(__file__).resolve().parents[2]
STEPS = 6
# A plateau depends on every validation.
RUN = {
    "spleeter": {"steps": STEPS, "validate_every": 3, "batch_size": 2},
    "schedule": {"name": "plateau", "patience": 0, "factor": 0.5, "warmup_steps": 2},
}
# Adaptive clipping depends on the gradient of every unit, and AutoClip keeps norms.
ADAPTIVE = {"name": "adaptive", "factor": 0.01, "epsilon": 1e-3}
AUTOCLIP = {"name": "autoclip", "percentile": 50.0}


def optimizer(name, **changes):
    """Returns an optimizer of the menu with other settings of Spleeter."""
    group = choice("optimizer", name)
    return group | {"spleeter": group["spleeter"] | changes}


# Prodigy's estimate, which begins at d0, has to grow within the few steps.
PRODIGY = optimizer("prodigy", learning_rate=10.0)
# Muon raises the smallest singular values of a gradient, which are rounding, 485 times (3.4445^5):
# at the menu's rate, the norms of two runs on one device are up to 3 % apart after four steps, at
# this rate 0.02 %.
MUON = optimizer("muon", learning_rate=1e-4)
TRAIN = ("--params", "configuration.yaml", "--scratch", "scratch/run")
# Makes two devices of the CPU, in one process.
TWO_DEVICES = """
import sys
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from spleeter_mod import session, train
session.gpu_names = lambda: ["CPU:0", "CPU:1"]
session.hardware = lambda count: f"{count} devices"
train.main(sys.argv[1:])
"""


def start(root, *command, **env):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return forked.Process([*command, *TRAIN], root, environment)


def finish(root, *processes):
    outputs = [process.communicate(timeout=400) for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    rows = {}
    for name in ("steps", "epochs"):
        with (root / "results" / "spleeter" / f"{name}.csv").open(newline="") as file:
            rows[name] = [
                [float(value) for key, value in row.items() if key != "seconds"]
                for row in csv.DictReader(file)
            ]
    assert len(rows["steps"]) == STEPS
    assert os.listdir(root / "scratch" / "run") == []
    return rows


def free_workers(count):
    """Returns addresses whose ports are free, and below those that outgoing connections get."""
    addresses = []
    with ExitStack() as probes:  # all stay open, so that no port is drawn again
        while len(addresses) < count:
            port = random.randrange(15000, 30000)
            probe = probes.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("localhost", port))
                addresses.append(f"localhost:{port}")
    return addresses


@pytest.fixture
def run(workspace, set_params):
    set_params(workspace, **RUN)
    return workspace.root


def on_two_devices(run):
    rows = finish(run, start(run, "-c", TWO_DEVICES))
    summary = json.loads((run / "results" / "spleeter" / "train.json").read_text())
    assert summary["hardware"] == "2 devices"
    return rows


def start_workers(run, *command):
    """Starts a command in two workers."""
    cluster = {"worker": free_workers(2)}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": k}} for k in range(2)]
    return [start(run, *command, TF_CONFIG=json.dumps(task)) for task in tasks]


def by_two_workers(run):
    return finish(run, *start_workers(run, "-m", "spleeter_mod.train"))


# A worker waits for SIGTERM before its second step, so that it comes neither earlier nor later.
WAIT = """
import json, os, sys, time
from contract import termination
from spleeter_mod import hooks, train
call = hooks.Validation.before_run
def wait_and_call(self, context):
    last = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 1
    while last and self._progress.step == 1 and not termination.requested():
        open("waiting", "w").close()
        time.sleep(0.01)
    return call(self, context)
hooks.Validation.before_run = wait_and_call
train.main(sys.argv[1:])
"""


def by_two_workers_in_two_goes(run):
    """SIGTERM ends both after the same step, also if only one gets it, and not the one that
    writes."""
    processes = start_workers(run, "-c", WAIT)
    while not (run / "waiting").exists():
        assert [process.poll() for process in processes] == [None, None], processes[1].output()
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=400) for process in processes]
    assert [process.returncode for process in processes] == [128 + signal.SIGTERM] * 2, outputs
    ended = "ended by SIGTERM: the same command goes on after step 2\n"
    assert [output for output, _ in outputs] == [ended] * 2
    processes = start_workers(run, "-m", "spleeter_mod.train")
    rows = finish(run, *processes)
    assert processes[0].output()[0].startswith(f"resuming after step 2 of {STEPS}\n")
    return rows


@pytest.mark.parametrize(
    ("distributed", "optimizer", "clipping", "change"),
    [
        (by_two_workers_in_two_goes, PRODIGY, AUTOCLIP, 1e-3),
        *in_ci(
            (on_two_devices, PRODIGY, AUTOCLIP, 1e-3),
            (by_two_workers, optimizer("nadam"), ADAPTIVE, 1e-3),
            (on_two_devices, optimizer("schedulefree"), ADAPTIVE, 1e-3),
            (on_two_devices, MUON, AUTOCLIP, 2e-4),
        ),
    ],
)
def test_devices_and_workers_train_as_one(
    run, workspace, set_params, distributed, optimizer, clipping, change
):
    set_params(workspace, optimizer=optimizer, clipping=clipping)
    alone = finish(run, start(run, "-m", "spleeter_mod.train"))
    rows = distributed(run)
    # Gradient norms keep fewer digits than losses.
    for name, expected in alone.items():
        np.testing.assert_allclose(rows[name], expected, rtol=1e-3, err_msg=name)
    losses, expected = ([row[2] for row in table["steps"]] for table in (rows, alone))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    # The steps between the two validations have changed the weights by more than the tolerance.
    first, last = (row[3] for row in alone["epochs"])
    assert abs(last - first) > change * first


def test_workers_must_share_a_batch_evenly(run, set_params, workspace):
    set_params(workspace, spleeter={"batch_size": 3})
    cluster = {"worker": free_workers(2)}
    task = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    process = start(run, "-m", "spleeter_mod.train", TF_CONFIG=json.dumps(task))
    output, errors = process.communicate()
    line = "found 3, expected a multiple of 2, the devices of all workers"
    assert process.returncode == 1
    assert (output, errors) == ("", f"ERROR: spleeter.batch_size: {line}\n")


def test_only_the_gpus_that_train_are_in_the_summary(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind] * 8)
    details = {"device_name": "NVIDIA H100 80GB HBM3"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert session.hardware(session.devices(None)) == "1 x NVIDIA H100 80GB HBM3"
    assert session.hardware(2) == "2 x NVIDIA H100 80GB HBM3"
