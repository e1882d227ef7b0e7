"""`make setup` installs Spleeter's CUDA libraries where there is a GPU, and the launcher says where
they are."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.layout import SCRATCH_VARIABLE
from stages.runtime import libraries, virtual_environments
from tests.conftest import ROOT, shell_environment

PINS = Path("docker/requirements/spleeter-cuda.txt")
SITE = Path("lib/python3.11/site-packages/nvidia")
# What the stand-in for pip installs.
WHEELS = [
    *("cublas/lib/libcublas.so.11", "cuda_nvrtc/lib/libnvrtc.so.11.2"),
    *("cuda_nvcc/bin/ptxas", "cuda_nvcc/nvvm/libdevice/libdevice.10.bc"),
]
PYTHON = f"""#!/bin/sh
echo "$@" >> calls
for file in {" ".join(WHEELS)}; do
    mkdir -p $(dirname .venv/spleeter/{SITE}/$file)
    echo $file > .venv/spleeter/{SITE}/$file
done
"""
ONE_GPU = "echo 'GPU 0: NVIDIA H100 (UUID: GPU-a)'"
NO_DRIVER = "echo 'NVIDIA-SMI has failed'; exit 9"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of what installs, with an environment of Spleeter that needs nothing else."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    environment = tmp_path / ".venv" / "spleeter"
    (environment / "bin").mkdir(parents=True)
    program(environment / "bin" / "python", PYTHON)
    pins = (tmp_path / "docker" / "requirements" / "spleeter.txt").read_bytes()
    (environment / "requirements.sha256").write_text(f"{hashlib.sha256(pins).hexdigest()}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def make(nvidia_smi: str, *settings: str) -> subprocess.CompletedProcess:
    """Runs the part of `make setup` that installs CUDA's libraries.

    Args:
        nvidia_smi: what the stand-in for this program does.
        settings: variables of make.
    """
    programs = Path("programs").absolute()
    programs.mkdir(exist_ok=True)
    program(programs / "nvidia-smi", f"#!/bin/sh\n{nvidia_smi}\n")
    environment = {**shell_environment(), "PATH": f"{programs}:{os.environ['PATH']}"}
    command = ["make", "--no-print-directory", "cuda", *settings]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def calls() -> list[str]:
    """How pip was called."""
    return Path("calls").read_text().splitlines() if Path("calls").exists() else []


@pytest.mark.parametrize(
    ("nvidia_smi", "settings", "installs"),
    [
        (ONE_GPU, (), True),
        (NO_DRIVER, (), False),
        ("echo 'No devices found'", (), False),
        (NO_DRIVER, ("CUDA=1",), True),
        (ONE_GPU, ("CUDA=0",), False),
    ],
)
def test_cuda_is_installed_where_there_is_a_gpu_or_on_request(
    project, nvidia_smi, settings, installs
):
    done = make(nvidia_smi, *settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("3 GB on the disk" in done.stdout) == installs
    pip = f"-m pip install --quiet --disable-pip-version-check -r {PINS}"
    assert calls() == ([pip] if installs else [])
    assert Path(".venv/spleeter/cuda").exists() == installs


def test_cuda_is_installed_once_for_each_change_of_its_pins(project):
    assert make(ONE_GPU).returncode == 0
    assert (make(ONE_GPU).stdout, len(calls())) == ("", 1)
    with PINS.open("a") as file:
        file.write("# another line\n")
    assert "Installing" in make(ONE_GPU).stdout
    assert len(calls()) == 2


def test_an_installation_that_fails_is_repeated(project):
    program(Path(".venv/spleeter/bin/python"), "#!/bin/sh\nexit 1\n")
    assert make(ONE_GPU).returncode != 0
    program(Path(".venv/spleeter/bin/python"), PYTHON)
    assert make(ONE_GPU).returncode == 0
    assert len(calls()) == 1


@pytest.mark.parametrize("value", ["2", "yes"])
def test_another_value_is_one_line(project, value):
    done = make(ONE_GPU, f"CUDA={value}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"CUDA: found {value}, expected 1, 0 or nothing" in line


def test_the_links_are_laid_out_as_a_toolkit(project):
    make(ONE_GPU)
    toolkit = Path(".venv/spleeter/cuda")
    paths = {
        "lib/libcublas.so.11": "cublas/lib/libcublas.so.11",
        "lib/libnvrtc.so.11.2": "cuda_nvrtc/lib/libnvrtc.so.11.2",
        "lib/libnvrtc.so": "cuda_nvrtc/lib/libnvrtc.so.11.2",  # the name that cuDNN opens
        "bin/ptxas": "cuda_nvcc/bin/ptxas",
        "nvvm/libdevice/libdevice.10.bc": "cuda_nvcc/nvvm/libdevice/libdevice.10.bc",
    }
    assert {path: (toolkit / path).read_text().strip() for path in paths} == paths


def test_without_the_wheels_there_is_no_toolkit(project):
    subprocess.run(["sh", "docker/link_cuda.sh", ".venv/spleeter"], check=True)
    assert not Path(".venv/spleeter/cuda").exists()


# --- what the launcher says ---------------------------------------------------------------


@pytest.fixture
def environments(project, monkeypatch):
    """The folder of environments, whose trainers note their arguments and variables and fail."""
    folder = project / ".venv"
    note = f"#!/bin/sh\necho $0 $@ >> {project}/calls\nenv > $0.variables\nexit 7\n"
    for model in ("spleeter", "svoice"):
        (folder / model / "bin").mkdir(parents=True, exist_ok=True)
        program(folder / model / "bin" / "python", note)
        (folder / model / "requirements.sha256").write_text(
            virtual_environments.requirements_hash(model)
        )
    monkeypatch.setattr(sys, "prefix", str(folder / "pipeline"))
    monkeypatch.setenv(SCRATCH_VARIABLE, str(project / "scratch"))
    for name in ("LD_LIBRARY_PATH", "XLA_FLAGS", "CUDA_CACHE_PATH", "CUDA_CACHE_MAXSIZE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_pytorch_needs_no_variables(environments):
    assert virtual_environments.variables("svoice") == {}


def test_compiled_kernels_are_kept_with_what_trainings_share(environments, project, monkeypatch):
    cache = {
        "CUDA_CACHE_PATH": f"{project}/scratch/spleeter/cuda-kernels",
        "CUDA_CACHE_MAXSIZE": "4294967296",
    }
    assert virtual_environments.variables("spleeter") == cache
    monkeypatch.setenv("CUDA_CACHE_PATH", "/elsewhere")
    assert virtual_environments.variables("spleeter") == cache | {"CUDA_CACHE_PATH": "/elsewhere"}


def test_the_toolkit_comes_before_that_of_the_machine(environments, monkeypatch):
    toolkit = environments / "spleeter" / "cuda"
    toolkit.mkdir()
    variables = virtual_environments.variables("spleeter")
    assert variables["LD_LIBRARY_PATH"] == f"{toolkit}/lib"
    assert variables["PATH"] == f"{toolkit}/bin:{os.environ['PATH']}"
    assert variables["XLA_FLAGS"] == f"--xla_gpu_cuda_data_dir={toolkit}"
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere/lib64")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=x")
    variables = virtual_environments.variables("spleeter")
    assert variables["LD_LIBRARY_PATH"] == f"{toolkit}/lib:/elsewhere/lib64"
    assert variables["XLA_FLAGS"] == f"--xla_dump_to=x --xla_gpu_cuda_data_dir={toolkit}"


def test_outdated_libraries_are_one_line(environments):
    (environments / "spleeter" / "cuda.sha256").write_text("0\n")
    assert virtual_environments.interpreter("svoice")
    with pytest.raises(InputError) as raised:
        virtual_environments.interpreter("spleeter")
    assert str(raised.value) == (
        f"{environments}/spleeter: its CUDA libraries are not those that {PINS} pins; "
        "run `make setup CUDA=1`"
    )


def test_both_trainers_are_checked_with_the_variables_of_a_training(
    environments, project, monkeypatch
):
    (environments / "spleeter" / "cuda").mkdir()
    shutil.copy(ROOT / "configuration.yaml", project)
    monkeypatch.setattr(sys, "argv", ["libraries"])
    with pytest.raises(SystemExit) as raised:
        libraries.main()
    assert raised.value.code == 1
    assert calls() == [
        f"{environments}/spleeter/bin/python -m spleeter_mod.libraries",
        f"{environments}/svoice/bin/python -m svoice.libraries",
    ]
    variables = (environments / "spleeter" / "bin" / "python.variables").read_text().splitlines()
    expected = virtual_environments.variables("spleeter")
    assert {f"{name}={value}" for name, value in expected.items()} <= set(variables)
    assert "CUDA_VISIBLE_DEVICES=" in variables  # it does not wait for a GPU
