"""Spleeter's command line with our training: `python -m spleeter_mod {train,separate,evaluate}`.

`train` takes Spleeter's options and JSON configuration (`configuration.py`). `separate` and
`evaluate` are Spleeter's own.
"""

import functools
import os
import signal
import sys
from pathlib import Path

import click
from spleeter import SpleeterError
from spleeter import __main__ as stock
from spleeter.options import (
    ModelParametersOption,
    TrainingDataDirectoryOption,
    VerboseOption,
    VersionOption,
)
from spleeter.utils.configuration import load_configuration
from typer import Typer

from spleeter_mod import configuration, tracks
from spleeter_mod.errors import one_line

SCRATCH = Path("scratch/spleeter")

app = Typer(add_completion=False, no_args_is_help=True)


@app.callback()
def spleeter_mod(version: bool = VersionOption) -> None:
    """Spleeter with a choice of optimizers, schedules and clipping."""


@app.command(no_args_is_help=True)
def train(
    data: str = TrainingDataDirectoryOption,
    params_filename: str = ModelParametersOption,
    verbose: bool = VerboseOption,
) -> None:
    """Train a source separation model.

    Killed at any moment, the same command goes on from the last checkpoint, in the folder scratch.
    """
    run = configuration.read(Path(params_filename))
    settings = run.settings
    for note in run.notes:
        print(f"{params_filename}: {note}", flush=True)
    run.check_model_dir()
    form = (Path(data), settings.mix_name, settings.stems)
    rate = settings.sample_rate
    train_list = tracks.read(run.train_csv, rate, settings.train_seconds, *form)
    valid_list = tracks.read(run.validation_csv, rate, settings.valid_seconds, *form)

    from spleeter_mod import standalone  # TensorFlow takes its time: after all checks

    standalone.train(run, train_list, valid_list, SCRATCH, verbose)


def _finding_models(command):
    """Spleeter looks for a model in MODEL_PATH, or downloads it; `train` has put it where the
    configuration says."""

    @functools.wraps(command)
    def found(**options):
        model = Path(load_configuration(options["params_filename"]).get("model_dir", ""))
        if not model.is_absolute() and (model / ".probe").exists():
            os.environ.setdefault("MODEL_PATH", os.curdir)
        return command(**options)

    return found


app.command(no_args_is_help=True)(_finding_models(stock.separate))
app.command(no_args_is_help=True)(_finding_models(stock.evaluate))


@one_line
def main():
    try:
        app(prog_name="spleeter_mod", standalone_mode=False)
    except click.ClickException as error:
        asked = getattr(error, "ctx", None)
        asked = asked.command_path if asked else "spleeter_mod"
        print(
            f"ERROR: {asked}: {error.format_message()}; --help tells what it takes", file=sys.stderr
        )
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(128 + signal.SIGINT)
    except SpleeterError as error:
        sys.exit(f"ERROR: {error}")


if __name__ == "__main__":
    main()
