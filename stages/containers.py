"""A command in a container that sees the workspace and nothing else of the machine."""

import os
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.images import Image
from docker.types import DeviceRequest, Mount
from requests import RequestException

from metrics.errors import InputError
from stages import engine
from stages.params import DockerRuntime

STOP_SECONDS = 3  # for a trainer to end by itself


def run(
    client: DockerClient,
    image: Image,
    command: list[str],
    what: str,
    runtime: DockerRuntime,
    gpus: list[str],
    writable: Path | None = None,
) -> int:
    """Runs `command` in the working directory, as this user, its output live. However the block
    ends, the container is removed: by this process or, should that be killed, by the next launch.

    What the workspace links to can be read under its own path, wherever it lies.

    Args:
        what: runs there, for errors.
        gpus: UUIDs of those it gets.
        writable: a folder outside of the workspace that it writes to.

    Returns:
        The command's exit code.

    Raises:
        InputError: the engine cannot start it, or the container was killed.
    """
    workspace = Path.cwd()
    terminal = sys.stdout.isatty() and sys.stderr.isatty()
    # Nobody else's: another launcher may have this one's number, in a namespace of its own.
    name = f"separation-{os.getpid()}-{secrets.token_hex(8)}"
    options = {
        "name": name,
        "labels": {engine.LAUNCHER: engine.launcher()},
        "user": f"{os.getuid()}:{os.getgid()}",
        "working_dir": str(workspace),
        "mounts": list(_mounts(workspace, writable)),
        "environment": _environment(terminal),
        "tty": terminal,
        "device_requests": [DeviceRequest(device_ids=gpus, capabilities=[["gpu"]])] if gpus else [],
        "shm_size": runtime.shared_memory,
        "mem_limit": runtime.memory,
        "memswap_limit": runtime.memory,  # no swap beside it
        "nano_cpus": runtime.cpus and round(runtime.cpus * 1e9),
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": "exec,mode=1777"},  # compiled kernels are run from there
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }
    try:
        container = client.containers.create(image, command, **options)
        _follow(container, terminal)
        code = container.wait()["StatusCode"]
        # Only after a failure: what has ended others may remove.
        starved = code and client.api.inspect_container(container.id)["State"]["OOMKilled"]
    except ImageNotFound:
        expected = "it to stay: the next run builds it again"
        raise InputError(what, "its image removed by another", expected) from None
    except NotFound:
        raise InputError(what, "its container removed by another", "none to touch it") from None
    except APIError as error:
        raise _refused(error) from None
    except RequestException as error:
        raise engine.gone(error) from None
    finally:
        _remove(client, name)
    if starved:
        limit = f"runtime.memory = {runtime.memory}" if runtime.memory else "this machine's memory"
        raise InputError(what, "its container killed for want of memory", f"no more than {limit}")
    if code > 128:
        print(f"ERROR: {what}: its container was killed by {_signal(code - 128)}", file=sys.stderr)
    return code


def linked(workspace: Path) -> list[Path]:
    """The folders and files outside of the workspace that links in it lead to, each once; of DVC's
    cache the whole of it. What others remove meanwhile, or let nobody read, leads nowhere."""
    found: list[Path] = []

    def reach(path: Path) -> None:
        """Follows a link, and what it leads to, step by step: each must be there to be followed."""
        while target := _target(path):
            path = target
            if not os.path.exists(path):
                return
            whole = _whole(path)
            if any(whole.is_relative_to(known) for known in (workspace, *found)):
                continue
            found[:] = [known for known in found if not known.is_relative_to(whole)] + [whole]
            look(whole)

    def look(folder: Path) -> None:
        for entry in _entries(folder):
            if entry.is_symlink():
                reach(Path(entry.path))
            elif entry.is_dir() and entry.name not in _OWN:
                look(Path(entry.path))

    look(workspace)
    return sorted(found)


_OWN = {".git", ".dvc", ".venv", "scratch"}  # of the repository; the trainers read none of it


def _target(path: Path) -> Path | None:
    """Where a link leads; None if it is none."""
    try:
        return Path(os.path.normpath(path.parent / os.readlink(path)))
    except OSError:
        return None


def _entries(folder: Path) -> list[os.DirEntry]:
    """Of a folder; none if it is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _whole(path: Path) -> Path:
    """DVC spreads its cache over 256 folders: `files/md5/ab/cdef…`."""
    for parent in path.parents:
        if parent.parts[-2:] == ("files", "md5"):
            return parent
    return path


def _mounts(workspace: Path, writable: Path | None) -> Iterator[Mount]:
    yield Mount(str(workspace), str(workspace), "bind")
    for path in linked(workspace):
        yield Mount(str(path), str(path), "bind", read_only=True)
    if writable and not writable.is_relative_to(workspace):
        yield Mount(str(writable), str(writable), "bind")


def _environment(terminal: bool) -> dict[str, str]:
    environment = {"HOME": "/tmp", "USER": "trainer", "LANG": "C.UTF-8"}
    if terminal:
        environment["TERM"] = os.environ.get("TERM", "xterm")
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return environment | {name: os.environ[name] for name in threads if name in os.environ}


def _follow(container: Container, terminal: bool) -> None:
    """Starts the container and passes on what it says, as soon as it says it, until it ends."""
    output = container.attach(stream=True, demux=not terminal)
    container.start()
    if terminal:
        with _as_large_as_this(container):
            _pass_on((part, None) for part in output)
    else:
        _pass_on(output)


def _pass_on(output: Iterator[tuple[bytes | None, bytes | None]]) -> None:
    for parts in output:
        for part, stream in zip(parts, (sys.stdout, sys.stderr), strict=True):
            if part:
                stream.buffer.write(part)
                stream.buffer.flush()


@contextmanager
def _as_large_as_this(container: Container) -> Iterator[None]:
    """Keeps the container's terminal as large as this one, so that progress bars fit."""

    def resize(*_):
        columns, lines = shutil.get_terminal_size()
        with suppress(APIError):  # it has ended
            container.resize(lines, columns)

    previous = signal.signal(signal.SIGWINCH, resize)
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)


def _remove(client: DockerClient, name: str) -> None:
    """Ends the container, if it runs, as Ctrl-C ends a command, and removes it. An engine that
    fails to changes nothing of how the command ended; the next launch removes the container."""
    with _undisturbed():
        try:
            container = client.containers.get(name)
            if container.status == "running":
                # It may have ended by now, or be too busy to.
                with suppress(APIError, RequestException):
                    container.kill(signal.SIGINT)
                    container.wait(timeout=STOP_SECONDS)
            engine.remove(container)
        except NotFound:
            pass
        except (APIError, RequestException) as error:
            left = f"container {name} is left to the next launch to remove"
            print(f"{left}: {error}", file=sys.stderr)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Another Ctrl-C does not keep the block from what the first one made necessary."""
    endings = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(ending, signal.SIG_IGN) for ending in endings]
    try:
        yield
    finally:
        for ending, handler in zip(endings, previous, strict=True):
            signal.signal(ending, handler)


def _refused(error: APIError) -> InputError:
    if "capabilities: [[gpu" in str(error.explanation):
        found = "no NVIDIA runtime in the Docker engine"
        expected = "the one of the package nvidia-container-toolkit, or runtime.gpus=none"
        return InputError("runtime.gpus", found, expected)
    return engine.refused(error)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
