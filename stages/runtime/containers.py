"""A command in a container that sees the workspace and nothing else of the machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.models.images import Image
from docker.types import DeviceRequest, Mount
from requests import RequestException

from contract import termination
from contract.errors import InputError
from contract.hardware import RESERVED_GPUS
from contract.layout import SCRATCH
from contract.params import ContainerRuntime
from stages.runtime import engine, podman

STOP_SECONDS = 3  # seconds after which a trainer that got Ctrl-C is killed
SAVE_SECONDS = 60  # the same after SIGTERM, after which a trainer saves a checkpoint
# What to do after SIGKILL where nobody says why it was sent.
PERHAPS_MEMORY = "if memory ran out, reduce the batch size; otherwise repeat the command"

# Folders of the repository that the trainers do not read.
_NOT_SEARCHED = {".git", ".dvc", ".venv", SCRATCH}


def run(
    client: DockerClient,
    image: Image,
    command: Sequence[str],
    name: str,
    runtime: ContainerRuntime,
    gpus: Sequence[str],
    writable: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Runs a command in the working directory, as the calling user, and passes its output on live.

    The container sees the workspace, and under their own paths the files and folders that links in
    it lead to, which it cannot change. However the command ends, the container is removed: by this
    process or, if that is killed, by the next launch.

    Args:
        client: a client of the engine.
        image: what the container is made from.
        command: the program and its arguments.
        name: what error messages call the command.
        runtime: the limits of the container.
        gpus: UUIDs of the GPUs that it gets.
        writable: a folder outside the workspace that it may write to. Where there is one, the
            command has `SAVE_SECONDS` after SIGTERM to save its unfinished work there.
        environment: environment variables that it gets besides the usual ones.

    Returns:
        The command's exit code. If SIGTERM has ended it, that is `termination.EXIT_CODE`.

    Raises:
        InputError: the engine cannot start the container, somebody removed it or its image, or it
            ran out of memory.
    """
    terminal = sys.stdout.isatty() and sys.stderr.isatty()
    # The process's number is not enough: a launcher in another namespace may have the same one.
    container_name = f"separation-{os.getpid()}-{secrets.token_hex(8)}"
    options = _options(Path.cwd(), terminal, runtime, gpus, writable)
    options["environment"] |= environment or {}
    try:
        if isinstance(client, podman.PodmanClient):
            container = podman.create(client, image, command, container_name, options)
        else:
            container = client.containers.create(
                image, list(command), name=container_name, **options
            )
        output = container.attach(stream=True, demux=not terminal)
        container.start()
        with _sigterm_passed_on(container) if writable else nullcontext() as asked_to_end:
            _follow(container, output, terminal)
            if isinstance(client, podman.PodmanClient):
                code = podman.exit_code(container)
            else:
                code = container.wait()["StatusCode"]
        if asked_to_end and code:
            return termination.EXIT_CODE
        # Asked only after a failure: a container that has ended well may be gone, because somebody
        # prunes those that have ended.
        out_of_memory = code and _was_out_of_memory(client, container)
    except ImageNotFound:
        problem = "somebody removed its image"
        raise InputError(name, problem, "repeat the command: it builds the image") from None
    except NotFound:
        raise InputError(name, "somebody removed its container", "repeat the command") from None
    except APIError as error:
        raise _refusal(client, error) from None
    except RequestException as error:
        raise engine.disconnection(client, error) from None
    finally:
        _remove(client, container_name)
    if out_of_memory:
        raise _memory_error(name, runtime)
    if code > 128:
        problem = f"its container was killed by {signal_name(code - 128)}"
        remedy = "repeat the command"
        if code == 128 + signal.SIGKILL and isinstance(client, podman.PodmanClient):
            # Podman does not see every lack of memory, such as that of a job of Slurm.
            remedy = PERHAPS_MEMORY
        print(f"ERROR: {name}: {problem}; {remedy}", file=sys.stderr)
    return code


