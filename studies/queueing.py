"""Queues experiments in one process of DVC's, in a small part of the time that one each would take.

While DVC queues an experiment, the changes of the workspace are stashed and no branch is checked
out. So the process is not the study's own: it has a session, where Ctrl-C does not reach it, and if
the study is killed, it completes the present experiment and ends.
"""

from __future__ import annotations

import copy
import gc
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from dvc.repo import Repo
from dvc.repo.experiments.queue.remove import remove_tasks
from dvc.utils import strictyaml

from contract.arguments import Parser
from contract.layout import CONFIGURATION, PARAMS
from studies.composition import in_checked_repository
from studies.queue_messages import QueueReader

ROOT = Path(__file__).resolve().parents[1]
ENDED = "ERROR: the process that queues experiments has ended"
PARSED_FILES = 8  # how many versions of dvc.yaml and dvc.lock stay parsed


class Queueing:
    """A process that queues experiments of the repository in the working directory.

    As a context manager it starts the process and, at the end of the block, waits for its end. If
    the process refuses something, that ends this one with the same line.
    """

    def __enter__(self) -> Queueing:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "studies.queueing"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            text=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with _signals_postponed(), self._errors:
            self._process.communicate()

    def add(self, name: str, settings: Sequence[str], targets: Sequence[str]) -> list[str]:
        """Queues an experiment.

        Args:
            name: its name.
            settings: in Hydra's grammar.
            targets: the stages that it runs; all if there are none.

        Returns:
            What was said about edits of the composed files, which the experiment overwrites.

        Raises:
            SystemExit: it is refused; nothing of it is queued.
        """
        return self._ask({"name": name, "settings": list(settings), "targets": list(targets)})

    def remove(self, revisions: Collection[str]) -> set[str]:
        """Removes experiments that are queued, or have failed, from the queue.

        Args:
            revisions: their commits, as DVC's entries name them.

        Returns:
            Those that a worker has taken in the meantime: they stay.

        Raises:
            SystemExit: DVC cannot remove them.
        """
        return set(self._ask({"remove": list(revisions)})) if revisions else set()

    def _ask(self, request: dict[str, Any]) -> list[str]:
        """Sends a request and returns the answer, before Ctrl-C and SIGTERM have any effect."""
        with _signals_postponed():
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            lines = self._errors.read().split("\n")
            last = next((text for text in reversed(lines) if text.strip()), "it was killed")
            sys.exit(f"{ENDED} ({last})")
        answer = json.loads(line)
        if "error" in answer:
            sys.exit(answer["error"])
        return answer["lines"]


@contextmanager
def _signals_postponed() -> Iterator[None]:
    """Postpones Ctrl-C and SIGTERM to the end of the block."""
    signals = (signal.SIGINT, signal.SIGTERM)
    received: list[int] = []
    previous = [
        signal.signal(number, lambda number, _: received.append(number)) for number in signals
    ]
    try:
        yield
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def main() -> None:
    """Answers the requests of a `Queueing`, one JSON object a line, until it closes the pipe."""
    Parser(__doc__).parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # Whatever else is printed must not come between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _parse_files_once()
    gc.freeze()  # the libraries, a million objects, need not be looked through again and again
    with Repo() as repo, in_checked_repository():
        for line in sys.stdin:
            answer = _answer(repo, json.loads(line))
            try:
                print(json.dumps(answer), file=answers, flush=True)
            except BrokenPipeError:  # the study was killed
                os._exit(1)


def _answer(repo: Repo, request: dict[str, Any]) -> dict[str, Any]:
    """Returns the lines of an answer as `lines`, or what was wrong as `error`, one line."""
    try:
        if "remove" in request:
            return {"lines": _remove(repo, request["remove"])}
        with redirect_stderr(io.StringIO()) as printed:
            repo.experiments.run(
                name=request["name"],
                queue=True,
                params=request["settings"],
                targets=request["targets"],
            )
    except SystemExit as end:  # `studies.composition` has refused the configuration
        return {"error": str(end.code)}
    except Exception as error:
        return {"error": f"ERROR: {_one_line(error)}"}
    edits = (f"{CONFIGURATION}: ", f"{PARAMS}: ")
    return {"lines": [line for line in printed.getvalue().splitlines() if line.startswith(edits)]}


def _remove(repo: Repo, revisions: Sequence[str]) -> list[str]:
    """Removes experiments from the queue, and returns those that a worker has taken."""
    queue = repo.experiments.celery_queue
    removable = {
        experiment.entry.stash_rev: experiment.entry
        for experiment in QueueReader().read(queue)
        if experiment.state in ("queued", "failed")
    }
    remove_tasks(queue, [removable[rev] for rev in revisions if rev in removable])
    return [rev for rev in revisions if rev not in removable]


def _one_line(error: Exception) -> str:
    """Returns what an error says, with its cause, as one line."""
    texts = [" ".join(str(each).split()) for each in (error, error.__cause__) if each]
    return ": ".join(filter(None, texts)) or type(error).__name__


def _parse_files_once() -> None:
    """Lets DVC parse a version of dvc.yaml or dvc.lock once, and not for each experiment.

    That is half of the time in which it queues one, and it has no setting for it.
    """
    parse: Callable[..., Any] = lru_cache(PARSED_FILES)(strictyaml.parse_yaml)

    def parse_once(text: str, path: str, typ: str = "safe") -> Any:
        return copy.deepcopy(parse(text, path, typ))

    strictyaml.parse_yaml = parse_once


if __name__ == "__main__":
    main()
