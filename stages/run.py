"""How every stage runs: one clear line on bad input, and nothing lost on failure."""

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from metrics.arguments import Parser
from metrics.errors import InputError
from metrics.names import too_long


def run(main: Callable[[], None], own_arguments: bool = False) -> None:
    """Runs a stage's main function and ends the process with its exit code.

    With `--help` it prints the stage's docstring instead; any other argument is one line on stderr
    and exit code 2. A main function with `own_arguments` parses the command line itself.

    Bad input, a full disk and a path that is too long end in one line on stderr and exit code 1;
    anything else keeps its traceback. Under DVC, which removes a stage's outputs before the stage
    runs, a failure puts the previous ones back.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with _previous_outputs_kept():
        try:
            if not own_arguments:
                Parser(sys.modules[main.__module__].__doc__).parse_args()
            main()
        except InputError as error:
            sys.exit(f"ERROR: {error}")
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG and error.filename:
                sys.exit(f"ERROR: {too_long(os.fsdecode(error.filename))}")
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            where = error.filename or Path.cwd()
            sys.exit(f"ERROR: {where}: found no space left, expected room for the output")
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)


@contextmanager
def _previous_outputs_kept():
    try:
        yield
    except BaseException as error:
        failed = not isinstance(error, SystemExit) or error.code not in (None, 0)
        if failed and "DVC_STAGE" in os.environ:
            _put_back(os.environ["DVC_STAGE"])
        raise


def _put_back(stage_name: str) -> None:
    """Restores what dvc.lock says the stage wrote last, as far as DVC's cache has it."""
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
                else:  # kept in git; the run cache holds a copy
                    cached = Path(repo.cache.local.oid_to_path(out.hash_info.value))
                    if cached.is_file():
                        shutil.copyfile(cached, path)
            except (DvcException, OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
                restore = "dvc" if out.use_cache else "git"
                print(
                    f"{out}: the previous one is gone for want of room; "
                    f"`{restore} checkout {out}` brings it back",
                    file=sys.stderr,
                )
