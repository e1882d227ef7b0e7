"""What a container sees, what it may do, and how it ends: with real engines."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.models.containers import Container
from docker.models.images import Image

from contract.errors import InputError
from contract.params import ContainerRuntime
from stages.runtime import containers, engine
from stages.runtime.images import CPU_BASE
from tests import engines
from tests.stages.contained import DEFAULT
from tests.stages.disks import small_disk
from tests.stages.patience import SECONDS
from tests.stages.users import GROUP, USER, as_user
from tests.stages.workspaces import environment


@pytest.fixture(scope="module", params=engine.ENGINES)
def client(request):
    with engines.client(request.param) as client:
        yield client


@pytest.fixture
def root(tmp_path, client):
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def launch(client):
    """Starts launchers that run a Python program in a container."""
    return partial(start, client)


def start(
    client: docker.DockerClient,
    root: Path,
    program: str,
    runtime: dict[str, Any] | None = None,
    within: Sequence[str] = (),
    **options: Any,
) -> subprocess.Popen:
    """Starts a launcher that runs a Python program in a container.

    Args:
        client: of the engine.
        root: the launcher's working directory.
        program: indented or not.
        runtime: settings other than `DEFAULT`.
        within: a command that runs the launcher.
        options: of `subprocess.Popen`.
    """
    command = [*within, sys.executable, "-m", "tests.stages.contained"]
    settings = json.dumps({"name": engines.name(client), **(runtime or {})})
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(
        [*command, settings, "--", "python3", "-uc", textwrap.dedent(program)],
        cwd=root,
        env=environment(),
        text=True,
        **pipes | options,
    )


def settings(client: docker.DockerClient) -> ContainerRuntime:
    """Returns the configuration with an engine's name."""
    return ContainerRuntime(**DEFAULT | {"name": engines.name(client)})


