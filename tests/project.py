"""The files of this repository, and a copy of them that tests may change."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def project_files() -> list[str]:
    """Returns the files of this repository, without the results of earlier runs of the pipeline."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted(
        name
        for name in filter(None, listed.split("\0"))
        if name != "dvc.lock"
        and not name.startswith(("results/", "settings/"))
        and (ROOT / name).is_file()
    )


def copy_project(root: Path) -> None:
    """Copies the files of this repository.

    Args:
        root: the folder that receives them.
    """
    for name in project_files():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)


def project_hash() -> str:
    """Returns a hash of the files of this repository and of what its environments hold."""
    environments = Path(sys.prefix).parent
    paths = [ROOT / name for name in project_files()]
    paths += sorted(environments.glob("*/requirements.sha256"))
    paths += sorted(environments.glob("*/pyvenv.cfg"))
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
