"""What the trainers will run in: the files of both models or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contract.errors import InputError
from contract.models import MODELS
from stages import environments
from stages.runtime import virtual_environments
from tests.conftest import ROOT
from tests.stages.disks import fail_to_rename

FILES = [Path("results", model, "environment.json") for model in MODELS]


@pytest.fixture
def older(workspace, monkeypatch) -> dict[Path, str]:
    """The files of an earlier run, in the working directory."""
    monkeypatch.chdir(workspace.root)
    Path("docker").symlink_to(ROOT / "docker")
    texts = {path: f"older {path}\n" for path in FILES}
    for path, text in texts.items():
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return texts


def contents() -> dict[Path, str]:
    """The text of every file in results/, by its path."""
    return {path: path.read_text() for path in Path("results").rglob("*") if path.is_file()}


def test_both_files_are_written(older):
    environments.main()
    written = contents()
    assert written.keys() == older.keys()
    for model, path in zip(MODELS, FILES, strict=True):
        assert virtual_environments.requirements_hash(model) in written[path]


def test_when_the_second_environment_is_not_there_both_older_files_stay(older, monkeypatch):
    describe = virtual_environments.description
    _, second = MODELS

    def describe_all_but_the_second(model: str) -> dict[str, Any]:
        if model == second:
            raise InputError(model, "there is no such environment")
        return describe(model)

    monkeypatch.setattr(virtual_environments, "description", describe_all_but_the_second)
    with pytest.raises(InputError):
        environments.main()
    assert contents() == older


def test_when_the_second_file_cannot_be_written_both_older_files_stay(older, monkeypatch):
    fail_to_rename(monkeypatch, str(FILES[1]))
    with pytest.raises(OSError, match=str(FILES[1])):
        environments.main()
    assert contents() == older
