"""`make study NAME=mini`: runs a study's experiments, and writes their report.

A study is a file in conf/study/: what all its experiments have in common (`overrides`), the values
that they cross (`cells`), the stages to run if not all (`targets`), and the cell that the report
compares the others with (`baseline`). Every cell is repeated for each seed, from the study's first.
Experiments are named after the study, their values and their seed. An experiment that is done at
the current commit is not run again. Ctrl-C stops them; the same command resumes.

A study with `tuning` has two parts: the trials, and the runs of what was chosen by them.

`--engine` names where they run: `local`, DVC's queue here, or a cluster of conf/engine/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dvc.repo import Repo

from contract.arguments import Parser
from contract.errors import InputError
from contract.models import MODELS
from stages.run import run
from studies import tuning
from studies.comparison import write_comparison
from studies.definition import (
    Experiment,
    Study,
    TuningRules,
    baseline_name,
    experiments,
    read_study,
)
from studies.engines import LOCAL, Slurm, read_engine
from studies.overrides import check_setting, split_settings
from studies.repository import check_repository
from studies.revisions import Elsewhere, Settings
from studies.runner import jobs_for_gpus, run_experiments, stages_of
from studies.slurm.engine import SlurmEngine
from studies.states import DONE, FAILED, UNDER_WAY

NEXT = (
    "The same command says how far they are, submits again what has failed, fetches what is done "
    "and writes the report; with WAIT=1 (--wait) it stays until the end."
)
REPORTS = Path("reports")
AUTO = "auto"  # JOBS: as many as there are GPUs


def main() -> None:
    """Runs the study that the command line names; exits with 1 if an experiment failed."""
    parser = Parser(__doc__)
    parser.add_argument("name", help="the name of a file in conf/study/, without .yaml")
    seeds, jobs = (
        "with how many seeds each cell is run",
        "how many experiments run at the same time",
    )
    parser.add_argument("--seeds", type=count, help=f"{seeds}: 1, or as its tuning says")
    as_default = "1, or as the engine says; auto: as many as there are GPUs"
    parser.add_argument("--jobs", type=_jobs, help=f"{jobs}: {as_default}")
    setting, settings = "KEY=VALUE, for all experiments", "several of them, separated by spaces"
    parser.add_argument(*("-S", "--set"), action="append", default=[], metavar="S", help=setting)
    parser.add_argument("--settings", default="", metavar="TEXT", help=settings)
    parser.add_argument("--engine", default=LOCAL, help="the name of a file in conf/engine/")
    parser.add_argument(
        "--wait", action="store_true", help="stay until all experiments on a cluster have ended"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what a cluster would get, and submit nothing"
    )
    options = parser.parse_args()
    check_repository(Path.cwd(), temporary=True)
    study = read_study(options.name)
    settings_of_text = split_settings(options.settings)
    for setting in settings_of_text:
        check_setting(setting, "SET")
    settings = [*options.set, *settings_of_text]
    engine = read_engine(options.engine)
    if isinstance(engine, Slurm):
        # The cluster knows its GPUs.
        at_once = None if options.jobs == AUTO else options.jobs
        runner: Runner = SlurmEngine(engine, at_once, options.wait, options.dry_run)
    elif options.wait or options.dry_run:
        raise InputError("ENGINE", "is local, which always waits", "name that of a cluster")
    else:
        runner = LocalQueue(options.jobs or 1)
    if study.tuning is None:
        states = _run(options.name, study, options.seeds or 1, runner, settings)
    else:
        seeds = options.seeds or study.tuning.seeds
        states = _run_tuned(options.name, study, study.tuning, seeds, runner, settings)
    failed = [name for name, state in states.items() if state == FAILED]
    for name in failed:
        print(f"failed: {name} (see: {runner.log_of(name)})", file=sys.stderr)
    if not options.dry_run and any(state in UNDER_WAY for state in states.values()):
        print(NEXT)
    sys.exit(1 if failed else 0)


class Runner(Protocol):
    """Where experiments run: DVC's queue here, or a cluster."""

    def run(
        self, title: str, experiments: Sequence[Experiment], study: Study, settings: Settings
    ) -> dict[str, str]:
        """Runs experiments that are not done at the current commit, or has them run.

        Args:
            title: what the output calls the study.
            experiments: the experiments of the study.
            study: its definition.
            settings: settings of experiments that their names do not tell. One that is done with
                others is run again.

        Returns:
            `done`, `failed`, `running` or `queued` by the experiment's name.
        """

    def elsewhere(self) -> dict[str, Elsewhere]:
        """Returns the experiments without a result that DVC's queue does not know."""

    def log_of(self, name: str) -> str:
        """Returns where the log of a failed experiment is: a file, or a command."""


