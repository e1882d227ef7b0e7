"""The check of TensorFlow's libraries opens what TensorFlow opens, and says what is missing."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spleeter_mod import libraries
from tests import shared_libraries
from tests.conftest import ROOT

# Has TensorFlow open its libraries for GPUs and for its profiler.
OPEN_ALL = """
import ctypes, sys
framework = ctypes.CDLL(sys.argv[1])
for name in ("TryDlopenCUDALibraries", "GetCuptiDsoHandle"):
    result = (ctypes.c_void_p * 8)()
    getattr(framework, f"_ZN3tsl8internal9DsoLoader{len(name)}{name}Ev")(ctypes.byref(result))
"""


def test_what_is_opened_is_what_tensorflow_opens():
    """The loader's own log says what TensorFlow asks for, whether it is there or not."""
    package = Path(importlib.util.find_spec("tensorflow").origin).parent
    command = [sys.executable, "-c", OPEN_ALL, package / "libtensorflow_framework.so.2"]
    environment = {**os.environ, "LD_DEBUG": "libs"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    asked = set(re.findall(r"find library=(libcu[\w.]+)", done.stderr))
    # Without a version if the one that it was built with is missing.
    assert asked - {"libcupti.so", libraries.libraries.DRIVER} == set(libraries.TENSORFLOW)


NO_CUDA = "Could not find cuda drivers"  # so TensorFlow calls a missing libcudart.so.11.0


def test_tensorflow_finds_cuda_in_the_wheels(tmp_path):
    """With the smallest of them, which is the first that it opens."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    (pin,) = re.findall(
        r"^nvidia-cuda-runtime-cu11==\S+",
        (ROOT / "docker" / "requirements" / "spleeter-cuda.txt").read_text(),
        re.MULTILINE,
    )
    subprocess.run([*pip, f"--target={tmp_path}", "--no-deps", pin], check=True)

    def log(**variables: str) -> str:
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", **variables}
        command = [sys.executable, "-c", "import tensorflow"]
        return subprocess.run(command, env=environment, capture_output=True, text=True).stderr

    if libraries.libraries.errors(["libcudart.so.11.0"], ""):  # it is not on this machine
        assert NO_CUDA in log(LD_LIBRARY_PATH="")
    with_wheel = log(LD_LIBRARY_PATH=str(tmp_path / "nvidia" / "cuda_runtime" / "lib"))
    assert "This TensorFlow binary is optimized" in with_wheel
    assert NO_CUDA not in with_wheel


@pytest.fixture
def toolkit(tmp_path):
    """A folder like that of docker/link_cuda.sh, whose libraries are all the C library."""
    c_library = shared_libraries.loaded("c")
    folder = tmp_path / "cuda"
    for name in ("lib", "bin", libraries.LIBDEVICE.parent):
        (folder / name).mkdir(parents=True)
    for name in (*libraries.TENSORFLOW, *libraries.FURTHER):
        (folder / "lib" / name).symlink_to(c_library)
    ptxas = folder / "bin" / "ptxas"
    ptxas.write_text("#!/bin/sh\n")
    ptxas.chmod(0o755)
    (folder / libraries.LIBDEVICE).touch()
    return folder


def check(toolkit: Path) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(toolkit / "lib"),
        "PATH": f"{toolkit / 'bin'}:{os.defpath}",
        "XLA_FLAGS": f"--xla_dump_to=x --xla_gpu_cuda_data_dir={toolkit}",
    }
    command = [sys.executable, "-m", "spleeter_mod.libraries"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_all_that_is_there_is_two_lines(toolkit):
    done = check(toolkit)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "Spleeter: all 18 libraries of CUDA open, and ptxas and libdevice are there"
    assert second.startswith("Spleeter: NVIDIA's driver is ")


def test_each_that_is_missing_is_one_line(toolkit, monkeypatch):
    (toolkit / "lib" / "libcudnn_cnn_infer.so.8").unlink()
    (toolkit / "lib" / "libnvrtc.so").unlink()
    (toolkit / "bin" / "ptxas").write_text("#!/bin/sh\nexit 1\n")
    done = check(toolkit)
    reason = "cannot be opened (cannot open shared object file: No such file or directory)"
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"ERROR: libcudnn_cnn_infer.so.8: {reason}; {libraries.REMEDY}",
        f"ERROR: libnvrtc.so: {reason}; {libraries.REMEDY}",
        f"ERROR: {toolkit}/bin/ptxas: does not run; {libraries.REMEDY}",
    ]


def test_a_toolkit_without_a_compiler_is_two_lines(toolkit, monkeypatch):
    (toolkit / libraries.LIBDEVICE).unlink()
    monkeypatch.setenv("PATH", str(toolkit))
    monkeypatch.setenv("XLA_FLAGS", f"--xla_gpu_cuda_data_dir={toolkit}")
    monkeypatch.setattr(libraries, "TOOLKITS", ("/none",))
    assert [str(error) for error in libraries._compiler_errors()] == [
        f"ptxas: is not on PATH; {libraries.REMEDY}",
        f"nvvm/libdevice/libdevice.10.bc: is in none of {toolkit}, /none; {libraries.REMEDY}",
    ]
