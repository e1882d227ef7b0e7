"""Python commands that start at once: forked from a process that has imported the libraries.

A command is what it is behind `python`: a process with its own folder, environment, streams and
exit code, of which only the imports are shared. What is tested about starting Python itself, or
about what is imported when, takes `subprocess` instead.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from multiprocessing import forkserver
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"svoice": "torch", "spleeter_mod": "tensorflow"}
# An environment has some of these. Before the libraries comes the package that sets what PyTorch or
# TensorFlow reads when it is imported. Each command imports the project's own modules itself.
LIBRARIES = [
    *(package for package, library in PACKAGES.items() if find_spec(library)),
    "pytest",
    *("numpy", "scipy.signal", "scipy.optimize", "pandas", "soundfile", "tqdm"),
    *("ruamel.yaml", "pydantic", "requests", "plotly.graph_objects", "docker"),
    *("torch", "torch._dynamo", "torch.utils.tensorboard", "hydra"),
    *("tensorflow", "spleeter.separator", "spleeter.model.provider", "ffmpeg", "typer"),
    *("dvc.cli.parser", "dvc.repo.experiments.queue.celery", "dvc.repo.experiments.executor.local"),
    *("dvc.repo.reproduce", "dvc.repo.plots", "dvc.repo.metrics.diff", "dvc.utils.hydra"),
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(LIBRARIES)


class Process:
    """A command that runs, or has run. What it prints goes to files.

    Args:
        arguments: what stands behind `python`: `-m MODULE ...`, `-c CODE ...` or `SCRIPT ...`.
        folder: its working directory.
        environment: all of its environment variables.
        joined: whether errors go to stdout too, as in a terminal.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        folder: str | Path,
        environment: Mapping[str, str],
        joined: bool = False,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        for path in self._streams:
            path.touch()
        streams = [self._streams[0]] * 2 if joined else self._streams
        arguments_of_run = (self.arguments, str(folder), dict(environment), streams)
        self._process = _context.Process(target=_run, args=arguments_of_run)
        _ensure_server()
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code; minus a signal's number if that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Returns the exit code, or None while the command runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> int:
        """Waits for the end, and returns the exit code.

        Raises:
            subprocess.TimeoutExpired: the command still runs after `timeout` seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        return self._process.exitcode

    def kill(self) -> None:
        """Sends SIGKILL, if the command still runs."""
        self._process.kill()

    def send_signal(self, number: int) -> None:
        """Sends a signal, if the command still runs."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def output(self) -> tuple[str, str]:
        """Returns what was printed so far, to stdout and to stderr."""
        output, errors = (path.read_text(encoding="utf-8") for path in self._streams)
        return output, errors

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Waits for the end, and returns what was printed to stdout and to stderr."""
        self.wait(timeout)
        return self.output()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        self.wait()


def run(
    arguments: Sequence[str | Path],
    folder: str | Path,
    environment: Mapping[str, str],
    timeout: float = 300,
    joined: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end.

    Args:
        arguments: what stands behind `python`: `-m MODULE ...`, `-c CODE ...` or `SCRIPT ...`.
        folder: its working directory.
        environment: all of its environment variables.
        timeout: in seconds.
        joined: whether errors go to stdout too, as in a terminal.

    Raises:
        subprocess.TimeoutExpired: the command took longer.
    """
    with Process(arguments, folder, environment, joined) as process:
        output, errors = process.communicate(timeout)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def run_any(
    command: Sequence[str | Path],
    folder: str | Path,
    environment: Mapping[str, str],
    joined: bool = False,
    fork: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Runs any command to its end; one that is forked may take an hour.

    Args:
        command: the program, which is `sys.executable` for `python`, and its arguments.
        folder: its working directory.
        environment: all of its environment variables.
        joined: whether errors go to stdout too, as in a terminal.
        fork: whether `dvc ...` and `python ...` are forked.
    """
    program, *arguments = command
    if fork and program == "dvc":
        dvc = Path(sys.prefix, "bin", program)
        return run([dvc, *arguments], folder, environment, 3600, joined)
    if fork and program == sys.executable and arguments[0] in ("-c", "-m"):
        return run(arguments, folder, environment, 3600, joined)
    # The output is a file, because a command may leave processes behind that would keep a pipe
    # open.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if joined else errors,
        )
        for stream in (output, errors):
            stream.seek(0)
        done.stdout, done.stderr = output.read(), errors.read()
    return done


def _ensure_server() -> None:
    """Starts the process to fork from, unless it runs.

    It starts in the repository and with the repository in PYTHONPATH, because Python leaves out
    what it cannot import, without a word. It does not start before the first command, so that it
    has the environment variables that a conftest.py sets for the libraries.
    """
    folder, path = os.getcwd(), os.environ.get("PYTHONPATH")
    os.chdir(ROOT)
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(folder)
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path


def _run(
    arguments: list[str], folder: str, environment: dict[str, str], streams: list[Path]
) -> None:
    """Does in the new process what `python` does with these arguments."""
    for number, path in ((0, os.devnull), (1, streams[0]), (2, streams[1])):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(folder)
    gc.freeze()  # The libraries are never garbage, and looking through them copies their memory.
    os.environ.clear()
    os.environ.update(environment)
    for package in PACKAGES:  # to be imported again, because it sets environment variables
        sys.modules.pop(package, None)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    added = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    installed = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    kind, *rest = arguments
    is_script = kind not in ("-c", "-m")
    sys.path[:] = [os.path.dirname(kind) if is_script else folder, *added, *installed]
    sys.argv = rest if kind == "-m" else [kind, *rest[not is_script :]]
    try:
        if is_script:
            runpy.run_path(kind, run_name="__main__")
        elif kind == "-c":
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()
