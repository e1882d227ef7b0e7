"""How long a training step takes on hardware: measured, or computed from its operations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from contract import costs
from contract.layout import CONF
from contract.menu import SPLEETER, SVOICE
from contract.model_settings import SpleeterSettings, SVoiceSettings
from contract.params import Params, Positive, Strict, Text, explain
from contract.yaml_files import read_yaml

HARDWARE = CONF / "hardware.yaml"
PUBLISHED = "published"  # the preset at whose size the processors were measured
PUBLISHED_RATE, PUBLISHED_SPEAKERS = 8000, 2  # of the mixtures that benchmarks/svoice_step.py makes
TERA = 1e12
SMALL = 0.1  # of the operations of the published size


class Gpu(Strict):
    """A GPU of conf/hardware.yaml, which explains the keys."""

    name: Text
    memory_gb: Positive
    fp32: Positive
    tf32: Positive | None
    bf16: Positive | None
    fp16: Positive | None


class Processors(Strict):
    """Processors of conf/hardware.yaml, which explains the keys."""

    name: Text
    spleeter: Positive
    svoice: Positive


class Hardware(Strict):
    """The file conf/hardware.yaml, which explains the keys."""

    share: Annotated[float, Field(gt=0, le=1)]
    kernel_seconds: Positive
    gpus: list[Gpu]
    processors: list[Processors]


def read_hardware() -> Hardware:
    """Reads conf/hardware.yaml.

    Raises:
        InputError: it is not as `Hardware` says.
    """
    values = read_yaml(HARDWARE)
    try:
        return Hardware.model_validate(values)
    except ValidationError as error:
        raise explain(error, values, HARDWARE, "restore the file") from None


def operations(model: str, params: Params) -> float:
    """Returns the floating-point operations of a training step.

    Args:
        model: its key.
        params: the configuration.
    """
    if model == SPLEETER:
        return costs.spleeter_step(params.spleeter)
    return costs.svoice_step(params.svoice, params.speech.sample_rate, params.speech.speakers)


def memory(model: str, params: Params, gpu: bool) -> float:
    """Returns the memory of a training, in bytes.

    Args:
        model: its key.
        params: the configuration.
        gpu: whether it is that of a GPU, an upper estimate.
    """
    if model == SPLEETER:
        return costs.spleeter_memory(params.spleeter)
    speech = params.speech
    return costs.svoice_memory(params.svoice, speech.sample_rate, speech.speakers, gpu)


def seconds_on_gpu(model: str, params: Params, gpu: Gpu, hardware: Hardware) -> tuple[float, float]:
    """Returns how long a training step takes on a GPU at best and at worst, in seconds.

    At worst its ordinary units compute, at best its tensor cores where the precision allows them.
    Both attain the same share of their rates, and no step is shorter than its kernels, one after
    the other.

    Args:
        model: its key.
        params: the configuration.
        gpu: the GPU.
        hardware: the share, and the time of a kernel.
    """
    if model == SPLEETER:
        kernels = costs.spleeter_kernels(params.spleeter)
        fastest = gpu.tf32  # TensorFlow's default for convolutions
    else:
        kernels = costs.svoice_kernels(params.svoice, params.speech.sample_rate)
        precision = params.svoice.precision
        if precision == "fp32":
            fastest = gpu.tf32 if params.svoice.tf32 else None
        else:
            fastest = getattr(gpu, precision)
    least = kernels * hardware.kernel_seconds
    work = operations(model, params) / (hardware.share * TERA)
    best, worst = work / max(gpu.fp32, fastest or 0), work / gpu.fp32
    return max(best, least), max(worst, least)


def seconds_on_processors(model: str, params: Params, processors: Processors) -> float:
    """Returns how long a training step takes on processors, in seconds.

    That is the measured time of a step of the published size, times the ratio of the operations.

    Args:
        model: its key.
        params: the configuration.
        processors: what was measured.
    """
    measured = {SPLEETER: processors.spleeter, SVOICE: processors.svoice}
    return measured[model] * operations(model, params) / _published_operations(model)


def is_small(model: str, params: Params) -> bool:
    """Returns whether a step has so few operations that they do not determine how long it takes.

    Args:
        model: its key.
        params: the configuration.
    """
    return operations(model, params) < SMALL * _published_operations(model)


def _published_operations(model: str) -> float:
    """Returns the operations of a step of the published size, on the benchmark's mixtures."""
    values = read_yaml(CONF / model / f"{PUBLISHED}.yaml")[model]
    if model == SPLEETER:
        return costs.spleeter_step(SpleeterSettings.read(values))
    return costs.svoice_step(SVoiceSettings.read(values), PUBLISHED_RATE, PUBLISHED_SPEAKERS)
