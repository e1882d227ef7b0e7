"""Which unfinished training a run resumes: the one with the same fingerprint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from contract.layout import scratch_root
from stages import settings
from stages.runtime import containers, fingerprint
from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder with all that a fingerprint is made from: dvc.yaml, settings, code and lists."""
    for name in ("dvc.yaml", "configuration.yaml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for dependency in read_yaml(ROOT / "dvc.yaml")["stages"]["train_svoice"]["deps"]:
        path = tmp_path / dependency
        if path.suffix:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("a")
        else:
            path.mkdir(parents=True)
            (path / "file.py").write_text("a")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(key: str, value: Any) -> None:
    """Changes a setting of configuration.yaml, such as `svoice.epochs`."""
    params = read_yaml(Path("configuration.yaml"))
    group, name = key.split(".")
    params[group][name] = value
    write_yaml(Path("configuration.yaml"), params)
    write_yaml(Path("params.yaml"), settings.summary(params))
    settings.main()


def svoice_fingerprint() -> str:
    return fingerprint.fingerprint("train_svoice")


def test_the_same_run_has_the_same_fingerprint(workspace):
    change("spleeter.steps", 6)
    before = svoice_fingerprint()
    (workspace / "svoice" / "__pycache__").mkdir()
    (workspace / "svoice" / "__pycache__" / "file.pyc").write_text("b")
    change("spleeter.steps", 7)  # SVoice does not read it
    assert svoice_fingerprint() == before


@pytest.mark.parametrize(
    "path", ["svoice/network.py", "data/csv/speech/train.csv", "results/svoice/environment.json"]
)
def test_changed_code_lists_or_environment_change_the_fingerprint(workspace, path):
    before = svoice_fingerprint()
    (workspace / path).write_text("b")
    assert svoice_fingerprint() != before


def test_changed_parameters_change_the_fingerprint(workspace):
    change("svoice.epochs", 6)
    before = svoice_fingerprint()
    change("svoice.epochs", 7)
    assert svoice_fingerprint() != before


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "0.001"])
def test_numbers_are_read_as_dvc_reads_them(workspace, written):
    change("svoice.segment_seconds", 0.001)
    before = svoice_fingerprint()
    params = Path("configuration.yaml")
    text = params.read_text()
    assert text.count("segment_seconds: 0.001\n") == 1
    params.write_text(text.replace("segment_seconds: 0.001\n", f"segment_seconds: {written}\n"))
    settings.main()
    assert svoice_fingerprint() == before


def test_an_edited_list_changes_the_fingerprint_although_dvc_lock_has_its_old_hash(workspace):
    outs = [{"path": "data/csv/speech/train.csv", "md5": "0123"}]
    write_yaml(Path("dvc.lock"), {"stages": {"csv_speech": {"outs": outs}}})
    before = svoice_fingerprint()
    Path("data/csv/speech/train.csv").write_text("b")
    assert svoice_fingerprint() != before


def test_changed_audio_changes_the_fingerprint(workspace):
    """The hashes of large folders are taken from dvc.lock."""
    before = svoice_fingerprint()
    outs = [{"path": "data/speech/mixtures", "md5": "0123"}]
    write_yaml(Path("dvc.lock"), {"stages": {"mix_speech": {"outs": outs}}})
    assert svoice_fingerprint() != before


def test_temporary_workspaces_share_the_scratch_folder_of_the_repository(tmp_path, monkeypatch):
    temporary = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    temporary.mkdir(parents=True)
    monkeypatch.chdir(temporary)
    assert scratch_root() == tmp_path / "scratch"
    monkeypatch.chdir(tmp_path)
    assert scratch_root() == tmp_path / "scratch"


def test_an_unfinished_training_is_in_the_folder_of_its_fingerprint(workspace):
    with fingerprint.unfinished_training("svoice") as folder:
        assert folder == workspace / "scratch" / "svoice" / svoice_fingerprint()
        assert folder.is_dir()


def test_a_container_may_write_to_unfinished_work_outside_the_workspace(
    workspace, tmp_path_factory, monkeypatch
):
    shared = tmp_path_factory.mktemp("shared")
    monkeypatch.setenv("SEPARATION_SCRATCH", str(shared))
    with fingerprint.unfinished_training("svoice") as folder:
        assert folder == shared / "svoice" / svoice_fingerprint()
        *_, mount = containers._mounts(workspace, folder.parent)
        assert (mount["Source"], mount["Target"]) == (str(shared / "svoice"),) * 2
        assert not mount["ReadOnly"]
