"""What `make plan` says is what is known from elsewhere: logs, benchmarks, published sizes."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from contract import costs
from contract.errors import InputError
from contract.layout import SETTINGS, SPEECH_LISTS
from contract.model_settings import SpleeterSettings, SVoiceSettings
from contract.sources import speech_list_columns
from contract.yaml_files import yaml_text
from report import published
from stages.durations import Forecast
from stages.parts import KEYS, part
from studies import plan
from studies.data_sizes import DEBUG_LENGTHS, segments, speech_size
from studies.hardware import read_hardware, seconds_on_gpu, seconds_on_processors
from tests.conftest import ROOT
from tests.yaml_files import read_yaml

FULL = ["spleeter=musdb", "music=musdb18hq", "svoice=paper", "speech=wsj0_2mix"]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    """Composes with this project's files, and knows no time of this machine."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(plan, "forecast", lambda stages, _: Forecast(0, True, tuple(stages)))


def kind(*settings):
    (only,) = plan.plan_experiment(settings).kinds
    return only


def steps_in_all(planned, model):
    return sum(each.trainings * plan.steps(model, each).number for each in planned.kinds)


# --- experiments and steps ------------------------------------------------------------------


def test_the_published_study_of_svoice_has_the_steps_of_its_logs():
    runs = published.svoice().groupby(["optimizer", "schedule", "clipping"])
    planned = plan.plan_study("published_svoice")
    assert planned.title == f"published_svoice: {len(runs)} experiments"
    assert planned.models == ["svoice"]
    epochs = sum(len(run) for _, run in runs)
    # Its logs count eight batches in each epoch (docs/study.md).
    assert steps_in_all(planned, "svoice") == epochs * 8 == 8800


def test_the_published_study_of_spleeter_has_the_steps_of_its_logs():
    runs = published.spleeter().groupby(["optimizer", "steps"])
    planned = plan.plan_study("published_spleeter")
    assert planned.models == ["spleeter"]
    assert sum(each.trainings for each in planned.kinds) == len(runs)
    assert steps_in_all(planned, "spleeter") == sum(steps for _, steps in runs.groups)


def test_a_tuned_study_trains_its_first_seed_once():
    planned = plan.plan_study("tuned_mini")
    assert planned.title.startswith("tuned_mini: 99 experiments: 66 trials, and 33 runs")
    assert sum(each.results for each in planned.kinds) == 99
    assert sum(each.trainings for each in planned.kinds) == 11 * (6 + 2)
    assert steps_in_all(planned, "spleeter") == 11 * (6 + 2) * 100


def test_seeds_and_settings_are_those_of_a_study():
    planned = plan.plan_study("mini", ["spleeter.steps=7"], seeds=3)
    assert sum(each.trainings for each in planned.kinds) == 5 * 3
    assert steps_in_all(planned, "spleeter") == 5 * 3 * 7


def test_settings_replace_the_defaults_of_an_experiment():
    assert kind("spleeter.steps=7").params.spleeter.steps == 7
    assert plan.steps("spleeter", kind(*FULL)).number == 200_000


# --- data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("segment", "stride"), [(4.0, 1.0), (1.0, 1.0), (0.5, 0.75)])
def test_segments_are_those_that_the_trainer_cuts(segment, stride):
    rate = 8000
    length, step = round(segment * rate), round(stride * rate)
    # As `svoice.data.segments_of` says: they go on until they cover the mixture.
    expected = 0
    for samples in DEBUG_LENGTHS:
        starts = [0]
        while starts[-1] + max(length, step) < samples:
            starts.append(starts[-1] + step)
        expected += len(starts)
    lengths = [samples / rate for samples in DEBUG_LENGTHS]
    assert segments(lengths, segment, stride, exact=True) == expected
    if (segment, stride) == (4.0, 1.0):
        assert expected == 29  # docs/study.md
    about = segments([sum(lengths) / len(lengths)] * len(lengths), segment, stride, exact=False)
    assert about == pytest.approx(expected, rel=0.1)


