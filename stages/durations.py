"""How long the pipeline takes on this machine: `python -m stages.durations` says so.

Every command of a stage that ends well is timed, and its time kept in scratch/durations/ for the
next forecast. The time of a training is that of its steps, which grows with their number, and that
of the rest. Before a command has run here with the settings at hand, its time is that of
conf/durations.yaml, times the ratio of a short probe on this machine to the same probe there.

These are only forecasts. So a stage never fails because of one, and nothing is said where nothing
is known.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from contract import files
from contract.arguments import Parser
from contract.composed import read_groups
from contract.errors import InputError, one_line
from contract.hardware import processors
from contract.layout import CONF, CONFIGURATION, PIPELINE, TRAIN, scratch_root
from contract.menu import SPLEETER, SVOICE
from contract.models import MODELS
from contract.params import check
from contract.records import COMPLETED
from contract.yaml_files import parse_yaml, read_yaml, value_at
from stages.parts import KEYS, part

REFERENCE = CONF / "durations.yaml"
FOLDER = "durations"  # in the scratch folder
# What the time of a training grows with.
AMOUNTS = {f"train_{SPLEETER}": "spleeter.steps", f"train_{SVOICE}": "svoice.epochs"}
BRANCHES = {"music": SPLEETER, "speech": SVOICE}  # the data set of each model
# Groups, and settings of a model, on which no time depends, or only through the amount.
TIMELESS = {"seed", "optimizer", "schedule", "clipping"}
TIMELESS_SETTINGS = {"steps", "validate_every", "log_every", "epochs", "name"}
PROBE = "probe.json"  # beside the times
PROBE_MATRICES = 12
PROBE_SECONDS = 3600  # how long a probe is kept: the machine may have been busy


@dataclasses.dataclass(frozen=True)
class Duration:
    """How long a command took.

    Attributes:
        hardware: where, as from `contract.hardware.processors`.
        seconds: all of it.
        per_amount: seconds for each step (Spleeter) or epoch (SVoice); 0 if it is no training.
        amount: the number of steps or epochs; 1 if it is no training.
        when: seconds since 1970 at its end.
    """

    hardware: str
    seconds: float
    per_amount: float
    amount: float
    when: float

    def of(self, amount: float) -> float:
        """Returns how long the command takes for another amount, in seconds."""
        rest = max(0.0, self.seconds - self.per_amount * self.amount)
        return rest + self.per_amount * amount


@dataclasses.dataclass(frozen=True)
class Forecast:
    """How long some stages will take.

    Attributes:
        seconds: the sum over those whose time can be told.
        measured: whether all of them have run on this machine.
        unknown: the stages whose time cannot be told.
    """

    seconds: float
    measured: bool
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        parts = []
        if self.seconds or not self.unknown:
            parts.append(f"about {in_words(self.seconds)}")
            if not self.measured:
                parts.append("by a short test of this machine")
        if self.unknown:
            stages = ", ".join(self.unknown)
            parts.append(f"not known before they have run here with these settings: {stages}")
        return "; ".join(parts)


def main() -> None:
    """Prints how long the whole pipeline will take."""
    parser = Parser(__doc__)
    parser.add_argument(
        "--save", action="store_true", help=f"write the times of the last run here to {REFERENCE}"
    )
    parser.add_argument(
        "--runtime", help="a choice of conf/runtime, instead of the configuration's"
    )
    options = parser.parse_args()
    configuration = read_groups(CONFIGURATION)
    if options.runtime:
        configuration["runtime"] = read_yaml(CONF / "runtime" / f"{options.runtime}.yaml")
    check(configuration)
    every_stage = list(_stages())
    if options.save:
        _save(every_stage, configuration)
        return
    print(f"Time: {forecast(every_stage, configuration)}.")
    print("Stages of which nothing has changed take none of it.", flush=True)


def forecast(
    stages: list[str], configuration: dict[str, Any], elsewhere: Path | None = None
) -> Forecast:
    """Returns how long some stages will take.

    Args:
        stages: their names in dvc.yaml.
        configuration: all groups.
        elsewhere: the folder in which the times on other hardware are kept, on which they will run;
            None if they run on this machine.
    """
    reference = read_yaml(REFERENCE) if elsewhere is None else {"durations": {}}
    ratio: float | None = None
    seconds, measured, unknown = 0.0, True, []
    for stage in stages:
        for module in _modules(stage):
            name = _name(stage, module, configuration)
            duration = _recorded(name) if elsewhere is None else _read(elsewhere, name)
            if duration is None and name in reference["durations"]:
                measured = False
                if ratio is None:
                    ratio = _recent_probe() / reference["probe"]
                duration = _at_reference(reference, name, ratio)
            if duration is None:
                unknown.append(stage)
            else:
                seconds += duration.of(_amount(stage, configuration))
    return Forecast(seconds, measured, tuple(dict.fromkeys(unknown)))


def at_reference(stages: list[str], configuration: dict[str, Any]) -> tuple[str, float] | None:
    """Returns how long some stages have taken on the hardware of conf/durations.yaml.

    Args:
        stages: their names in dvc.yaml.
        configuration: all groups.

    Returns:
        The hardware, and the time in seconds; None if one of them has not run there with these
        settings.
    """
    reference = read_yaml(REFERENCE)
    seconds = 0.0
    for stage in stages:
        for module in _modules(stage):
            name = _name(stage, module, configuration)
            if name not in reference["durations"]:
                return None
            seconds += _at_reference(reference, name).of(_amount(stage, configuration))
    return reference["hardware"], seconds


def _at_reference(reference: dict[str, Any], name: str, ratio: float = 1.0) -> Duration:
    """Returns a time of conf/durations.yaml.

    Args:
        reference: the content of the file.
        name: what the time is kept under.
        ratio: how much longer other hardware takes.
    """
    seconds, per_amount, amount = reference["durations"][name]
    return Duration(reference["hardware"], seconds * ratio, per_amount * ratio, amount, 0)


def remaining(stage: str, began: float, configuration: dict[str, Any]) -> Forecast:
    """Returns how long the pipeline will take from the beginning of a stage on.

    Args:
        stage: its name in dvc.yaml.
        began: when the pipeline began, in seconds since 1970. What ended later is done.
        configuration: all groups.
    """
    done = before(stage)
    left = []
    for other in _stages():
        names = [_name(other, module, configuration) for module in _modules(other)]
        records = [_recorded(name) for name in names]
        ended = all(record is not None and record.when > began for record in records)
        if other == stage or (other not in done and not ended):
            left.append(other)
    return forecast(left, configuration)


def before(stage: str) -> set[str]:
    """Returns the stages that a stage depends on, directly or through others.

    Args:
        stage: its name in dvc.yaml.
    """
    definitions = _stages()
    outputs = {
        Path(out if isinstance(out, str) else next(iter(out))): name
        for name, definition in definitions.items()
        for out in (*definition.get("outs", ()), *definition.get("metrics", ()))
    }
    stages: set[str] = set()
    waiting = [stage]
    while waiting:
        for dependency in map(Path, definitions[waiting.pop()].get("deps", ())):
            for path, other in outputs.items():
                overlap = path == dependency or path in dependency.parents
                if (overlap or dependency in path.parents) and other not in stages:
                    stages.add(other)
                    waiting.append(other)
    return stages


def began() -> float:
    """Returns when the command of DVC that this process belongs to began, in seconds since 1970."""
    for process in psutil.Process().parents():
        if any(Path(part).name == "dvc" for part in process.cmdline()[:3]):
            return process.create_time()
    return psutil.Process().create_time()


def probe() -> float:
    """Returns how many seconds this machine takes for a piece of work like that of the trainers.

    It is the shortest of three times, because another process may slow one of them down.
    """
    import numpy as np  # it is not needed where all times are known

    matrix = np.random.default_rng(0).standard_normal((768, 768), dtype=np.float32)
    times = []
    for _ in range(3):
        start = perf_counter()
        product = matrix
        for _ in range(PROBE_MATRICES):
            product = np.tanh(product @ matrix / matrix.shape[0])
            product = np.fft.irfft(np.fft.rfft(product)).astype(np.float32)
        times.append(perf_counter() - start)
    return min(times)


def _recent_probe() -> float:
    """Returns the result of a probe that is at most an hour old."""
    path = folder() / PROBE
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["hardware"] == processors() and 0 <= time.time() - kept["when"] < PROBE_SECONDS:
            return float(kept["seconds"])
    kept = {"hardware": processors(), "when": time.time(), "seconds": probe()}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_shared(path, json.dumps(kept))
    return kept["seconds"]


def folder() -> Path:
    """Returns the folder that the times on this machine are kept in."""
    return scratch_root() / FOLDER


def in_words(seconds: float) -> str:
    """Returns a duration as one says it: `40 seconds`, `5 minutes`, `2 hours 10 minutes`.

    Args:
        seconds: the duration.
    """
    if seconds < 90:
        return _counted(max(10, round(seconds, -1)), "second")
    minutes = round(seconds / 60)
    if minutes < 90:
        return _counted(minutes, "minute")
    minutes = round(minutes, -1)
    hours, rest = divmod(minutes, 60)
    return _counted(hours, "hour") + (f" {rest} minutes" if rest else "")


def _record(stage: str, module: str) -> None:
    train = _training(stage) if stage in AMOUNTS else None
    if train and train["status"] != COMPLETED:
        return  # It has not taken all of its steps.
    configuration = read_groups(CONFIGURATION)
    now = time.time()
    seconds = now - psutil.Process().create_time()
    of_steps = float(train["seconds_per_step"]) * int(train["steps"]) if train else 0.0
    if of_steps > seconds:
        return  # The training was resumed: part of it has run in another process.
    amount = _amount(stage, configuration)
    duration = Duration(processors(), seconds, of_steps / amount, amount, now)
    path = folder() / f"{_name(stage, module, configuration)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_shared(path, json.dumps(dataclasses.asdict(duration)))


def _save(stages: list[str], configuration: dict[str, Any]) -> None:
    """Writes the file that the first forecast on another machine is made from."""
    names = [_name(stage, module, configuration) for stage in stages for module in _modules(stage)]
    durations = {name: _recorded(name) for name in names}
    missing = [name for name, duration in durations.items() if duration is None]
    if missing:
        raise InputError(missing[0], "has not run here", "run `make repro` in a fresh clone first")
    lines = [
        "# Seconds that the commands of the default pipeline take on one machine; of a training,",
        "# also those for each step or epoch, and their number. From this file the first forecast",
        "# on another machine is made. `python -m stages.durations --save` writes it.",
        f"hardware: {processors()}",
        f"probe: {probe():.3f}",
        "durations:",
        *(
            f"  {name}: [{d.seconds:.2f}, {d.per_amount:.4f}, {d.amount:g}]"
            for name, d in durations.items()
            if d is not None
        ),
    ]
    files.write(REFERENCE, "\n".join(lines) + "\n")


def _counted(number: float, unit: str) -> str:
    return f"{number:.0f} {unit}" + ("" if round(number) == 1 else "s")


def _modules(stage: str) -> Iterator[str]:
    """Yields the names of the modules that the commands of a stage run."""
    commands = _stages()[stage]["cmd"]
    for command in [commands] if isinstance(commands, str) else commands:
        yield command.split()[2]  # python -m MODULE ...


def _name(stage: str, module: str, configuration: dict[str, Any]) -> str:
    """Returns what a command's time is kept under: the command, and all that its time depends on.

    That is what the stage depends on of the configuration, its data set and, if it runs a trainer,
    the runtime.
    """
    keys = [key for key in KEYS.get(stage, ()) if key.split(".")[0] not in TIMELESS]
    counted = part(configuration, tuple(keys))
    for data, model in BRANCHES.items():
        if data in stage or model in stage:
            counted[data] = configuration[data]
        if model in counted:
            settings = counted[model].items()
            counted[model] = {k: v for k, v in settings if k not in TIMELESS_SETTINGS}
        if model in stage:
            counted["runtime"] = configuration["runtime"]
    digest = hashlib.sha256(json.dumps(counted, sort_keys=True, default=str).encode()).hexdigest()
    return f"{stage}-{module.rpartition('.')[2]}-{digest[:12]}"


def _amount(stage: str, configuration: dict[str, Any]) -> float:
    return float(value_at(configuration, AMOUNTS[stage])) if stage in AMOUNTS else 1.0


def _training(stage: str) -> dict[str, Any]:
    """Returns what train.json says about the training of a stage."""
    path = MODELS[stage.removeprefix("train_")].results / TRAIN
    return json.loads(path.read_text(encoding="utf-8"))


def _stages() -> dict[str, Any]:
    """Returns the stages of dvc.yaml by name."""
    return _parsed_stages(PIPELINE.read_bytes(), folder())


@lru_cache(maxsize=1)
def _parsed_stages(content: bytes, kept: Path) -> dict[str, Any]:
    """Returns the stages in a dvc.yaml, which are parsed only once on a machine.

    To parse it takes as long as some stages.

    Args:
        content: of the file.
        kept: the folder in which what was parsed is kept.
    """
    path = kept / f"stages-{hashlib.sha256(content).hexdigest()[:12]}.json"
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    stages = parse_yaml(content.decode(), PIPELINE)["stages"]
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_shared(path, json.dumps(stages))
    return stages


def _recorded(name: str) -> Duration | None:
    """Returns the time that is kept under a name, if it is of this hardware."""
    duration = _read(folder(), name)
    return duration if duration and duration.hardware == processors() else None


def _read(folder: Path, name: str) -> Duration | None:
    """Returns the time that a folder keeps under a name."""
    try:
        text = (folder / f"{name}.json").read_text(encoding="utf-8")
        return Duration(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None  # There is none, or its writer was cut short; it is only a forecast.


def print_remaining(stage: str) -> None:
    """Prints how long the pipeline takes at most from the beginning of a stage on, if it can tell.

    Args:
        stage: its name in dvc.yaml.
    """
    # Whatever is wrong, such as a configuration or a file of times that somebody has edited, the
    # stage itself says what matters of it.
    with suppress(Exception):
        configuration = read_groups(CONFIGURATION)
        check(configuration)
        left = remaining(stage, began(), configuration)
        if left.seconds and not left.unknown:
            print(f"At most {in_words(left.seconds)} to go.", flush=True)


def keep(stage: str, module: str) -> None:
    """Keeps how long this process has taken, which has run a command of a stage to its end.

    Args:
        stage: the stage's name in dvc.yaml.
        module: the name of the module that the command runs.
    """
    # A stage does not fail because the next forecast will lack something.
    with suppress(Exception):
        _record(stage, module)


if __name__ == "__main__":
    one_line(main)()
