"""`svoice.separate`, on real speech."""

import itertools
import os
import resource
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import correlate, resample_poly

from contract.errors import InputError
from svoice import checkpoint, separate, training
from svoice.params import Params

RATE = 8000


def speech(*columns):
    """Returns one track per column of the lists, of all their rows one after the other.

    Args:
        columns: 0 for the mixtures, 1 and 2 for their sources.

    Returns:
        (columns, samples), float32.
    """
    tracks = {column: [] for column in columns}
    for name in ("test", "train", "valid"):
        for row in Path(f"data/csv/speech/{name}.csv").read_text().splitlines()[1:]:
            for column in columns:
                samples, _ = soundfile.read(row.split(",")[column], dtype="float32")
                tracks[column].append(samples)
    return np.stack([np.concatenate(track) for track in tracks.values()])


@pytest.fixture
def model(tiny):
    path = Path("models/svoice/model.pt")
    path.parent.mkdir(parents=True)
    network = training.make_network(Params.of(tiny.params))
    path.write_bytes(checkpoint.model_bytes(network, checkpoint.snapshot(network)))
    return str(path)


def run(model, *recordings, out="out"):
    separate.main([model, *map(str, recordings), "--out", out])


def estimates(name, out="out"):
    paths = [Path(out) / f"{name}_s{n}.wav" for n in (1, 2)]
    return np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])


def fitted(signals, mixture):
    """Returns each signal at the level of its least-squares fit to the mixture."""
    return np.stack(
        [np.linalg.lstsq(s[:, None], mixture, rcond=None)[0] * s for s in signals.astype(float)]
    )


@torch.inference_mode()
def one_pass(model, mixture):
    return checkpoint.load_model(model)(torch.from_numpy(mixture).unsqueeze(0))[-1, 0].numpy()


@pytest.mark.parametrize("samples", [1, 2, 7, 8, 9, 4000, 19419])
def test_a_short_recording_is_separated_in_one_pass(model, samples):
    (mixture,) = speech(0)[:, 2000 : 2000 + samples]
    soundfile.write("a.wav", mixture, RATE)
    run(model, "a.wav")
    expected = fitted(one_pass(model, mixture), mixture)
    np.testing.assert_allclose(estimates("a"), expected, rtol=1e-4, atol=1e-6)


class Echo(torch.nn.Module):
    """A network of which both estimates are the mixture, at other levels."""

    C = 2
    configuration = {"sample_rate": RATE}  # noqa: RUF012

    def forward(self, mixture):
        return torch.stack((-3 * mixture, 0.1 * mixture), 1)[None]


@pytest.mark.parametrize(
    ("rate", "name"), [(16000, "a.wav"), (44100, "a.flac"), (11025, "a.ogg"), (8000, "a.aiff")]
)
def test_estimates_have_the_length_and_the_rate_of_the_recording(model, rate, name):
    (mixture,) = speech(0)[:, :20001]
    mean = resample_poly(mixture, rate, RATE)
    difference = 0.1 * mean[::-1]
    soundfile.write(name, np.stack([mean + difference, mean - difference], 1), rate)
    run(model, name)
    for n in (1, 2):
        info = soundfile.info(f"out/a_s{n}.wav")
        assert (info.frames, info.samplerate, info.channels) == (len(mean), rate, 1)
        assert (info.format, info.subtype) == ("WAV", "FLOAT")
    echoes, separated_rate = separate.separate_file(Echo(), name, lambda seconds: None)
    assert separated_rate == rate
    assert ((echoes - mean) ** 2).sum(1).max() < 0.01 * (mean**2).sum()


def test_a_silent_recording_gives_silence(model):
    soundfile.write("a.wav", np.zeros(5000), RATE)
    run(model, "a.wav")
    assert not estimates("a").any()


class Oracle(torch.nn.Module):
    """A network that knows the true sources.

    Given a piece of the mixture, it returns the sources of this piece in a random order, with
    random signs and at random levels, because the training of a network determines none of these.

    Args:
        sources: (C, samples).
        seed: of the orders, signs and levels.
        distort: changes the sources of a piece (C, samples), with a random generator.

    Attributes:
        heard: start and length of each piece, in samples.
        orders: the orders that were drawn.
    """

    def __init__(self, sources, seed, distort=lambda pieces, generator: pieces):
        super().__init__()
        self.C = len(sources)
        self.sources = sources
        self.mixture = sources.sum(0)
        self.generator = np.random.default_rng(seed)
        self.distort = distort
        self.heard = []
        self.orders = set()

    def forward(self, mixture):
        piece = mixture[0].cpu().numpy()
        start = correlate(self.mixture, piece, "valid", "fft").argmax()
        np.testing.assert_array_equal(self.mixture[start : start + len(piece)], piece)
        self.heard.append((start, len(piece)))
        order = self.generator.permutation(self.C)
        self.orders.add(tuple(order))
        factors = 10 ** self.generator.uniform(-2, 2, self.C) * self.generator.choice(
            [-1, 1], self.C
        )
        pieces = self.distort(self.sources[:, start : start + len(piece)], self.generator)
        outputs = pieces[order] * factors[:, None]
        return torch.from_numpy(outputs.astype(np.float32))[None, None]


