"""Images are named after what goes into them, built when they are missing, and hold no code. The
builds are real, with a few small packages instead of the trainers'."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound
from docker.models.images import Image

from contract import locks
from contract.errors import InputError
from contract.files import sha256
from contract.params import ContainerRuntime
from stages.runtime import base_image, containers, engine, images, launcher
from stages.runtime.images import CPU_BASE
from tests import engines
from tests.conftest import ROOT, in_ci
from tests.stages.contained import DEFAULT
from tests.stages.patience import SECONDS, line
from tests.stages.workspaces import environment

SMALL = "six==1.17.0  # via nothing\ntomli==2.5.0 ; python_full_version < '3.0'\n"


@pytest.fixture(scope="module", params=engine.ENGINES)
def client(request):
    with engines.client(request.param) as client:
        yield client


@pytest.fixture
def repository(tmp_path, client, monkeypatch):
    """A repository with the Dockerfiles and small requirements. The images that are made in it are
    removed after the test."""
    original = images._name
    made = set()

    def noting(*arguments):
        made.add(original(*arguments))
        return original(*arguments)

    monkeypatch.setattr(images, "_name", noting)
    fill(tmp_path, "svoice")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for tag in made:
        remove(client, tag)


def fill(root: Path, model: str) -> None:
    """Copies what an image is made of, with requirements that no other test has."""
    shutil.copytree(ROOT / "docker", root / "docker")
    requirements = root / "docker" / "requirements"
    (requirements / f"{model}.txt").write_text(f"{SMALL}# {secrets.token_hex(8)}\n")
    for path in requirements.glob("*-cuda.txt"):
        path.unlink()


def remove(client: docker.DockerClient, tag: str) -> None:
    with suppress(NotFound):
        client.images.remove(tag)


def settings(client: docker.DockerClient, **bases: str) -> ContainerRuntime:
    """Returns the configuration with an engine's name, and with other bases."""
    base = DEFAULT["base"] | bases
    return ContainerRuntime(**DEFAULT | {"name": engines.name(client), "base": base})


def build(client: docker.DockerClient, **bases: str) -> Image:
    return images.find_or_build(client, "svoice", settings(client, **bases))


def output_of(client: docker.DockerClient, image: Image, *command: str) -> str:
    """Returns what a command writes in a container of an image."""
    return client.containers.run(image, command, remove=True, network_mode="none").decode().strip()


def test_an_image_holds_what_is_pinned_and_nothing_else(client, repository, capsys):
    image = build(client)
    assert "building the image separation-svoice:" in capsys.readouterr().out
    assert (
        output_of(client, image, "python", "-c", "import six; print(six.__version__)") == "1.17.0"
    )
    description = images.description(image)
    assert description["packages"] == {"six": "1.17.0"}
    version = output_of(
        client, image, "python", "-c", "import platform as p; print(p.python_version())"
    )
    assert description["python"] == version
    assert image.attrs["Config"]["User"] == "65534:65534"
    tools = "for c in gcc cc make pip; do command -v $c; done; ls -d /wheels /pip 2>/dev/null; true"
    assert output_of(client, image, "sh", "-c", tools) == ""
    assert image.labels["separation.requirements"] == sha256(Path("docker/requirements/svoice.txt"))
    assert not list(Path("scratch/wheels").glob("*/*.whl"))


def test_only_what_goes_into_an_image_changes_its_name(client, repository, capsys):
    first = build(client)
    capsys.readouterr()
    Path("svoice").mkdir()
    Path("svoice/train.py").write_text("another")
    assert build(client).tags == first.tags
    assert capsys.readouterr().out == ""
    with Path("docker/requirements/svoice.txt").open("a") as file:
        file.write("# another line\n")
    second = build(client)
    with Path("docker/svoice.Dockerfile").open("a") as file:
        file.write("# another line\n")
    third = build(client)
    started = python_images(client)
    with another_base(client) as base:
        fourth = build(client, svoice=base)
        # What starts from the other base stays, for whoever builds on that.
        assert started.items() < python_images(client).items()
    assert len({image.tags[0] for image in (first, second, third, fourth)}) == 4


@contextmanager
def another_base(client: docker.DockerClient) -> Iterator[str]:
    """Yields the name of another base."""
    container = client.containers.create(CPU_BASE, "true", labels={"made": "for a test"})
    try:
        change = f"LABEL another={secrets.token_hex(8)}"
        base = container.commit("separation-test", secrets.token_hex(8), changes=change)
    finally:
        container.remove()
    before = python_images(client)
    try:
        yield base.tags[0]
    finally:
        for tag in python_images(client).keys() - before.keys():
            client.images.remove(tag)
        client.images.remove(base.tags[0])