def killed(client: docker.DockerClient) -> str:
    """Returns the error about a container that SIGKILL has ended."""
    remedy = "repeat the command"
    if engines.name(client) == "podman":
        remedy = "if memory ran out, reduce the batch size; otherwise repeat the command"
    return f"ERROR: the test: its container was killed by SIGKILL; {remedy}\n"


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Waits for a launcher and returns its exit code, stdout and stderr."""
    out, error = process.communicate(timeout=SECONDS)
    return process.returncode, out, error


def containers_of(client: docker.DockerClient, process: subprocess.Popen) -> list[Container]:
    """Returns the containers that a launcher has started and nobody has removed."""
    listed = client.containers.list(
        all=True, filters={"label": engine.LAUNCHER}, ignore_removed=True
    )
    return [c for c in listed if c.labels[engine.LAUNCHER].split("/")[2] == str(process.pid)]


# --- what it sees and may do --------------------------------------------------------------

LOOK_AROUND = """
    import json, os, socket
    def attempt(action):
        try:
            return action() and None
        except OSError as error:
            return type(error).__name__ + " " + str(error.errno)
    status = dict(l.split(":\\t", 1) for l in open("/proc/self/status").read().splitlines())
    print(json.dumps({
        "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()],
        "capabilities": [status[n] for n in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
        "no_new_privileges": status["NoNewPrivs"],
        "interfaces": os.listdir("/sys/class/net"),
        "routes": len(open("/proc/net/route").readlines()) - 1,
        "connect": attempt(lambda: socket.create_connection(("192.0.2.1", 80), 2)),
        "write": {p: attempt(lambda: open(p + "/x", "w")) for p in ("/", "/usr", "/etc", "/opt")},
        "temporary": attempt(lambda: open("/tmp/x", "w")),
        "mounts": [l.split()[4] for l in open("/proc/self/mountinfo")],
        "neighbour": os.path.exists(os.path.join(os.getcwd(), "..", "neighbour")),
        "working": os.getcwd(),
    }))
    open("written", "w").write("by the container")
"""
KERNEL_MOUNTS = ("/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
PODMANS_MOUNT = "/run/.containerenv"  # by which programs see that they are in a container


def test_a_container_sees_its_workspace_and_has_no_privileges(client, monkeypatch, request):
    """The caller is an ordinary user, who may use the Docker engine or has podman."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    root = request.getfixturevalue("folder_of_user")
    (root.parent / "neighbour").write_text("secret")
    monkeypatch.chdir(root)
    runtime = settings(client)

    def look_around() -> int:
        command = ["python3", "-c", textwrap.dedent(LOOK_AROUND)]
        with engine.connected(runtime.name) as own:
            image = own.images.get(CPU_BASE)
            return containers.run(own, image, command, "the test", runtime, gpus=[])

    if runtime.name == "podman":
        variables = request.getfixturevalue("podman_home")
        code, output = as_user(look_around, variables=variables)
        # That is this user, who is root in a namespace of its own.
        user, group = 0, 0
    else:
        code, output = as_user(look_around, [os.stat("/var/run/docker.sock").st_gid])
        user, group = USER, GROUP
    assert code == 0, output
    seen = json.loads(output)
    *ids, groups = seen["ids"]
    assert ids == [user, user, group, group]
    assert set(groups) <= {group}
    assert {int(bits, 16) for bits in seen["capabilities"]} == {0}
    assert seen["no_new_privileges"] == "1"
    assert seen["interfaces"] == ["lo"]
    assert seen["routes"] == 0
    assert seen["connect"] == "OSError 101"  # network is unreachable
    assert set(seen["write"].values()) <= {"OSError 30", "PermissionError 13"}
    assert seen["write"]["/"] == "OSError 30"  # read-only file system
    assert seen["temporary"] is None
    assert seen["working"] == str(root)
    assert not seen["neighbour"]
    mounts = [m for m in seen["mounts"] if not m.startswith(KERNEL_MOUNTS) and m != "/"]
    own = [PODMANS_MOUNT] if runtime.name == "podman" else []
    assert sorted(mounts) == sorted(["/tmp", str(root), *own])
    written = (root / "written").stat()
    assert (written.st_uid, written.st_gid) == (USER, GROUP)


@pytest.mark.parametrize("client", ["docker"], indirect=True)
def test_a_user_who_may_not_use_the_engine_gets_one_line(client):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")

    def connect() -> int:
        with engine.connected("docker"):
            return 0

    code, output = as_user(connect)
    assert code == 1
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    assert output == (
        f"ERROR: runtime=docker: you may not use the Docker engine at {address}; "
        "add yourself to the group docker and log in again\n"
    )


def test_a_missing_engine_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(InputError) as raised, engine.connected("docker"):
        pass
    assert str(raised.value) == (
        f"runtime=docker: there is no Docker engine at unix://{tmp_path}/none.sock; "
        "start it (`systemctl start docker`), or use runtime=local"
    )


def test_links_lead_to_the_same_files_which_are_read_only(root, launch):
    """A file by two steps, and folders such as DVC's cache and a linked data set."""
    elsewhere = root.parent / "elsewhere"
    cache = root.parent / "cache" / "files" / "md5"
    songs = root.parent / "songs"
    for folder in (elsewhere, cache / "ab", cache / "cd", songs, root / "data"):
        folder.mkdir(parents=True)
    for path in (elsewhere / "real", cache / "ab" / "1", cache / "cd" / "2", songs / "song"):
        path.write_text(path.name)
    (elsewhere / "step").symlink_to("real")
    (root / "data" / "file").symlink_to("../../elsewhere/step")
    (root / "data" / "one").symlink_to(cache / "ab" / "1")
    (root / "data" / "two").symlink_to(cache / "cd" / "2")
    (root / "data" / "songs").symlink_to(songs)
    (root / "data" / "broken").symlink_to(root / "nowhere")
    program = """
        import os
        print(*(open(f"data/{n}").read() for n in ("file", "one", "two", "songs/song")))
        try:
            open("data/songs/new", "w")
        except OSError as error:
            print(error.errno)
        print(*sorted(os.listdir("..")))
    """
    code, out, error = finish(launch(root, program))
    assert (code, error) == (0, "")
    assert out.splitlines() == ["real 1 2 song", "30", "cache elsewhere songs workspace"]


# --- its output ---------------------------------------------------------------------------


def test_output_is_live_and_its_streams_stay_apart(root, launch):
    program = """
        import sys, time
        print("first"); print("aside", file=sys.stderr)
        while not __import__("os").path.exists("go"): time.sleep(0.05)
        print("last"); sys.exit(7)
    """
    process = launch(root, program)
    assert process.stdout.readline() == "first\n"
    assert process.poll() is None
    (root / "go").touch()
    assert finish(process) == (7, "last\n", "aside\n")


def test_a_command_started_in_a_terminal_has_a_terminal_of_its_size(root, launch):
    """Progress bars are drawn, and fit."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    program = """
        import os, signal, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
        while os.get_terminal_size().columns != 77: signal.sigtimedwait([signal.SIGWINCH], 300)
        print(sys.stdout.isatty(), os.get_terminal_size().columns, end="")
        print("\\r50 %", end="\\r"); print("100 %")
    """
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    process = launch(root, program, **streams)
    os.close(terminal)
    output = b""
    try:
        while part := os.read(controller, 1000):
            output += part
    except OSError:  # the terminal's other side is closed
        pass
    os.close(controller)
    assert process.wait(SECONDS) == 0
    # Both terminals end a line with a carriage return.
    assert output == b"True 77\r50 %\r100 %\r\r\n"


# --- how it ends --------------------------------------------------------------------------

RUN_FOREVER = """
    import signal, time
    {ignore}
    print("started")
    while True: time.sleep(1)
"""
IGNORING_CTRL_C = RUN_FOREVER.format(ignore="signal.signal(signal.SIGINT, signal.SIG_IGN)")
FOREVER = RUN_FOREVER.format(ignore="")


@pytest.mark.parametrize("program", [FOREVER, IGNORING_CTRL_C])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_and_removes_it(root, launch, client, number, program):
    """At once, or after the seconds that a trainer has to end by itself."""
    process = launch(root, program)
    assert process.stdout.readline() == "started\n"
    assert len(containers_of(client, process)) == 1
    process.send_signal(number)
    code, _, error = finish(process)
    assert code == 128 + number
    assert error == ""
    assert containers_of(client, process) == []


SAVES = """
    import signal, sys, time
    def save(*_):
        time.sleep(4)  # longer than after Ctrl-C
        open("{folder}/checkpoint", "w").write("saved")
        sys.exit({code})
    signal.signal(signal.SIGTERM, save)
    print("started")
    while True: time.sleep(1)
"""


@pytest.mark.parametrize("code", [143, 1])  # of a trainer; of torchrun
def test_a_trainer_has_the_time_to_save_a_checkpoint(root, launch, client, tmp_path, code):
    folder = tmp_path / "unfinished"
    folder.mkdir()
    process = launch(root, SAVES.format(folder=folder, code=code), {"writable": str(folder)})
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (143, "", "")
    assert (folder / "checkpoint").read_text() == "saved"
    assert containers_of(client, process) == []


def test_the_next_launch_removes_what_a_killed_launcher_left(root, launch, client):
    killed = launch(root, FOREVER)
    living = launch(root, FOREVER)
    for process in (killed, living):
        assert process.stdout.readline() == "started\n"
    killed.kill()
    killed.wait()
    assert len(containers_of(client, killed)) == 1
    assert finish(launch(root, "print(1)"))[0] == 0
    assert containers_of(client, killed) == []
    assert len(containers_of(client, living)) == 1
    living.terminate()
    finish(living)


def test_a_container_that_somebody_kills_is_reported(root, launch, client):
    process = launch(root, FOREVER)
    process.stdout.readline()
    (container,) = containers_of(client, process)
    container.kill()
    code, _, error = finish(process)
    assert (code, error) == (137, killed(client))
    assert containers_of(client, process) == []


def test_a_container_that_somebody_removes_is_reported(root, launch, client):
    """As killed or as removed: it depends on how far the removal is when its end is seen."""
    process = launch(root, FOREVER)
    process.stdout.readline()
    (container,) = containers_of(client, process)
    container.remove(force=True)
    code, _, error = finish(process)
    assert (code, error) in [
        (1, "ERROR: the test: somebody removed its container; repeat the command\n"),
        (137, killed(client)),
    ]


def test_out_of_memory_names_the_limit(root, launch, client):
    program = "held = [bytearray(1 << 20) for _ in range(1000)]"
    process = launch(root, program, {"memory": "64m"})
    code, _, error = finish(process)
    out_of_memory = (
        "ERROR: the test: its container was killed because it ran out of memory; "
        "raise runtime.memory (64m), or reduce the batch size\n"
    )
    # With control groups of version 1, podman may see the signal alone.
    seen = [(137, killed(client))] if engines.name(client) == "podman" else []
    assert (code, error) in [(1, out_of_memory), *seen]
    assert containers_of(client, process) == []


def test_a_full_disk_is_left_to_the_trainer_to_report(tmp_path, client, launch):
    program = """
        import sys
        try:
            open("big", "wb").write(bytes(1 << 20))
        except OSError as error:
            sys.exit(f"ERROR: {error.strerror}")
    """
    disk = tmp_path / "disk"
    with small_disk(disk, "64k"):
        process = launch(disk, program)
        assert finish(process) == (1, "", "ERROR: No space left on device\n")
        assert containers_of(client, process) == []


def test_a_container_has_the_configured_limits(root, launch, client):
    process = launch(root, FOREVER, {"memory": "100m", "cpus": 0.5, "shared_memory": "32m"})
    process.stdout.readline()
    (container,) = containers_of(client, process)
    limits = container.attrs["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] == 100 << 20
    assert limits["NanoCpus"] == 500_000_000
    assert limits["ShmSize"] == 32 << 20
    process.terminate()
    finish(process)


@pytest.mark.parametrize("client", ["docker"], indirect=True)
def test_a_gpu_without_nvidias_runtime_is_one_line(root, client, monkeypatch):
    if "nvidia" in client.info()["Runtimes"]:
        pytest.skip("this engine has it")
    monkeypatch.chdir(root)
    runtime, image = ContainerRuntime(**DEFAULT), client.images.get(CPU_BASE)
    with pytest.raises(InputError) as raised:
        containers.run(client, image, ["true"], "the test", runtime, gpus=["GPU-0"])
    assert str(raised.value) == (
        "runtime.gpus: the Docker engine has no NVIDIA runtime; "
        "install the package nvidia-container-toolkit, or set runtime.gpus=none"
    )
    assert engines.containers(client, root) == []


# --- what others do in the meantime -------------------------------------------------------


def run(
    client: docker.DockerClient,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    *command: str,
    image: Image | None = None,
) -> int:
    """Runs a command in a container, with this process as its launcher."""
    monkeypatch.chdir(root)
    image = image or client.images.get(CPU_BASE)
    return containers.run(client, image, command, "the test", settings(client), gpus=[])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a namespace of processes")
def test_launchers_of_the_same_number_leave_each_other_alone(root, launch, client):
    """Each is the first process of a namespace of its own, where it does not see the other."""
    unshared = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    first = launch(root, FOREVER, within=unshared)
    assert first.stdout.readline() == "started\n"
    (container,) = engines.containers(client, root)
    assert finish(launch(root, "print(1)", within=unshared)) == (0, "1\n", "")
    container.reload()
    assert container.status == "running"
    first.kill()
    finish(first)
    engine.remove(container)


@pytest.mark.parametrize("client", ["docker"], indirect=True)
def test_a_container_that_has_ended_well_may_be_pruned(root, client, monkeypatch):
    """As `docker container prune` does."""

    def prune() -> None:
        (container,) = engines.containers(client, root)
        container.remove()

    engines.interfere(monkeypatch, "wait", after=prune)
    assert run(client, root, monkeypatch, "true") == 0


def test_an_image_that_somebody_removed_is_reported(root, client, monkeypatch):
    made = client.containers.create(CPU_BASE, "true")
    image = made.commit("separation-test", root.parent.name)
    made.remove()
    client.images.remove(image.id, force=True)
    with pytest.raises(InputError) as raised:
        run(client, root, monkeypatch, "true", image=image)
    assert str(raised.value) == (
        "the test: somebody removed its image; repeat the command: it builds the image"
    )


def test_a_container_that_cannot_be_removed_changes_no_result(root, client, monkeypatch, capsys):
    engines.fail(monkeypatch, "remove_container", 500)
    assert run(client, root, monkeypatch, "sh", "-c", "exit 7") == 7
    monkeypatch.undo()
    (container,) = engines.containers(client, root)
    error = capsys.readouterr().err
    assert error.startswith(f"WARNING: could not remove the container {container.name} (")
    assert error.endswith("; the next launch removes it\n")
    engine.remove(container)


def test_an_engine_that_goes_away_is_one_line(root, client, monkeypatch):
    engines.interfere(monkeypatch, "wait", before=lambda: engines.go_away(monkeypatch))
    with pytest.raises(InputError) as raised:
        run(client, root, monkeypatch, "true")
    monkeypatch.undo()
    assert str(raised.value) == engines.gone(client)
    (container,) = engines.containers(client, root)
    engine.remove(container)


# --- what links lead to, without the engine -----------------------------------------------


def test_links_to_nothing_lead_nowhere(tmp_path):
    assert containers.linked_paths(tmp_path) == []
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert containers.linked_paths(tmp_path) == []


def test_a_linked_data_set_may_change_during_the_search(tmp_path, monkeypatch):
    songs = tmp_path / "songs"
    vanishing = songs / "vanishing"
    vanishing.mkdir(parents=True)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "data").symlink_to(songs)
    scandir = os.scandir

    def removed_before(folder):
        if os.fspath(folder) == str(vanishing):
            vanishing.rmdir()
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", removed_before)
    assert containers.linked_paths(workspace) == [songs]
    assert not vanishing.exists()