def test_lists_of_the_same_settings_are_counted(tmp_path, monkeypatch):
    here, other = kind("svoice.batch_size=2"), kind("speech.mixtures.train=100")
    monkeypatch.chdir(tmp_path)
    SETTINGS.mkdir()
    SPEECH_LISTS.mkdir(parents=True)
    written = yaml_text(part(here.configuration, KEYS["fetch_speech"]))
    (SETTINGS / "fetch_speech.yaml").write_text(written)
    columns = speech_list_columns(2)
    for split, lengths in {"train": [8001, 4000, 24000], "valid": [8000], "test": [9]}.items():
        rows = [",".join([*columns[:3], str(length), "8000"]) for length in lengths]
        text = "\n".join([",".join(columns), *rows])
        (SPEECH_LISTS / f"{split}.csv").write_text(text + "\n")
    # Segments of 1 s: 2 + 1 + 3, in batches of 2, ten times.
    counted = plan.steps("svoice", here)
    assert (counted.number, counted.origin.split(": ")[1]) == (30, f"counted in {SPEECH_LISTS}")
    assert speech_size(other.configuration, other.params).origin == "about 2.75 s a mixture"


def test_a_folder_is_counted_if_it_is_there(tmp_path):
    for split in ("tr", "cv", "tt"):
        for name in ("mix", "s1", "s2"):
            (tmp_path / split / name).mkdir(parents=True)
            soundfile.write(tmp_path / split / name / "a.wav", np.zeros(20000), 8000)
    settings = ["speech=folder", f"speech.path={tmp_path}", "svoice.epochs=5"]
    assert plan.steps("svoice", kind(*settings)).number == 5  # three segments, a batch of four
    gone = kind("speech=folder", f"speech.path={tmp_path}/gone")
    assert plan.steps("svoice", gone).number is None
    lines = plan.text(plan.Plan("1 experiment", ["svoice"], [gone]), read_hardware())
    assert "steps                                  ?  not known before the data is there" in lines


def test_the_disk_is_that_of_the_known_data_sets():
    rows = {
        label: amount for label, amount, _ in plan._disk("spleeter", plan.plan_experiment(FULL))
    }
    # The zip of MUSDB18-HQ has 22.7 GB; its songs are lossless, and about 30 GB as WAV.
    assert 22.7 < float(rows["data"].removesuffix(" GB")) < 35
    # 86 songs of 40 chunks; 862 - 3 frames of 20 s, five spectrograms of 1,024 × 2 bytes a frame.
    expected = (86 * 40 * 858 + 14 * 513) * 5 * 2048 / 1e9
    assert float(rows["spectrograms"].removesuffix(" GB")) == pytest.approx(expected, rel=0.01)


# --- operations, memory and hours -----------------------------------------------------------


def sizes(model, preset):
    values = read_yaml(ROOT / "conf" / model / f"{preset}.yaml")
    return values.get(model, values)


def test_parameters_are_those_of_the_networks():
    # docs/study.md has the original's number, and train.json that of Spleeter's default network.
    assert costs.svoice_parameters(SVoiceSettings(**sizes("svoice", "published")), 2) == 7_558_913
    network = SpleeterSettings(**sizes("spleeter", "published"))
    assert costs.spleeter_parameters(network) == 39_294_996


@pytest.mark.parametrize(("changes", "gb"), [({}, 9.2), ({"activation_checkpointing": True}, 2.8)])
def test_the_memory_of_svoice_is_that_of_the_benchmark(changes, gb):
    settings = SVoiceSettings(**{**sizes("svoice", "published"), **changes})
    assert costs.svoice_memory(settings, 8000, 2) / 1e9 == pytest.approx(gb, rel=0.1)
    assert costs.svoice_memory(settings, 8000, 2, gpu=True) > costs.svoice_memory(settings, 8000, 2)


def test_the_memory_of_spleeter_is_that_of_the_benchmark():
    settings = SpleeterSettings(**sizes("spleeter", "published"))
    assert costs.spleeter_memory(settings) / 1e9 == pytest.approx(3.4, rel=0.1)


def test_the_published_size_takes_on_processors_what_was_measured():
    params = kind("spleeter=published", "svoice=published").params
    (processors,) = read_hardware().processors
    assert seconds_on_processors("spleeter", params, processors) == pytest.approx(4.52)
    assert seconds_on_processors("svoice", params, processors) == pytest.approx(31.0)
    half = kind("svoice=paper").params  # a batch of 2
    assert seconds_on_processors("svoice", half, processors) == pytest.approx(15.5)


def test_a_gpu_of_the_class_of_the_studys_takes_what_its_logs_say():
    """The study's GPU is not named. Its steps took 1.15 s, and 0.19 to 0.3 s (docs/study.md)."""
    params = kind("spleeter=published", "svoice=published").params
    hardware = read_hardware()
    (gpu,) = (gpu for gpu in hardware.gpus if gpu.name == "NVIDIA V100")
    assert seconds_on_gpu("svoice", params, gpu, hardware) == pytest.approx([1.15] * 2, rel=0.3)
    assert seconds_on_gpu("spleeter", params, gpu, hardware) == pytest.approx([0.25] * 2, rel=0.3)