def python_images(client: docker.DockerClient) -> dict[str, str]:
    """Returns the ids, by name, of the images from which all others on the same base start."""
    return {
        tag: image["Id"]
        for image in client.api.images("separation-svoice")
        for tag in image["RepoTags"]
        if ":python" in tag
    }


def test_a_requirement_without_a_wheel_is_one_line(client, repository):
    Path("docker/requirements/svoice.txt").write_text("six==0.0.99\n")
    with pytest.raises(InputError) as raised:
        build(client)
    message = str(raised.value)
    assert message.startswith("six==0.0.99: pip finds no wheel for Python 3.")
    assert message.endswith("; check its index: `pip config list`")
    assert "\n" not in message


@pytest.mark.parametrize("version", ["3.10", "3.11"])
def test_wheels_are_those_of_the_images_python(tmp_path, version):
    """Not of the Python that gathers them. Where the index has no wheel, one is built."""
    python = {"python_version": version, "platform_machine": "x86_64", "glibc": "2.35"}
    for requirement in ("pyyaml==6.0.3", "antlr4-python3-runtime==4.9.3"):
        images._fetch_wheel(requirement, tmp_path, python)
    built, downloaded = sorted(path.name for path in tmp_path.iterdir())
    assert downloaded.startswith(f"pyyaml-6.0.3-cp{version.replace('.', '')}-")
    assert built == "antlr4_python3_runtime-4.9.3-py3-none-any.whl"


def test_the_output_of_a_failed_step_is_printed(client, repository, capsys):
    dockerfile = Path("docker/svoice.Dockerfile")
    dockerfile.write_text(dockerfile.read_text() + "USER 0\nRUN echo this is why; exit 3\n")
    with pytest.raises(InputError) as raised:
        build(client)
    message = str(raised.value)
    assert message.startswith("docker/svoice.Dockerfile: a step of the build failed (")
    reasons = {"docker": "returned a non-zero code: 3", "podman": "exit status 3"}
    assert reasons[engines.name(client)] in message
    assert message.endswith("; see the last lines of its output above")
    assert "\n" not in message
    assert "\n  this is why\n" in capsys.readouterr().err


def test_a_base_that_cannot_be_pulled_is_one_line(client, repository):
    with pytest.raises(InputError) as raised:
        build(client, svoice="localhost:1/nobody/none:1")
    message = str(raised.value)
    assert message.startswith(
        "runtime.base.svoice: the image localhost:1/nobody/none:1 is not here and cannot be pulled "
        "("
    )
    command = {"docker": "make base-image", "podman": "make base-image RUNTIME=podman"}
    remedy = (
        f"name another image, or set it to {CPU_BASE} and run `{command[engines.name(client)]}`"
    )
    assert message.endswith(f"); {remedy}")
    assert "\n" not in message


def test_without_gpus_the_base_is_that_of_make_base_image(client, repository, monkeypatch):
    monkeypatch.setattr(images.gpus, "available", list)
    monkeypatch.setattr(images, "CPU_BASE", "separation-none-such")
    with pytest.raises(InputError) as raised:
        build(client, svoice="auto")
    command = {"docker": "make base-image", "podman": "make base-image RUNTIME=podman"}
    assert str(raised.value) == (
        "runtime.base.svoice: this machine has no image separation-none-such, the base for "
        f"machines without GPUs; run `{command[engines.name(client)]}`"
    )


def test_with_gpus_the_base_that_is_here_is_taken_before_one_is_pulled(
    client, repository, monkeypatch
):
    nvidia = "localhost:1/nobody/none:1"
    monkeypatch.setattr(images.gpus, "available", lambda: ["GPU-a"])
    monkeypatch.setitem(images.NVIDIA_BASES, "svoice", nvidia)
    runtime = settings(client, svoice="auto")
    assert CPU_BASE in images._find_base(client, "svoice", runtime).tags[0]
    with another_base(client) as base:
        monkeypatch.setitem(images.NVIDIA_BASES, "svoice", base)
        assert images._find_base(client, "svoice", runtime).tags == [base]
    monkeypatch.setitem(images.NVIDIA_BASES, "svoice", nvidia)
    monkeypatch.setattr(images, "CPU_BASE", "separation-none-such")
    with pytest.raises(InputError) as raised:
        images._find_base(client, "svoice", runtime)
    command = {"docker": "make base-image", "podman": "make base-image RUNTIME=podman"}
    message = str(raised.value)
    assert message.startswith(
        f"runtime.base.svoice: the image {nvidia} is not here and cannot be pulled ("
    )
    remedy = f"run `{command[engines.name(client)]}`, whose image takes its place, or name another"
    assert message.endswith(f"); {remedy} image")


# --- CUDA's libraries ---------------------------------------------------------------------

# Two of the wheels, which are small.
FEW = "nvidia-cuda-runtime-cu11==11.8.89\nnvidia-cuda-nvcc-cu11==11.8.89\n"


