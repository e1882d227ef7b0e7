"""The trainers' images: what `runtime=docker` runs them in.

An image is named after all that goes into it: Dockerfile, pinned requirements, base. The wheels
are gathered on the host first, with its own pip settings (index, certificates, wheels on its disk),
so that building needs no network for Python's packages.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from docker import DockerClient
from docker.errors import APIError, BuildError, ImageNotFound
from docker.models.images import Image
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from metrics.errors import InputError
from metrics.progress import progress
from stages import engine, gpus
from stages.lock import machine_lock
from stages.params import DockerRuntime

CPU_BASE = "separation-base"  # as `make base-image` makes it
NVIDIA_BASES = {
    "spleeter": "nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04",
    "svoice": "nvidia/cuda:12.6.3-base-ubuntu22.04",
}
WHEELS = Path("scratch/wheels")  # in the build's context
LOCK = "separation-images"  # held by the one process of this machine that makes images
DESCRIPTION = "separation.environment"  # label: what the image holds
DOWNLOADS = 4  # at once
LAST_LINES = 15  # of a build that failed

# Runs in the base.
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


def image(client: DockerClient, model: str, runtime: DockerRuntime) -> Image:
    """A trainer's image, built if there is none of that name yet.

    Raises:
        InputError: no base, a requirement without a wheel, a step of the build that failed.
    """
    base = _base(client, model, runtime)
    name = _name(model, base)
    try:
        return client.images.get(name)
    except ImageNotFound:
        # Of any trainer and any repository: what ends a build removes parts of all others.
        with machine_lock(LOCK, f"the image {name}: another process makes images"):
            return _built(client, model, base, name)


def described(image: Image) -> dict:
    """What is in a trainer's image: `python`, `platform`, `packages` (name → version)."""
    return json.loads(image.labels[DESCRIPTION])


def _base(client: DockerClient, model: str, runtime: DockerRuntime) -> Image:
    wanted = getattr(runtime.base, model)
    if wanted == "auto":
        wanted = NVIDIA_BASES[model] if gpus.listed() else CPU_BASE
    key = f"runtime.base.{model}"
    try:
        return client.images.get(wanted)
    except ImageNotFound:
        pass
    if wanted == CPU_BASE:
        expected = "one, as `make base-image` makes it"
        raise InputError(key, f"no image {CPU_BASE} for a machine without GPUs", expected)
    print(f"pulling {wanted}", flush=True)
    try:
        return client.images.pull(wanted)
    except APIError as error:
        found = f"{wanted}, which is not here and cannot be pulled ({_first_line(error)})"
        expected = f"an image of this machine or of a registry, or {CPU_BASE} (`make base-image`)"
        raise InputError(key, found, expected) from None


def _name(model: str, base: Image) -> str:
    content = [path.read_bytes() for path in (_dockerfile(model), *_requirements(model))]
    digest = hashlib.sha256(b"\0".join([*content, base.id.encode()]))
    return f"separation-{model}:{digest.hexdigest()[:16]}"


def _dockerfile(model: str) -> Path:
    return Path(f"docker/{model}.Dockerfile")


def _requirements(model: str) -> list[Path]:
    """Those of every machine, and those that only torch's CUDA build has."""
    folder = Path("docker/requirements")
    paths = [folder / f"{model}.txt", folder / f"{model}-cuda.txt"]
    return [path for path in paths if path.is_file()]


def _built(client: DockerClient, model: str, base: Image, name: str) -> Image:
    try:
        return client.images.get(name)  # the one who had the lock before made it
    except ImageNotFound:
        print(f"building the image {name}", flush=True)
    # It is the start of all images on this base, and stays while it has a name that no other takes.
    own = f"separation-{model}:python-{base.id.removeprefix('sha256:')[:16]}"
    python = _build(client, model, base, own, target="python")
    found = _python(client, model, python)
    description = {
        "python": found["python_full_version"],
        "platform": f"{found['sys_platform']}-{found['platform_machine']}",
        "packages": _gather(model, found),
    }
    labels = {
        DESCRIPTION: json.dumps(description),
        "separation.requirements": _sha256(_requirements(model)[0]),
        "org.opencontainers.image.base.name": ", ".join(base.tags) or base.id,
        "org.opencontainers.image.revision": _commit(),
    }
    try:
        return _build(client, model, base, name, labels=labels)
    finally:
        shutil.rmtree(WHEELS / model, ignore_errors=True)
        _prune(client)


def _python(client: DockerClient, model: str, image: Image) -> dict:
    """What the Python of an image says of itself."""
    container = client.containers.create(
        image,
        ["python3", "-c", _DESCRIBE_PYTHON],
        labels={engine.LAUNCHER: engine.launcher()},  # should this process be killed
        network_mode="none",
    )
    try:
        container.start()
        code = container.wait()["StatusCode"]
        said = container.logs(stderr=bool(code)).decode().strip()
    finally:
        engine.remove(container)
    if code:
        found = f"a Python that fails ({said.splitlines()[-1] if said else code})"
        raise InputError(f"runtime.base.{model}", found, "one that runs")
    return json.loads(said)


