"""`make study NAME=mini`: runs a study's experiments with DVC's queue, and writes their report.

A study is a file in conf/study/: what all its experiments have in common (`overrides`), the values
that they cross (`cells`), the stages to run if not all (`targets`), and the cell that the report
compares the others with (`baseline`). Every cell is repeated for each seed, from the study's first.
Experiments are named after the study, their values and their seed. An experiment that is done at
the current commit is not run again. Ctrl-C stops them; the same command resumes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contract.arguments import Parser
from stages.run import run
from studies.comparison import write_comparison
from studies.definition import baseline_name, experiments, read_study
from studies.overrides import check_setting, split_settings
from studies.repository import check_repository
from studies.runner import run_experiments

REPORTS = Path("reports")


def main() -> None:
    """Runs the study that the command line names; exits with 1 if an experiment failed."""
    parser = Parser(__doc__)
    parser.add_argument("name", help="the name of a file in conf/study/, without .yaml")
    seeds, jobs = (
        "with how many seeds each cell is run",
        "how many experiments run at the same time",
    )
    parser.add_argument("--seeds", type=_count, default=1, help=seeds)
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
    planned = experiments(options.name, study, options.seeds, settings)
    baseline = baseline_name(options.name, study, planned, settings)
    names = [experiment.name for experiment in planned]
    states = run_experiments(options.name, planned, study, options.jobs)
    report = REPORTS / f"{options.name}.html"
    write_comparison(names, baseline, report)
    failed = [name for name in names if states[name] == "failed"]
    for name in failed:
        print(f"failed: {name} (see: dvc queue logs {name})", file=sys.stderr)
    sys.exit(1 if failed else 0)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    run(main, own_arguments=True)
