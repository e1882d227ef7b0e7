"""`python -m tests.stages.contained RUNTIME -- COMMAND...`: a launcher of a command in a container
of the base image, in the working directory. RUNTIME is the configuration as JSON."""

from __future__ import annotations

import json
import sys

from contract.arguments import Parser
from contract.params import DockerRuntime
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
    runtime = DockerRuntime(**DEFAULT | options.runtime)
    with engine.connected() as client:
        image = client.images.get(CPU_BASE)
        sys.exit(containers.run(client, image, options.command, "the test", runtime, gpus=[]))


if __name__ == "__main__":
    run(main, own_arguments=True)
