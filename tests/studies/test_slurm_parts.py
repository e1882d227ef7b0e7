"""What a study gives to Slurm and leaves in the shared folder, without a cluster."""

import os
import subprocess

import pytest

from contract.errors import InputError
from studies.engines import Local, Slurm, read_engine
from studies.slurm import client, scripts
from studies.slurm.engine import GONE, State, _ended, _file_system, _gpus
from studies.slurm.folder import Cell, CommitFolder, Outcome, Submission
from studies.states import DONE, FAILED
from tests.conftest import ROOT
from tests.yaml_files import read_yaml, write_yaml

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENGINES = ROOT / "conf" / "engine"


def engine(**changes):
    values = read_yaml(ENGINES / "slurm.yaml") | changes
    return Slurm.model_validate(values)


def cell(name="a", **changes):
    values = {"settings": ["seed=1"], "targets": [], "commit": COMMIT, "repository": "/r"}
    return Cell(name, **(values | {"requeues": 2} | changes))


def test_the_engines_of_the_project_can_be_read():
    assert isinstance(read_engine("local", ENGINES), Local)
    assert isinstance(read_engine("slurm", ENGINES), Slurm)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cpus": "two"}, "cpus: found 'two', expected"),
        ({"partion": "gpu"}, "partion: there is no such key here"),
        ({"name": "pbs"}, "name: found 'pbs', expected"),
    ],
)
def test_a_wrong_engine_is_one_line(tmp_path, changes, message):
    write_yaml(tmp_path / "own.yaml", read_yaml(ENGINES / "slurm.yaml") | changes)
    with pytest.raises(InputError, match=message):
        read_engine("own", tmp_path)
    with pytest.raises(InputError, match="ENGINE: there is no engine 'none'; choose own"):
        read_engine("none", tmp_path)


def test_the_array_has_the_settings_of_the_cluster(tmp_path):
    settings = {
        "partition": "gpu",
        "time_limit": "12:00:00",
        "gres": "gpu:2",
        "memory": "8G",
        "sbatch": ["--qos=long"],
        "setup": ["module load ffmpeg"],
    }
    folder = CommitFolder(tmp_path / "it's here", COMMIT)
    text = scripts.array("my study", engine(**settings), folder, tmp_path / "1", 300, 12)
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert options == lines_of(
        f"""--job-name=my-study
        --output={tmp_path}/1/%a.log
        --open-mode=append
        --partition=gpu
        --time=12:00:00
        --cpus-per-task=2
        --ntasks-per-node=1
        --mem=8G
        --qos=long
        --array=0-299%12
        --nodes=1
        --requeue
        --signal=B:USR2@120
        --kill-on-invalid-dep=yes
        --gres=gpu:2"""
    )
    assert "module load ffmpeg" in lines
    script = tmp_path / "script.sh"
    script.write_text(text)
    subprocess.run(["bash", "-n", script], check=True)


def lines_of(text):
    return [line.strip() for line in text.splitlines()]


@pytest.mark.parametrize("usable", [True, False])
def test_the_node_takes_the_environments_that_it_can_use(tmp_path, usable):
    """Otherwise it installs its own, once for the same requirements."""
    folder = CommitFolder(tmp_path / "shared", COMMIT)
    (folder.code / "docker/requirements").mkdir(parents=True)
    (folder.code / "docker/requirements/a.txt").write_text("a==1\n")
    python = '#!/bin/sh\necho "$@" >> ran\n'
    own = tmp_path / "environments" / "pipeline" / "bin"
    own.mkdir(parents=True)
    (own / "python").write_text(python if usable else "#!/bin/sh\nexit 1\n")
    (own / "python").chmod(0o755)
    text = scripts.preparation("s", engine(), folder, tmp_path / "1", own.parents[1])
    if not usable:  # a Python that works, in the place where `make setup` installs it
        (folder.code / "Makefile").write_text(
            "setup:\n\tmkdir -p .venv/pipeline/bin\n\tcp working .venv/pipeline/bin/python\n"
        )
        (folder.code / "working").write_text(python)
        (folder.code / "working").chmod(0o755)
    subprocess.run(["bash", "-c", text], check=True)
    ran = (folder.code / "ran").read_text()
    assert ran.splitlines()[-1] == f"-m studies.slurm.prepare {tmp_path}/1"
    link = os.path.realpath(folder.code / ".venv")
    assert (link == str(own.parents[1])) == usable
    assert usable or link.startswith(str(folder.environments))


def test_a_cell_that_is_submitted_again_keeps_what_is_unfinished(tmp_path):
    folder = CommitFolder(tmp_path, COMMIT).cell("a")
    assert folder.read() is None and folder.outcome() is None
    folder.renew(cell())
    folder.scratch.mkdir()
    assert [folder.start("here"), folder.start("there")] == [1, 2]
    folder.end(Outcome(FAILED, "it broke"))
    assert folder.outcome() == Outcome(FAILED, "it broke")
    folder.renew(cell(requeues=5))
    assert folder.read() == cell(requeues=5)
    assert folder.outcome() is None and folder.scratch.is_dir()
    assert folder.start("here") == 1
    folder.renew(cell(settings=["seed=2"]))  # another experiment of the same name
    assert not folder.scratch.exists()


