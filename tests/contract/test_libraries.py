"""Libraries that the loader opens, and what is said of those that it does not."""

import ctypes.util

import pytest

from contract import libraries


def test_what_opens_is_no_error():
    assert libraries.errors([ctypes.util.find_library("m")], "install it") == []


def test_an_error_says_which_library_and_why(tmp_path):
    damaged = tmp_path / "libdamaged.so"
    damaged.write_text("no library")
    absent, second = libraries.errors(["libabsent.so.7", damaged], "install it")
    assert str(absent) == (
        "libabsent.so.7: cannot be opened (cannot open shared object file: No such file or "
        "directory); install it"
    )
    assert str(second) == f"{damaged}: cannot be opened (file too short); install it"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_missing_driver_is_no_error(monkeypatch, is_there):
    def load(name):
        if not is_there:
            raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(libraries.ctypes, "CDLL", load)
    assert libraries.errors(["libneedsthedriver.so"], "install it") == []
    assert libraries.driver() == (
        "NVIDIA's driver is here"
        if is_there
        else "NVIDIA's driver is not here (libcuda.so.1: cannot open shared object file)"
    )
