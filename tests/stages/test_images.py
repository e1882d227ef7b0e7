"""Images: named after what goes into them, built when missing, holding no code. Real builds, of a
few small packages instead of the trainers'."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from metrics.errors import InputError
from stages import images
from stages.images import CPU_BASE
from stages.params import DockerRuntime
from tests import docker_engine
from tests.conftest import ROOT
from tests.stages.contained import DEFAULT

RUNTIME = DockerRuntime(**DEFAULT)
SMALL = "six==1.17.0  # via nothing\ntomli==2.5.0 ; python_full_version < '3.0'\n"


@pytest.fixture(scope="module")
def client():
    return docker_engine.client()


@pytest.fixture
def repository(tmp_path, client, monkeypatch):
    """One with Dockerfiles and small requirements; the images made in it are removed."""
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    shutil.copyfile(ROOT / ".dockerignore", tmp_path / ".dockerignore")
    Path(tmp_path / "docker/requirements/svoice.txt").write_text(SMALL)
    Path(tmp_path / "docker/requirements/svoice-cuda.txt").unlink()
    monkeypatch.chdir(tmp_path)
    before = tags(client)
    yield tmp_path
    for tag in tags(client) - before:
        client.images.remove(tag)


def tags(client):
    return {tag for image in client.images.list() for tag in image.tags}


def build(client, runtime=RUNTIME):
    return images.image(client, "svoice", runtime)


def in_image(client, image, *command):
    return client.containers.run(image, command, remove=True, network_mode="none").decode().strip()


def test_an_image_holds_what_is_pinned_and_no_more(client, repository, capsys):
    image = build(client)
    assert "building the image separation-svoice:" in capsys.readouterr().out
    assert in_image(client, image, "python", "-c", "import six; print(six.__version__)") == "1.17.0"
    described = images.described(image)
    assert described["packages"] == {"six": "1.17.0"}
    version = in_image(
        client, image, "python", "-c", "import platform as p; print(p.python_version())"
    )
    assert described["python"] == version
    assert image.attrs["Config"]["User"] == "65534:65534"
    tools = "for c in gcc cc make pip; do command -v $c; done; ls -d /wheels /pip 2>/dev/null; true"
    assert in_image(client, image, "sh", "-c", tools) == ""
    assert image.labels["separation.requirements"] == images._sha256(
        Path("docker/requirements/svoice.txt")
    )
    assert not list(Path("scratch/wheels").glob("*/*.whl"))


def test_only_what_goes_into_it_makes_another(client, repository, capsys):
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
    container = client.containers.create(CPU_BASE, "true", labels={"made": "for a test"})
    try:
        other = container.commit("separation-test", "base", changes="LABEL another=base").tags[0]
    finally:
        container.remove()
    fourth = build(client, DockerRuntime(**DEFAULT | {"base": DEFAULT["base"] | {"svoice": other}}))
    assert len({image.tags[0] for image in (first, second, third, fourth)}) == 4


def test_a_requirement_without_a_wheel_is_named(client, repository):
    Path("docker/requirements/svoice.txt").write_text("six==0.0.99\n")
    with pytest.raises(InputError) as raised:
        build(client)
    assert str(raised.value).startswith("six==0.0.99: found no wheel for Python 3.")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("version", ["3.10", "3.11"])
def test_wheels_are_those_of_the_images_python(tmp_path, version):
    """Not of the one that asks for them; what has no wheel at the index is made into one."""
    python = {"python_version": version, "platform_machine": "x86_64", "glibc": "2.35"}
    for requirement in ("pyyaml==6.0.3", "antlr4-python3-runtime==4.9.3"):
        images._fetch(requirement, tmp_path, python)
    compiled, made = sorted(path.name for path in tmp_path.iterdir())[::-1]
    assert compiled.startswith(f"pyyaml-6.0.3-cp{version.replace('.', '')}-")
    assert made == "antlr4_python3_runtime-4.9.3-py3-none-any.whl"


def test_a_step_that_fails_is_shown_with_what_it_said(client, repository):
    dockerfile = Path("docker/svoice.Dockerfile")
    dockerfile.write_text(dockerfile.read_text() + "USER 0\nRUN echo this is why; exit 3\n")
    with pytest.raises(InputError) as raised:
        build(client)
    message = str(raised.value)
    assert message.startswith("docker/svoice.Dockerfile: found a step that failed:\n")
    assert "\n  this is why\n" in message
    assert "returned a non-zero code: 3" in message


def test_a_base_that_cannot_be_had_is_one_line(client, repository):
    base = DEFAULT["base"] | {"svoice": "localhost:1/nobody/none:1"}
    with pytest.raises(InputError) as raised:
        build(client, DockerRuntime(**DEFAULT | {"base": base}))
    message = str(raised.value)
    assert message.startswith("runtime.base.svoice: found localhost:1/nobody/none:1, which is not")
    assert "`make base-image`" in message
    assert "\n" not in message


def test_without_gpus_the_base_is_the_distributions(client, repository, monkeypatch):
    auto = DockerRuntime(**DEFAULT | {"base": {"spleeter": "auto", "svoice": "auto"}})
    monkeypatch.setattr(images.gpus, "listed", list)
    monkeypatch.setattr(images, "CPU_BASE", "separation-none-such")
    with pytest.raises(InputError) as raised:
        build(client, auto)
    assert "expected one, as `make base-image` makes it" in str(raised.value)


def test_the_context_is_small(repository):
    """Whatever lies in the repository, Docker is sent the wheels alone."""
    from docker.utils import build as context

    (repository / "data").mkdir()
    (repository / "data" / "song.wav").write_bytes(bytes(100))
    wheels = repository / "scratch" / "wheels" / "svoice"
    wheels.mkdir(parents=True)
    (wheels / "a.whl").write_bytes(bytes(10))
    (repository / "scratch" / "svoice").mkdir()
    (repository / "scratch" / "svoice" / "checkpoint").write_bytes(bytes(10))
    patterns = [
        line
        for line in (repository / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    sent = context.exclude_paths(str(repository), patterns)
    files = {path for path in sent if (repository / path).is_file()}
    assert files - {".dockerignore"} == {"scratch/wheels/svoice/a.whl"}


@pytest.mark.parametrize("model", ["spleeter", "svoice"])
def test_both_dockerfiles_say_the_same_but_for_the_base(model):
    other = {"spleeter": "svoice", "svoice": "spleeter"}[model]

    def steps(name):
        lines = (ROOT / f"docker/{name}.Dockerfile").read_text().splitlines()
        return [line for line in lines if not line.startswith(("#", "ARG"))]

    assert [line.replace(model, other) for line in steps(model)] == steps(other)


def test_the_commit_is_on_the_label(client, repository):
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        identity = ["-c", "user.email=t@example.org", "-c", "user.name=T"]
        subprocess.run(["git", *identity, *command], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    labels = build(client).labels
    assert labels["org.opencontainers.image.revision"] == head.strip()
    assert json.loads(labels["separation.environment"])["packages"]
