"""The trainers' virtual environments, which `make setup` installs beside the pipeline's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from contract.errors import InputError
from contract.files import sha256
from contract.layout import scratch_root
from contract.libraries import toolkit_variables
from contract.menu import SPLEETER

# The driver compiles the kernels of a framework that was not built for the GPU. TensorFlow 2.12 was
# built for compute capabilities up to 8: for a later one this takes minutes at its first start, and
# as long at each further one if the kernels are not kept, or do not fit. Older drivers keep 256 MiB
# by default, newer ones 1 GiB, and none more than 4 GiB.
KERNELS = "cuda-kernels"  # the folder, beside the unfinished trainings of a model
KERNELS_BYTES = 4 << 30

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
    _check_cuda(environment, model)
    return environment / "bin" / "python"


def _check_cuda(environment: Path, model: str) -> None:
    """Checks that CUDA's libraries, if `make setup` has installed any, are those that are pinned.

    Raises:
        InputError: they were installed from other requirements.
    """
    installed = environment / "cuda.sha256"  # written by `make setup`
    requirements = cuda_requirements_file(model)
    if installed.is_file() and installed.read_text().strip() != sha256(requirements):
        problem = f"its CUDA libraries are not those that {requirements} pins"
        raise InputError(environment, problem, "run `make setup CUDA=1`")


def variables(model: str) -> dict[str, str]:
    """Returns the environment variables by which a trainer finds CUDA on this machine.

    These are TensorFlow's: PyTorch's wheel knows where its libraries are, and has the kernels of
    the GPUs that it supports. The toolkit in the environment comes before one of the machine.

    Args:
        model: a key of `contract.models.MODELS`.

    Raises:
        InputError: the scratch folder is named by a relative path.
    """
    if model != SPLEETER:
        return {}
    toolkit = Path(sys.prefix).parent / model / "cuda"  # made by docker/link_cuda.sh
    return kept_kernels(scratch_root() / model) | toolkit_variables(toolkit)


def kept_kernels(folder: Path) -> dict[str, str]:
    """Returns the environment variables by which the driver keeps the kernels that it compiles.

    Those that the user has set are as they are.

    Args:
        folder: what the trainings of a model share.
    """
    cache = {"CUDA_CACHE_PATH": str(folder / KERNELS), "CUDA_CACHE_MAXSIZE": str(KERNELS_BYTES)}
    return {name: os.environ.get(name, value) for name, value in cache.items()}


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


def cuda_requirements_file(model: str) -> Path:
    """Returns the path of the pinned CUDA libraries of a trainer, relative to the repository.

    Args:
        model: a key of `contract.models.MODELS`.
    """
    return Path(f"docker/requirements/{model}-cuda.txt")
