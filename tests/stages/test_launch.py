"""Which environment a trainer gets, and which scratch folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metrics.errors import InputError
from stages import environments, launch
from stages.scratch import scratch_root
from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """What a fingerprint is made from: dvc.yaml, params.yaml, code and lists."""
    for name in ("dvc.yaml", "params.yaml"):
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


def change(key: str, value):
    params = read_yaml(Path("params.yaml"))
    group, last = key.split(".")
    params[group][last] = value
    write_yaml(Path("params.yaml"), params)


def fingerprint() -> str:
    return launch.fingerprint("train_svoice")


def test_the_same_run_has_the_same_fingerprint(workspace):
    before = fingerprint()
    (workspace / "svoice" / "__pycache__").mkdir()
    (workspace / "svoice" / "__pycache__" / "file.pyc").write_text("b")
    change("spleeter.steps", 7)  # nothing SVoice reads
    assert fingerprint() == before


@pytest.mark.parametrize(
    "path", ["svoice/network.py", "data/csv/speech/train.csv", "results/svoice/environment.json"]
)
def test_another_code_list_or_environment_has_another(workspace, path):
    before = fingerprint()
    (workspace / path).write_text("b")
    assert fingerprint() != before


def test_other_parameters_have_another(workspace):
    before = fingerprint()
    change("svoice.epochs", 7)
    assert fingerprint() != before


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "0.001"])
def test_numbers_are_read_as_dvc_reads_them(workspace, written):
    change("svoice.segment_seconds", 0.001)
    before = fingerprint()
    params = Path("params.yaml")
    text = params.read_text()
    assert text.count("segment_seconds: 0.001\n") == 1
    params.write_text(text.replace("segment_seconds: 0.001\n", f"segment_seconds: {written}\n"))
    assert fingerprint() == before


def test_an_edited_list_has_another_though_dvc_noted_the_old_one(workspace):
    outs = [{"path": "data/csv/speech/train.csv", "md5": "0123"}]
    write_yaml(Path("dvc.lock"), {"stages": {"csv_speech": {"outs": outs}}})
    before = fingerprint()
    Path("data/csv/speech/train.csv").write_text("b")
    assert fingerprint() != before


def test_other_audio_has_another(workspace):
    """Large folders are known by what DVC noted of them."""
    before = fingerprint()
    outs = [{"path": "data/speech/mixtures", "md5": "0123"}]
    write_yaml(Path("dvc.lock"), {"stages": {"mix_speech": {"outs": outs}}})
    assert fingerprint() != before


def test_temporary_workspaces_share_the_repositorys_scratch(tmp_path, monkeypatch):
    inside = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert scratch_root() == tmp_path / "scratch"
    monkeypatch.chdir(tmp_path)
    assert scratch_root() == tmp_path / "scratch"


def test_the_environment_lies_beside_the_running_one():
    for model in environments.PACKAGES:
        python = environments.interpreter(model)
        assert python.parents[2] == Path(sys.prefix).parent
        assert subprocess.run([python, "-c", "import soundfile"]).returncode == 0


def test_a_missing_environment_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "pipeline"))
    with pytest.raises(InputError, match=r"svoice: found no environment, expected .*`make setup`"):
        environments.interpreter("svoice")


def test_an_outdated_environment_says_how_to_renew_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "pipeline"))
    (tmp_path / "svoice").mkdir()
    (tmp_path / "svoice" / "requirements.sha256").write_text("0\n")
    with pytest.raises(InputError, match=r"found other requirements, .*run `make setup`"):
        environments.interpreter("svoice")


def launched(code: str, gpus="all", mine=()) -> subprocess.CompletedProcess:
    script = (
        "import sys; from stages.launch import LocalRuntime, _beside; "
        f"runtime = LocalRuntime(name='local', gpus={gpus!r}); "
        f"sys.exit(_beside({code}, 'trainer', runtime, {list(mine)}))"
    )
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_exit_code_is_the_trainers():
    assert launched("['sh', '-c', 'exit 7']").returncode == 7


def test_a_trainer_sees_the_gpus_that_are_its_own():
    ask = "['sh', '-c', 'echo $CUDA_VISIBLE_DEVICES']"
    assert launched(ask, 2, ["GPU-a", "GPU-b"]).stdout == "GPU-a,GPU-b\n"
    assert launched(ask, "none").stdout == "\n"


def test_a_killed_trainer_is_said_so():
    done = launched("['sh', '-c', 'kill -9 $$']")
    assert done.returncode == 128 + 9
    assert done.stderr == "ERROR: trainer: killed by SIGKILL (out of memory?)\n"
