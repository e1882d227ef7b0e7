"""Stands for `nvidia-smi`: it answers as the real one does on a machine with these GPUs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

# Answers the two requests that the project makes.
_PROGRAM = """\
import json, sys
machine = json.loads({machine!r})
gpus = machine["gpus"]
if machine["failure"]:
    print(machine["failure"])
    sys.exit(9)
if not gpus:
    print("No devices were found")
    sys.exit(6)
if sys.argv[1:] == ["-L"]:
    for number, gpu in enumerate(gpus):
        print(f"GPU {{number}}: {{gpu['name']}} (UUID: {{gpu['uuid']}})")
        for device, (size, uuid) in enumerate((gpu["parts"] or {{}}).items()):
            print(f"  MIG {{size:<12}} Device {{device:>2}}: (UUID: {{uuid}})")
    sys.exit()
query, form = sys.argv[1:]
assert form == "--format=csv,noheader,nounits"
for gpu in gpus:
    values = {{
        "uuid": gpu["uuid"],
        "name": gpu["name"],
        "driver_version": machine["driver"],
        "memory.used": str(gpu["used_mib"]),
        "mig.mode.current": "[N/A]" if gpu["parts"] is None else "Enabled",
    }}
    if machine["knows_capabilities"]:
        values["compute_cap"] = gpu["capability"]
    for name in query.removeprefix("--query-gpu=").split(","):
        if name not in values:
            print(f'Field "{{name}}" is not a valid field to query.')
            sys.exit(2)
    print(", ".join(values[name] for name in query.removeprefix("--query-gpu=").split(",")))
"""


@dataclass(frozen=True)
class StandIn:
    """A GPU that is not there.

    Attributes:
        uuid: its UUID.
        name: what NVIDIA calls it.
        capability: its compute capability.
        used_mib: the memory that programs use.
        parts: the UUID of each of its parts by the part's size, if it is divided (MIG).
    """

    uuid: str
    name: str = "NVIDIA A100-SXM4-40GB"
    capability: str = "8.0"
    used_mib: int = 4
    parts: dict[str, str] | None = field(default=None)


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    gpus: Sequence[StandIn] = (),
    driver: str = "580.65.06",
    failure: str = "",
) -> None:
    """Puts the stand-in on the PATH, and removes the variables that would hide its GPUs.

    Args:
        monkeypatch: the fixture.
        folder: as for `write`.
        gpus: as for `write`.
        driver: as for `write`.
        failure: as for `write`.
    """
    write(folder, gpus, driver, failure)
    if str(folder) not in os.environ["PATH"].split(os.pathsep):
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def write(
    folder: Path, gpus: Sequence[StandIn], driver: str = "580.65.06", failure: str = ""
) -> None:
    """Writes the stand-in.

    Args:
        folder: where.
        gpus: what the machine has.
        driver: the driver's version. Those before 495 do not say compute capabilities.
        failure: what the program says instead; empty if it works.
    """
    machine = {
        "gpus": [asdict(gpu) for gpu in gpus],
        "driver": driver,
        "failure": failure,
        "knows_capabilities": int(driver.partition(".")[0]) >= 495,
    }
    program = folder / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\n" + _PROGRAM.format(machine=json.dumps(machine)))
    program.chmod(0o755)
