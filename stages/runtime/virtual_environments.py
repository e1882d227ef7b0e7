"""The trainers' virtual environments, which `make setup` installs beside the pipeline's."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from contract.errors import InputError

PACKAGES = {"spleeter": "spleeter_mod", "svoice": "svoice"}  # model: the trainer's package


def interpreter(model: str) -> Path:
    """Returns the Python of a trainer's virtual environment.

    It lies beside the running one, not below the working directory: DVC's temporary workspaces
    hold no environments.

    Args:
        model: a key of `PACKAGES`.

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
    """Returns the SHA-256 of a trainer's pinned requirements."""
    return hashlib.sha256(requirements_file(model).read_bytes()).hexdigest()


def requirements_file(model: str) -> Path:
    """Returns the path of a trainer's pinned requirements, relative to the repository."""
    return Path(f"docker/requirements/{model}.txt")
