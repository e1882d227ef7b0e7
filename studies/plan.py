"""`make plan`: prints what a configuration or a study takes: steps, hours, memory and disk.

Without a name it is about configuration.yaml or, with settings, about the experiment that
`dvc exp run -S` would run with them. With the name of a file in conf/study/, it is about the study
as `make study` would run it. Nothing is run or fetched. Every number has its origin beside it.

The times are those of one training after the other on one device. Where they were not measured,
they are computed from the operations of a step and the rate of the hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from contract import costs
from contract.arguments import Parser
from contract.composed import read_groups
from contract.errors import InputError
from contract.hardware import processors
from contract.layout import CONF, CONFIGURATION, PIPELINE
from contract.menu import SPLEETER
from contract.model_settings import least_chunk_seconds
from contract.models import MODELS
from contract.params import Params, check
from contract.sizes import frame_count, valid_chunk_seconds
from contract.sources import CHANNELS, STEMS
from contract.yaml_files import read_yaml
from report.markup import plural
from stages.durations import at_reference, before, forecast
from stages.run import run
from studies import choices, tuning
from studies.composition import CONF_GROUPS
from studies.data_sizes import Size, music_size, segments, speech_size
from studies.definition import experiments, read_study
from studies.hardware import (
    Hardware,
    is_small,
    memory,
    operations,
    read_hardware,
    seconds_on_gpu,
    seconds_on_processors,
)
from studies.overrides import check_choices, check_setting, split_settings
from studies.runner import alike
from studies.study import count

Row = tuple[str, str, str]  # a label, an amount, and where it is from

UNKNOWN = "?"
GB = 1e9
HOUR = 3600.0
PCM = 2  # bytes of a sample of the data sets' audio, which is mostly stored so
FLOAT = 4  # bytes of a sample of the estimates, and of a weight
SPECTROGRAM = 1  # bytes of a magnitude in the cache of spectrograms
ANY_CORPUS = "(any)"  # WSJ0's folder, which nothing here reads


@dataclass(frozen=True)
class Kind:
    """Trainings that take the same time and room.

    Attributes:
        configuration: of one of them, all groups.
        params: the same, checked.
        trainings: how many they are.
        results: how many experiments they end in; one may take another's training over.
    """

    configuration: dict[str, Any]
    params: Params
    trainings: int
    results: int


@dataclass(frozen=True)
class Plan:
    """What is planned.

    Attributes:
        title: what it is, in words.
        models: the keys of the models that are trained.
        kinds: the trainings of each of them.
    """

    title: str
    models: list[str]
    kinds: list[Kind]


@dataclass(frozen=True)
class Steps:
    """The steps of a training.

    Attributes:
        number: how many; None if that is not known before the data is there.
        origin: where the number is from.
    """

    number: float | None
    origin: str


def main() -> None:
    """Prints the plan that the command line asks for."""
    parser = Parser(__doc__)
    parser.add_argument("name", nargs="?", help="the name of a file in conf/study/, without .yaml")
    parser.add_argument("--seeds", type=count, help="as of make study")
    settings = "KEY=VALUE, for all experiments, separated by spaces"
    parser.add_argument("--settings", default="", metavar="TEXT", help=settings)
    options = parser.parse_args()
    overrides = split_settings(options.settings)
    for setting in overrides:
        check_setting(setting, "SET")
    if options.name:
        planned = plan_study(options.name, overrides, options.seeds)
    elif options.seeds:
        raise InputError("SEEDS", "is that of a study, and none is named", "add NAME=...")
    else:
        planned = plan_experiment(overrides)
    print("\n".join(text(planned, read_hardware())))


def plan_experiment(settings: Sequence[str]) -> Plan:
    """Returns the plan of a single experiment.

    Args:
        settings: `key=value`; configuration.yaml if there are none.

    Raises:
        InputError: a setting is wrong.
    """
    kind = _kind(settings, 1, 1) if settings else _kind_of(read_groups(CONFIGURATION), 1, 1)
    return Plan("1 experiment", list(MODELS), [kind])


def plan_study(name: str, settings: Sequence[str] = (), seeds: int | None = None) -> Plan:
    """Returns the plan of a study.

    Args:
        name: of a file in conf/study/, without .yaml.
        settings: `key=value`, more overrides of all experiments.
        seeds: with how many seeds each cell is run; 1 if None, or as its tuning says.

    Raises:
        InputError: the study or a setting is wrong.
    """
    study = read_study(name)
    stages = _stages(study.targets)
    models = [model for model in MODELS if f"train_{model}" in stages]
    rules = study.tuning
    if rules is None:
        planned = experiments(name, study, seeds or 1, settings)
        trainings = results = alike(planned, study)
        parts = plural(len(planned), "experiment")
    else:
        trials = tuning.plan(name, study, rules, models, settings)
        trainings = alike(trials.runs.experiments, study)
        results = trainings.copy()
        seeds = seeds or rules.seeds
        for overrides, cells in alike(trials.cells, study).items():
            # A trial has trained the first seed already, and DVC's run cache restores it.
            trainings[overrides] += cells * rules.repetitions * (seeds - 1)
            results[overrides] += cells * rules.repetitions * seeds
        of_trials = len(trials.runs.experiments)
        chosen = len(trials.cells) * rules.repetitions * seeds
        total = plural(of_trials + chosen, "experiment")
        parts = (
            f"{total}: {plural(of_trials, 'trial')}, and {plural(chosen, 'run')} of what they "
            f"choose, of which the first seed's are restored"
        )
    kinds = [_kind(overrides, trainings[overrides], results[overrides]) for overrides in trainings]
    return Plan(f"{name}: {parts}", models, kinds)


def _stages(targets: Iterable[str]) -> set[str]:
    """Returns the stages that targets need, all if there are none."""
    every = set(read_yaml(PIPELINE)["stages"])
    targets = list(targets) or sorted(every)
    if unknown := [target for target in targets if target not in every]:
        raise InputError("targets", f"there is no stage {unknown[0]!r}", "name one of dvc.yaml")
    return {stage for target in targets for stage in (target, *before(target))}


def _kind(overrides: Sequence[str], trainings: int, results: int) -> Kind:
    """Composes the configuration of trainings.

    Raises:
        InputError: it cannot be composed, or is wrong.
    """
    check_choices(overrides, CONF_GROUPS)
    try:
        configuration = choices.composed(CONF.absolute(), tuple(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        said = " ".join(str(error).splitlines()[0].split())
        raise InputError("SET", said, "correct the study or SET") from error
    return _kind_of(configuration, trainings, results)


def _kind_of(configuration: dict[str, Any], trainings: int, results: int) -> Kind:
    speech = configuration["speech"]
    checked = configuration
    if speech["name"].startswith("wsj0") and speech["corpus"] is None:
        checked = configuration | {"speech": speech | {"corpus": ANY_CORPUS}}
    return Kind(configuration, check(checked), trainings, results)


def steps(model: str, kind: Kind) -> Steps:
    """Returns the steps of a training.

    Args:
        model: its key.
        kind: its configuration.
    """
    params = kind.params
    if model == SPLEETER:
        return Steps(params.spleeter.steps, "spleeter.steps")
    size = speech_size(kind.configuration, params)
    if size is None:
        return Steps(None, "not known before the data is there")
    svoice, rate = params.svoice, params.speech.sample_rate
    # As the trainer rounds them to samples.
    segment, stride = (
        round(seconds * rate) / rate for seconds in (svoice.segment_seconds, svoice.stride_seconds)
    )
    number = segments(size.lengths["train"], segment, stride, size.is_exact)
    of_epoch = -(-number // svoice.batch_size)
    origin = f"svoice.epochs = {svoice.epochs}, each of {of_epoch:,.0f}: {size.origin}"
    return Steps(svoice.epochs * of_epoch, origin)


def text(plan: Plan, hardware: Hardware) -> list[str]:
    """Returns the lines that `make plan` prints.

    Args:
        plan: what is planned.
        hardware: what is known of hardware.
    """
    lines = [plan.title]
    for model in plan.models:
        lines += ["", *_of_model(model, plan, hardware)]
    return [
        *lines,
        "",
        "Times are those of the trainings, one after the other on one device.",
        "measured  timed, from the start of a training to its end",
        "scaled    the steps alone: a measured step of docs/benchmarks.md, by its operations",
        "estimate  the steps alone, not measured: computed from the operations of a step at "
        f"{hardware.share * 100:.0f} % of",
        "          the peak: at best that of tensor cores, at worst that of the other units",
    ]


def _of_model(model: str, plan: Plan, hardware: Hardware) -> list[str]:
    """Returns the lines about a model."""
    all_steps = [(kind, steps(model, kind)) for kind in plan.kinds]
    choices_of_kinds = {
        " ".join(
            f"{group}={getattr(kind.params, group).name}" for group in (model, MODELS[model].branch)
        )
        for kind in plan.kinds
    }
    title = f"{MODELS[model].title}, {'; '.join(sorted(choices_of_kinds))}"
    on_gpu = [memory(model, kind.params, True) / GB for kind in plan.kinds]
    rows = [
        ("trainings", f"{sum(kind.trainings for kind in plan.kinds):,}", ""),
        *_steps(all_steps),
        (
            "operations of a step",
            f"{_range([operations(model, kind.params) for kind in plan.kinds], _power)}",
            "by formula (contract/costs.py)",
        ),
        (
            "memory",
            _range([memory(model, kind.params, False) for kind in plan.kinds], _size),
            "by formula; peaks on processors were within 30 % of it",
        ),
        (
            "memory of a GPU",
            _range([need * GB for need in on_gpu], _size),
            "by formula, not measured" + ("" if model == SPLEETER else "; at most"),
        ),
        *_disk(model, plan),
    ]
    return [
        title,
        "=" * len(title),
        *(f"{label:22}{amount:>18}  {origin}".rstrip() for label, amount, origin in rows),
        "",
        f"{'time':34}{'each':>18}{'all':>18}",
        *_times(model, all_steps, max(on_gpu), hardware),
    ]


def _steps(all_steps: Sequence[tuple[Kind, Steps]]) -> list[Row]:
    """Returns the rows about the steps of each kind of training."""
    origins = list(dict.fromkeys(each.origin for _, each in all_steps))
    origin = "; ".join(origins[:2]) + ("; …" if origins[2:] else "")
    known = [(kind.trainings, each.number) for kind, each in all_steps if each.number is not None]
    if len(known) < len(all_steps):
        return [("steps", UNKNOWN, origin)]
    return [
        ("steps of each", _range([number for _, number in known], _whole), origin),
        ("steps in all", _whole(sum(count * number for count, number in known)), ""),
    ]


def _times(
    model: str, all_steps: Sequence[tuple[Kind, Steps]], need_gb: float, hardware: Hardware
) -> list[str]:
    """Returns how long the trainings take on each piece of hardware.

    Args:
        model: the key of the model.
        all_steps: the steps of each kind of training.
        need_gb: the memory of a GPU that a training takes, in GB.
        hardware: what is known of hardware.
    """
    lines = []
    here = [forecast([f"train_{model}"], kind.configuration) for kind, _ in all_steps]
    if not any(each.unknown for each in here):
        times = [
            (kind.trainings, each.seconds) for (kind, _), each in zip(all_steps, here, strict=True)
        ]
        measured = all(each.measured for each in here)
        how = "measured" if measured else "measured elsewhere, times a short test here"
        lines.append(_line(f"this machine, {processors()}", times, times, how))
    reference = [at_reference([f"train_{model}"], kind.configuration) for kind, _ in all_steps]
    if None not in reference:
        times = [
            (kind.trainings, each[1]) for (kind, _), each in zip(all_steps, reference, strict=True)
        ]
        lines.append(_line(reference[0][0], times, times, "measured there (conf/durations.yaml)"))
    if any(each.number is None for _, each in all_steps):
        return [*lines, "elsewhere: not known before the data is there"]
    if any(is_small(model, kind.params) for kind, _ in all_steps):
        return [
            *lines,
            "elsewhere: not known; so small a network is not bound by operations",
        ]
    for device in hardware.processors:
        times = [
            (kind.trainings, each.number * seconds_on_processors(model, kind.params, device))
            for kind, each in all_steps
        ]
        lines.append(_line(device.name, times, times, "scaled"))
    for gpu in hardware.gpus:
        best, worst = [], []
        for kind, each in all_steps:
            low, high = seconds_on_gpu(model, kind.params, gpu, hardware)
            best.append((kind.trainings, each.number * low))
            worst.append((kind.trainings, each.number * high))
        how = "estimate"
        if need_gb > gpu.memory_gb:
            how += f"; may be too small for {need_gb:.0f} GB"
        lines.append(_line(f"{gpu.name}, {gpu.memory_gb:g} GB", best, worst, how))
    return lines


def _line(
    name: str,
    best: Sequence[tuple[int, float]],
    worst: Sequence[tuple[int, float]],
    how: str,
) -> str:
    """Returns the line about a piece of hardware.

    Args:
        name: of the hardware.
        best: how many trainings of each kind there are, and how long one takes at best, in seconds.
        worst: the same, at worst.
        how: where the times are from.
    """
    each = _range([seconds for _, seconds in (*best, *worst)], _time)
    every = [sum(count * seconds for count, seconds in times) for times in (best, worst)]
    return f"{name:34}{each:>18}{_range(every, _time):>18}  {how}"


def _disk(model: str, plan: Plan) -> list[Row]:
    """Returns the rows about the disk.

    Args:
        model: the key of the model.
        plan: what is planned; all its trainings have the data of the first kind.
    """
    results = sum(kind.results for kind in plan.kinds)
    configuration, params = plan.kinds[0].configuration, plan.kinds[0].params
    if model == SPLEETER:
        size = music_size(configuration, params)
        rate, sources, channels = params.music.sample_rate, len(STEMS), CHANNELS
        weights = costs.spleeter_parameters(params.spleeter) * FLOAT
    else:
        size = speech_size(configuration, params)
        rate, sources, channels = params.speech.sample_rate, params.speech.speakers, 1
        weights = costs.svoice_parameters(params.svoice, params.speech.speakers) * FLOAT
    if size is None:
        return [("disk", UNKNOWN, "not known before the data is there")]
    samples = rate * channels
    data = size.seconds() * samples * (1 + sources) * PCM
    # Two checkpoints of the weights and Adam's two moments, and the best weights so far.
    unfinished = (2 * 3 + 1) * weights
    result = weights + size.seconds("test") * samples * sources * FLOAT
    total = 2 * data + unfinished + results * result
    rows = [("data", _size(data), f"{size.origin}; at 16 bits a sample")]
    if model == SPLEETER:
        spectrograms = max(_spectrograms(kind.params, size) for kind in plan.kinds)
        total += spectrograms
        rows.append(("spectrograms", _size(spectrograms), "a cache that all experiments share"))
    return [
        *rows,
        ("unfinished training", _size(unfinished), "two checkpoints, and the best weights"),
        ("each result", _size(result), "the weights, and the estimates at 32 bits a sample"),
        (
            "disk in all",
            _size(total),
            f"{plural(results, 'result')}; the data twice: DVC's cache copies unless it links",
        ),
    ]


def _spectrograms(params: Params, size: Size) -> float:
    """Returns the size of the cache of spectrograms of a training, in bytes.

    Only the chunks that its steps draw are in it: each once before any is drawn again.

    Args:
        params: the configuration.
        size: of the data set.
    """
    settings = params.spleeter
    songs = len(size.lengths["train"])
    chunks = min(songs * settings.chunks_per_song, settings.steps * settings.batch_size)
    validation = len(size.lengths["valid"])
    mean = size.seconds("train") / songs

    stft, rate = (settings.frame_length, settings.frame_step), params.music.sample_rate
    least = least_chunk_seconds(settings.T, *stft, rate)
    in_validation = valid_chunk_seconds(settings.chunk_seconds, least)

    def frames(seconds: float) -> int:
        return frame_count(int(min(seconds, mean) * rate), *stft, at_least=settings.T)

    total = chunks * frames(settings.chunk_seconds) + validation * frames(in_validation)
    return total * (1 + len(STEMS)) * settings.F * CHANNELS * SPECTROGRAM


def _range(values: Sequence[float], form: Callable[[float], str]) -> str:
    """Returns the least and the largest value, as `2` or `2 to 3`."""
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def _whole(number: float) -> str:
    return f"{number:,.0f}"


def _power(number: float) -> str:
    """Returns a number as `2.97e12`."""
    return f"{number:.2e}".replace("+", "")


def _time(seconds: float) -> str:
    """Returns a duration in hours or, if it is short, in minutes or seconds."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / HOUR
    return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"


def _size(size: float) -> str:
    """Returns a number of bytes, as `31.2 GB` or `4 MB`."""
    return f"{size / GB:,.1f} GB" if size >= GB else f"{size / 1e6:,.0f} MB"


if __name__ == "__main__":
    run(main, own_arguments=True)