def _prune(client: DockerClient) -> None:
    """Removes what building left behind."""
    try:
        client.images.prune({"dangling": True, "label": "separation.stage=installed"})
    except APIError as error:
        if error.status_code != 409:  # somebody prunes just now; the next build does it
            raise


def _build(client: DockerClient, model: str, base: Image, name: str, **options) -> Image:
    """Runs the Dockerfile, step by step for the reader to see."""
    dockerfile = _dockerfile(model)
    said = []
    try:
        stream = client.api.build(
            path=".",
            dockerfile=str(dockerfile),
            tag=name,
            buildargs={"BASE": base.id},
            rm=True,
            forcerm=True,
            decode=True,
            **options,
        )
        for message in stream:
            if "error" in message:
                raise BuildError(message["error"].strip(), said)
            if line := message.get("stream", "").rstrip():
                said += line.splitlines()
                if line.startswith("Step "):
                    print(f"  {textwrap.shorten(line, 100)}", flush=True)
        return client.images.get(name)
    except (APIError, BuildError) as error:
        lines = "\n  ".join([*said[-LAST_LINES:], _first_line(error)])
        raise InputError(dockerfile, f"a step that failed:\n  {lines}\n", "an image") from None


def _gather(model: str, python: dict) -> dict[str, str]:
    """Fills the folder of wheels for the image's Python. Returns the version of each package."""
    folder = WHEELS / model
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pinned, *only_cuda = (_pinned(path, python) for path in _requirements(model))
    _download(pinned, folder, python)
    if only_cuda and any(_wants_cuda(wheel) for wheel in folder.glob("torch-*.whl")):
        _download(only_cuda[0], folder, python)
    wheels = sorted(folder.glob("*.whl"))
    versions = {wheel: parse_wheel_filename(wheel.name)[:2] for wheel in wheels}
    lines = [f"{n}=={v} --hash=sha256:{_sha256(w)}\n" for w, (n, v) in versions.items()]
    (folder / "wheels.txt").write_text("".join(lines))
    return {name: str(version) for name, version in versions.values()}


def _pinned(path: Path, python: dict) -> list[Requirement]:
    """The requirements of a pinned file that are for this Python."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    requirements = [Requirement(line) for line in lines if line]
    return [r for r in requirements if r.marker is None or r.marker.evaluate(python)]


def _download(requirements: list[Requirement], folder: Path, python: dict) -> None:
    def fetch(requirement):
        return _fetch(f"{requirement.name}{requirement.specifier}", folder, python)

    with ThreadPoolExecutor(DOWNLOADS) as pool:
        fetched = pool.map(fetch, requirements)
        for _ in progress(requirements, "gathering", "wheel"):
            next(fetched)


def _fetch(requirement: str, folder: Path, python: dict) -> None:
    """One wheel: the index's, for the image's Python, or one made here that fits any."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    version = python["python_version"]
    target = [f"--python-version={version}", "--implementation=cp", "--only-binary=:all:"]
    target += [f"--abi={abi}" for abi in (f"cp{version.replace('.', '')}", "abi3", "none")]
    target += [f"--platform={platform}" for platform in _platforms(python)]
    found = subprocess.run(
        [*pip, "download", "--no-deps", f"--dest={folder}", *target, requirement],
        capture_output=True,
        text=True,
    )
    if found.returncode == 0:
        return
    own = folder / f"made-{requirement}"
    made = subprocess.run(
        [*pip, "wheel", "--no-deps", f"--wheel-dir={own}", requirement],
        capture_output=True,
        text=True,
    )
    for wheel in own.glob("*-none-any.whl"):
        wheel.rename(folder / wheel.name)
        own.rmdir()
        return
    shutil.rmtree(own, ignore_errors=True)
    said = (found.stderr + made.stderr).strip().splitlines()
    found = f"no wheel for Python {version} ({said[-1] if said else 'pip says nothing'})"
    raise InputError(requirement, found, "one that pip finds with this machine's settings")


def _platforms(python: dict) -> list[str]:
    machine = python["platform_machine"]
    newest = int(python["glibc"].split(".")[1])
    modern = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    older = [f"manylinux{name}_{machine}" for name in ("2014", "2010", "1")]
    return [*modern, *older, f"linux_{machine}"]


def _wants_cuda(wheel: Path) -> bool:
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = HeaderParser().parsestr(archive.read(name).decode())
    return any(
        line.startswith(("nvidia-", "cuda-")) for line in metadata.get_all("Requires-Dist", [])
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else "unknown"


def _first_line(error: Exception) -> str:
    text = getattr(error, "explanation", None) or getattr(error, "msg", None) or str(error)
    return str(text).strip().splitlines()[0]
