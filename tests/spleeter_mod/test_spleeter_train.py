"""Training and separation, run as a user runs them, on the test data.

TensorFlow takes longer to start than all the rest, so that the tests share a few runs:

- `reference`: a complete run, which could not write its outputs to a full disk at first;
- `resumed`: the same run, killed twice and resumed;
- `terminated`: the same run, ended by SIGTERM in a step and in a validation, and resumed; SIGTERM
  also comes when all is done;
- `validated`: the first steps of the same run, with a validation after each of them;
- `diverged`: a run with another seed, and a learning rate so high that it diverges.
"""

import csv
import dataclasses
import json
import math
import os
import re
import shutil
import signal
import statistics
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from spleeter.separator import Separator as StockSeparator

from contract.layout import MUSIC_LISTS
from spleeter_mod import tracks
from tests.conftest import TINY
from tests.events import events, rows

STEPS, EPOCH = 24, 8
# These have all the state there is: slots and scalars of the optimizer, of which validations use
# other weights than training steps, a plateau, a warm-up, and the norms of all gradients.
STATEFUL = {
    "spleeter": {"steps": STEPS, "validate_every": EPOCH},
    "optimizer": {
        "name": "schedulefree",
        "spleeter": {
            **{"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
            "weight_decay": 0.01,
        },
    },
    "schedule": {"name": "plateau", "patience": 0, "factor": 0.5, "warmup_steps": 5},
    "clipping": {"name": "autoclip", "percentile": 50.0},
}
EXPLOSIVE = {
    **STATEFUL,
    "seed": 1,
    "optimizer": {"name": "sgd", "spleeter": {"learning_rate": 1e30}},
    "schedule": {"name": "constant", "warmup_steps": 0},
    "clipping": {"name": "none"},
}
# The training waits for its death when a step has been recorded, in case whoever kills it is late.
HOLD = """
import signal
from spleeter_mod import hooks
record = hooks.StepLog.after_run
def record_and_hold(self, *arguments):
    record(self, *arguments)
    if self.step >= {step}:
        signal.pause()
hooks.StepLog.after_run = record_and_hold
"""
# Waits for SIGTERM where the test says, so that it comes neither earlier nor later.
WAIT = """
import time
from contract import termination
from spleeter_mod import hooks, training
from spleeter_mod.validation import Validator
called = {method}
def wait_and_call(self, *arguments):
    while {condition} and not termination.requested():
        open("waiting", "w").close()
        time.sleep(0.01)
    return called(self, *arguments)
{method} = wait_and_call
"""
RUNS = {}


@dataclass
class Run:
    """A finished run: its folder, and its processes."""

    root: Path
    processes: list[subprocess.CompletedProcess]

    def rows(self, name):
        return read(self.root / "results" / "spleeter" / name)

    def summary(self):
        return json.loads((self.root / "results/spleeter/train.json").read_text())


def read(path):
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture
def run_once(workspace, tmp_path_factory, command, set_params):
    """A function that makes a run the first time that it is needed.

    Its arguments are the name of the run, its parameters, and `make(folder, command)`, which
    returns the processes of the run.
    """

    def run(name, params, make):
        if name not in RUNS:
            set_params(workspace, **params)
            root = tmp_path_factory.mktemp(name) / "workspace"
            shutil.copytree(workspace.root, root, symlinks=True)
            RUNS[name] = Run(root, make(root, command))
        return RUNS[name]

    return run


@contextmanager
def full_disk(folder):
    """Makes a folder a file system of 64 KiB during the block."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def can_mount(tmp_path):
    try:
        with full_disk(tmp_path / "disk"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@pytest.fixture
def reference(run_once, tmp_path):
    def make(root, command):
        processes = []
        if can_mount(tmp_path):
            with full_disk(root / "models"):
                processes.append(command("train", root).run())
        return [*processes, command("train", root).run()]

    return run_once("reference", STATEFUL, make)


@pytest.fixture
def resumed(run_once):
    def make(root, command):
        steps = root / "scratch" / "steps.csv"

        def start_and_kill(rows, before=""):
            """Kills a training when it has recorded so many steps, and at most three more."""
            process = command("train", root).start(HOLD.format(step=rows + 3) + before)
            wait_for(steps, process, rows)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert len(steps.read_text().splitlines()) <= 1 + rows + 3, "killed too late"

        start_and_kill(rows=EPOCH + 2)
        shutil.copytree(root / "scratch", root / "killed")
        complete_rows = steps.read_text().splitlines(keepends=True)[: 1 + EPOCH + 2]
        steps.write_text("".join(complete_rows) + "11,2,0.5,")  # part of a row
        # With checkpoints within the epoch, as in a long epoch.
        start_and_kill(rows=EPOCH + 4, before="hooks.CHECKPOINT_SECONDS = 0")
        return [command("train", root).run()]

    return run_once("resumed", STATEFUL, make)


@pytest.fixture
def terminated(run_once):
    def make(root, command):
        def terminate(method, condition="True"):
            before = WAIT.format(method=method, condition=condition)
            process = command("train", root).start(before)
            while not (root / "waiting").exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.005)
            (root / "waiting").unlink()
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate()
            return subprocess.CompletedProcess((), process.returncode, output, errors)

        in_a_step = terminate("hooks.StepLog.after_run", f"self.step == {EPOCH + 2}")
        in_a_validation = terminate("Validator.loss")
        # A new start could not resume from a checkpoint without its records.
        at_the_end = terminate("training.empty", "not (self / 'checkpoints').exists()")
        return [in_a_step, in_a_validation, at_the_end]

    return run_once("terminated", STATEFUL, make)


@pytest.fixture
def validated(run_once):
    params = {
        **STATEFUL,
        "spleeter": {"steps": EPOCH, "validate_every": 1},
        # Without the plateau, which validations are meant to change.
        "schedule": {"name": "constant", "warmup_steps": 5},
    }
    return run_once("validated", params, lambda root, command: [command("train", root).run()])


@pytest.fixture
def diverged(run_once):
    return run_once("diverged", EXPLOSIVE, lambda root, command: [command("train", root).run()])


def wait_for(path, process, rows):
    until = time.monotonic() + 240
    while not path.exists() or len(path.read_text().splitlines()) < 1 + rows:
        assert time.monotonic() < until, "no progress"
        assert process.poll() is None, "ended early"
        time.sleep(0.005)


def without_seconds(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_writes_every_file_of_a_run(reference):
    finished = reference.processes[-1]
    assert (finished.returncode, finished.stderr) == (0, "")
    results = reference.root / "results" / "spleeter"
    assert sorted(path.name for path in results.iterdir() if path.is_file()) == [
        *("epochs.csv", "steps.csv", "train.json")
    ]
    assert sorted(path.name for path in (reference.root / "models/spleeter").iterdir()) == [
        *(".probe", "checkpoint", "config.json"),
        *("model.data-00000-of-00001", "model.index"),
    ]
    assert os.listdir(reference.root / "scratch") == []
    assert os.listdir(reference.root / "models") == ["spleeter"]

    steps, epochs, summary = (
        reference.rows("steps.csv"),
        reference.rows("epochs.csv"),
        reference.summary(),
    )
    columns = ["step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds"]
    assert list(steps[0]) == columns
    assert [row["step"] for row in steps] == list(range(1, STEPS + 1))
    assert [row["epoch"] for row in steps] == [1 + k // EPOCH for k in range(STEPS)]
    assert all(row["seconds"] > 0 and row["gradient_norm"] > 0 for row in steps)

    assert list(epochs[0]) == ["epoch", "step", "train_loss", "valid_loss", "best_valid_loss"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3]
    assert [row["step"] for row in epochs] == [8, 16, 24]
    for row in epochs:
        losses = [step["loss"] for step in steps if step["epoch"] == row["epoch"]]
        assert row["train_loss"] == math.fsum(losses) / EPOCH
    valid_losses = [row["valid_loss"] for row in epochs]
    best = [min(valid_losses[: k + 1]) for k in range(3)]
    assert [row["best_valid_loss"] for row in epochs] == best

    variables = tf.train.list_variables(str(reference.root / "models/spleeter/model"))
    trained = [(name, shape) for name, shape in variables if "moving" not in name]
    parameters = sum(math.prod(shape) for name, shape in trained if name != "global_step")
    # Spleeter does not use the normalisation of the last level of its encoder, once for each stem.
    unused = 4 * 2 * TINY["spleeter"]["filters"][-1]
    assert summary == {
        "status": "completed",
        "steps": STEPS,
        "best_valid_loss": best[-1],
        "final_loss": steps[-1]["loss"],
        "seconds_per_step": statistics.median(row["seconds"] for row in steps),
        "parameters": parameters,
        "hardware": summary["hardware"],
        # Two slots of float32 for each weight that is trained, and two scalars of float64.
        "optimizer_bytes": 2 * 4 * (parameters - unused) + 2 * 8,
    }
    assert re.fullmatch(r"[1-9]\d* x \S.*", summary["hardware"])


def test_training_reduces_the_loss(reference):
    epochs = reference.rows("epochs.csv")
    assert epochs[-1]["train_loss"] < 0.95 * epochs[0]["train_loss"]
    assert reference.summary()["best_valid_loss"] < 0.95 * epochs[0]["valid_loss"]


def test_the_rate_warms_up_and_follows_the_validations(reference):
    steps, epochs = reference.rows("steps.csv"), reference.rows("epochs.csv")
    base = STATEFUL["optimizer"]["spleeter"]["learning_rate"]
    factor, best, expected = 1.0, math.inf, []
    for epoch in range(3):
        expected += [base * factor * min(1, (k + 1) / 5) for k in range(epoch * 8, epoch * 8 + 8)]
        loss = epochs[epoch]["valid_loss"]
        factor *= 1 if loss < best * (1 - 1e-4) else 0.5
        best = min(best, loss)
    np.testing.assert_allclose([row["learning_rate"] for row in steps], expected, rtol=1e-12)


def test_the_model_is_that_of_the_best_validation(reference):
    epochs = reference.rows("epochs.csv")
    best = min(epochs, key=lambda row: row["valid_loss"])
    model = str(reference.root / "models" / "spleeter" / "model")
    assert tf.train.load_variable(model, "global_step") == best["step"]


def test_validations_and_the_model_have_the_average_of_the_weights(resumed):
    killed = resumed.root / "killed"
    kept, checkpoint = (
        tf.train.load_checkpoint(str(killed / name / f"{prefix}-{EPOCH}"))
        for name, prefix in (("best", "model"), ("checkpoints", "model.ckpt"))
    )
    slots = [name for name in checkpoint.get_variable_to_shape_map() if name.endswith("/z")]
    assert len(slots) > 100
    beta1 = STATEFUL["optimizer"]["spleeter"]["beta1"]
    for slot in slots:
        name = slot.removesuffix("/z")
        y, z, x = checkpoint.get_tensor(name), checkpoint.get_tensor(slot), kept.get_tensor(name)
        np.testing.assert_allclose((1 - beta1) * z + beta1 * x, y, rtol=1e-5, atol=1e-6)
        assert not np.array_equal(x, y)


@pytest.fixture
def validation_loss(reference, monkeypatch):
    """A function that computes the validation loss of a checkpoint, as the reference run does."""
    from spleeter_mod import cache, training
    from spleeter_mod.data import validation_dataset
    from spleeter_mod.settings import Settings
    from spleeter_mod.validation import Validator

    monkeypatch.chdir(reference.root)
    settings = Settings.read(Path("configuration.yaml"))
    songs = tracks.read(MUSIC_LISTS / "valid.csv", settings.sample_rate, settings.valid_seconds)
    places = training.cache_places(settings, songs, songs, (Path("cache"), Path("cache")))
    segments = cache.Segments(settings, songs, cache.to_validate_on(settings), places[1])
    segments.fill(range(len(segments)))
    params = dataclasses.asdict(settings) | settings.spleeter()
    batches = partial(validation_dataset, settings, segments)
    validator = Validator(params, batches, tf.compat.v1.ConfigProto(), Path("unused"))

    def validation_loss(checkpoint):
        names = validator.names
        validator.load({name: tf.train.load_variable(checkpoint, name) for name in names})
        return validator.loss()

    return validation_loss


def test_the_model_has_the_loss_of_the_best_validation(reference, validation_loss):
    """The averaged weights, which the validation uses under `schedulefree`, are kept."""
    loss = validation_loss(str(reference.root / "models" / "spleeter" / "model"))
    assert loss == pytest.approx(reference.summary()["best_valid_loss"], rel=1e-6)


def test_a_full_disk_is_one_line_and_loses_nothing(reference):
    if len(reference.processes) == 1:
        pytest.skip("needs root, to mount a small file system")
    refused, finished = reference.processes
    assert refused.returncode == 1
    assert refused.stderr.startswith("ERROR: models/spleeter/")
    assert refused.stderr.endswith(
        "no space left on device; make room on its disk and repeat the command\n"
    )
    assert len(refused.stderr.splitlines()) == 1
    # No step is taken again.
    assert finished.stdout == f"resuming after step {STEPS} of {STEPS}\n"


def assert_the_same(run, expected):
    assert without_seconds(run.rows("steps.csv")) == without_seconds(expected.rows("steps.csv"))
    assert run.rows("epochs.csv") == expected.rows("epochs.csv")
    weights = [
        (each.root / "models/spleeter/model.data-00000-of-00001").read_bytes()
        for each in (run, expected)
    ]
    assert weights[0] == weights[1]


def test_a_killed_and_resumed_run_is_like_an_uninterrupted_one(reference, resumed):
    (finished,) = resumed.processes
    assert (finished.returncode, finished.stderr) == (0, "")
    step = re.match(rf"resuming after step (\d+) of {STEPS}\n", finished.stdout)
    assert EPOCH < int(step[1]) < 2 * EPOCH, "between two validations"
    assert_the_same(resumed, reference)


def test_sigterm_saves_what_was_done_and_the_run_goes_on(reference, terminated):
    """After the step, or after the validation, in which it came."""
    in_a_step, in_a_validation, finished = terminated.processes
    for process in (in_a_step, in_a_validation):
        assert (process.returncode, process.stderr) == (128 + signal.SIGTERM, "")
    ended = "ended by SIGTERM: the same command goes on after step"
    assert in_a_step.stdout.splitlines()[-1] == f"{ended} {EPOCH + 3}"
    first, *_, last = in_a_validation.stdout.splitlines()
    assert first == f"resuming after step {EPOCH + 3} of {STEPS}"
    assert last == f"{ended} {2 * EPOCH}"
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith(f"resuming after step {2 * EPOCH} of {STEPS}\n")
    assert_the_same(terminated, reference)


def test_a_validation_changes_no_later_step(reference, validated):
    assert len(validated.rows("epochs.csv")) == EPOCH
    steps, expected = (
        [{**row, "epoch": None} for row in without_seconds(run.rows("steps.csv")[:EPOCH])]
        for run in (validated, reference)
    )
    assert steps == expected
    # The last one finds the same weights as the only one of the other run.
    last, only = validated.rows("epochs.csv")[-1], reference.rows("epochs.csv")[0]
    assert last["valid_loss"] == only["valid_loss"]


@pytest.mark.parametrize("run", ["reference", "resumed", "diverged"])
def test_tensorboard_has_the_rows_of_the_tables_once(run, request):
    results = request.getfixturevalue(run).root / "results/spleeter"
    actual, expected = events(results / "tensorboard"), rows(results)
    assert actual.keys() == expected.keys()
    for tag, values in expected.items():
        np.testing.assert_equal(actual[tag], values)
    assert os.listdir(results / "tensorboard") == ["events.out.tfevents.spleeter"]


def test_a_loss_that_is_not_finite_is_a_result(diverged):
    (finished,) = diverged.processes
    assert (finished.returncode, finished.stderr) == (0, "")
    steps = diverged.rows("steps.csv")
    assert 1 < len(steps) < EPOCH
    assert all(math.isfinite(row["loss"]) for row in steps[:-1])
    assert not math.isfinite(steps[-1]["loss"])
    assert finished.stdout == f"diverged: the loss of step {len(steps)} is {steps[-1]['loss']}\n"
    assert (diverged.root / "results/spleeter/epochs.csv").read_text() == (
        "epoch,step,train_loss,valid_loss,best_valid_loss\n"
    )
    summary = diverged.summary()
    assert summary["status"] == "diverged"
    assert summary["steps"] == len(steps)
    assert summary["best_valid_loss"] is None
    assert summary["final_loss"] is None
    # The initial weights.
    assert tf.train.load_variable(str(diverged.root / "models/spleeter/model"), "global_step") == 0
    assert os.listdir(diverged.root / "scratch") == []


def test_another_seed_is_another_run(reference, diverged):
    assert diverged.rows("steps.csv")[0]["loss"] != reference.rows("steps.csv")[0]["loss"]


@pytest.fixture
def estimated(reference, command):
    """The reference run's test song, separated."""
    estimates = reference.root / "results" / "spleeter" / "estimates"
    if not estimates.exists():
        finished = command("estimate", reference.root).run()
        assert (finished.returncode, finished.stderr) == (0, "")
        assert finished.stdout == "1 track(s) separated\n"
    (folder,) = estimates.iterdir()
    return folder


@pytest.fixture
def mixture(reference):
    with (reference.root / "data/csv/music/test.csv").open(newline="") as file:
        return reference.root / next(csv.DictReader(file))["mix_path"]


def test_estimates_have_the_format_of_the_mixture(estimated, mixture):
    assert estimated.name == mixture.parent.name
    names = sorted(path.name for path in estimated.iterdir())
    assert names == ["bass.wav", "drums.wav", "other.wav", "vocals.wav"]
    expected = soundfile.info(mixture)
    for path in estimated.iterdir():
        actual = soundfile.info(path)
        assert (actual.frames, actual.samplerate, actual.channels) == (
            *(expected.frames, expected.samplerate, expected.channels),
        )
        assert actual.subtype == "FLOAT"


def test_stock_spleeter_separates_the_same_with_our_model(
    reference, estimated, mixture, monkeypatch
):
    monkeypatch.setattr(
        "spleeter.model.provider.ModelProvider.DEFAULT_MODEL_PATH", str(reference.root / "models")
    )
    config = str(reference.root / "models" / "spleeter" / "config.json")
    waveform, _ = soundfile.read(mixture, dtype="float32")
    expected = StockSeparator(config, multiprocess=False).separate(waveform)
    for stem, samples in expected.items():
        actual, _ = soundfile.read(estimated / f"{stem}.wav", dtype="float32")
        assert np.abs(samples).max() > 0.01
        np.testing.assert_allclose(actual, samples, atol=1e-6)


@pytest.fixture
def separate(reference, monkeypatch, tmp_path):
    """A function that separates a song with the reference run's model, in blocks.

    It returns the number of blocks and the waveform of each stem.
    """
    from spleeter_mod import separation

    model = reference.root / "models" / "spleeter"

    def separate(song, rate, frames, **changes):
        soundfile.write(tmp_path / "song.wav", song, rate, subtype="FLOAT")
        params = {**json.loads((model / "config.json").read_text()), **changes}
        monkeypatch.setattr(separation, "FRAMES", frames)
        separator = separation.Separator(params, model, tf.compat.v1.ConfigProto())
        with soundfile.SoundFile(tmp_path / "song.wav") as file:
            pieces = list(islice(separator.separate(file), 9))
        return len(pieces), {
            stem: np.concatenate([piece[stem] for piece in pieces]) for stem in pieces[0]
        }

    return separate


def test_separation_in_blocks_is_that_of_the_whole_song(separate, mixture):
    waveform, rate = soundfile.read(mixture, dtype="float32")
    song = np.concatenate([waveform, 0.5 * waveform[::-1], waveform, waveform[:12345]])
    count, blocks = separate(song, rate, frames=64)
    once, undivided = separate(song, rate, frames=320)
    assert (count, once) == (5, 1)
    for stem, samples in undivided.items():
        assert samples.shape == song.shape
        np.testing.assert_allclose(blocks[stem], samples, atol=1e-6)


def test_a_frame_may_have_more_steps_than_a_block_has_frames(separate, mixture):
    song, rate = soundfile.read(mixture, frames=4000, dtype="float32")
    # 65 steps are 4095 samples.
    sizes = {"frame_length": 4096, "frame_step": 63}
    _, blocks = separate(song, rate, frames=64, **sizes)
    once, undivided = separate(song, rate, frames=192, **sizes)
    assert once == 1
    for stem, samples in undivided.items():
        assert samples.shape == song.shape
        np.testing.assert_allclose(blocks[stem], samples, atol=1e-6)
