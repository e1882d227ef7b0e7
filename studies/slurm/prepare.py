"""prepare: makes the data of a study once, on a node, before its cells need them.

`python -m studies.slurm.prepare SUBMISSION` runs the stages that its `prepare.json` names, in a
clone there. Their results go to the cache that the cells share.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from contract.arguments import Parser
from contract.errors import one_line
from contract.files import remove
from contract.layout import SCRATCH
from studies.slurm.folder import CommitFolder, keep_durations
from studies.slurm.workspaces import clone, run_stages

WORK = "prepare.json"  # beside the script


def main() -> None:
    """Prepares what the command line names, and exits with the exit code of what failed."""
    parser = Parser(__doc__)
    parser.add_argument("submission", type=Path, help="the folder of the script")
    submission = parser.parse_args().submission
    work = json.loads((submission / WORK).read_text())
    folder = CommitFolder(Path(work["shared"]), work["commit"])
    workspace, scratch = submission / "workspace", submission / SCRATCH
    clone(Path(work["repository"]), work["commit"], workspace, folder)
    process = run_stages(workspace, "prepared", work["settings"], work["targets"], scratch)
    if code := process.wait():
        sys.exit(code)
    folder.add_prepared([*work["settings"], *work["targets"]])
    keep_durations(scratch, folder.durations)
    remove(workspace)
    remove(scratch)


if __name__ == "__main__":
    one_line(main)()
