"""The images in which the trainers run with `runtime=docker` and `runtime=podman`.

An image is named after all that goes into it: Dockerfile, pinned requirements, base. The wheels
are gathered on the host first, with its own pip settings (index, certificates, wheels on its disk),
so that building needs no network for Python's packages.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.parser import HeaderParser
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

from docker import DockerClient
from docker.errors import APIError, BuildError, NotFound
from docker.models.images import Image
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from contract.errors import InputError
from contract.files import sha256
from contract.layout import SCRATCH
from contract.locks import machine_lock
from contract.menu import SPLEETER, SVOICE
from contract.params import ContainerRuntime
from metrics.core.progress import progress
from stages.runtime import engine, gpus, podman
from stages.runtime.virtual_environments import (
    cuda_requirements_file,
    requirements_file,
    requirements_hash,
)

CPU_BASE = "separation-base"  # made by `make base-image`
NVIDIA_BASES = {
    SPLEETER: "nvidia/cuda:11.8.0-base-ubuntu22.04",
    SVOICE: "nvidia/cuda:12.6.3-base-ubuntu22.04",
}
LINK_CUDA = Path("docker/link_cuda.sh")  # part of Spleeter's image
WHEELS = Path(SCRATCH, "wheels")
LOCK = "separation-images"  # the lock of the process of this machine that builds images
WAITS_FOR = "another process to finish building images"
DESCRIPTION = "separation.environment"  # an image's label: what it holds, as JSON
DOWNLOADS = 4  # wheels that are downloaded at the same time
LAST_LINES = 15  # how many lines of a failed build's output are shown

# Runs in the base: the variables of environment markers (PEP 508), and the C library's version.
_DESCRIBE_PYTHON = """
import json, os, platform, sys
print(json.dumps({
    "implementation_name": sys.implementation.name,
    "implementation_version": platform.python_version(),
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": "",
    "platform_system": platform.system(),
    "platform_version": "",
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
    "glibc": platform.libc_ver()[1],
}))
"""


def find_or_build(client: DockerClient, model: str, runtime: ContainerRuntime) -> Image:
    """Returns a trainer's image, which is built if there is none of its name.

    Args:
        client: a client of the engine.
        model: `spleeter` or `svoice`.
        runtime: names the base of the image.

    Raises:
        InputError: there is no base, a requirement has no wheel, or a step of the build failed.
    """
    base = _find_base(client, model, runtime)
    requirements = _requirements(model)
    name = _name(model, base, requirements)
    try:
        return client.images.get(name)
    except NotFound:
        # For all trainers and repositories: the end of a build prunes the parts of all others.
        with machine_lock(LOCK, WAITS_FOR):
            return _build_image(client, model, base, name, requirements)


def description(image: Image) -> dict[str, Any]:
    """Returns what a trainer's image holds.

    Args:
        image: the image, as `find_or_build` returns it.

    Returns:
        `python` (its version), `platform`, and `packages`: the version of each by its name.
    """
    return json.loads(image.labels[DESCRIPTION])


def _find_base(client: DockerClient, model: str, runtime: ContainerRuntime) -> Image:
    """Returns the base of a trainer's image, which is pulled if this machine does not have it.

    With `auto` on a machine with GPUs, an image that is here goes before one that has to be pulled:
    so it does not depend on whether a registry can be reached at the moment.
    """
    configured = getattr(runtime.base, model)
    names = [configured]
    if configured == "auto":
        names = [NVIDIA_BASES[model], CPU_BASE] if gpus.available() else [CPU_BASE]
    for name in names:
        with suppress(NotFound):
            return client.images.get(name)
    name = names[0]
    key = f"runtime.base.{model}"
    if name == CPU_BASE:
        problem = f"this machine has no image {CPU_BASE}, the base for machines without GPUs"
        raise InputError(key, problem, f"run `{_base_command(runtime)}`")
    print(f"pulling {name}", flush=True)
    try:
        return client.images.pull(name)
    except APIError as error:
        problem = f"the image {name} is not here and cannot be pulled ({_first_line(error)})"
        command = _base_command(runtime)
        remedy = f"name another image, or set it to {CPU_BASE} and run `{command}`"
        if configured == "auto":
            remedy = f"run `{command}`, whose image takes its place, or name another image"
        raise InputError(key, problem, remedy) from None


def _base_command(runtime: ContainerRuntime) -> str:
    """Returns the command that makes the base for machines without GPUs."""
    return "make base-image" + (" RUNTIME=podman" if runtime.name == engine.PODMAN else "")


def _name(model: str, base: Image, requirements: Sequence[Path]) -> str:
    """Returns the name of a trainer's image: a hash of all that goes into it."""
    content = [path.read_bytes() for path in (*_build_files(model), *requirements)]
    digest = hashlib.sha256(b"\0".join([*content, base.id.encode()]))
    return f"separation-{model}:{digest.hexdigest()[:16]}"


