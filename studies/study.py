"""`make study NAME=mini`: runs a study's experiments with DVC's queue, and writes their report.

A study is a file in conf/study/: what all its experiments have in common (`overrides`), the values
that they cross (`cells`), the stages to run if not all (`targets`), and the cell that the report
compares the others with (`baseline`). Every cell is repeated for each seed, from the study's first.
Experiments are named after the study, their values and their seed. An experiment that is done at
the current commit is not run again. Ctrl-C stops them; the same command resumes.

A study with `tuning` has two parts: the trials, and the runs of what was chosen by them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dvc.repo import Repo

from contract.arguments import Parser
from contract.errors import InputError
from contract.models import MODELS
from stages.run import run
from studies import tuning
from studies.comparison import write_comparison
from studies.definition import Study, TuningRules, baseline_name, experiments, read_study
from studies.overrides import check_setting, split_settings
from studies.repository import check_repository
from studies.runner import run_experiments, stages_of

REPORTS = Path("reports")


def main() -> None:
    """Runs the study that the command line names; exits with 1 if an experiment failed."""
    parser = Parser(__doc__)
    parser.add_argument("name", help="the name of a file in conf/study/, without .yaml")
    seeds, jobs = (
        "with how many seeds each cell is run",
        "how many experiments run at the same time",
    )
    parser.add_argument("--seeds", type=_count, help=f"{seeds}: 1, or as its tuning says")
    parser.add_argument("--jobs", type=_count, default=1, help=jobs)
    setting, settings = "KEY=VALUE, for all experiments", "several of them, separated by spaces"
    parser.add_argument(*("-S", "--set"), action="append", default=[], metavar="S", help=setting)
    parser.add_argument("--settings", default="", metavar="TEXT", help=settings)
    options = parser.parse_args()
    check_repository(Path.cwd(), temporary=True)
    study = read_study(options.name)
    settings_of_text = split_settings(options.settings)
    for setting in settings_of_text:
        check_setting(setting, "SET")
    settings = [*options.set, *settings_of_text]
    if study.tuning is None:
        states = _run(options.name, study, options.seeds or 1, options.jobs, settings)
    else:
        seeds = options.seeds or study.tuning.seeds
        states = _run_tuned(options.name, study, study.tuning, seeds, options.jobs, settings)
    failed = [name for name, state in states.items() if state == "failed"]
    for name in failed:
        print(f"failed: {name} (see: dvc queue logs {name})", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _run(
    name: str, study: Study, seeds: int, jobs: int, settings: Sequence[str]
) -> Mapping[str, str]:
    """Runs a study that is not tuned, and writes its report.

    Args:
        name: its name.
        study: its definition.
        seeds: with how many seeds each cell is run.
        jobs: how many experiments run at the same time.
        settings: `key=value`, more overrides of all experiments.

    Returns:
        `done` or `failed` by the experiment's name, in the order of the study.
    """
    planned = experiments(name, study, seeds, settings)
    baseline = baseline_name(name, study, planned, settings)
    states = run_experiments(name, planned, study, jobs)
    names = [experiment.name for experiment in planned]
    write_comparison(names, baseline, _report(name))
    return {name: states[name] for name in names}


def _run_tuned(
    name: str, study: Study, rules: TuningRules, seeds: int, jobs: int, settings: Sequence[str]
) -> Mapping[str, str]:
    """Runs the trials of a study and what is chosen by them, and writes its report.

    Args:
        name: its name.
        study: its definition.
        rules: those of its tuning.
        seeds: with how many seeds what is chosen is run.
        jobs: how many experiments run at the same time.
        settings: `key=value`, more overrides of all experiments.

    Returns:
        `done` or `failed` by the experiment's name, in the order of the study.
    """
    with Repo() as repo:
        stages = stages_of(repo, study)
    models = [model for model in MODELS if f"train_{model}" in stages]
    plan = tuning.plan(name, study, rules, models, settings)
    baseline_name(name, study, plan.runs.experiments, settings)  # before anything runs
    states = _states(f"{name}, trials", plan.runs, study, jobs)
    trials = tuning.results(plan, Path())
    finals, runs = tuning.finals(plan, trials, seeds)
    names = [experiment.name for experiment in runs.experiments]
    if len(finals) < len(plan.cells) * rules.repetitions * seeds:
        remedy = "the same command tries those that failed again"
        print(
            f"{name}: not all cells have all their trials, and only those that do go on; {remedy}"
        )
    if names:
        states |= _states(f"{name}, what was chosen", runs, study, jobs)
        try:
            baseline = baseline_name(name, study, runs.experiments, settings)
        except InputError:  # its trials have failed
            baseline = None
        tuned = tuning.for_report(plan, trials, finals, seeds)
        write_comparison(names, baseline, _report(name), tuned)
    return states


def _states(title: str, runs: tuning.Runs, study: Study, jobs: int) -> dict[str, str]:
    """Runs experiments of a tuned study, and returns how each has ended, by its name."""
    states = run_experiments(title, runs.experiments, study, jobs, runs.settings)
    return {experiment.name: states[experiment.name] for experiment in runs.experiments}


def _report(name: str) -> Path:
    return REPORTS / f"{name}.html"


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    run(main, own_arguments=True)
