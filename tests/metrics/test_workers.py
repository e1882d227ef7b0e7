"""Work on all cores: results in order, one thread per worker, and a clear end in any case."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from contract.errors import InputError
from metrics.workers import KilledWorkerError, on_all_cores
from tests.conftest import ROOT
from tests.stages.patience import SECONDS, until


def blas_threads(_):
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info()]


def square(number):
    return number**2


def refuse(number):
    raise InputError("number", f"{number} is refused", "use another")


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_worker_has_one_blas_thread():
    before = blas_threads(None)
    (in_worker,) = on_all_cores(blas_threads, [None])
    assert in_worker == [1] * len(before)
    assert blas_threads(None) == before


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 1), (2, 7), (None, 2)])
def test_results_come_in_the_order_of_the_items(workers, batch):
    squares = on_all_cores(square, iter(range(50)), workers, batch)
    assert list(squares) == [number**2 for number in range(50)]


def test_an_error_of_a_worker_is_raised_as_it_is():
    with pytest.raises(InputError) as caught:
        list(on_all_cores(refuse, [3]))
    assert str(caught.value) == "number: 3 is refused; use another"


def test_a_killed_worker_is_one_line():
    with pytest.raises(KilledWorkerError) as caught:
        list(on_all_cores(die, [None]))
    assert str(caught.value) == (
        "worker processes: one of them was killed, perhaps because memory ran out; "
        "repeat the command with more memory or on fewer cores"
    )


# These files appear in the working directory of the workers and their main process.
TAKES_RESULTS = Path("takes_results")  # the main process has had what it wants before worker 0 dies
LOCKED = Path("locked")  # worker 0 holds the lock; the file holds its process id


def die_with_the_lock_of_the_results(number):
    """Worker 0 is killed as it hands over its result; 1 does so afterwards; 2 did so before."""
    if number == 1:
        until(LOCKED.exists)
    if number:
        return number
    until(TAKES_RESULTS.exists)
    frame = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    frame.f_locals["result_queue"]._wlock.acquire()
    written = LOCKED.with_suffix(".new")
    written.write_text(str(os.getpid()))
    written.rename(LOCKED)
    os.kill(os.getpid(), signal.SIGKILL)


DIES = """
from metrics.workers import on_all_cores
from tests.metrics.test_workers import TAKES_RESULTS, die_with_the_lock_of_the_results
TAKES_RESULTS.touch()
list(on_all_cores(die_with_the_lock_of_the_results, [0, 1], workers=2))
"""


def start(code, folder):
    """Starts Python code in a folder, with the project's modules at hand."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_worker_that_is_killed_with_the_lock_of_the_results_does_not_hold_up_the_others(tmp_path):
    """They wait for that lock, and ignore SIGTERM, with which Python would end them."""
    with start(DIES, tmp_path) as process:
        try:
            _, error = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert error.splitlines()[-1].endswith(
        "worker processes: one of them was killed, perhaps because memory ran out; "
        "repeat the command with more memory or on fewer cores"
    )


LEAVES_EARLY = """
import contextlib, os
from metrics.workers import on_all_cores
from tests.metrics.test_workers import LOCKED, TAKES_RESULTS, die_with_the_lock_of_the_results
from tests.stages.patience import until
results = on_all_cores(die_with_the_lock_of_the_results, [2, 0, 1], workers=3)
assert next(results) == 2
TAKES_RESULTS.touch()
until(LOCKED.exists)
with contextlib.suppress(ChildProcessError):  # its exit code has been read: it has ended
    os.waitid(os.P_PID, int(LOCKED.read_text()), os.WEXITED | os.WNOWAIT)
results.close()
"""


def test_nor_does_it_hold_up_a_caller_who_wants_no_more_results(tmp_path):
    with start(LEAVES_EARLY, tmp_path) as process:
        try:
            _, error = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, error


def test_only_the_cores_that_this_process_may_use_are_counted():
    core = str(min(os.sched_getaffinity(0)))
    code = "from metrics.core.cores import cores; print(cores())"
    command = ["taskset", "--cpu-list", core, sys.executable, "-c", code]
    assert subprocess.check_output(command, cwd=ROOT, text=True) == "1\n"
