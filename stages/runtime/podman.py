"""podman, which runs containers without an engine, for ordinary users too, as on a cluster.

For as long as a command needs it, podman answers the requests that a Docker engine answers. What
differs is who the user in a container is, and how a container gets GPUs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException, ImageNotFound, create_api_error_from_http_exception
from docker.models.containers import Container
from docker.models.images import Image
from docker.utils import parse_bytes
from requests import HTTPError, RequestException

from contract.errors import InputError

START_SECONDS = 120  # until podman answers; the first start on a busy machine takes its time
IDLE_SECONDS = 60  # without a request, after which podman's service ends
API = "/v4.0.0/libpod"  # podman's own requests, of version 4 and later
CPU_PERIOD = 100_000  # microseconds in which a container has its share of the processors
POLL_SECONDS = 0.1  # while a container is being removed


class PodmanClient(DockerClient):
    """A client of podman."""


@contextmanager
def connected(timeout: float) -> Iterator[PodmanClient]:
    """Yields a client of podman, which answers until the end of the block.

    Args:
        timeout: seconds until it answers a request.

    Raises:
        InputError: podman is not installed, or does not work for this user.
    """
    with tempfile.TemporaryDirectory(prefix="separation-podman-") as folder:
        path = Path(folder, "podman.sock")
        log = Path(folder, "log")
        with (
            _service(path, log) as service,
            closing(_client(path, timeout, service, log)) as client,
            _kept_alive(client),
        ):
            yield client


@contextmanager
def _service(path: Path, log: Path) -> Iterator[subprocess.Popen]:
    """Runs podman's service until the end of the block.

    It does not get the Ctrl-C of the terminal, as the container has to be removed after that.
    """
    command = ["podman", "system", "service", f"--time={IDLE_SECONDS}", f"unix://{path}"]
    with log.open("w") as output:
        try:
            service = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except FileNotFoundError:
            problem = "there is no program podman on this machine"
            remedy = "install the package podman or load its module, or use runtime=local"
            raise InputError("runtime=podman", problem, remedy) from None
    try:
        yield service
    finally:
        service.terminate()
        service.wait()


@contextmanager
def _kept_alive(client: PodmanClient) -> Iterator[None]:
    """Keeps podman's service alive until the end of the block, by a request now and then.

    If this process is killed, the service ends by itself, once its container has ended. A signal to
    it would not be enough: that of an ordinary user consists of two processes.
    """
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(IDLE_SECONDS / 12):
            with suppress(DockerException, RequestException):
                client.ping()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _client(path: Path, timeout: float, service: subprocess.Popen, log: Path) -> PodmanClient:
    """Returns a client of podman's service as soon as that answers."""
    deadline = time.monotonic() + START_SECONDS
    while service.poll() is None:
        try:
            return PodmanClient(base_url=f"unix://{path}", timeout=timeout)
        except (DockerException, RequestException):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    lines = log.read_text(errors="replace").strip().splitlines()
    problem = f"podman does not start ({lines[-1] if lines else 'it gives no reason'})"
    raise InputError("runtime=podman", problem, "see what `podman info` says")


def create(
    client: PodmanClient,
    image: Image,
    command: Sequence[str],
    name: str,
    options: Mapping[str, Any],
) -> Container:
    """Creates a container.

    Podman's form of Docker's request has no GPUs before version 5.5; its own request has.

    Args:
        client: a client of podman.
        image: what the container is made from.
        command: the program and its arguments.
        name: the container's name.
        options: as the Docker SDK's `create` takes them.

    Raises:
        ImageNotFound: the image is not there.
        APIError: podman cannot create it.
    """
    specification = _specification(options) | {
        "image": image.id,
        "command": list(command),
        "name": name,
    }
    request = f"{client.api.base_url}{API}/containers/create"
    response = client.api.post(request, json=specification, timeout=client.api.timeout)
    if response.status_code == 404 or "image not known" in response.text:
        raise ImageNotFound(response.text, response)
    try:
        response.raise_for_status()
    except HTTPError as error:
        create_api_error_from_http_exception(error)
    created = response.json()
    for warning in created["Warnings"]:
        print(f"WARNING: podman: {warning}", file=sys.stderr)
    return client.containers.get(created["Id"])


def exit_code(container: Container) -> int:
    """Waits for the end of a container and returns the exit code of its command.

    Podman's answer is 0, too, if somebody removes the container meanwhile. So a container that has
    ended well has to be there still: one that is pruned at that very moment counts as removed.

    Args:
        container: the container, whose output has ended.

    Raises:
        NotFound: somebody has removed it.
    """
    code = container.wait()["StatusCode"]
    while code == 0:
        container.reload()
        state = container.attrs["State"]
        if state["Status"] == "exited":
            return state["ExitCode"]
        time.sleep(POLL_SECONDS)  # it is being removed
    return code


def _specification(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a container may see and use, as podman's request says it.

    Args:
        options: as for `create`.
    """
    mounts = [
        {
            "type": mount["Type"],
            "source": mount["Source"],
            "destination": mount["Target"],
            "options": ["rbind", "ro" if mount["ReadOnly"] else "rw"],
        }
        for mount in options["mounts"]
    ]
    for folder, settings in options["tmpfs"].items():
        mounts.append(
            {
                "type": "tmpfs",
                "source": "tmpfs",
                "destination": folder,
                "options": ["nosuid", "nodev", *settings.split(",")],
            }
        )
    return {
        "labels": options["labels"],
        # The root of a container is this user: for all others podman would make up new ones, to
        # whom the files would belong.
        "user": "0:0",
        "work_dir": options["working_dir"],
        "stop_timeout": 0,  # seconds that it has when it is removed, as with Docker
        "env": options["environment"],
        "terminal": options["tty"],
        "mounts": mounts,
        "devices": [
            {"path": f"nvidia.com/gpu={gpu}"}
            for request in options["device_requests"]
            for gpu in request["DeviceIDs"]
        ],
        "shm_size": parse_bytes(options["shm_size"]),
        "resource_limits": _limits(options) or None,
        "netns": {"nsmode": options["network_mode"]},
        "read_only_filesystem": options["read_only"],
        "cap_drop": options["cap_drop"],
        "no_new_privileges": "no-new-privileges" in options["security_opt"],
        # SELinux would keep a container from the files that it is to work on.
        "selinux_opts": ["disable"],
    }


def _limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the limits of a container's memory and processors, as the OCI describes them."""
    limits: dict[str, Any] = {}
    if options["mem_limit"]:
        limits["memory"] = {
            "limit": parse_bytes(options["mem_limit"]),
            "swap": parse_bytes(options["memswap_limit"]),
        }
    if options["nano_cpus"]:
        quota = options["nano_cpus"] * CPU_PERIOD // 10**9
        limits["cpu"] = {"period": CPU_PERIOD, "quota": quota}
    return limits
