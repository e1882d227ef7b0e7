"""The GPUs that are reserved for a run, and what TensorFlow finds. The GPUs are made up."""

import ctypes

import pytest
import tensorflow as tf

from contract.errors import InputError
from spleeter_mod import session
from spleeter_mod.libraries import REMEDY


@pytest.fixture
def host(monkeypatch):
    """A function that makes a machine on which TensorFlow finds some of two reserved GPUs."""
    monkeypatch.setenv("SEPARATION_GPUS", "2")

    def make(seen, *missing):
        def open_library(name):
            if name in missing:
                raise OSError(f"{name}: cannot open shared object file")

        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU"] * seen)
        monkeypatch.setattr(ctypes, "CDLL", open_library)

    return make


def test_reserved_gpus_that_tensorflow_finds_are_used(host, capsys):
    host(2)
    session.configure()
    assert capsys.readouterr().err == ""


def test_without_reserved_gpus_nothing_is_checked(host, monkeypatch, capsys):
    host(0)
    monkeypatch.setenv("SEPARATION_GPUS", "0")
    session.configure()
    assert capsys.readouterr().err == ""


def test_a_machine_without_the_drivers_library_is_a_warning(host, capsys):
    host(0, "libcuda.so.1")
    session.configure()
    assert capsys.readouterr().err == (
        "WARNING: runtime.gpus: the processors are used instead of the GPU: "
        "NVIDIA's driver is not here (libcuda.so.1: cannot open shared object file)\n"
    )


def test_gpus_that_tensorflow_does_not_find_are_one_line(host):
    host(1)
    with pytest.raises(InputError) as refused:
        session.configure()
    problem = "runtime.gpus: the GPU of this run cannot be used: TensorFlow 2.12.1 finds 1 of 2"
    assert str(refused.value) == f"{problem}; set it to none"
    host(1, "libcudnn.so.8")
    with pytest.raises(InputError) as refused:
        session.configure()
    missing = "libcudnn.so.8 cannot be opened (cannot open shared object file)"
    assert str(refused.value) == f"{problem}, and {missing}; {REMEDY}, or set it to none"


@pytest.mark.parametrize(("batch_size", "gpus"), [(3, 2), (4, 8), (1, 2)])
def test_a_batch_that_the_gpus_do_not_divide_is_one_line(monkeypatch, batch_size, gpus):
    monkeypatch.setattr(session, "gpu_names", lambda: [f"GPU:{k}" for k in range(gpus)])
    with pytest.raises(InputError) as refused:
        session.strategy(batch_size)
    assert str(refused.value) == (
        f"spleeter.batch_size: found {batch_size}, expected a multiple of {gpus}, "
        "the GPUs of this training (runtime.gpus)"
    )


OUT_OF_MEMORY = {
    "GPU": [
        tf.errors.ResourceExhaustedError(
            None, None, "OOM when allocating tensor on /device:GPU:0 by allocator GPU_0_bfc"
        ),
        tf.errors.UnknownError(None, None, "CUDNN_STATUS_ALLOC_FAILED in conv"),
        tf.errors.InternalError(None, None, "cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY"),
        tf.errors.InternalError(None, None, "failed to create: CUBLAS_STATUS_ALLOC_FAILED"),
    ],
    "machine": [
        tf.errors.ResourceExhaustedError(
            None, None, "OOM when allocating tensor on /device:CPU:0 by allocator cpu"
        )
    ],
}


@pytest.mark.parametrize(
    ("error", "device"), [(e, device) for device, errors in OUT_OF_MEMORY.items() for e in errors]
)
def test_memory_that_runs_out_is_one_line(tmp_path, error, device):
    with pytest.raises(InputError) as refused, session.explained(tmp_path):
        raise error
    assert str(refused.value) == (
        f"spleeter: the network and its batch do not fit into the memory of this {device}; "
        "reduce spleeter.batch_size or spleeter.T"
    )


def test_other_errors_of_tensorflow_stay_as_they_are(tmp_path):
    with pytest.raises(tf.errors.InternalError), session.explained(tmp_path):
        raise tf.errors.InternalError(None, None, "something else")
