"""environments: writes what each trainer will run in; training depends on it.

results/<model>/environment.json: the runtime, the hash of the pinned requirements, the image
(`runtime=docker`, built if it is missing), the interpreter's version and platform, and the version
of every package.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contract import files
from contract.params import DockerRuntime, load
from stages.run import run
from stages.runtime import engine, images
from stages.runtime.virtual_environments import PACKAGES, interpreter, requirements_hash

# Runs in the trainer's environment, which has none of our packages.
_DESCRIBE = """
import json, platform, re, sys
from importlib.metadata import distributions
# Names as an image's wheels have them (PEP 503).
name = lambda d: re.sub("[-_.]+", "-", d.metadata["Name"]).lower()
packages = {name(d): d.version for d in distributions()}
print(json.dumps({
    "python": platform.python_version(),
    "platform": f"{sys.platform}-{platform.machine()}",
    "packages": dict(sorted(packages.items())),
}))
"""


def main() -> None:
    """Writes both environment files; an image that is missing is built first."""
    runtime = load().runtime
    descriptions = _images(runtime) if runtime.name == "docker" else _virtual_environments()
    for model, description in descriptions:
        content = {
            "runtime": runtime.name,
            "requirements_sha256": requirements_hash(model),
            **description,
        }
        path = Path("results", model, "environment.json")
        files.write(path, json.dumps(content, indent=2) + "\n")


def _virtual_environments() -> Iterator[tuple[str, dict[str, Any]]]:
    for model in PACKAGES:
        command = [interpreter(model), "-c", _DESCRIBE]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        yield model, json.loads(done.stdout)


def _images(runtime: DockerRuntime) -> Iterator[tuple[str, dict[str, Any]]]:
    with engine.connected() as client:
        for model in PACKAGES:
            image = images.find_or_build(client, model, runtime)
            yield model, {"image": image.tags[0], **images.description(image)}


if __name__ == "__main__":
    run(main)