def test_spleeters_image_has_cuda_where_there_are_gpus(client, repository, monkeypatch):
    fill_requirements("spleeter", f"{SMALL}# {secrets.token_hex(8)}\n", FEW)
    runtime = settings(client)
    monkeypatch.setattr(images.gpus, "available", list)
    without_gpus = images.find_or_build(client, "spleeter", runtime)
    assert images.description(without_gpus)["packages"] == {"six": "1.17.0"}
    assert output_of(client, without_gpus, "ls", "/opt/trainer").split().count("cuda") == 0
    monkeypatch.setattr(images.gpus, "available", lambda: ["GPU-a"])
    image = images.find_or_build(client, "spleeter", runtime)
    assert image.tags != without_gpus.tags
    assert images.description(image)["packages"] == {
        "six": "1.17.0",
        "nvidia-cuda-nvcc-cu11": "11.8.89",
        "nvidia-cuda-runtime-cu11": "11.8.89",
    }
    program = "import ctypes; ctypes.CDLL('libcudart.so.11.0'); print('opened')"
    assert output_of(client, image, "python", "-c", program) == "opened"
    assert "release 11.8" in output_of(client, image, "ptxas", "--version")
    variables = dict(line.split("=", 1) for line in image.attrs["Config"]["Env"])
    # A colon at its end would stand for the working directory.
    assert variables["LD_LIBRARY_PATH"] == "/opt/trainer/cuda/lib"
    toolkit = variables["XLA_FLAGS"].removeprefix("--xla_gpu_cuda_data_dir=")
    assert output_of(client, image, "ls", f"{toolkit}/nvvm/libdevice") == "libdevice.10.bc"


def fill_requirements(model: str, general: str, for_cuda: str) -> None:
    """Writes the pinned requirements of a model in the working directory."""
    folder = Path("docker/requirements")
    (folder / f"{model}.txt").write_text(general)
    (folder / f"{model}-cuda.txt").write_text(for_cuda)


ALL = (ROOT / "docker" / "requirements" / "spleeter-cuda.txt").read_text()
LARGEST = 3.5e9  # bytes of an image with all of them


@pytest.mark.parametrize(
    ("client", "for_cuda"),
    [
        pytest.param("docker", FEW, id="few"),
        *in_ci(pytest.param("docker", ALL, id="all")),
    ],
    indirect=["client"],
)
def test_what_spleeter_opens_on_a_gpu_is_in_its_image(
    client, repository, monkeypatch, capfd, for_cuda
):
    """On a base without CUDA, and without a GPU. tests/spleeter_mod compares the list of what is
    opened with what TensorFlow asks for."""
    fill_requirements("spleeter", f"{SMALL}# {secrets.token_hex(8)}\n", for_cuda)
    monkeypatch.setattr(images.gpus, "available", lambda: ["GPU-a"])
    runtime = settings(client)
    image = images.find_or_build(client, "spleeter", runtime)
    monkeypatch.chdir(ROOT)
    capfd.readouterr()
    command = ["python", "-m", "spleeter_mod.libraries"]
    code = containers.run(client, image, command, "the test", runtime, gpus=[])
    output, errors = capfd.readouterr()
    if for_cuda == FEW:
        assert (code, output) == (1, "")
        assert errors.startswith("ERROR: libcublas.so.11: cannot be opened (cannot open shared ")
        assert not any(name in errors for name in ("libcudart", "ptxas", "libdevice"))
        return
    assert (code, errors) == (0, "")
    first, second = output.splitlines()
    assert first == "Spleeter: all 18 libraries of CUDA open, and ptxas and libdevice are there"
    assert second.startswith("Spleeter: NVIDIA's driver is not here (libcuda.so.1: ")
    size = image.attrs["Size"]
    print(f"the image of CUDA's wheels on {CPU_BASE}: {size / 1e9:.2f} GB")
    assert size < LARGEST


def test_the_context_is_small(tmp_path, monkeypatch):
    """An engine is sent the Dockerfile and the wheels alone, whatever else the repository holds."""
    fill(tmp_path, "svoice")
    monkeypatch.chdir(tmp_path)
    for path in ("data/song.wav", "scratch/svoice/checkpoint", "scratch/wheels/spleeter/b.whl"):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(bytes(10))
    sent = ["docker/svoice.Dockerfile"]
    assert files_of_context("svoice") == sent
    wheels = Path("scratch/wheels/svoice")
    wheels.mkdir()
    (wheels / "a.whl").write_bytes(bytes(10))
    assert files_of_context("svoice") == [*sent, "scratch/wheels/svoice/a.whl"]


def files_of_context(model: str) -> list[str]:
    """Returns the names of the files that an engine is sent. All of them belong to root."""
    with tempfile.TemporaryFile() as archive:
        images._write_context(model, archive)
        with tarfile.open(fileobj=archive) as tar:
            members = tar.getmembers()
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, "", "")
    }
    return [member.name for member in members if member.isfile()]


