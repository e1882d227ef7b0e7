"""Images: named after what goes into them, built when missing, holding no code. Real builds, of a
few small packages instead of the trainers'."""

import json
import secrets
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from metrics.errors import InputError
from stages import base_image, engine, images, launch, lock
from stages.images import CPU_BASE
from stages.params import DockerRuntime
from tests import docker_engine
from tests.conftest import ROOT
from tests.stages.contained import DEFAULT
from tests.stages.patience import SECONDS, line
from tests.stages.workspaces import environment

RUNTIME = DockerRuntime(**DEFAULT)
SMALL = "six==1.17.0  # via nothing\ntomli==2.5.0 ; python_full_version < '3.0'\n"


@pytest.fixture(scope="module")
def client():
    return docker_engine.client()


@pytest.fixture
def repository(tmp_path, client, monkeypatch):
    """One with Dockerfiles and small requirements. The images made in it, which others cannot
    have made, are removed."""
    name = images._name
    made = set()

    def noted(model, base):
        made.add(name(model, base))
        return name(model, base)

    monkeypatch.setattr(images, "_name", noted)
    fill(tmp_path, "svoice")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for tag in made:
        remove(client, tag)


def fill(root, model):
    """What an image is made of: requirements that no other test has."""
    shutil.copytree(ROOT / "docker", root / "docker")
    shutil.copyfile(ROOT / ".dockerignore", root / ".dockerignore")
    requirements = root / "docker" / "requirements"
    (requirements / f"{model}.txt").write_text(f"{SMALL}# {secrets.token_hex(8)}\n")
    (requirements / "svoice-cuda.txt").unlink()


def remove(client, tag):
    with suppress(ImageNotFound):
        client.images.remove(tag)


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
    begun = begun_on_bases(client)
    with another_base(client) as runtime:
        fourth = build(client, runtime)
        # What is on the other base stays as it is, for whoever builds on that.
        assert begun.items() < begun_on_bases(client).items()
    assert len({image.tags[0] for image in (first, second, third, fourth)}) == 4


@contextmanager
def another_base(client):
    """A runtime with one."""
    container = client.containers.create(CPU_BASE, "true", labels={"made": "for a test"})
    try:
        change = f"LABEL another={secrets.token_hex(8)}"
        base = container.commit("separation-test", secrets.token_hex(8), changes=change)
    finally:
        container.remove()
    bases = DEFAULT["base"] | {"svoice": base.tags[0]}
    before = begun_on_bases(client)
    try:
        yield DockerRuntime(**DEFAULT | {"base": bases})
    finally:
        for tag in begun_on_bases(client).keys() - before.keys():
            client.images.remove(tag)
        client.images.remove(base.tags[0])


def begun_on_bases(client):
    """What is built on each base and kept: name and image."""
    return {
        tag: image["Id"]
        for image in client.api.images("separation-svoice")
        for tag in image["RepoTags"]
        if ":python" in tag
    }


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


# --- what others do meanwhile -------------------------------------------------------------

BUILD = """
import sys
from stages import engine, images
from tests.stages.test_images import RUNTIME
with engine.connected() as client:
    print(images.image(client, "spleeter", RUNTIME).id)
"""


def test_of_all_trainers_and_repositories_one_builds_at_a_time(
    client, repository, tmp_path_factory, monkeypatch
):
    """What ends a build removes what is left of builds, and would of those that go on."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    fill(elsewhere, "spleeter")
    gather = images._gather
    other = []

    def beside(*arguments):
        """While this one builds, another begins to."""
        other.append(
            subprocess.Popen(
                [sys.executable, "-c", BUILD],
                cwd=elsewhere,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        assert line(other[0].stdout).startswith("waiting for the image separation-spleeter:")
        return gather(*arguments)

    monkeypatch.setattr(images, "_gather", beside)
    assert images.described(build(client))["packages"] == {"six": "1.17.0"}
    said, _ = other[0].communicate(timeout=SECONDS)
    assert other[0].returncode == 0, said
    client.images.remove(said.split()[-1], force=True)


def test_who_prunes_meanwhile_ends_no_build(client, repository, monkeypatch):
    """The engine has one pruner at a time."""
    docker_engine.failing(monkeypatch, "prune_images", 409)
    assert build(client)


def test_who_removes_containers_meanwhile_ends_no_build(client, repository, monkeypatch):
    """As `docker container prune` does: of what has ended."""
    labels = []

    def prune():
        for container in client.containers.list(all=True, ignore_removed=True):
            if images._DESCRIBE_PYTHON in container.attrs["Config"]["Cmd"]:
                labels.append(container.labels)
                container.remove()

    docker_engine.meanwhile(monkeypatch, "remove_container", before=prune)
    assert build(client)
    # So that the next launch removes it, should this one be killed.
    assert labels == [{engine.LAUNCHER: engine.launcher()}]


def test_an_image_removed_in_the_wait_for_a_gpu_is_built_again(client, repository, monkeypatch):
    """Which may take hours."""
    Path("params.yaml").write_text("")

    @contextmanager
    def waiting(_):
        client.images.remove(build(client).id, force=True)
        yield []

    monkeypatch.setattr(launch.gpus, "taken", waiting)
    command = ["-c", "import six; print(six.__version__)"]
    assert launch._run("svoice", "the test", command, RUNTIME) == 0


def test_a_base_made_by_another_meanwhile_is_taken(client, tmp_path, monkeypatch):
    """The trainers' images are named after it: another one would make all of them anew."""
    name = f"separation-test-{secrets.token_hex(8)}"
    begun, waits, go = threading.Event(), threading.Event(), threading.Event()
    made = []
    locked = lock.machine_locked

    def bootstrap(_, root):
        made.append(root)
        root.mkdir()
        (root / "file").write_text(str(root))
        (waits if begun.is_set() else begun).set()
        assert go.wait(SECONDS)

    def tried(name):
        if not (held := locked(name)):
            waits.set()
        return held

    monkeypatch.setattr(lock, "machine_locked", tried)
    monkeypatch.setattr(base_image, "CPU_BASE", name)
    monkeypatch.setattr(base_image, "_bootstrap", bootstrap)
    monkeypatch.setattr(sys, "argv", ["base_image"])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(base_image.main)
        assert begun.wait(SECONDS)
        waits.clear()
        second = pool.submit(base_image.main)
        assert waits.wait(SECONDS)
        go.set()
        first.result()
        second.result()
    assert len(made) == 1
    client.images.remove(name)