def _dockerfile(model: str) -> Path:
    return Path(f"docker/{model}.Dockerfile")


def _build_files(model: str) -> list[Path]:
    """Returns the files of the repository that a build reads."""
    return [_dockerfile(model), *([LINK_CUDA] if model == SPLEETER else [])]


def _requirements(model: str) -> list[Path]:
    """Returns the pinned requirements: of every machine, and of CUDA's libraries.

    Those of torch are for its CUDA build alone, which the wheel tells (`_gather_wheels`).
    TensorFlow has one build, which goes without them where there is no GPU: they take 3 GB.
    """
    general, for_cuda = requirements_file(model), cuda_requirements_file(model)
    if model == SPLEETER and not gpus.available():
        return [general]
    return [general, for_cuda] if for_cuda.is_file() else [general]


def _build_image(
    client: DockerClient, model: str, base: Image, name: str, requirements: Sequence[Path]
) -> Image:
    """Builds a trainer's image, unless the process that held the lock before has built it."""
    try:
        return client.images.get(name)
    except NotFound:
        print(f"building the image {name}", flush=True)
    # All images on this base start from this one. It keeps a name of its own, which no other build
    # takes from it, and so is not pruned.
    python_name = f"separation-{model}:python-{base.id.removeprefix('sha256:')[:16]}"
    python_image = _run_dockerfile(client, model, base, python_name, target="python")
    python = _describe_python(client, model, python_image)
    content = {
        "python": python["python_full_version"],
        "platform": f"{python['sys_platform']}-{python['platform_machine']}",
        "packages": _gather_wheels(model, python, requirements),
    }
    labels = {
        DESCRIPTION: json.dumps(content),
        "separation.requirements": requirements_hash(model),
        "org.opencontainers.image.base.name": ", ".join(base.tags) or base.id,
        "org.opencontainers.image.revision": _commit(),
    }
    try:
        return _run_dockerfile(client, model, base, name, labels=labels)
    finally:
        shutil.rmtree(WHEELS / model, ignore_errors=True)
        _prune(client)


def _describe_python(client: DockerClient, model: str, image: Image) -> dict[str, str]:
    """Returns what the Python of an image says about itself (`_DESCRIBE_PYTHON`)."""
    container = client.containers.create(
        image,
        ["python3", "-c", _DESCRIBE_PYTHON],
        # The next launch removes the container if this process is killed.
        labels={engine.LAUNCHER: engine.launcher()},
        network_mode="none",
    )
    try:
        container.start()
        code = container.wait()["StatusCode"]
        output = container.logs(stderr=bool(code)).decode().strip()
    finally:
        engine.remove(container)
    if code:
        reason = output.splitlines()[-1] if output else f"exit code {code}"
        problem = f"the Python of this image fails ({reason})"
        remedy = "name an image whose Python, 3.10 or 3.11, works"
        raise InputError(f"runtime.base.{model}", problem, remedy)
    return json.loads(output)


def _prune(client: DockerClient) -> None:
    """Removes the intermediate images that building left behind."""
    try:
        client.images.prune({"dangling": True, "label": "separation.stage=installed"})
    except APIError as error:
        if error.status_code != 409:  # somebody else is pruning; the next build prunes again
            raise


def _run_dockerfile(
    client: DockerClient, model: str, base: Image, name: str, **options: Any
) -> Image:
    """Builds an image from a trainer's Dockerfile and prints each step.

    Args:
        client: a client of the engine.
        model: whose Dockerfile.
        base: the image that it starts from.
        name: the name of the new image.
        options: more arguments of the Docker SDK's `build`.

    Raises:
        InputError: a step failed, whose output is on stderr.
    """
    dockerfile = _dockerfile(model)
    output: list[str] = []
    try:
        with tempfile.TemporaryFile() as context:
            _write_context(model, context)
            stream = client.api.build(
                fileobj=context,
                custom_context=True,
                dockerfile=str(dockerfile),
                tag=name,
                buildargs={"BASE": base.id},
                rm=True,
                forcerm=True,
                decode=True,
                network_mode=_build_network(client),
                **options,
            )
            for message in stream:
                if "error" in message:
                    raise BuildError(message["error"].strip(), output)
                if line := message.get("stream", "").rstrip():
                    output += line.splitlines()
                    if line.casefold().startswith("step "):
                        print(f"  {textwrap.shorten(line, 100)}", flush=True)
        return client.images.get(name)
    except (APIError, BuildError) as error:
        for line in output[-LAST_LINES:]:
            print(f"  {line}", file=sys.stderr)
        problem = f"a step of the build failed ({_first_line(error)})"
        raise InputError(dockerfile, problem, "see the last lines of its output above") from None