def test_a_cell_that_is_done_leaves_its_log_and_its_times(tmp_path):
    commit = CommitFolder(tmp_path, COMMIT)
    folder = commit.cell("a")
    folder.renew(cell())
    (folder.scratch / "durations").mkdir(parents=True)
    (folder.scratch / "durations" / "train.json").write_text("{}")
    folder.clone.mkdir()
    folder.log.write_text("\n".join(map(str, range(30))) + "\n\n")
    folder.end(Outcome(DONE))
    assert not folder.clone.exists() and not folder.scratch.exists()
    assert folder.last_lines().splitlines() == [str(number) for number in range(18, 30)]
    assert (commit.durations / "train.json").read_text() == "{}"


def test_a_cell_without_result_that_slurm_has_lost_has_failed(tmp_path):
    commit = CommitFolder(tmp_path, COMMIT)
    assert _ended(commit, "a", [], set()) == State("")
    folder = commit.cell("a")
    folder.renew(cell())
    submission = commit.new_submission()
    Submission(submission, ["b", "a"], 7, 8).keep()
    (submission / "prepare.log").write_text("no disk\n")
    submissions = commit.submissions()
    assert submissions == [Submission(submission, ["b", "a"], 7, 8)]
    before = State(FAILED, f"{GONE}, before it began", "no disk")
    assert _ended(commit, "a", submissions, set()) == before
    folder.log.write_text("epoch 1\n")
    assert _ended(commit, "a", submissions, set()) == State(FAILED, GONE, "epoch 1")
    folder.end(Outcome(FAILED, "DVC has ended with exit code 1"))
    assert _ended(commit, "a", submissions, set()).reason == "DVC has ended with exit code 1"
    folder.end(Outcome(DONE))  # its experiment has been removed since
    assert _ended(commit, "a", submissions, set()) == State("")


def test_submissions_are_counted(tmp_path):
    commit = CommitFolder(tmp_path, COMMIT)
    folders = [commit.new_submission() for _ in range(11)]
    assert [folder.name for folder in folders] == [str(number) for number in range(1, 12)]
    assert commit.submissions() == []  # nothing was submitted


@pytest.mark.parametrize(
    "gres, count",
    [(None, 0), ("gpu", 1), ("gpu:2", 2), ("gpu:a100", 1), ("gpu:a100:4,nvme:1", 4)],
)
def test_gpus_of_a_node(gres, count):
    assert _gpus(gres) == count


def test_the_file_system_of_a_folder():
    assert _file_system("/proc/self") == "proc"


def test_without_slurm_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match=r"ENGINE: sbatch, squeue, .*there is no such command here"
    ):
        client.check_commands()


def slurm(monkeypatch, folder, **programs):
    """Puts programs in the place of Slurm's."""
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_tasks_are_read_from_the_queue(monkeypatch, tmp_path):
    listing = "7|N/A|RUNNING|None\\n8|3|PENDING|(Dependency)\\n9|0|RUNNING|None"
    slurm(monkeypatch, tmp_path, squeue=f'printf "{listing}\\n"')
    assert client.tasks([7, 8]) == [
        client.Task(7, None, False, "None"),
        client.Task(8, 3, True, "(Dependency)"),
    ]
    assert client.tasks([]) == []


def test_what_slurm_refuses_is_one_line(monkeypatch, tmp_path):
    text = "echo 'sbatch: error: Invalid account' >&2; exit 1"
    slurm(monkeypatch, tmp_path, sbatch=text)
    with pytest.raises(InputError, match=r"^sbatch: Invalid account; correct conf/engine"):
        client.submit(tmp_path / "script.sh")


def test_a_controller_that_is_away_is_waited_for(monkeypatch, tmp_path, capsys):
    away = "squeue: error: slurm_load_jobs error: Unable to contact slurm controller"
    text = f'[ -e {tmp_path}/back ] || {{ touch {tmp_path}/back; echo "{away}" >&2; exit 1; }}'
    slurm(monkeypatch, tmp_path, squeue=text)
    monkeypatch.setattr(client, "PAUSE", 0.1)
    assert client.tasks([1]) == []
    said = "slurm_load_jobs error: Unable to contact slurm controller"
    assert capsys.readouterr().err == f"squeue: {said}; trying again\n"
    (tmp_path / "back").unlink()
    monkeypatch.setattr(client, "PATIENCE", -1)
    with pytest.raises(InputError, match="Unable to contact slurm controller"):
        client.tasks([1])


def test_settings_of_the_shell_do_not_change_what_slurm_prints(monkeypatch, tmp_path):
    slurm(monkeypatch, tmp_path, squeue='[ -z "$SQUEUE_FORMAT" ]')
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    assert client.tasks([1]) == []
