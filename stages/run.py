"""Runs a stage: bad input is one clear line, and a failure loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.arguments import Parser
from contract.errors import one_line


def run(main: Callable[[], None], own_arguments: bool = False) -> None:
    """Runs a stage's main function. A failure ends the process with its exit code.

    `--help` prints the stage's docstring instead; any other argument is one line on stderr and exit
    code 2.

    Errors are reported as by `contract.errors.one_line`, and SIGTERM ends the process as an error
    does. DVC removes a stage's outputs before it runs the stage: after a failure, the previous ones
    are put back.

    Args:
        main: the stage's main function.
        own_arguments: whether `main` parses the command line itself.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _previous_outputs_kept():
        if not own_arguments:
            Parser(sys.modules[main.__module__].__doc__).parse_args()
        one_line(main)()


@contextmanager
def _previous_outputs_kept() -> Iterator[None]:
    """Puts the stage's previous outputs back if the block fails under DVC."""
    try:
        yield
    except BaseException as error:
        failed = not isinstance(error, SystemExit) or error.code not in (None, 0)
        if failed and "DVC_STAGE" in os.environ:
            _put_back(os.environ["DVC_STAGE"])
        raise


def _put_back(stage_name: str) -> None:
    """Restores the outputs that dvc.lock lists for the stage, as far as DVC's cache has them."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo() as repo:
        (stage,) = repo.stage.collect(stage_name)
        for out in stage.outs:
            if out.exists or not out.hash_info:
                continue
            path = Path(out.fs_path)
            try:
                if out.use_cache:
                    out.checkout(force=True, allow_missing=True)
                else:  # the output is kept in git; DVC's run cache holds a copy
                    cached = Path(repo.cache.local.oid_to_path(out.hash_info.value))
                    if cached.is_file():
                        shutil.copyfile(cached, path)
            except (DvcException, OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                restore = "dvc" if out.use_cache else "git"
                print(
                    f"{out}: there is no room to put the previous version back; "
                    f"restore it with `{restore} checkout {out}`",
                    file=sys.stderr,
                )
