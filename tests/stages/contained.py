"""`python -m tests.stages.contained RUNTIME -- COMMAND...`: a launcher of a command in a container
of the base image, in the working directory. RUNTIME is the configuration as JSON. If it names a
folder `writable`, the command saves unfinished work there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from contract.arguments import Parser
from contract.params import ContainerRuntime
from stages.run import run
from stages.runtime import containers, engine
from stages.runtime.images import CPU_BASE

DEFAULT = {
    "name": "docker",
    "gpus": "none",
    "base": {"spleeter": CPU_BASE, "svoice": CPU_BASE},
    "memory": None,
    "cpus": None,
    "shared_memory": "64m",
}


def main() -> None:
    """Runs the command and exits with its exit code."""
    parser = Parser(__doc__)
    parser.add_argument("runtime", type=json.loads, metavar="RUNTIME", help="the configuration")
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="after `--`")
    options = parser.parse_args()
    writable = options.runtime.pop("writable", None)
    runtime = ContainerRuntime(**DEFAULT | options.runtime)
    with engine.connected(runtime.name) as client:
        image = client.images.get(CPU_BASE)
        what = (client, image, options.command, "the test", runtime)
        sys.exit(containers.run(*what, gpus=[], writable=writable and Path(writable)))


if __name__ == "__main__":
    run(main, own_arguments=True)
