"""Which virtual environment a trainer gets."""

import subprocess
import sys
from pathlib import Path

import pytest

from contract.errors import InputError
from contract.models import MODELS
from stages.runtime.virtual_environments import interpreter


def test_an_environment_lies_beside_the_running_one():
    for model in MODELS:
        python = interpreter(model)
        assert python.parents[2] == Path(sys.prefix).parent
        assert subprocess.run([python, "-c", "import soundfile"]).returncode == 0


def test_the_error_of_a_missing_environment_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "pipeline"))
    with pytest.raises(InputError) as raised:
        interpreter("svoice")
    message = f"{tmp_path}/svoice: there is no such environment; run `make setup`"
    assert str(raised.value) == message


def test_the_error_of_an_outdated_environment_says_how_to_renew_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "pipeline"))
    (tmp_path / "svoice").mkdir()
    (tmp_path / "svoice" / "requirements.sha256").write_text("0\n")
    with pytest.raises(InputError) as raised:
        interpreter("svoice")
    assert str(raised.value) == (
        f"{tmp_path}/svoice: its packages are not those that docker/requirements/svoice.txt pins; "
        "run `make setup`"
    )
