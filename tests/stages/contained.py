"""`python -m tests.stages.contained RUNTIME COMMAND...`: a launcher of a command in a container of
the base image, in the working directory. RUNTIME is the configuration as JSON."""

import json
import sys

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
    runtime = DockerRuntime(**DEFAULT | json.loads(sys.argv[1]))
    with engine.connected() as client:
        image = client.images.get(CPU_BASE)
        sys.exit(containers.run(client, image, sys.argv[2:], "the test", runtime, gpus=[]))


if __name__ == "__main__":
    run(main)
