"""`make base-image`: a base for the trainers' images from this distribution's own packages, for
machines without GPUs and for those that reach no registry of images."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound
from docker.models.images import Image

from metrics.arguments import Parser
from metrics.errors import InputError
from stages import engine, gpus
from stages.images import CPU_BASE, LOCK
from stages.lock import machine_lock
from stages.run import run

PACKAGES = "python3,python3-venv"
# Of no use in an image.
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache", "var/lib/apt/lists")


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--is-there", action="store_true", help="fail if it is needed and missing")
    options = parser.parse_args()
    with engine.connected() as client:
        if options.is_there:
            sys.exit(0 if gpus.listed() or present(client) else 1)
        before = present(client)
        with machine_lock(LOCK, f"{CPU_BASE}: another process makes images"):
            # The images are named after their base: another one would make all of them anew.
            if present(client) == before:
                _make(client)
        size = client.images.get(CPU_BASE).attrs["Size"]
        print(f"{CPU_BASE}: {size / 1e6:.0f} MB")


def present(client: DockerClient) -> Image | None:
    """The base that was made last."""
    try:
        return client.images.get(CPU_BASE)
    except ImageNotFound:
        return None


def _make(client: DockerClient) -> None:
    print(f"making {CPU_BASE} (a minute or two)", flush=True)
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        try:
            _bootstrap(as_root, root)
            tar = ["tar", "--numeric-owner", *(f"--exclude=./{path}/*" for path in LEFT_OUT)]
            command = [*as_root, *tar, "-C", str(root), "-c", "."]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                client.api.import_image_from_stream(process.stdout, CPU_BASE, tag="latest")
            if process.returncode:
                raise InputError("tar", f"exit code {process.returncode}", "0")
        finally:
            subprocess.run([*as_root, "rm", "-rf", str(root)], check=True)


def _bootstrap(as_root: list[str], root: Path) -> None:
    if not shutil.which("debootstrap"):
        raise InputError("debootstrap", "no such command", "that of the package debootstrap")
    suite, mirror, components = _source()
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}"]
    command += [f"--components={components}", suite, str(root), mirror]
    made = subprocess.run([*as_root, *command], stdout=subprocess.PIPE, text=True)
    if made.returncode:
        said = made.stdout.strip().splitlines()[-5:]
        raise InputError(mirror, "an error of debootstrap:\n  " + "\n  ".join(said), f"{suite}")


def _source() -> tuple[str, str, str]:
    """Suite, mirror and components of this distribution, as its package manager has them."""
    fields = "$(CODENAME) $(REPO_URI) $(COMPONENT)"
    query = ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    found = subprocess.run(query, capture_output=True, text=True)
    targets = [line.split() for line in found.stdout.splitlines()]
    targets = [target for target in targets if len(target) == 3 and target[0] == suite]
    if not targets:
        raise InputError("apt-get indextargets", "no packages", f"those of {suite or 'Debian'}")
    mirror = targets[0][1]
    components = sorted({component for _, uri, component in targets if uri == mirror})
    return suite, mirror, ",".join(components)


if __name__ == "__main__":
    run(main, own_arguments=True)
