"""The presets of conf/svoice/ start at the size that they state, and end by SIGTERM.

A full training takes days. Here it ends after the first step, saved, as one on a cluster would. The
memory that it has taken by then is what `contract.costs` expects.
"""

import signal
import sys

import pytest

from contract import costs
from contract.model_settings import SVoiceSettings
from tests.conftest import ROOT, in_ci
from tests.yaml_files import read_yaml

# Asks the training to end in its first step, and prints the memory after it.
END = """
import os, signal
from svoice import stepper, train
from svoice.records import Records
batch_loss, record = stepper.batch_loss, Records.step
def end_and_call(*arguments, **values):
    os.kill(os.getpid(), signal.SIGTERM)
    return batch_loss(*arguments, **values)
def record_and_print(self, **values):
    record(self, **values)
    print(open("/proc/self/status").read())
stepper.batch_loss, Records.step = end_and_call, record_and_print
train.main()
"""
ENDED = "ended by SIGTERM: the same command goes on after step 1"


def preset(name):
    """The group `svoice` of a preset."""
    values = read_yaml(ROOT / "conf" / "svoice" / f"{name}.yaml")
    return values.get("svoice", values)


@pytest.mark.parametrize("name", ["mini", *in_ci("paper")])
def test_a_preset_starts_at_its_size(workspace, command, set_params, monkeypatch, name):
    monkeypatch.chdir(workspace.root)
    values = preset(name)
    set_params(workspace, svoice=values)
    command.trainer = [sys.executable, "-c", END]
    # In a new Python, whose memory is that of the training alone.
    with command.start_new_python("train") as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "")
    lines = output.splitlines()
    assert lines[-1] == ENDED
    (peak,) = (int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    speech = workspace.params["speech"]
    sizes = SVoiceSettings.read(values), speech["sample_rate"], speech["speakers"]
    assert peak == pytest.approx(costs.svoice_memory(*sizes), rel=0.3)
