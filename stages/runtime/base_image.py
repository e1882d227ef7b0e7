"""`make base-image`: a base for the trainers' images from this distribution's own packages, for
machines without GPUs and for those that reach no registry of images."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from docker import DockerClient
from docker.errors import NotFound
from docker.models.images import Image

from contract.arguments import Parser
from contract.errors import InputError, one_line
from contract.locks import machine_lock
from stages.runtime import engine, gpus
from stages.runtime.images import CPU_BASE, LOCK, WAITS_FOR

DEBIAN_PACKAGES = "python3,python3-venv"
# Folders whose content is of no use in an image.
EMPTIED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache", "var/lib/apt/lists")


@one_line
def main() -> None:
    """Makes the base image or, with `--is-there`, exits with 1 if it is needed and missing."""
    parser = Parser(__doc__)
    parser.add_argument("--runtime", choices=engine.ENGINES, default=engine.DOCKER)
    parser.add_argument("--is-there", action="store_true", help="fail if it is needed and missing")
    options = parser.parse_args()
    with engine.connected(options.runtime) as client:
        if options.is_there:
            sys.exit(0 if gpus.available() or find(client) else 1)
        before = find(client)
        with machine_lock(LOCK, WAITS_FOR):
            # The trainers' images are named after their base: if another process has just made it,
            # one more would have all of them built again.
            if find(client) == before:
                _make(client)
        size = client.images.get(CPU_BASE).attrs["Size"]
        print(f"{CPU_BASE}: {size / 1e6:.0f} MB")


def find(client: DockerClient) -> Image | None:
    """Returns the base image that was made last; None if there is none.

    Args:
        client: a client of the engine.
    """
    try:
        return client.images.get(CPU_BASE)
    except NotFound:
        return None


def _make(client: DockerClient) -> None:
    """Bootstraps the distribution in a temporary folder and imports that as an image."""
    print(f"making {CPU_BASE} (a minute or two)", flush=True)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        try:
            _bootstrap(as_root, root)
            tar = ["tar", "--numeric-owner", *(f"--exclude=./{path}/*" for path in EMPTIED)]
            command = [*as_root, *tar, "-C", str(root), "-c", "."]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                client.api.import_image_from_stream(process.stdout, CPU_BASE, tag="latest")
            if process.returncode:
                problem = f"packing the image failed with exit code {process.returncode}"
                raise InputError("tar", problem, "see what it says above")
        finally:
            subprocess.run([*as_root, "rm", "-rf", str(root)], check=True)


def _bootstrap(as_root: list[str], root: Path) -> None:
    """Installs the distribution's base and Python into a new folder.

    Args:
        as_root: what stands before a command to run it as root; nothing if this user is root.
        root: the folder.

    Raises:
        InputError: debootstrap is not installed, or failed.
    """
    if not shutil.which("debootstrap"):
        raise InputError("debootstrap", "is not installed", "install the package debootstrap")
    suite, mirror, components = _package_source()
    command = ["debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}"]
    command += [f"--components={components}", suite, str(root), mirror]
    finished = subprocess.run([*as_root, *command], stdout=subprocess.PIPE, text=True)
    if finished.returncode:
        for line in finished.stdout.strip().splitlines()[-5:]:
            print(f"  {line}", file=sys.stderr)
        problem = f"debootstrap could not install {suite} from there"
        raise InputError(mirror, problem, "see the last lines of its output above")


def _package_source() -> tuple[str, str, str]:
    """Returns this distribution's suite, mirror and components, as its package manager has them."""
    fields = "$(CODENAME) $(REPO_URI) $(COMPONENT)"
    query = ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    finished = subprocess.run(query, capture_output=True, text=True)
    targets = [line.split() for line in finished.stdout.splitlines()]
    targets = [target for target in targets if len(target) == 3 and target[0] == suite]
    if not targets:
        problem = f"it knows no packages of {suite or 'Debian'}"
        raise InputError("apt-get indextargets", problem, "run `apt-get update`")
    mirror = targets[0][1]
    components = sorted({component for _, uri, component in targets if uri == mirror})
    return suite, mirror, ",".join(components)


if __name__ == "__main__":
    # After SIGTERM, too, what was bootstrapped is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main()