def linked_paths(workspace: Path) -> list[Path]:
    """Returns the files and folders outside the workspace that links in it lead to.

    A path within another one is left out, and DVC's cache counts as one folder. Links to what does
    not exist, or what this user may not read, are left out as well: a linked data set may change at
    any time.

    Args:
        workspace: the folder that the links are in.
    """
    targets: list[Path] = []

    def follow(link: Path) -> None:
        """Follows a link step by step: in the container each step must exist, too."""
        path = link
        while target := _link_target(path):
            path = target
            if not os.path.exists(path):
                return
            root = _cache_root(path)
            if any(root.is_relative_to(seen) for seen in (workspace, *targets)):
                continue
            targets[:] = [seen for seen in targets if not seen.is_relative_to(root)]
            targets.append(root)
            search(root)

    def search(folder: Path) -> None:
        for entry in _entries(folder):
            if entry.is_symlink():
                follow(Path(entry.path))
            elif entry.is_dir() and entry.name not in _NOT_SEARCHED:
                search(Path(entry.path))

    search(workspace)
    return sorted(targets)


def _link_target(path: Path) -> Path | None:
    """Returns where a link leads; None if the path is no link."""
    try:
        return Path(os.path.normpath(path.parent / os.readlink(path)))
    except OSError:
        return None


def _entries(folder: Path) -> list[os.DirEntry]:
    """Returns the entries of a folder; none if it is not a folder or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _cache_root(path: Path) -> Path:
    """Returns the folder `files/md5` of a file in DVC's cache, and any other path as it is.

    DVC spreads its cache over 256 folders: `files/md5/ab/cdef…`.
    """
    for parent in path.parents:
        if parent.parts[-2:] == ("files", "md5"):
            return parent
    return path


def _options(
    workspace: Path,
    terminal: bool,
    runtime: ContainerRuntime,
    gpus: Sequence[str],
    writable: Path | None,
) -> dict[str, Any]:
    """Returns what the container may see and use, as arguments of the Docker SDK's `create`.

    Args:
        workspace: the working directory.
        terminal: whether the command's output goes to a terminal.
        runtime: as for `run`.
        gpus: as for `run`.
        writable: as for `run`.
    """
    return {
        "labels": {engine.LAUNCHER: engine.launcher()},
        "user": f"{os.getuid()}:{os.getgid()}",
        "working_dir": str(workspace),
        "mounts": list(_mounts(workspace, writable)),
        "environment": _environment(terminal, len(gpus)),
        "tty": terminal,
        "device_requests": _device_requests(gpus),
        "shm_size": runtime.shared_memory,
        "mem_limit": runtime.memory,
        "memswap_limit": runtime.memory,  # memory and swap together: no swap
        "nano_cpus": runtime.cpus and round(runtime.cpus * 1e9),
        "network_mode": "none",
        "read_only": True,
        "tmpfs": {"/tmp": "exec,mode=1777"},  # compiled kernels run from there
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }


def _mounts(workspace: Path, writable: Path | None) -> Iterator[Mount]:
    yield Mount(str(workspace), str(workspace), "bind")
    for path in linked_paths(workspace):
        yield Mount(str(path), str(path), "bind", read_only=True)
    if writable and not writable.is_relative_to(workspace):
        yield Mount(str(writable), str(writable), "bind")


def _device_requests(gpus: Sequence[str]) -> list[DeviceRequest]:
    if not gpus:
        return []
    return [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])]


def _environment(terminal: bool, gpus: int) -> dict[str, str]:
    """Returns the environment variables of the command."""
    environment = {"HOME": "/tmp", "USER": "trainer", "LANG": "C.UTF-8"}
    environment[RESERVED_GPUS] = str(gpus)
    if terminal:
        environment["TERM"] = os.environ.get("TERM", "xterm")
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return environment | {name: os.environ[name] for name in threads if name in os.environ}


@contextmanager
def _sigterm_passed_on(container: Container) -> Iterator[list[int]]:
    """Passes SIGTERM on to a container, and kills the container if it goes on for `SAVE_SECONDS`.

    Args:
        container: the container, which has been started.

    Yields:
        A list that is empty until SIGTERM comes.
    """
    received: list[int] = []

    def stop() -> None:
        with suppress(APIError, RequestException):  # it has ended meanwhile
            container.stop(timeout=SAVE_SECONDS)

    def pass_on(number: int, _: Any) -> None:
        if not received:
            # In a thread, because this one may be in the middle of another request.
            threading.Thread(target=stop, daemon=True).start()
        received.append(number)

    previous = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)


def _follow(container: Container, output: Iterable[Any], terminal: bool) -> None:
    """Passes the output of a container on as it comes, until it ends."""
    if terminal:
        with _same_terminal_size(container):
            _pass_on((part, None) for part in output)
    else:
        _pass_on(output)


def _pass_on(output: Iterable[tuple[bytes | None, bytes | None]]) -> None:
    """Writes pairs of what a command wrote to stdout and to stderr."""
    for parts in output:
        for part, stream in zip(parts, (sys.stdout, sys.stderr), strict=True):
            if part:
                stream.buffer.write(part)
                stream.buffer.flush()


@contextmanager
def _same_terminal_size(container: Container) -> Iterator[None]:
    """Keeps the container's terminal as large as this one, so that progress bars fit."""

    def resize(*_: Any) -> None:
        columns, lines = shutil.get_terminal_size()
        with suppress(APIError):  # the container has ended
            container.resize(lines, columns)

    previous = signal.signal(signal.SIGWINCH, resize)
    resize()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)


