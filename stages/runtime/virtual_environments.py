"""The trainers' virtual environments, which `make setup` installs beside the pipeline's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from contract.errors import InputError
from contract.files import sha256

# Runs in a trainer's environment, which has none of our packages.
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


def description(model: str) -> dict[str, Any]:
    """Returns what a trainer's virtual environment holds.

    Args:
        model: a key of `contract.models.MODELS`.

    Returns:
        `python` (its version), `platform`, and `packages`: the version of each by its name.

    Raises:
        InputError: the environment is missing, or was installed from other requirements.
    """
    command = [interpreter(model), "-c", _DESCRIBE]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


def interpreter(model: str) -> Path:
    """Returns the Python of a trainer's virtual environment.

    It lies beside the running one, not below the working directory: DVC's temporary workspaces
    hold no environments.

    Args:
        model: a key of `contract.models.MODELS`.

    Raises:
        InputError: the environment is missing, or was installed from other requirements.
    """
    environment = Path(sys.prefix).parent / model
    installed = environment / "requirements.sha256"  # written by `make setup`
    if not installed.is_file():
        raise InputError(environment, "there is no such environment", "run `make setup`")
    if installed.read_text().strip() != requirements_hash(model):
        requirements = requirements_file(model)
        problem = f"its packages are not those that {requirements} pins"
        raise InputError(environment, problem, "run `make setup`")
    return environment / "bin" / "python"


def requirements_hash(model: str) -> str:
    """Returns the SHA-256 of a trainer's pinned requirements.

    Args:
        model: a key of `contract.models.MODELS`.
    """
    return sha256(requirements_file(model))


def requirements_file(model: str) -> Path:
    """Returns the path of a trainer's pinned requirements, relative to the repository.

    Args:
        model: a key of `contract.models.MODELS`.
    """
    return Path(f"docker/requirements/{model}.txt")