class LocalQueue:
    """DVC's queue on this machine.

    Args:
        jobs: how many experiments run at the same time, or `auto`: as many as have all GPUs that
            they request.
    """

    def __init__(self, jobs: int | str) -> None:
        self._jobs = jobs

    def run(
        self, title: str, experiments: Sequence[Experiment], study: Study, settings: Settings
    ) -> dict[str, str]:
        """Runs experiments to their ends, as `Runner` says."""
        jobs = self._jobs
        if isinstance(jobs, str):
            jobs = jobs_for_gpus(experiments, study)
        return run_experiments(title, experiments, study, jobs, settings)

    def elsewhere(self) -> dict[str, Elsewhere]:
        """Returns none: DVC's queue knows all that it runs."""
        return {}

    def log_of(self, name: str) -> str:
        """Returns the command that prints the log of an experiment."""
        return f"dvc queue logs {name}"


def _run(
    name: str, study: Study, seeds: int, runner: Runner, settings: Sequence[str]
) -> Mapping[str, str]:
    """Runs a study that is not tuned, and writes its report.

    Args:
        name: its name.
        study: its definition.
        seeds: with how many seeds each cell is run.
        runner: where.
        settings: `key=value`, more overrides of all experiments.

    Returns:
        How each experiment has ended, or is on its way, in the order of the study.
    """
    planned = experiments(name, study, seeds, settings)
    baseline = baseline_name(name, study, planned, settings)
    states = runner.run(name, planned, study, {})
    names = [experiment.name for experiment in planned]
    if _has_results(states):
        write_comparison(names, baseline, _report(name), elsewhere=runner.elsewhere())
    return {name: states[name] for name in names}


def _run_tuned(
    name: str, study: Study, rules: TuningRules, seeds: int, runner: Runner, settings: Sequence[str]
) -> Mapping[str, str]:
    """Runs the trials of a study and what is chosen by them, and writes its report.

    Args:
        name: its name.
        study: its definition.
        rules: those of its tuning.
        seeds: with how many seeds what is chosen is run.
        runner: where.
        settings: `key=value`, more overrides of all experiments.

    Returns:
        How each experiment has ended, or is on its way, in the order of the study.
    """
    with Repo() as repo:
        stages = stages_of(repo, study)
    models = [model for model in MODELS if f"train_{model}" in stages]
    plan = tuning.plan(name, study, rules, models, settings)
    baseline_name(name, study, plan.runs.experiments, settings)  # before anything runs
    states = _states(f"{name}, trials", plan.runs, study, runner)
    trials = tuning.results(plan, Path(), runner.elsewhere())
    finals, runs = tuning.finals(plan, trials, seeds)
    names = [experiment.name for experiment in runs.experiments]
    on_the_way = any(state in UNDER_WAY for state in states.values())
    if len(finals) < len(plan.cells) * rules.repetitions * seeds and not on_the_way:
        remedy = "the same command tries those that failed again"
        print(
            f"{name}: not all cells have all their trials, and only those that do go on; {remedy}"
        )
    if names:
        states |= _states(f"{name}, what was chosen", runs, study, runner)
        try:
            baseline = baseline_name(name, study, runs.experiments, settings)
        except InputError:  # its trials have failed
            baseline = None
        if _has_results({name: states[name] for name in names}):
            tuned = tuning.for_report(plan, trials, finals, seeds)
            write_comparison(names, baseline, _report(name), tuned, runner.elsewhere())
    return states


def _states(title: str, runs: tuning.Runs, study: Study, runner: Runner) -> dict[str, str]:
    """Runs experiments of a tuned study, and returns how each has ended, by its name."""
    states = runner.run(title, runs.experiments, study, runs.settings)
    return {experiment.name: states[experiment.name] for experiment in runs.experiments}


def _has_results(states: Mapping[str, str]) -> bool:
    """Returns whether there is something to report: a result, or that there will be none."""
    return any(state == DONE for state in states.values()) or not any(
        state in UNDER_WAY for state in states.values()
    )


def _report(name: str) -> Path:
    return REPORTS / f"{name}.html"


def _jobs(text: str) -> int | str:
    return text if text == AUTO else count(text)


def count(text: str) -> int:
    """Returns a number of the command line that is at least 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    run(main, own_arguments=True)
