"""Work on all cores: results in order, one thread per worker, and a clear end in any case."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from contract.errors import InputError
from metrics.workers import cores, on_all_cores
from tests.conftest import ROOT


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
    with pytest.raises(InputError) as caught:
        list(on_all_cores(die, [None]))
    assert str(caught.value) == (
        "worker processes: one of them was killed, perhaps because memory ran out; "
        "repeat the command with more memory or on fewer cores"
    )


def die_with_the_lock_of_the_results(number):
    """Worker 0 is killed as it hands over its result; 1 waits to do so; 2 has done so before."""
    time.sleep((0.2, 0.4, 0)[number])
    if number:
        return number
    frame = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    frame.f_locals["result_queue"]._wlock.acquire()
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


DIES = """
from metrics.workers import on_all_cores
from tests.metrics.test_workers import die_with_the_lock_of_the_results
list(on_all_cores(die_with_the_lock_of_the_results, [0, 1], workers=2))
"""


def test_a_worker_that_is_killed_with_the_lock_of_the_results_does_not_hold_up_the_others():
    """They wait for that lock, and ignore SIGTERM, with which Python would end them."""
    with subprocess.Popen(
        [sys.executable, "-c", DIES], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
    assert error.splitlines()[-1].endswith(
        "worker processes: one of them was killed, perhaps because memory ran out; "
        "repeat the command with more memory or on fewer cores"
    )


LEAVES_EARLY = """
import time
from metrics.workers import on_all_cores
from tests.metrics.test_workers import die_with_the_lock_of_the_results
results = on_all_cores(die_with_the_lock_of_the_results, [2, 0, 1], workers=3)
assert next(results) == 2
time.sleep(1.5)
results.close()
"""


def test_nor_does_it_hold_up_a_caller_who_wants_no_more_results():
    done = subprocess.run([sys.executable, "-c", LEAVES_EARLY], cwd=ROOT, timeout=60)
    assert done.returncode == 0


def test_only_the_cores_that_this_process_may_use_are_counted():
    assert cores() == len(os.sched_getaffinity(0))
