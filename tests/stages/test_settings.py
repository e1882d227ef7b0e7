"""The configuration is split into what each stage depends on, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contract.layout import CONFIGURATION, PARAMS, SETTINGS
from stages import settings
from stages.parts import KEYS
from tests.conftest import ROOT
from tests.stages.workspaces import run_stage
from tests.yaml_files import read_yaml, write_yaml

STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
RATE, LR = settings.RATES


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A folder with the committed configuration."""
    for path in (CONFIGURATION, PARAMS):
        shutil.copyfile(ROOT / path, tmp_path / path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents() -> dict[str, str]:
    """The text of each file in settings/, by stage."""
    return {path.stem: path.read_text() for path in SETTINGS.iterdir()}


def test_every_stage_depends_on_its_own_file():
    files = {
        stage: [dep for dep in definition["deps"] if dep.startswith(f"{SETTINGS}/")]
        for stage, definition in STAGES.items()
    }
    expected = {stage: [f"{SETTINGS}/{stage}.yaml"] for stage in KEYS}
    assert {stage: names for stage, names in files.items() if names} == expected
    outs = {next(iter(out)) for out in STAGES["settings"]["outs"]}
    assert outs == {name for (name,) in expected.values()}


def test_the_committed_summary_is_that_of_the_committed_configuration():
    assert read_yaml(ROOT / PARAMS) == settings.summary(read_yaml(ROOT / CONFIGURATION))


@pytest.mark.parametrize(
    ("group", "key", "value", "stages"),
    [
        ("svoice", "epochs", 7, {"train_svoice"}),
        ("svoice", "segment_seconds", 2.0, {"train_svoice"}),
        ("spleeter", "steps", 7, {"train_spleeter", "evaluate_spleeter"}),
        ("evaluation", "stoi", True, {"evaluate_svoice"}),
        (
            "speech",
            "sample_rate",
            16000,
            {"fetch_speech", "mix_speech", "csv_speech", "train_svoice", "evaluate_svoice"},
        ),
        ("runtime", "gpus", "none", {"environments"}),
    ],
)
def test_a_changed_value_changes_the_files_of_the_stages_that_use_it(
    workspace, group, key, value, stages
):
    settings.main()
    before = contents()
    configuration = read_yaml(CONFIGURATION)
    configuration[group][key] = value
    write_yaml(CONFIGURATION, configuration)
    settings.main()
    after = contents()
    assert {stage for stage in before if before[stage] != after[stage]} == stages


def test_the_files_hold_values_in_their_groups(workspace):
    settings.main()
    configuration = read_yaml(CONFIGURATION)
    part = read_yaml(SETTINGS / "train_svoice.yaml")
    assert part["svoice"] == configuration["svoice"]
    assert part["optimizer"] == {
        "name": configuration["optimizer"]["name"],
        "svoice": configuration["optimizer"]["svoice"],
    }
    assert part["speech"].keys() == {"speakers", "sample_rate"}


@pytest.mark.parametrize(
    ("key", "value", "problem", "options"),
    [
        ("optimizer", "sgd", "'sgd', but configuration.yaml has 'adam'", "-S optimizer=..."),
        ("seed", 5, "5, but configuration.yaml has 0", "-S seed=..."),
        ("svoice.epochs", 99, "99, but configuration.yaml has ", "-S svoice.epochs=..."),
        ("svoice.name", "published", "'published', but configuration.yaml has", "-S svoice=..."),
        ("rates", "1, 2", "'1, 2', but configuration.yaml has '", f"-S {RATE}=... -S {LR}=..."),
    ],
)
def test_a_summary_that_contradicts_the_configuration_is_refused(
    workspace, key, value, problem, options
):
    write_yaml(PARAMS, {**read_yaml(PARAMS), key: value})
    done = run_stage(Path(), "settings")
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR: params.yaml: {key} is {problem}")
    assert done.stderr.endswith(f"; use `dvc exp run {options}`, which writes both files\n")
    assert not SETTINGS.exists()


def test_a_key_that_the_configuration_does_not_have_is_refused(workspace):
    write_yaml(PARAMS, {**read_yaml(PARAMS), "svoice.epoch": 3})
    done = run_stage(Path(), "settings")
    assert done.returncode == 1
    remedy = "remove this line, or run `dvc exp run`, which composes the file again"
    problem = "svoice.epoch is no key of configuration.yaml"
    assert done.stderr == f"ERROR: params.yaml: {problem}; {remedy}\n"
