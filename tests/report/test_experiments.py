"""Experiments read from a repository with commits as DVC makes them, and the names of variants."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from contract.errors import InputError
from contract.layout import EPOCHS, STEPS, SVOICE_RESULTS
from report import experiments
from studies import choices, revisions
from tests import forked
from tests.conftest import ROOT
from tests.results import write_training
from tests.yaml_files import write_yaml


def dvc(root: Path, *arguments: str) -> None:
    done = forked.run_any(["dvc", *arguments], root, os.environ)
    assert done.returncode == 0, done.stderr


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.email=tests@example.org", "-c", "user.name=Tests"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


CURVES = [str(SVOICE_RESULTS / name) for name in (STEPS, EPOCHS)]


def write_lock(root: Path) -> None:
    """Writes dvc.lock as DVC does after SVoice was trained with the present configuration."""
    digest = hashlib.md5((root / "configuration.yaml").read_bytes()).hexdigest()
    settings = {"path": "settings/train_svoice.yaml", "md5": digest}
    stages = {
        "settings": {
            "cmd": "settings",
            "deps": [{"path": "configuration.yaml", "md5": digest}],
            "outs": [settings],
        },
        "train_svoice": {"cmd": "train", "deps": [settings]},
    }
    write_yaml(root / "dvc.lock", {"schema": "2.0", "stages": stages})


@pytest.fixture
def repository(workspace):
    """Two experiments, as tags. Their curves are in DVC's cache, the rest in git."""
    root = workspace.root
    (root / "data" / "music").unlink()
    (root / "data" / "speech").unlink()
    git(root, "init", "-q")
    dvc(root, "init", "-q")
    for name, optimizer, steps in (("one", "adam", 30), ("two", "sgd", 20)):
        workspace.params["optimizer"]["name"] = optimizer
        workspace.write_params()
        write_training(root, "svoice", steps=steps)
        write_lock(root)
        dvc(root, "add", "-q", *CURVES)
        git(root, "add", "-A")
        git(root, "commit", "-qm", name)
        git(root, "tag", name)
    return root