def _write_context(model: str, archive: IO[bytes]) -> None:
    """Writes a tar archive of the files that a build reads.

    They belong to root there, as podman may not know the number of this user within an image.

    Args:
        model: whose image is built.
        archive: an empty file, whose position is at its start again at the end.
    """

    def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path in (*_build_files(model), WHEELS / model):
            if path.exists():  # there are no wheels before the image's Python is known
                tar.add(path, filter=owned_by_root)
    archive.seek(0)


def _build_network(client: DockerClient) -> str | None:
    """Returns the network in which images are built; None for the engine's own.

    That of podman takes a program for users who are not root, which may be missing.
    """
    return "host" if isinstance(client, podman.PodmanClient) else None


def _gather_wheels(
    model: str, python: Mapping[str, str], requirements: Sequence[Path]
) -> dict[str, str]:
    """Fills a trainer's folder of wheels for the Python of its image.

    Returns:
        The version of each package by its name.
    """
    folder = WHEELS / model
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pinned, *pinned_for_cuda = (_pinned(path, python) for path in requirements)
    _download(pinned, folder, python)
    needs_cuda = model == SPLEETER or any(map(_needs_cuda, folder.glob("torch-*.whl")))
    if pinned_for_cuda and needs_cuda:
        _download(pinned_for_cuda[0], folder, python)
    versions = {}
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version, *_ = parse_wheel_filename(wheel.name)
        versions[name] = str(version)
        lines.append(f"{name}=={version} --hash=sha256:{sha256(wheel)}\n")
    (folder / "wheels.txt").write_text("".join(lines))
    return versions


def _pinned(path: Path, python: Mapping[str, str]) -> list[Requirement]:
    """Returns the requirements of a file whose markers hold for this Python."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    requirements = [Requirement(line) for line in lines if line]
    return [r for r in requirements if r.marker is None or r.marker.evaluate(dict(python))]


def _download(requirements: list[Requirement], folder: Path, python: Mapping[str, str]) -> None:
    """Downloads the wheels of several requirements into a folder, some at once."""

    def fetch(requirement: Requirement) -> None:
        _fetch_wheel(f"{requirement.name}{requirement.specifier}", folder, python)

    with ThreadPoolExecutor(DOWNLOADS) as pool:
        results = pool.map(fetch, requirements)
        for _ in progress(requirements, "gathering", "wheel"):
            next(results)  # raises the error of this download


def _fetch_wheel(requirement: str, folder: Path, python: Mapping[str, str]) -> None:
    """Downloads the wheel of a requirement for the image's Python.

    If the index has none, it is built here, provided that it then fits any Python.

    Raises:
        InputError: pip neither finds nor builds such a wheel.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    version = python["python_version"]
    target = [f"--python-version={version}", "--implementation=cp", "--only-binary=:all:"]
    target += [f"--abi={abi}" for abi in (f"cp{version.replace('.', '')}", "abi3", "none")]
    target += [f"--platform={platform}" for platform in _platforms(python)]
    downloaded = subprocess.run(
        [*pip, "download", "--no-deps", f"--dest={folder}", *target, requirement],
        capture_output=True,
        text=True,
    )
    if downloaded.returncode == 0:
        return
    build_folder = folder / f"made-{requirement}"
    built = subprocess.run(
        [*pip, "wheel", "--no-deps", f"--wheel-dir={build_folder}", requirement],
        capture_output=True,
        text=True,
    )
    for wheel in build_folder.glob("*-none-any.whl"):
        wheel.rename(folder / wheel.name)
        build_folder.rmdir()
        return
    shutil.rmtree(build_folder, ignore_errors=True)
    output = (downloaded.stderr + built.stderr).strip().splitlines()
    reason = output[-1] if output else "pip gives no reason"
    problem = f"pip finds no wheel for Python {version} ({reason})"
    raise InputError(requirement, problem, "check its index: `pip config list`")


def _platforms(python: Mapping[str, str]) -> list[str]:
    """Returns the platform tags of the wheels that fit an image, the newest first (PEP 600)."""
    machine = python["platform_machine"]
    newest = int(python["glibc"].split(".")[1])
    modern = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    older = [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    return [*modern, *older, f"linux_{machine}"]


def _needs_cuda(wheel: Path) -> bool:
    """Returns whether a wheel requires NVIDIA's CUDA libraries."""
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    requirements = metadata.get_all("Requires-Dist", [])
    return any(requirement.startswith(("nvidia-", "cuda-")) for requirement in requirements)


def _commit() -> str:
    """Returns the current commit; `unknown` outside of a Git repository."""
    finished = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return finished.stdout.strip() if finished.returncode == 0 else "unknown"


def _first_line(error: Exception) -> str:
    text = getattr(error, "explanation", None) or getattr(error, "msg", None) or str(error)
    return str(text).strip().splitlines()[0]
