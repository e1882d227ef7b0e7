"""The kinds of clone in which DVC's experiments do not work.

DVC runs an experiment of `--temp`, or of its queue, in a clone of the repository below `.dvc/tmp`,
and fetches the result from there. With some kinds of repository this ends in an unexpected error,
or loses the experiment without a message: these are refused before any work is done.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from contract.errors import InputError

# DVC passes the path of the temporary workspace on as a URL, in which #, ? and %41 have a meaning,
# and in a configuration file that it writes as ASCII.
UNSUPPORTED = re.compile("[^\x20-\x7e]|[#?]|%[0-9A-Fa-f]{2}")


def check_repository(root: Path, temporary: bool) -> None:
    """Refuses a repository in which experiments do not work.

    Args:
        root: the folder of dvc.yaml.
        temporary: whether the experiments run in temporary workspaces (`--temp`, `--queue`, a
            study).

    Raises:
        InputError: it is not a Git repository of its own with a commit or, for temporary
            workspaces, it is a shallow clone or lies at a path that DVC cannot handle.
    """
    top = _rev_parse(root, "--show-toplevel")
    if not top or not Path(top).samefile(root) or not _rev_parse(root, "HEAD"):
        remedy = "run `git init && git add --all && git commit`, then `make setup`"
        raise InputError(root, "is not a Git repository with a commit", remedy)
    if not temporary:
        return
    if _rev_parse(root, "--is-shallow-repository") == "true":
        problem = "is a shallow clone, from which DVC would lose the experiment"
        raise InputError(root, problem, "run `git fetch --unshallow`")
    if match := UNSUPPORTED.search(str(root)):
        problem = f"DVC's temporary workspaces cannot handle {match.group()!r} in this path"
        remedy = "move or clone the repository to a path of ASCII characters without #, ? and %"
        raise InputError(root, problem, remedy)


def _rev_parse(root: Path, question: str) -> str:
    """Returns what `git rev-parse` answers; an empty text if it has no answer."""
    command = ["git", "rev-parse", question]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return process.stdout.strip() if process.returncode == 0 else ""