def _remove(client: DockerClient, name: str) -> None:
    """Stops a container as Ctrl-C stops a command, if it runs, and removes it.

    If the engine fails to, this does not change how the command ended: the next launch removes the
    container.
    """
    with _signals_ignored():
        try:
            container = client.containers.get(name)
            if container.status == "running":
                # It may have ended by now, or be too busy to end.
                with suppress(APIError, RequestException):
                    container.kill(signal.SIGINT)
                    container.wait(timeout=STOP_SECONDS)
            engine.remove(container)
        except NotFound:
            pass
        except (APIError, RequestException) as error:
            problem = f"could not remove the container {name} ({error})"
            print(f"WARNING: {problem}; the next launch removes it", file=sys.stderr)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignores Ctrl-C and SIGTERM, so that a second one does not interrupt the cleaning up."""
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, signal.SIG_IGN) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)


def _refusal(client: DockerClient, error: APIError) -> InputError:
    """Returns the engine's refusal of a container as an error for the user."""
    if "CDI device" in str(error.explanation):
        problem = f"podman has no description of a GPU ({error.explanation.rpartition(': ')[2]})"
        remedy = "have one made by `nvidia-ctk cdi generate`, or set runtime.gpus=none"
        return InputError("runtime.gpus", problem, remedy)
    if "capabilities: [[gpu" in str(error.explanation):
        problem = "the Docker engine has no NVIDIA runtime"
        remedy = "install the package nvidia-container-toolkit, or set runtime.gpus=none"
        return InputError("runtime.gpus", problem, remedy)
    return engine.refusal(client, error)


def _was_out_of_memory(client: DockerClient, container: Container) -> bool:
    return client.api.inspect_container(container.id)["State"]["OOMKilled"]


def _memory_error(name: str, runtime: ContainerRuntime) -> InputError:
    problem = "its container was killed because it ran out of memory"
    if runtime.memory:
        remedy = f"raise runtime.memory ({runtime.memory}), or reduce the batch size"
    else:
        remedy = "use a machine with more memory, or reduce the batch size"
    return InputError(name, problem, remedy)


def signal_name(number: int) -> str:
    """Returns the name of a signal, such as SIGKILL; `signal 40` for one without a name.

    Args:
        number: the signal's number.
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