def best_order(separated, sources):
    """Returns the order of the estimates in which they are most similar to the sources."""
    similar = np.abs(np.corrcoef(sources, separated)[: len(sources), len(sources) :])
    orders = itertools.permutations(range(len(sources)))
    return list(max(orders, key=lambda order: sum(similar[range(len(sources)), order])))


def voices(count):
    """Returns tracks of real speech, (count, samples), each of many utterances."""
    tracks = speech(1, 2)
    longest = tracks.shape[1]
    turns = [np.roll(tracks, longest * n // 3, axis=1) for n in range(3)]
    return np.concatenate(turns)[:count]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_windows_of_a_long_recording_are_joined(tiny, count, seed):
    sources = voices(count)
    oracle = Oracle(sources, seed)
    window, overlap = 5 * RATE, 2 * RATE
    added = []
    separated = separate.separate(oracle, oracle.mixture, window, overlap, added.append)
    separated = separated[best_order(separated, sources)]
    factors = (separated * sources).sum(1) / (sources**2).sum(1)
    np.testing.assert_allclose(separated, sources * factors[:, None], atol=2e-5)
    np.testing.assert_allclose(factors, 1, atol=0.5)
    # The network hears one window at a time, and all of the recording.
    assert {length for _, length in oracle.heard} == {window}
    assert len(oracle.heard) == len(added) > 8
    assert sum(added) == sources.shape[1]
    assert count == 1 or len(oracle.orders) > 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_window_takes_the_order_signs_and_levels_of_those_before(tiny, order):
    """The signs too, although least squares would always make the share in the mixture positive."""
    sources = voices(3)[:, : 5 * RATE]
    for signs in itertools.product((-1, 1), repeat=3):
        window = sources[list(order)] * np.float32([[0.5], [1], [2]]) * np.float32(signs)[:, None]
        separated = separate.continuation(window, sources[:, : 2 * RATE])
        np.testing.assert_allclose(separated, sources, rtol=1e-5)


def imperfectly(pieces, generator):
    """Adds an echo of the other sources, different each time, and noise, at −20 dB or less."""
    noise = 1e-3 * generator.standard_normal(pieces.shape)
    others = pieces.sum(0) - pieces
    return pieces + 0.1 * np.roll(others, generator.integers(-4, 5), axis=1) + noise


@pytest.mark.parametrize("seed", range(5))
def test_a_speaker_may_be_silent_in_an_overlap(tiny, seed):
    """In each overlap only one of two speakers is heard, in turns. The estimate of the other is
    a residue of imperfect separation."""
    sources = voices(2)
    window, overlap = 5 * RATE, RATE
    starts = separate.window_starts(sources.shape[1], window, overlap)
    for number, start in enumerate(starts[1:]):
        sources[number % 2, start : start + overlap] = 0
    oracle = Oracle(sources, seed, imperfectly)
    separated = separate.separate(oracle, oracle.mixture, window, overlap)
    separated = separated[best_order(separated, sources)]
    for estimate, source in zip(separated, sources, strict=True):
        for start in range(0, len(source) - overlap, overlap):
            piece = slice(start, start + overlap)
            others = np.square(oracle.mixture[piece] - source[piece]).sum()
            assert np.square(estimate[piece] - source[piece]).sum() < 0.1 * (
                np.square(source[piece]).sum() + others
            )


@pytest.mark.parametrize("samples", [240000, 240001, 300000])
def test_a_window_is_half_a_minute(model, samples):
    sources = voices(2)
    sources = np.concatenate((sources, sources), axis=1)[:, :samples]
    soundfile.write("long.wav", sources.sum(0), RATE, subtype="FLOAT")
    oracle = Oracle(sources, 0)
    oracle.configuration = {"sample_rate": RATE}
    seconds = []
    separated, _ = separate.separate_file(oracle, "long.wav", seconds.append)
    assert [length for _, length in oracle.heard] == [240000] * (1 + (samples > 240000))
    assert sum(seconds) == pytest.approx(samples / RATE)
    separated = separated[best_order(separated, sources)]
    np.testing.assert_allclose(separated, fitted(sources, sources.sum(0)), atol=1e-4)


def test_the_windows_cover_all_samples():
    for samples, overlap in itertools.product(range(1, 100), range(10)):
        starts = separate.window_starts(samples, 10, overlap)
        assert starts[0] == 0
        assert starts[-1] == max(0, samples - 10)
        for start, following in itertools.pairwise(starts):
            assert start < following <= start + 10 - overlap


def run_as_a_user(command, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "svoice.separate", *map(str, arguments)],
        env=command.environment,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def test_the_command(model, command):
    (mixture,) = speech(0)
    Path("in").mkdir()
    soundfile.write("in/a.b.wav", mixture[:20000], RATE)
    soundfile.write("in/c.flac", mixture[:4000], RATE)
    finished = run_as_a_user(command, model, "in/a.b.wav", "in/c.flac", "--out", "new/out")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert finished.stdout == (
        "in/a.b.wav: 2.5 s → new/out/a.b_s1.wav, new/out/a.b_s2.wav\n"
        "in/c.flac: 0.5 s → new/out/c_s1.wav, new/out/c_s2.wav\n"
    )
    names = ["a.b_s1.wav", "a.b_s2.wav", "c_s1.wav", "c_s2.wav"]
    assert sorted(path.name for path in Path("new/out").iterdir()) == names


def test_the_estimates_of_a_recording_are_written_all_or_none(model, command):
    """Files may be large enough for the short recording, and too small for the long one."""
    (mixture,) = speech(0)
    soundfile.write("short.wav", mixture[:1000], RATE)
    soundfile.write("long.wav", mixture[:20000], RATE)
    Path("out").mkdir()
    earlier = Path("out/long_s2.wav")
    earlier.write_bytes(b"an earlier estimate")
    finished = run_as_a_user(
        *(command, model, "short.wav", "long.wav", "--out", "out"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000)),
    )
    assert finished.returncode == 1
    assert finished.stderr == "ERROR: out/long_s1.wav: file too large\n"
    names = ["long_s2.wav", "short_s1.wav", "short_s2.wav"]
    assert sorted(path.name for path in Path("out").iterdir()) == names
    assert earlier.read_bytes() == b"an earlier estimate"


def recording(path, samples=None, **options):
    """Writes a recording, by default of real speech."""
    if samples is None:
        samples = speech(0)[0, :4000]
    Path(path).parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, RATE, **options)


