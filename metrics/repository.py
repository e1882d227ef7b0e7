"""The kinds of clone in which DVC's experiments do not work.

DVC runs an experiment of `--temp`, or of its queue, in a clone of the repository below `.dvc/tmp`,
and fetches the result from there. Some kinds of repository end in an unexpected error there, or
lose the experiment without a word: these are refused before any work is done.
"""

import re
import subprocess
from pathlib import Path

from metrics.errors import InputError

# Of DVC's way to the temporary workspace: a URL in which #, ? and %41 have a meaning, and a
# configuration file that is written as ASCII.
UNBEARABLE = re.compile("[^\x20-\x7e]|[#?]|%[0-9A-Fa-f]{2}")


def check_repository(root: Path, temporary: bool) -> None:
    """Refuses a repository in which experiments do not work.

    Args:
        root: the folder of dvc.yaml.
        temporary: the experiments run in temporary workspaces (`--temp`, `--queue`, a study).

    Raises:
        InputError: it is not a Git repository of its own with a commit or, for temporary
            workspaces, it is a shallow clone or lies at a path that DVC cannot handle.
    """
    top = _git(root, "--show-toplevel")
    if not top or not Path(top).samefile(root) or not _git(root, "HEAD"):
        expected = "a Git repository with a commit: run `git init && git add --all && git commit`"
        raise InputError(root, "no Git repository", f"{expected}, then `make setup`")
    if not temporary:
        return
    if _git(root, "--is-shallow-repository") == "true":
        expected = "a full one, or DVC loses the experiment: run `git fetch --unshallow`"
        raise InputError(root, "a shallow clone", expected)
    if bad := UNBEARABLE.search(str(root)):
        expected = "a path of ASCII letters without #, ? and %: move or clone the repository there"
        raise InputError(root, f"{bad.group()!r} in the path of the repository", expected)


def _git(root: Path, question: str) -> str:
    """What `git rev-parse` answers; nothing where it has no answer."""
    command = ["git", "rev-parse", question]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""