def test_reading_experiments_leaves_the_workspace_as_it_is(repository, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*") if path.is_file()}
    both = revisions.read(repository, ["one", "two"], tmp_path / "read")
    assert [len(experiment.workspace.svoice.steps) for experiment in both] == [30, 20]
    summary = experiments.summary(both)
    speech = summary[summary.model == "svoice"]
    assert speech.experiment.tolist() == speech.variant.map({"adam": "one", "sgd": "two"}).tolist()
    assert set(speech.status) == {"completed"}
    assert set(summary[summary.model == "spleeter"].status) == {"missing"}
    steps = experiments.curves(both, "steps")
    assert steps.groupby("experiment").size().to_dict() == {"one": 30, "two": 20}
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before


def test_results_of_other_settings_are_left_out(repository, tmp_path):
    """Where an experiment ran the stages of one model, the results of the other are older."""
    repository.joinpath("configuration.yaml").write_text("optimizer: {name: nadam}\n")
    git(repository, "commit", "-qam", "other settings, the results of before")
    (head,) = revisions.read(repository, ["HEAD"], tmp_path / "read")
    assert head.workspace.params == {"optimizer": {"name": "nadam"}}
    assert head.workspace.svoice.train is None and head.workspace.svoice.steps is None


def test_only_what_the_cache_has_lost_is_missing(repository, tmp_path):
    for path in (repository / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    (one,) = revisions.read(repository, ["one"], tmp_path / "read")
    assert one.workspace.svoice.steps is None
    assert one.workspace.svoice.train["status"] == "completed"


def test_an_unknown_revision_is_one_line(repository, tmp_path):
    with pytest.raises(InputError) as refused:
        revisions.read(repository, ["none-such"], tmp_path / "read")
    assert str(refused.value) == (
        "REVS: 'none-such' is neither an experiment nor a commit; "
        "see `dvc exp list --all-commits` and `git log`"
    )


def commit_of(root: Path, revision: str) -> str:
    command = ["git", "rev-parse", revision]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout[:-1]


@pytest.fixture
def namesakes(repository):
    """Two experiments called `twin`, from the commits `one` and `two`, and a present commit after
    these: the experiments' own commits, by the commits that they start from."""
    commits = {}
    for start in ("one", "two"):
        git(repository, "checkout", "-q", start)
        git(repository, "commit", "-q", "--allow-empty", "-m", f"twin of {start}")
        own, base = commit_of(repository, "HEAD"), commit_of(repository, start)
        git(repository, "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/twin", own)
        commits[base] = own
    git(repository, "checkout", "-q", "two")
    git(repository, "commit", "-q", "--allow-empty", "-m", "present")
    return commits


def test_a_name_at_two_earlier_commits_is_ambiguous(repository, namesakes, tmp_path):
    with pytest.raises(InputError) as refused:
        revisions.read(repository, ["twin"], tmp_path / "read")
    commits = [f"{own[:7]} from {base[:7]}" for base, own in sorted(namesakes.items())]
    named = commits[0][:7]
    assert str(refused.value) == (
        f"REVS: 2 experiments have the name 'twin' ({', '.join(commits)}); "
        f"name one by its commit, such as {named}"
    )
    (experiment,) = revisions.read(repository, [named], tmp_path / "read")
    assert experiment.commit in namesakes.values()


def test_a_name_at_the_present_commit_is_not_ambiguous(repository, namesakes, tmp_path):
    base, own = next(iter(namesakes.items()))
    git(repository, "checkout", "-q", base)
    (experiment,) = revisions.read(repository, ["twin"], tmp_path / "read")
    assert experiment.commit == own


def test_what_waits_in_the_queue_may_have_a_namesake_too(repository, namesakes, tmp_path):
    """`later` waits at a commit after `one`, and is done at `two`."""
    first, second = namesakes
    git(repository, "update-ref", f"refs/exps/{second[:2]}/{second[2:]}/later", namesakes[second])
    git(repository, "checkout", "-q", first)
    (repository / "dvc.yaml").write_text("stages: {idle: {cmd: 'true'}}")
    git(repository, "add", "dvc.yaml")
    git(repository, "commit", "-q", "-m", "a stage")
    start = commit_of(repository, "HEAD")
    dvc(repository, "exp", "run", "--queue", "--name", "later")
    git(repository, "checkout", "-q", "two")
    git(repository, "commit", "-q", "--allow-empty", "-m", "present, again")
    with pytest.raises(InputError) as refused:
        revisions.read(repository, ["later"], tmp_path / "read")
    message = str(refused.value)
    assert message.startswith("REVS: 2 experiments have the name 'later' (")
    assert f" from {start[:7]}" in message
    assert f"{namesakes[second][:7]} from {second[:7]}" in message


def configured(optimizer="adam", rate=1e-3, schedule="step", seed=0, **more):
    return {
        "optimizer": {"name": optimizer, "svoice": {"lr": rate}},
        "schedule": {"name": schedule},
        "seed": seed,
        **more,
    }


def test_variants_are_named_after_what_differs():
    labels = experiments.variants
    assert labels([configured(), configured("sgd", 0.1)]) == ["adam", "sgd"]
    assert labels([configured(seed=0), configured(seed=1)]) == ["adam", "adam"]
    both = [configured("adam", schedule="step"), configured("sgd", 0.1, schedule="plateau")]
    assert labels(both) == ["adam · step", "sgd · plateau"]
    rates = [configured(rate=1e-3), configured(rate=1e-2), configured("sgd", 0.1)]
    assert labels(rates) == [
        "adam · optimizer.svoice.lr=0.001",
        "adam · optimizer.svoice.lr=0.01",
        "sgd · optimizer.svoice.lr=0.1",
    ]
    sizes = [configured(svoice={"N": 64}), configured(svoice={"N": 128})]
    assert labels(sizes) == ["svoice.N=64", "svoice.N=128"]
    places = [configured(runtime={"name": "local"}), configured(runtime={"name": "docker"})]
    assert labels(places) == ["adam", "adam"]
    texts = [configured(rate=1e-3), configured(rate="1e-03")]  # as YAML 1.1 reads it
    assert labels(texts) == ["adam", "adam"]


def test_an_override_that_the_names_do_not_imply_is_in_the_label():
    """This holds even where the groups of its commit are not known."""
    without = configured("sgd", "1e30", clipping={"name": "none"})
    norm = configured("sgd", 1e-2, clipping={"name": "norm", "max_norm": 5.0})
    assert experiments.variants([without, norm]) == [
        "none · optimizer.svoice.lr=1e+30",
        "norm · optimizer.svoice.lr=0.01",
    ]


def composed(*overrides: str) -> dict:
    """A configuration as the configuration.yaml of an experiment has it."""
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


@pytest.mark.parametrize(
    ("overrides", "labels"),
    [
        (
            ["optimizer=sgd clipping=none optimizer.svoice.lr=1e30", "optimizer=sgd"],
            ["none · optimizer.svoice.lr=1e+30", "norm"],
        ),
        (
            ["optimizer=momentum optimizer.svoice.lr=1e30", "optimizer=adam", "clipping=value"],
            ["momentum · norm · optimizer.svoice.lr=1e+30", "adam · norm", "adam · value"],
        ),
        # Where the names are the same, the label has the value of the default as well.
        (
            ["", "optimizer.svoice.lr=0.002", "optimizer=sgd"],
            ["adam · optimizer.svoice.lr=0.01", "adam · optimizer.svoice.lr=0.002", "sgd"],
        ),
        # The learning rates of presets and of conf/study_rate are not overrides.
        (["svoice=published", "optimizer=adagrad svoice=published"], ["adam", "adagrad"]),
        (["spleeter=published", "optimizer=adadelta spleeter=published"], ["adam", "adadelta"]),
        (["svoice=published", ""], ["svoice=published", "svoice=mini"]),
        (["evaluation.pesq=true optimizer=sgd", ""], ["sgd · evaluation.pesq=True", "adam"]),
        (["runtime.gpus=none seed=3", ""], ["adam", "adam"]),
    ],
)
def test_only_what_the_names_imply_is_left_out(overrides, labels):
    params = [composed(*each.split()) for each in overrides]
    implied = [choices.implied(ROOT / "conf", each) for each in params]
    assert experiments.variants(params, implied) == labels


def test_defaults_that_changed_between_commits_make_other_variants():
    older, newer = configured("sgd", 0.1), configured("sgd", 0.01)
    assert experiments.variants([older, newer], [older, newer]) == [
        "optimizer.svoice.lr=0.1",
        "optimizer.svoice.lr=0.01",
    ]


def test_what_the_names_imply_depends_on_the_commit_of_the_experiment(repository, tmp_path):
    """The workspace has other groups, and `sgd` is not the same at all commits."""
    shutil.copytree(ROOT / "conf", repository / "conf")
    rates = repository / "conf/optimizer/sgd.yaml"
    for name, rate, overrides in [
        ("plain", "1e-1", ["optimizer=sgd", "schedule=step"]),
        ("raised", "1e-1", ["optimizer=sgd", "optimizer.svoice.lr=5"]),
        ("later", "5", ["optimizer=sgd", "clipping=none", "optimizer.svoice.lr=5"]),
        ("alone", "5", ["optimizer=momentum"]),
    ]:
        rates.write_text(f"name: sgd\nspleeter: {{learning_rate: 0.1}}\nsvoice: {{lr: {rate}}}\n")
        write_yaml(repository / "configuration.yaml", composed(*overrides))
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", name)
        git(repository, "tag", name)
    shutil.rmtree(repository / "conf")
    names = ["plain", "raised", "later", "alone"]
    read = revisions.read(repository, names, tmp_path / "read")
    summary = experiments.summary(read).drop_duplicates("experiment")
    assert summary["variant"].tolist() == [
        "sgd · step · norm · optimizer.svoice.lr=0.1",
        "sgd · cosine · norm · optimizer.svoice.lr=5",
        "sgd · cosine · none · optimizer.svoice.lr=5",
        "momentum · cosine · norm",
    ]
    assert summary["optimizer.svoice.lr"].tolist() == [0.1, 5, 5, 0.01]
