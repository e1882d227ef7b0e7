"""NVIDIA's GPUs and driver, as `nvidia-smi` describes them, and which of them a trainer can use."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from contract.menu import SPLEETER, SVOICE
from contract.params import ContainerRuntime, LocalRuntime

SECONDS = 60  # for nvidia-smi, which takes some where the driver is not kept loaded
MIG = "MIG-"  # what the UUID of a part of a GPU begins with (Multi-Instance GPU)

Version = tuple[int, ...]


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a part of one (MIG).

    Attributes:
        uuid: by which CUDA and the engines know it; in a job of Slurm it may be a number.
        name: what NVIDIA calls it; empty if that is not known.
        capability: its compute capability; None if the driver does not say it.
        used_gib: the memory that programs use, in whole GiB. Of a part it is not known, and 0.
        refusal: why a trainer cannot use it; empty if it can.
    """

    uuid: str
    name: str = ""
    capability: Version | None = None
    used_gib: int = 0
    refusal: str = ""

    @property
    def is_part(self) -> bool:
        """Whether it is a part of a GPU."""
        return self.uuid.startswith(MIG)

    def __str__(self) -> str:
        return f"{self.name or 'GPU'} ({self.uuid})"


@dataclass(frozen=True)
class Driver:
    """What `nvidia-smi` says.

    Attributes:
        version: of the driver; empty if there is none.
        gpus: all of them, in the driver's order. One that is divided (MIG) is not among them, but
            its parts are.
        failure: why the driver does not work; empty if it does, or if there is none.
    """

    version: Version = ()
    gpus: tuple[Gpu, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Toolkit:
    """What a version of CUDA needs.

    Attributes:
        driver: the oldest driver that runs programs of this major version (NVIDIA, CUDA Toolkit
            Release Notes, table "Minimum Required Driver Version for CUDA Minor Version
            Compatibility").
        oldest: the oldest compute capability of its libraries.
    """

    driver: Version
    oldest: Version


TOOLKITS = {
    11: Toolkit((450, 80, 2), (3, 5)),
    12: Toolkit((525, 60, 13), (5, 0)),
    13: Toolkit((580, 65, 6), (7, 5)),
}
# TensorFlow 2.12's kernels (`tf.sysconfig.get_build_info`) run on capabilities up to 8.9. For 9.0
# the driver compiles them. CUDA 11.8 and cuDNN 8.6 know nothing newer.
TENSORFLOW = "TensorFlow 2.12"
TENSORFLOW_CUDA = "11.8"
TENSORFLOW_COMPILED, TENSORFLOW_NEWEST = (8, 9), (9, 0)


def driver() -> Driver:
    """Returns what `nvidia-smi` says of this machine's driver and GPUs."""
    fields = "uuid,name,driver_version,memory.used,mig.mode.current,compute_cap"
    rows, failure = _query(fields)
    if failure and "compute_cap" in failure:  # drivers before 495 do not know the field
        rows, failure = _query(fields.removesuffix(",compute_cap"))
    if failure is not None:
        return Driver(failure=failure)
    parts = _parts() if any(row[4] == "Enabled" for row in rows) else {}
    gpus: list[Gpu] = []
    for uuid, name, _, used, divided, *capability in rows:
        gpu = Gpu(
            uuid,
            name,
            _version(capability[0]) if capability else None,
            int(used) // 1024 if used.isdecimal() else 0,
        )
        if divided != "Enabled":
            gpus.append(gpu)
            continue
        for part, size in parts.get(uuid, ()):
            gpus.append(Gpu(part, f"{name} {size}", gpu.capability))
    return Driver(_version(rows[0][2]) if rows else (), tuple(gpus))


def _query(fields: str) -> tuple[list[list[str]], str | None]:
    """Returns the values of `nvidia-smi` for each GPU, and why it has failed.

    Args:
        fields: the names of the values, with commas.

    Returns:
        The rows; and None, or a reason, which is empty if there is no such program or no GPU.
    """
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except FileNotFoundError:
        return [], ""
    except subprocess.TimeoutExpired:
        return [], f"it has not answered for {SECONDS} s"
    except OSError as error:
        return [], str(error)
    output = done.stdout.strip()
    if "no devices were found" in (output + done.stderr).lower():
        return [], ""
    if done.returncode:
        reason = (output or done.stderr.strip()).split("\n\n")[0]
        return [], " ".join(reason.split()) or f"exit code {done.returncode}"
    return [[value.strip() for value in line.split(",")] for line in output.splitlines()], None


def _parts() -> dict[str, list[tuple[str, str]]]:
    """Returns the UUID and the size, such as `MIG 1g.10gb`, of each GPU's parts by its UUID."""
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=SECONDS)
    parts: dict[str, list[tuple[str, str]]] = {}
    for line in listing.stdout.splitlines():
        if gpu := re.match(r"GPU \d+: .*\(UUID: ([^)]+)\)", line):
            of_gpu = parts.setdefault(gpu[1], [])
        elif part := re.match(r"\s+(MIG \S+)\s.*\(UUID: ([^)]+)\)", line):
            of_gpu.append((part[2], part[1]))
    return parts


