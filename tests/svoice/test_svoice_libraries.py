"""The check of PyTorch's libraries. A stand-in takes the place of its CUDA build, which is 5 GB."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from svoice import libraries
from tests import shared_libraries
from tests.conftest import ROOT

# Loads cuDNN, as the CUDA build does.
STAND_IN = """
import ctypes, pathlib, types
version = types.SimpleNamespace(cuda="13.0")
site = pathlib.Path(__file__).parents[1]
ctypes.CDLL(str(site / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9"))
"""


def check(*paths: Path) -> subprocess.CompletedProcess:
    """Runs the check with packages before those of the environment."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-m", "svoice.libraries"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_installed_torch_is_whole():
    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    expected = (
        rf"SVoice: all \d+ libraries of PyTorch for CUDA {torch.version.cuda} open\nSVoice: NVIDIA"
        if torch.version.cuda
        else "SVoice: PyTorch's CPU build, which uses no GPU\n"
    )
    assert re.match(expected, done.stdout)


@pytest.fixture
def site(tmp_path):
    """A folder of packages with the stand-in for PyTorch's CUDA build."""
    math_library = shared_libraries.loaded("m")
    names = [f"nvidia/cudnn/lib/{name}" for name in (libraries.CUDNN, *libraries.CUDNN_PARTS)]
    for name in ("torch/lib/libtorch_cuda.so", *names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(math_library, tmp_path / name)
    (tmp_path / "torch" / "__init__.py").write_text(STAND_IN)
    return tmp_path


def test_the_cuda_build_is_opened_whole(site):
    done = check(site)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == "SVoice: all 9 libraries of PyTorch for CUDA 13.0 open"
    assert second.startswith("SVoice: NVIDIA's driver is ")


def test_what_is_missing_is_one_line(site):
    cudnn = site / "nvidia" / "cudnn" / "lib"
    (cudnn / "libcudnn_adv.so.9").unlink()
    (site / "torch" / "lib" / "libtorch_cuda.so").write_text("damaged")
    done = check(site)
    assert done.returncode == 1
    reason = "cannot open shared object file: No such file or directory"
    assert done.stderr.splitlines() == [
        f"ERROR: {site}/torch/lib/libtorch_cuda.so: cannot be opened (file too short); "
        f"{libraries.REMEDY}",
        f"ERROR: {cudnn}/libcudnn_adv.so.9: cannot be opened ({reason}); {libraries.REMEDY}",
    ]
    (cudnn / libraries.CUDNN).unlink()
    done = check(site)
    assert done.returncode == 1
    assert done.stderr == (
        f"ERROR: torch: cannot be loaded ({cudnn}/libcudnn.so.9: {reason}); {libraries.REMEDY}\n"
    )