def cut(path):
    """Writes a recording that is cut short."""
    recording(path)
    Path(path).write_bytes(Path(path).read_bytes()[: 2000 if path.endswith("flac") else 30])


# What makes the bad recording, and the error. `*` stands for anything.
BAD = {
    "missing": (lambda: None, "bad.wav: there is no such file; correct the path"),
    "folder": (
        lambda: Path("bad.wav").mkdir(),
        "bad.wav: is a folder; name the recordings in it",
    ),
    "empty": (
        lambda: Path("bad.wav").touch(),
        "bad.wav: is empty; leave it out",
    ),
    "text": (
        lambda: Path("bad.wav").write_text("speech"),
        "bad.wav: cannot be read as audio (Format not recognised); replace it with a WAV file",
    ),
    "cut in the header": (
        lambda: cut("bad.wav"),
        "bad.wav: cannot be read as audio (*); replace it with a WAV file",
    ),
    "cut in the samples": (
        lambda: cut("bad.flac"),
        "bad.flac: cannot be read as audio (*); replace it with a WAV file",
    ),
    "no samples": (
        lambda: recording("bad.wav", np.zeros(0)),
        "bad.wav: has no samples; leave it out",
    ),
    "NaN": (
        lambda: recording("bad.wav", np.array([0, np.nan, 0]), subtype="FLOAT"),
        "bad.wav: has NaN or infinite samples; leave it out",
    ),
    "infinite": (
        lambda: recording("bad.wav", np.array([0, -np.inf, 0]), subtype="FLOAT"),
        "bad.wav: has NaN or infinite samples; leave it out",
    ),
    "no header": (
        lambda: Path("bad.raw").write_bytes(bytes(100)),
        "bad.raw: does not tell its sample rate; convert it to WAV",
    ),
    "the same name": (
        lambda: recording("other/good.flac"),
        "other/good.flac: has the same name as good.wav, and so have the estimates; "
        "rename one of them",
    ),
    "the name of an estimate": (
        lambda: recording("out/good_s2.wav"),
        "out/good_s2.wav: is a recording that its estimate would overwrite; "
        "choose another folder for --out",
    ),
    "a long name": (
        lambda: recording(f"{'n' * 244}.wav"),
        f"{'n' * 244}.wav: has a name of 244 bytes before its suffix, too long for its estimates; "
        "shorten it to at most 243",
    ),
}