def refusal(
    gpu: Gpu, version: Version, model: str, runtime: LocalRuntime | ContainerRuntime
) -> str:
    """Returns why a trainer cannot use a GPU with a driver; an empty text if it can.

    Args:
        gpu: the GPU.
        version: the driver's.
        model: whose trainer: `spleeter` or `svoice`.
        runtime: where it runs.
    """
    cuda = cuda_of(model, runtime)
    toolkit = TOOLKITS.get(int(cuda.partition(".")[0])) if cuda else None
    framework = TENSORFLOW if model == SPLEETER else "PyTorch"
    if toolkit and version and version < toolkit.driver:
        needed = _text(toolkit.driver, 2)
        return f"{framework} with CUDA {cuda} needs driver {needed}, found {_text(version, 2)}"
    if gpu.capability is None:
        return ""
    capability = f"compute capability {_text(gpu.capability)}"
    if toolkit and gpu.capability < toolkit.oldest:
        return (
            f"{capability} is too old for {framework} with CUDA {cuda}, "
            f"which begins at {_text(toolkit.oldest)}"
        )
    if model == SPLEETER and gpu.capability > TENSORFLOW_NEWEST:
        return (
            f"{capability} is too new for {framework} with CUDA {cuda}, "
            f"which ends at {_text(TENSORFLOW_NEWEST)}"
        )
    return ""


def start_note(gpu: Gpu, model: str) -> str:
    """Returns what takes long at the first start of a trainer on a GPU; usually an empty text.

    Args:
        gpu: the GPU.
        model: whose trainer.
    """
    if model != SPLEETER or not gpu.capability or gpu.capability <= TENSORFLOW_COMPILED:
        return ""
    return (
        f"{gpu.name}: {TENSORFLOW} has no kernels for compute capability {_text(gpu.capability)}. "
        "The driver compiles them at the first start, for minutes, and keeps them"
    )


def cuda_of(model: str, runtime: LocalRuntime | ContainerRuntime) -> str:
    """Returns the version of CUDA that a trainer's framework is built for.

    It is empty where PyTorch is built for processors alone, or where this is not known.

    Args:
        model: `spleeter` or `svoice`.
        runtime: where it runs.
    """
    if model == SPLEETER:
        return TENSORFLOW_CUDA
    if runtime.name == "local":
        environment = Path(sys.prefix).parent / SVOICE
        paths = environment.glob("lib/python3*/site-packages/torch/version.py")
        return next((_first(r"^cuda.* = '(.+)'", path) for path in paths), "")
    return _first(r"^cuda-toolkit==(\d+\.\d+)", Path(f"docker/requirements/{SVOICE}-cuda.txt"))


def _first(pattern: str, path: Path) -> str:
    """Returns the first group of a pattern in a file; an empty text if the file has none."""
    match = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else ""


def _version(text: str) -> Version | None:
    """Returns a version as numbers; None if it is none, such as `[N/A]`."""
    return tuple(map(int, text.split("."))) if re.fullmatch(r"\d+(\.\d+)*", text) else None


def _text(version: Version, digits: int = 1) -> str:
    """Returns a version as text.

    Args:
        version: its numbers.
        digits: with how many digits each is written, but for the first; a driver's are written
            with two.
    """
    first, *others = version
    return ".".join([str(first), *(f"{number:0{digits}}" for number in others)])