@pytest.mark.parametrize("model", ["spleeter", "svoice"])
def test_the_dockerfiles_differ_in_the_base_and_in_cuda_alone(model):
    other = {"spleeter": "svoice", "svoice": "spleeter"}[model]

    def steps(name: str) -> list[str]:
        lines = (ROOT / f"docker/{name}.Dockerfile").read_text().splitlines()
        return [line for line in lines if not line.startswith(("#", "ARG")) and "cuda" not in line]

    assert [line.replace(model, other) for line in steps(model)] == steps(other)


def test_a_label_names_the_commit(client, repository):
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        identity = ["-c", "user.email=t@example.org", "-c", "user.name=T"]
        subprocess.run(["git", *identity, *command], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    labels = build(client).labels
    assert labels["org.opencontainers.image.revision"] == head.strip()
    assert json.loads(labels["separation.environment"])["packages"]


# --- what others do in the meantime -------------------------------------------------------

BUILD = """
import sys
from stages.runtime import engine, images
from tests.stages.runtime.test_images import settings
with engine.connected(sys.argv[1]) as client:
    print(images.find_or_build(client, "spleeter", settings(client)).id)
"""


def test_one_image_is_built_at_a_time_for_all_trainers_and_repositories(
    client, repository, tmp_path_factory, monkeypatch
):
    """The end of a build removes what builds have left behind, also what others still need."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    fill(elsewhere, "spleeter")
    gather_wheels = images._gather_wheels
    others = []

    def gather_while_another_builds(*arguments):
        others.append(
            subprocess.Popen(
                [sys.executable, "-c", BUILD, engines.name(client)],
                cwd=elsewhere,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        waiting = "waiting for another process to finish building images\n"
        assert line(others[0].stdout) == waiting
        return gather_wheels(*arguments)

    monkeypatch.setattr(images, "_gather_wheels", gather_while_another_builds)
    assert images.description(build(client))["packages"] == {"six": "1.17.0"}
    output, _ = others[0].communicate(timeout=SECONDS)
    assert others[0].returncode == 0, output
    client.images.remove(output.split()[-1], force=True)


def test_somebody_elses_pruning_stops_no_build(client, repository, monkeypatch):
    """The engine prunes for one client at a time."""
    engines.fail(monkeypatch, "prune_images", 409)
    assert build(client)


def test_somebody_who_removes_ended_containers_stops_no_build(client, repository, monkeypatch):
    """As `docker container prune` does."""
    labels = []

    def prune():
        for container in client.containers.list(all=True, ignore_removed=True):
            if images._DESCRIBE_PYTHON in container.attrs["Config"]["Cmd"]:
                labels.append(container.labels)
                container.remove()

    engines.interfere(monkeypatch, "remove_container", before=prune)
    assert build(client)
    # The label by which the next launch removes the container if this one is killed.
    assert [of_container[engine.LAUNCHER] for of_container in labels] == [engine.launcher()]


def test_an_image_removed_during_the_wait_for_a_gpu_is_built_again(client, repository, monkeypatch):
    """The wait may take hours."""
    Path("configuration.yaml").write_text("")

    @contextmanager
    def waiting(*_):
        client.images.remove(build(client).id, force=True)
        yield []

    monkeypatch.setattr(launcher.gpus, "reserved", waiting)
    arguments = ["-c", "import six; print(six.__version__)"]
    assert launcher.run_python("svoice", arguments, "the test", settings(client)) == 0


def test_a_base_that_another_process_has_just_made_is_not_made_again(client, tmp_path, monkeypatch):
    """The trainers' images are named after it: all of them would be built again."""
    name = f"separation-test-{secrets.token_hex(8)}"
    started, second_waits, proceed = threading.Event(), threading.Event(), threading.Event()
    made = []
    try_machine_lock = locks.try_machine_lock

    def bootstrap(_, root):
        made.append(root)
        root.mkdir()
        (root / "file").write_text(str(root))
        (second_waits if started.is_set() else started).set()
        assert proceed.wait(SECONDS)

    def try_to_lock(name):
        if not (lock := try_machine_lock(name)):
            second_waits.set()
        return lock

    monkeypatch.setattr(locks, "try_machine_lock", try_to_lock)
    monkeypatch.setattr(base_image, "CPU_BASE", name)
    monkeypatch.setattr(base_image, "_bootstrap", bootstrap)
    monkeypatch.setattr(sys, "argv", ["base_image", "--runtime", engines.name(client)])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(base_image.main)
        assert started.wait(SECONDS)
        second_waits.clear()
        second = pool.submit(base_image.main)
        assert second_waits.wait(SECONDS)
        proceed.set()
        first.result()
        second.result()
    assert len(made) == 1
    client.images.remove(name)
