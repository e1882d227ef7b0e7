"""`python -m tests.stages.contained RUNTIME -- COMMAND...`: a launcher of a command in a container
of the base image, in the working directory. RUNTIME is the configuration as JSON."""

import json
import sys

from metrics.arguments import Parser
from stages import containers, engine
from stages.images import CPU_BASE
from stages.params import DockerRuntime
from stages.run import run

DEFAULT = {
    "name": "docker",
    "gpus": "none",
    "base": {"spleeter": CPU_BASE, "svoice": CPU_BASE},
    "memory": None,
    "cpus": None,
    "shared_memory": "64m",
}


def main():
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
