"""Runs a stage: bad input is one clear line, and a failure loses nothing."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contract.arguments import Parser
from contract.errors import one_line
from contract.files import remove
from stages import durations


def run(main: Callable[[], None], own_arguments: bool = False) -> None:
    """Runs a stage's main function. A failure ends the process with its exit code.

    `--help` prints the stage's docstring instead; any other argument is one line on stderr and exit
    code 2.

    Errors are reported as by `contract.errors.one_line`, and SIGTERM ends the process as an error
    does. DVC removes a stage's outputs before it runs the stage: after a failure, the previous ones
    are put back.

    Under DVC, it prints how long the pipeline still takes, and keeps how long the stage took for
    the next forecast.

    Args:
        main: the stage's main function.
        own_arguments: whether `main` parses the command line itself.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _previous_outputs_kept():
        if not own_arguments:
            Parser(sys.modules[main.__module__].__doc__).parse_args()
        if "DVC_STAGE" in os.environ:
            durations.print_remaining(os.environ["DVC_STAGE"])
        try:
            one_line(main)()
        except SystemExit as end:
            if end.code not in (None, 0):
                raise
        spec = sys.modules["__main__"].__spec__
        if spec is not None and "DVC_STAGE" in os.environ:
            durations.keep(os.environ["DVC_STAGE"], spec.name)


@contextmanager
def _previous_outputs_kept() -> Iterator[None]:
    """Puts the stage's previous outputs back if the block fails under DVC."""
    try:
        yield
    except BaseException as error:
        failed = not isinstance(error, SystemExit) or error.code not in (None, 0)
        if failed and "DVC_STAGE" in os.environ:
            _put_back(os.environ["DVC_STAGE"], error)
        raise


def _put_back(stage_name: str, failure: BaseException) -> None:
    """Restores the outputs that dvc.lock lists for the stage, as far as DVC's cache has them.

    This takes DVC's private classes: `dvc checkout` restores no output that is kept in git, and
    fails while another command of DVC has the repository's lock.

    Args:
        stage_name: the stage, as dvc.yaml names it.
        failure: the exception with which the stage ends.
    """
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
            except (DvcException, OSError) as error:
                with suppress(OSError):
                    remove(path)  # what was put back of it
                restore = "dvc" if out.use_cache else "git"
                print(
                    f"{out}: the previous version cannot be put back ({_reason(error, failure)}); "
                    f"restore it with `{restore} checkout {out}`",
                    file=sys.stderr,
                )


def _reason(error: BaseException, failure: BaseException) -> str:
    """Returns what the system says about an error or, if it says nothing, the error itself.

    DVC's errors, such as that a link is impossible, follow from one of the system.

    Args:
        error: an error of DVC or of the system.
        failure: the exception during whose handling the error was raised.
    """
    cause: BaseException | None = error
    while cause is not None and cause is not failure:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split()).rstrip(".")
