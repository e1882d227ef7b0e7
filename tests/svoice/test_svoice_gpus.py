"""The GPUs that are reserved for a run, and PyTorch's build. The GPUs are made up."""

import pytest
import torch

from contract.errors import InputError
from svoice import devices

# The kernels of PyTorch 2.13 with CUDA 13.0, as `torch.cuda.get_arch_list` names them.
KERNELS = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.fixture
def host(monkeypatch):
    """A function that makes a machine of one GPU, which the launcher has reserved."""
    monkeypatch.setenv("SEPARATION_GPUS", "1")

    def make(capability=(8, 0), kernels=KERNELS, driver=None):
        def init():
            if driver:
                raise RuntimeError(driver)

        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
        monkeypatch.setattr(torch.cuda, "init", init)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: list(kernels))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "NVIDIA GPU")

    return make


def test_without_reserved_gpus_nothing_is_checked(host, monkeypatch):
    host(driver="no driver")
    for value in ("0", None):
        if value is None:
            monkeypatch.delenv("SEPARATION_GPUS")
        else:
            monkeypatch.setenv("SEPARATION_GPUS", value)
        assert devices.check_gpus() == ""


def test_the_build_for_processors_is_a_warning(host, monkeypatch):
    host()
    monkeypatch.setattr(torch.version, "cuda", None)
    assert devices.check_gpus() == (
        "WARNING: runtime.gpus: the processors are used instead of the GPU: "
        "this is PyTorch's build for processors"
    )


def test_a_driver_that_does_not_fit_is_one_line(host):
    host(driver="The NVIDIA driver on your system is too old (found version 11040).\nUpdate it.")
    with pytest.raises(InputError) as refused:
        devices.check_gpus()
    assert str(refused.value) == (
        "runtime.gpus: the GPU of this run cannot be used: PyTorch 2.13.0+cu130: The NVIDIA driver "
        "on your system is too old (found version 11040).; set it to none"
    )


# A GPU runs code of its major capability that is not newer, and what its driver compiles.
FIT = [
    ((7, 5), KERNELS, True),
    ((8, 9), KERNELS, True),
    ((10, 3), KERNELS, True),
    ((12, 1), KERNELS, True),
    ((13, 0), KERNELS, True),
    ((7, 0), KERNELS, False),
    ((8, 0), ["sm_86"], False),
    ((11, 0), ["sm_90", "sm_120", "compute_120"], False),
    ((9, 0), ["sm_90a"], True),
    ((12, 0), ["sm_75", "sm_90"], False),
]


@pytest.mark.parametrize(("capability", "kernels", "fits"), FIT)
def test_a_gpu_without_kernels_is_one_line(host, capability, kernels, fits):
    host(capability, kernels)
    if fits:
        assert devices.check_gpus() == ""
        return
    with pytest.raises(InputError) as refused:
        devices.check_gpus()
    major, minor = capability
    assert str(refused.value) == (
        f"runtime.gpus: the GPU of this run cannot be used: NVIDIA GPU has compute capability "
        f"{major}.{minor}, but PyTorch 2.13.0+cu130 has kernels for {', '.join(kernels)}; "
        "use another GPU, or another build of PyTorch, or set it to none"
    )
