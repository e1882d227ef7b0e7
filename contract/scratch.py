"""The folder of what is unfinished, or shared by experiments: git does not know it."""

from pathlib import Path


def scratch_root() -> Path:
    """The scratch folder of the repository; DVC's temporary workspaces share it."""
    here = Path.cwd()
    for parent in here.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2] / "scratch"
    return here / "scratch"