def test_tensor_cores_count_where_the_precision_allows_them():
    hardware = read_hardware()
    (gpu,) = (gpu for gpu in hardware.gpus if gpu.name == "NVIDIA A100")
    wide = ["svoice=published", "svoice.batch_size=400"]  # so that kernels do not count
    ratios = {
        "svoice.tf32=false": 1,
        "svoice.tf32=true": 156 / 19.5,
        "svoice.precision=bf16": 312 / 19.5,
    }
    for setting, expected in ratios.items():
        best, worst = seconds_on_gpu("svoice", kind(*wide, setting).params, gpu, hardware)
        assert worst / best == pytest.approx(expected)


def test_no_step_is_shorter_than_its_kernels():
    hardware = read_hardware()
    params = kind("svoice=paper", "svoice.batch_size=1").params
    # K = 126 frames of 128 chunks; two LSTMs in each of six double blocks; three passes.
    least = (126 + 128) * 2 * 6 * 3 * hardware.kernel_seconds
    gpu = hardware.gpus[-1].model_copy(update={"fp32": 1e9, "tf32": 1e9})
    assert seconds_on_gpu("svoice", params, gpu, hardware) == pytest.approx([least] * 2)


def test_hours_of_small_networks_are_not_computed():
    lines = plan.text(plan.plan_experiment(["seed=1"]), read_hardware())
    assert sum(line.startswith("elsewhere: not known; so small") for line in lines) == 2
    assert not any("NVIDIA" in line for line in lines)


def test_what_was_measured_here_is_said_first(monkeypatch):
    monkeypatch.setattr(plan, "forecast", lambda stages, _: Forecast(7200, True, ()))
    lines = plan.text(plan.plan_study("published_svoice"), read_hardware())
    first = lines[next(n for n, line in enumerate(lines) if line.startswith("time ")) + 1]
    assert first.startswith("this machine, ")
    assert first.split()[-5:] == ["2.0", "h", "22", "h", "measured"]


def test_a_tuned_study_of_the_default_networks_has_the_hours_of_the_reference():
    lines = plan.text(plan.plan_study("tuned_mini"), read_hardware())
    durations = read_yaml(ROOT / "conf" / "durations.yaml")["durations"]
    amounts = {"train_spleeter": 100, "train_svoice": 4}  # steps, epochs
    expected = []
    for stage, amount in amounts.items():
        ((seconds, each, usual),) = (v for name, v in durations.items() if name.startswith(stage))
        expected.append(88 * (seconds + each * (amount - usual)) / 3600)
    told = [line.split(" measured")[0].split()[-2:] for line in lines if "durations.yaml" in line]
    units = {"min": 60, "h": 3600}
    hours = [float(number) * units[unit] / 3600 for number, unit in told]
    assert hours == pytest.approx(expected, rel=0.03)


def test_a_gpu_that_is_too_small_is_named():
    settings = ["svoice=published", "svoice.batch_size=16", "speech=svoice_debug"]
    lines = plan.text(plan.plan_experiment(settings), read_hardware())
    need = max(float(line.split()[4]) for line in lines if line.startswith("memory of"))
    small = [line.split(",")[0] for line in lines if "may be too small" in line]
    assert 48 < need < 80
    assert small == ["NVIDIA T4", "NVIDIA V100", "NVIDIA RTX 3090", "NVIDIA RTX 4090"]


# --- the command ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "NAME: there is no study 'nothing'; choose one of "),
        (["--seeds", "2"], "SEEDS: is that of a study, and none is named; add NAME=..."),
        (["--settings", "svoice.epoch=3"], "SET: "),
        (["--settings", "speech=folder"], "speech.path: is not set; set it to the folder that "),
        (["--settings", "optimizer=[adam,sgd]"], "optimizer: [adam,sgd] is a list, not a choice"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["plan", *arguments])
    with pytest.raises((InputError, SystemExit)) as refused:
        plan.main()
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_the_command_prints_a_plan():
    command = [sys.executable, "-m", "studies.plan", "published_svoice"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.startswith("published_svoice: 11 experiments\n\nSVoice, svoice=published")
    assert max(map(len, printed.splitlines())) <= 120
