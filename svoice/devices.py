"""The device, the precision and the compilation of a training.

The network computes in the chosen precision; weights, losses and updates are always fp32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from contract.errors import InputError
from contract.hardware import no_gpus_warning, processors, reserved_gpus, unusable_gpus
from svoice.loss import separation_loss
from svoice.lstm import exclude_from_compilation

# What may not fit into the memory, and what to do: the file of a network, and a mixture that is
# separated in one piece.
WEIGHTS = ("its weights", "end other programs that use it")
WHOLE_MIXTURE = (
    "the network and the whole mixture",
    "end other programs that use it, or leave the mixture out of the list",
)

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def default_device() -> torch.device:
    """Returns a GPU where there is one, else the CPU.

    Of several processes on a machine, each has a GPU of its own.

    Raises:
        InputError: torchrun started more processes than there are GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if number >= count:
        raise InputError(
            "torchrun",
            f"process {number + 1} of this machine has no GPU of its own",
            f"start at most {count} processes here",
        )
    return torch.device("cuda", number)


def check_gpus() -> str:
    """Checks that PyTorch can use the GPUs that are reserved for this run, if there are any.

    Returns:
        A warning where they are not used because this is PyTorch's build for processors; usually
        an empty text.

    Raises:
        InputError: the driver or a GPU does not fit this build of PyTorch.
    """
    if not reserved_gpus():
        return ""
    if torch.version.cuda is None:
        return no_gpus_warning("this is PyTorch's build for processors")
    build = f"PyTorch {torch.__version__}"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        raise unusable_gpus(f"{build}: {str(error).splitlines()[0]}") from None
    # As `sm_90` and, for code that the driver compiles for newer ones, `compute_120`.
    compiled = [name.partition("_") for name in torch.cuda.get_arch_list()]
    for number in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        if not any(
            _runs(kind, int(digits.rstrip("af")), major, minor) for kind, _, digits in compiled
        ):
            kinds = ", ".join(torch.cuda.get_arch_list())
            reason = (
                f"{torch.cuda.get_device_name(number)} has compute capability {major}.{minor}, "
                f"but {build} has kernels for {kinds}"
            )
            raise unusable_gpus(reason, "use another GPU, or another build of PyTorch")
    return ""


def _runs(kind: str, number: int, major: int, minor: int) -> bool:
    """Returns whether compiled kernels run on a GPU.

    Machine code (`sm`) does on the same or a newer minor capability of the same major one, an
    intermediate form (`compute`) on all that are not older (NVIDIA, CUDA C++ Programming Guide,
    sections "Binary Compatibility" and "PTX Compatibility").

    Args:
        kind: `sm` or `compute`.
        number: the capability that they are for, ten times the major one plus the minor one.
        major: the GPU's major compute capability.
        minor: its minor one.
    """
    if kind == "compute":
        return number <= 10 * major + minor
    return number // 10 == major and number % 10 <= minor


def hardware(device: torch.device, processes: int = 1) -> str:
    """Describes the devices of a training, as in `2 x NVIDIA H100 80GB HBM3`.

    Args:
        device: the device of this process.
        processes: the number of processes that train together, each on a device like this one.
    """
    if device.type == "cuda":
        return f"{processes} x {torch.cuda.get_device_name(device)}"
    return processors()


@contextmanager
def memory_errors_explained(where: object, contents: str, remedy: str) -> Iterator[None]:
    """Turns an error of the block that says that memory ran out into one for the user.

    Args:
        where: what needs the memory, for the error.
        contents: what does not fit into it, in the plural.
        remedy: what to do about it.

    Raises:
        InputError: the memory of the GPU or of this machine does not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        device = _full_device(error)
        if not device:
            raise
        problem = f"{contents} do not fit into the memory of this {device}"
        raise InputError(where, problem, remedy) from error


def _full_device(error: Exception) -> str | None:
    """Returns what has no memory left by an error: `GPU`, `machine`, or None for another error."""
    # Only PyTorch's allocator for GPUs has an exception of its own; CUDA and its libraries do not.
    of_cuda = ("CUDA error: out of memory", "_STATUS_ALLOC_FAILED")
    if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in of_cuda):
        return "GPU"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: " in str(error):
        return "machine"
    return None


def batch_loss(
    forward: Callable[[Tensor], Tensor], batch: Sequence[Tensor], precision: str
) -> Tensor:
    """Returns the `separation_loss` of a network's outputs for a batch, a scalar.

    Args:
        forward: computes the outputs (outputs, batch, C, samples) from mixtures (batch, samples).
        batch: mixtures, sources and lengths as `data.load` returns them, on the network's device.
        precision: `fp32`, `bf16` or `fp16`.
    """
    mixture, sources, lengths = batch
    dtype = AUTOCAST[precision]
    with torch.autocast(mixture.device.type, dtype, enabled=dtype is not None):
        outputs = forward(mixture)
    return separation_loss(outputs.float(), sources, lengths)


def make_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Returns the loss scaler that keeps fp16 gradients from vanishing (Micikevicius et al. 2018).

    It does nothing in the other precisions.

    Args:
        precision: `fp32`, `bf16` or `fp16`.
        device: the device of the network.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def allow_tf32(allowed: bool) -> None:
    """Sets whether a GPU may round the factors of fp32 products to TF32.

    By default, PyTorch does not in matrix products, and does in cuDNN, which computes the LSTMs.

    Args:
        allowed: whether it may, in matrix products and in cuDNN alike.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def compile_network(network: nn.Module) -> None:
    """Compiles the network, in place, for each shape of batch separately.

    Only `network(mixture)` runs compiled code; `network.forward` stays uncompiled, and the weights
    keep their names.

    Args:
        network: the network, on its device.

    Raises:
        InputError: there is no working compiler.
    """
    torch.compiler.reset()
    device = next(network.parameters()).device
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(64, device=device))
    except Exception as error:  # its type depends on the device and on what is missing
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise InputError(
            "svoice.compile",
            f"PyTorch cannot compile here ({reason})",
            "install a C++ compiler for a CPU, or a C compiler and Triton for a GPU; or set it to "
            "false",
        ) from None
    exclude_from_compilation()
    network.compile(dynamic=False)
