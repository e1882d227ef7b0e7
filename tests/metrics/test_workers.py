"""Work on all cores: in order, no more threads than cores, and an end whatever happens."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from metrics.errors import InputError
from metrics.workers import cores, on_all_cores
from tests.conftest import ROOT


def blas_threads(_):
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpool_info()]


def square(number):
    return number**2


def refuse(number):
    raise InputError("number", number, "another")


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_each_worker_has_one_blas_thread():
    before = blas_threads(None)
    (inside,) = on_all_cores(blas_threads, [None])
    assert inside and set(inside) == {1}
    assert blas_threads(None) == before


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 1), (2, 7), (None, 2)])
def test_results_come_in_the_order_of_the_items(workers, batch):
    squares = on_all_cores(square, iter(range(50)), workers, batch)
    assert list(squares) == [number**2 for number in range(50)]


def test_an_error_keeps_its_parts():
    with pytest.raises(InputError) as caught:
        list(on_all_cores(refuse, [3]))
    assert str(caught.value) == "number: found 3, expected another"


def test_a_killed_worker_is_one_line():
    with pytest.raises(InputError, match="one that was killed") as caught:
        list(on_all_cores(die, [None]))
    assert "\n" not in str(caught.value)


def die_with_the_lock_of_the_results(number):
    """0 is killed as it hands over its result, 1 then waits to do so, 2 has done so before."""
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
        "found one that was killed (out of memory?), expected all of them to finish"
    )


LEAVES = """
import time
from metrics.workers import on_all_cores
from tests.metrics.test_workers import die_with_the_lock_of_the_results
results = on_all_cores(die_with_the_lock_of_the_results, [2, 0, 1], workers=3)
assert next(results) == 2
time.sleep(1.5)
results.close()
"""


def test_nor_whoever_wants_no_more_results_by_then():
    done = subprocess.run([sys.executable, "-c", LEAVES], cwd=ROOT, timeout=60)
    assert done.returncode == 0


def test_the_cores_are_those_that_this_process_may_use():
    assert cores() == len(os.sched_getaffinity(0))
