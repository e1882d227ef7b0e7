"""environments: writes what each trainer will run in; training depends on it.

results/<model>/environment.json: the runtime, the hash of the pinned requirements, the image
(`runtime=docker`, built if it is missing), the interpreter's version and platform, and the version
of every package.
"""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from metrics.errors import InputError
from stages import engine, images, outputs
from stages.params import DockerRuntime, LocalRuntime, load
from stages.run import run

PACKAGES = {"spleeter": "spleeter_mod", "svoice": "svoice"}

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
    runtime = load().runtime
    describe = _images if runtime.name == "docker" else _virtual_environments
    for model, described in describe(runtime):
        content = {
            "runtime": runtime.name,
            "requirements_sha256": requirements_hash(model),
            **described,
        }
        path = Path("results", model, "environment.json")
        outputs.write(path, json.dumps(content, indent=2) + "\n")


def _virtual_environments(_: LocalRuntime) -> Iterator[tuple[str, dict]]:
    for model in PACKAGES:
        found = subprocess.run(
            [interpreter(model), "-c", _DESCRIBE], capture_output=True, text=True, check=True
        )
        yield model, json.loads(found.stdout)


def _images(runtime: DockerRuntime) -> Iterator[tuple[str, dict]]:
    with engine.connected() as client:
        for model in PACKAGES:
            image = images.image(client, model, runtime)
            yield model, {"image": image.tags[0], **images.described(image)}


def requirements_hash(model: str) -> str:
    """The sha256 of a trainer's pinned requirements."""
    return hashlib.sha256(Path(f"docker/requirements/{model}.txt").read_bytes()).hexdigest()


def interpreter(model: str) -> Path:
    """The Python of a trainer's virtual environment.

    It lies beside the running one, not below the working directory: DVC's temporary workspaces
    hold no environments.

    Raises:
        InputError: it is missing, or was made from other requirements.
    """
    venv = Path(sys.prefix).parent / model
    installed = venv / "requirements.sha256"  # written by `make setup`
    if not installed.is_file():
        raise InputError(venv, "no environment", f"{model}'s, as `make setup` installs it")
    if installed.read_text().strip() != requirements_hash(model):
        expected = f"docker/requirements/{model}.txt: run `make setup`"
        raise InputError(venv, "other requirements", expected)
    return venv / "bin" / "python"


if __name__ == "__main__":
    run(main)