def snapshot(folder="."):
    """Returns all that is in a folder: {path: bytes, or None for a folder}."""
    paths = [path for path in Path(folder).rglob("*") if "data" not in path.parts]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_recording_is_refused_before_anything_is_written(model, case, capsys):
    make, expected = BAD[case]
    recording("good.wav")
    make()
    before = snapshot()
    with pytest.raises(SystemExit) as exit:
        run(model, "good.wav", expected.split(":")[0])
    assert fnmatchcase(exit.value.code, f"ERROR: {expected}"), exit.value.code
    assert "\n" not in exit.value.code
    assert capsys.readouterr() == ("", "")
    assert snapshot() == before


@pytest.mark.parametrize("name", ["n" * 243, "ü" * 121, os.fsdecode(b"caf\xe9"), "a, 'b'"])
def test_a_recording_may_have_any_other_name(model, command, name):
    recording("any.wav")
    os.rename("any.wav", f"{name}.wav")
    finished = run_as_a_user(command, model, f"{name}.wav", "--out", "out")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("\n") == 1
    assert sorted(os.listdir("out")) == [f"{name}_s1.wav", f"{name}_s2.wav"]


@pytest.mark.parametrize("out", ["good.wav", "good.wav/out"])
def test_a_file_cannot_be_the_folder_for_the_estimates(model, out):
    recording("good.wav")
    before = snapshot()
    with pytest.raises(SystemExit) as exit:
        run(model, "good.wav", out=out)
    assert exit.value.code == (
        f"ERROR: {out}: is a file, or lies below one; choose another folder for --out"
    )
    assert snapshot() == before


def test_a_recording_with_too_large_samples_is_refused(model, recwarn):
    recording("a.wav", np.full((100, 2), 3e38), subtype="FLOAT")
    with pytest.raises(SystemExit) as exit:
        run(model, "a.wav")
    assert exit.value.code == (
        "ERROR: a.wav: its estimates have NaN or infinite samples; scale the recording to at most 1"
    )
    assert list(Path("out").iterdir()) == []
    assert not recwarn


def test_the_checkpoint_of_an_unfinished_training_can_be_used(tiny, command):
    path = Path("scratch/checkpoint.pt")
    command.trainer = command.every_step
    with command.started(2):
        pass
    weights = torch.load(path, weights_only=True)["best_weights"]
    expected = training.make_network(Params.of(tiny.params)).eval()
    expected.load_state_dict(weights)
    network = checkpoint.load_model(path)
    assert network.configuration == expected.configuration
    recording("a.wav")
    run(str(path), "a.wav")
    mixture = torch.from_numpy(speech(0)[:, :4000])
    with torch.inference_mode():
        outputs = expected(mixture)[-1, 0].numpy()
    np.testing.assert_allclose(
        estimates("a"), fitted(outputs, mixture[0].numpy()), rtol=1e-3, atol=1e-5
    )


def assert_no_network(path, expected):
    with pytest.raises(InputError) as refused:
        checkpoint.load_model(path)
    assert str(refused.value) == f"{path}: {expected}"


def test_other_files_are_not_taken_for_a_network(model, tmp_path):
    content = torch.load(model, weights_only=True)
    sizes, weights = content["configuration"], content["state_dict"]
    again = "train SVoice again, or name another file of svoice.train"
    path = tmp_path / "foreign.pt"
    for content in (
        *(1, [], "text", {}, {"configuration": sizes}, {"state_dict": weights}, weights),
        {"configuration": {}, "state_dict": weights},
        {"configuration": None, "state_dict": weights},
        {"configuration": {**sizes, "depth": 1}, "state_dict": weights},
        {"configuration": {**sizes, "L": 7}, "state_dict": weights},
        {"configuration": {**sizes, "H": 2 * sizes["H"]}, "state_dict": weights},
        {"configuration": sizes, "state_dict": dict.fromkeys(weights, 0)},
        {"configuration": sizes, "best_weights": weights},
        {"configuration": {"svoice": sizes, "speech": {}}, "best_weights": weights},
    ):
        torch.save(content, path)
        assert_no_network(path, f"does not hold a network of svoice.train; {again}")
    for content in (b"", b"PK\x03\x04 cut short", Path(model).read_bytes()[:-1000]):
        path.write_bytes(content)
        assert_no_network(path, f"is not a file of PyTorch, or is damaged; {again}")
    path.unlink()
    assert_no_network(path, "there is no such file; train SVoice first, or correct the path")
