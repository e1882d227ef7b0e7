"""Spleeter's command line with our training: `python -m spleeter_mod {train,separate,evaluate}`.

`train` takes Spleeter's options and JSON configuration (`configuration.py`). `separate` and
`evaluate` are Spleeter's own.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

from contract.errors import one_line
from contract.layout import SCRATCH
from spleeter_mod import configuration, tracks

UNFINISHED = Path(SCRATCH, "spleeter")

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

    If it is interrupted, the same command resumes the training from the last checkpoint, which is
    in the folder scratch.
    """
    run = configuration.read(Path(params_filename))
    settings = run.settings
    for note in run.notes:
        print(f"{params_filename}: {note}", flush=True)
    run.check_model_dir()
    names = (Path(data), settings.mix_name, settings.stems)
    rate = settings.sample_rate
    train_list = tracks.read(run.train_csv, rate, settings.train_seconds, *names)
    valid_list = tracks.read(run.validation_csv, rate, settings.valid_seconds, *names)

    # TensorFlow takes seconds to import, so it is imported after all checks.
    from spleeter_mod import standalone

    standalone.train(run, train_list, valid_list, UNFINISHED, verbose)


def _finding_models(command: Callable[..., None]) -> Callable[..., None]:
    """Decorates a command of Spleeter so that it finds the models of `train`.

    `train` puts a model where the configuration says, relative to the working directory. Spleeter
    looks for it in the folder that MODEL_PATH names, and downloads a model if there is none.
    """

    @functools.wraps(command)
    def command_with_model_path(**options: Any) -> None:
        model = Path(load_configuration(options["params_filename"]).get("model_dir", ""))
        if not model.is_absolute() and (model / ".probe").exists():
            os.environ.setdefault("MODEL_PATH", os.curdir)
        return command(**options)

    return command_with_model_path


app.command(no_args_is_help=True)(_finding_models(stock.separate))
app.command(no_args_is_help=True)(_finding_models(stock.evaluate))


@one_line
def main() -> None:
    """Runs the command line; every error that a user can correct is one line."""
    try:
        app(prog_name="spleeter_mod", standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "spleeter_mod"
        message = f"ERROR: {command}: {error.format_message()}; --help lists the options"
        print(message, file=sys.stderr)
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(128 + signal.SIGINT)
    except SpleeterError as error:
        sys.exit(f"ERROR: {error}")


if __name__ == "__main__":
    main()
