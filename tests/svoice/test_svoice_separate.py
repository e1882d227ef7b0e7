"""Separating recordings with a trained network, on real speech."""

import itertools
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import correlate, resample_poly

from svoice import checkpoint, separate, training
from svoice.errors import InputError

RATE = 8000


def speech(*columns):
    """Columns of every list's rows, (mixture, s1, s2), each one after the other: (…, samples)."""
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
    network = training.make_network(tiny.params)
    path.write_bytes(checkpoint.model_bytes(network, checkpoint.snapshot(network)))
    return str(path)


def run(model, *recordings, out="out"):
    separate.main([model, *map(str, recordings), "--out", out])


def estimates(name, out="out"):
    paths = [Path(out) / f"{name}_s{n}.wav" for n in (1, 2)]
    return np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])


def explaining(signals, mixture):
    """Each signal at the level of the least-squares fit to the mixture."""
    return np.stack(
        [np.linalg.lstsq(s[:, None], mixture, rcond=None)[0] * s for s in signals.astype(float)]
    )


@torch.inference_mode()
def one_pass(model, mixture):
    return checkpoint.load_model(model)(torch.from_numpy(mixture).unsqueeze(0))[-1, 0].numpy()


@pytest.mark.parametrize("samples", [1, 2, 7, 8, 9, 4000, 19419])
def test_a_short_recording_is_the_networks_one_pass(model, samples):
    (mixture,) = speech(0)[:, 2000 : 2000 + samples]
    soundfile.write("a.wav", mixture, RATE)
    run(model, "a.wav")
    expected = explaining(one_pass(model, mixture), mixture)
    np.testing.assert_allclose(estimates("a"), expected, rtol=1e-4, atol=1e-6)


class Echo(torch.nn.Module):
    """Gives what it hears, twice."""

    C = 2
    configuration = {"sample_rate": RATE}  # noqa: RUF012

    def forward(self, mixture):
        return torch.stack((-3 * mixture, 0.1 * mixture), 1)[None]


@pytest.mark.parametrize(
    ("rate", "name"), [(16000, "a.wav"), (44100, "a.flac"), (11025, "a.ogg"), (8000, "a.aiff")]
)
def test_keeps_length_and_rate(model, rate, name):
    (mixture,) = speech(0)[:, :20001]
    mean = resample_poly(mixture, rate, RATE)
    difference = 0.1 * mean[::-1]
    soundfile.write(name, np.stack([mean + difference, mean - difference], 1), rate)
    run(model, name)
    for n in (1, 2):
        info = soundfile.info(f"out/a_s{n}.wav")
        assert (info.frames, info.samplerate, info.channels) == (len(mean), rate, 1)
        assert (info.format, info.subtype) == ("WAV", "FLOAT")
    echoes, found_rate = separate.separate_file(Echo(), name, lambda seconds: None)
    assert found_rate == rate
    assert ((echoes - mean) ** 2).sum(1).max() < 0.01 * (mean**2).sum()


def test_a_silent_recording_gives_silence(model):
    soundfile.write("a.wav", np.zeros(5000), RATE)
    run(model, "a.wav")
    assert not estimates("a").any()


class Oracle(torch.nn.Module):
    """Knows the true sources, and gives those of the piece of the mixture that it hears in an
    order, with signs and at levels of its own each time, as a network does whose training asks for
    none. distort: (sources of the piece, generator) → what it gives of them."""

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


def best_order(found, sources):
    """The one order of all of the estimates that is nearest to the sources."""
    similar = np.abs(np.corrcoef(sources, found)[: len(sources), len(sources) :])
    orders = itertools.permutations(range(len(sources)))
    return list(max(orders, key=lambda order: sum(similar[range(len(sources)), order])))


def voices(count):
    """So many tracks of real speech, each of many utterances."""
    tracks = speech(1, 2)
    longest = tracks.shape[1]
    turns = [np.roll(tracks, longest * n // 3, axis=1) for n in range(3)]
    return np.concatenate(turns)[:count]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_long_recording_is_put_together(tiny, count, seed):
    sources = voices(count)
    oracle = Oracle(sources, seed)
    window, overlap = 5 * RATE, 2 * RATE
    added = []
    found = separate.separate(oracle, oracle.mixture, window, overlap, added.append)
    found = found[best_order(found, sources)]
    factors = (found * sources).sum(1) / (sources**2).sum(1)
    np.testing.assert_allclose(found, sources * factors[:, None], atol=2e-5)
    np.testing.assert_allclose(factors, 1, atol=0.5)
    # Its memory is that of a window, and it hears everything.
    assert {length for _, length in oracle.heard} == {window}
    assert len(oracle.heard) == len(added) > 8
    assert sum(added) == sources.shape[1]
    assert count == 1 or len(oracle.orders) > 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_window_takes_order_sign_and_level_of_the_ones_before(tiny, order):
    """The sign too, which is not always that of a positive share in the mixture."""
    sources = voices(3)[:, : 5 * RATE]
    for signs in itertools.product((-1, 1), repeat=3):
        window = sources[list(order)] * np.float32([[0.5], [1], [2]]) * np.float32(signs)[:, None]
        found = separate.continuation(window, sources[:, : 2 * RATE])
        np.testing.assert_allclose(found, sources, rtol=1e-5)


def imperfectly(pieces, generator):
    """Sources with an echo of the others, other each time, and noise: 20 dB, and more, below."""
    noise = 1e-3 * generator.standard_normal(pieces.shape)
    others = pieces.sum(0) - pieces
    return pieces + 0.1 * np.roll(others, generator.integers(-4, 5), axis=1) + noise


@pytest.mark.parametrize("seed", range(5))
def test_a_speaker_may_be_silent_in_an_overlap(tiny, seed):
    """Where two windows meet there is only one of two speakers, now the one, now the other, and of
    the other nothing but what was not kept apart."""
    sources = voices(2)
    window, overlap = 5 * RATE, RATE
    starts = separate.window_starts(sources.shape[1], window, overlap)
    for number, start in enumerate(starts[1:]):
        sources[number % 2, start : start + overlap] = 0
    oracle = Oracle(sources, seed, imperfectly)
    found = separate.separate(oracle, oracle.mixture, window, overlap)
    found = found[best_order(found, sources)]
    for estimate, source in zip(found, sources, strict=True):
        for start in range(0, len(source) - overlap, overlap):
            piece = slice(start, start + overlap)
            others = np.square(oracle.mixture[piece] - source[piece]).sum()
            assert np.square(estimate[piece] - source[piece]).sum() < 0.1 * (
                np.square(source[piece]).sum() + others
            )


@pytest.mark.parametrize("samples", [240000, 240001, 300000])
def test_windows_are_of_half_a_minute(model, samples):
    sources = voices(2)
    sources = np.concatenate((sources, sources), axis=1)[:, :samples]
    soundfile.write("long.wav", sources.sum(0), RATE, subtype="FLOAT")
    oracle = Oracle(sources, 0)
    oracle.configuration = {"sample_rate": RATE}
    seconds = []
    found, _ = separate.separate_file(oracle, "long.wav", seconds.append)
    assert [length for _, length in oracle.heard] == [240000] * (1 + (samples > 240000))
    assert sum(seconds) == pytest.approx(samples / RATE)
    found = found[best_order(found, sources)]
    np.testing.assert_allclose(found, explaining(sources, sources.sum(0)), atol=1e-4)


def test_windows_cover_the_samples():
    for samples, overlap in itertools.product(range(1, 100), range(10)):
        starts = separate.window_starts(samples, 10, overlap)
        assert starts[0] == 0
        assert starts[-1] == max(0, samples - 10)
        for start, following in itertools.pairwise(starts):
            assert start < following <= start + 10 - overlap


def as_a_user(command, *arguments, **options):
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
    finished = as_a_user(command, model, "in/a.b.wav", "in/c.flac", "--out", "new/out")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    assert finished.stdout == (
        "in/a.b.wav: 2.5 s → new/out/a.b_s1.wav, new/out/a.b_s2.wav\n"
        "in/c.flac: 0.5 s → new/out/c_s1.wav, new/out/c_s2.wav\n"
    )
    names = ["a.b_s1.wav", "a.b_s2.wav", "c_s1.wav", "c_s2.wav"]
    assert sorted(path.name for path in Path("new/out").iterdir()) == names


def test_a_recordings_estimates_are_written_all_or_none(model, command):
    """The disk takes the short recording's estimates, not the long one's."""
    (mixture,) = speech(0)
    soundfile.write("short.wav", mixture[:1000], RATE)
    soundfile.write("long.wav", mixture[:20000], RATE)
    Path("out").mkdir()
    earlier = Path("out/long_s2.wav")
    earlier.write_bytes(b"an earlier estimate")
    finished = as_a_user(
        *(command, model, "short.wav", "long.wav", "--out", "out"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000)),
    )
    assert finished.returncode == 1
    assert finished.stderr == (
        "ERROR: out/.long_s1.wav.tmp: found 'File too large', "
        "expected it to be readable and writable\n"
    )
    names = ["long_s2.wav", "short_s1.wav", "short_s2.wav"]
    assert sorted(path.name for path in Path("out").iterdir()) == names
    assert earlier.read_bytes() == b"an earlier estimate"


def recording(path, samples=None, **options):
    if samples is None:
        samples = speech(0)[0, :4000]
    Path(path).parent.mkdir(exist_ok=True)
    soundfile.write(path, samples, RATE, **options)


def cut(path):
    recording(path)
    Path(path).write_bytes(Path(path).read_bytes()[: 2000 if path.endswith("flac") else 30])


BAD = {
    "missing": (lambda: None, "bad.wav: found no file, expected a recording"),
    "folder": (lambda: Path("bad.wav").mkdir(), "bad.wav: found a folder, expected a recording"),
    "empty": (
        lambda: Path("bad.wav").touch(),
        "bad.wav: found an empty file, expected a recording",
    ),
    "text": (
        lambda: Path("bad.wav").write_text("speech"),
        "bad.wav: found no readable audio (Format not recognised.), expected WAV",
    ),
    "cut in the header": (lambda: cut("bad.wav"), "bad.wav: found no readable audio ("),
    "cut in the samples": (lambda: cut("bad.flac"), "bad.flac: found no readable audio ("),
    "no samples": (
        lambda: recording("bad.wav", np.zeros(0)),
        "bad.wav: found no samples, expected a recording",
    ),
    "NaN": (
        lambda: recording("bad.wav", np.array([0, np.nan, 0]), subtype="FLOAT"),
        "bad.wav: found NaN or infinite samples, expected finite ones",
    ),
    "infinite": (
        lambda: recording("bad.wav", np.array([0, -np.inf, 0]), subtype="FLOAT"),
        "bad.wav: found NaN or infinite samples, expected finite ones",
    ),
    "no header": (
        lambda: Path("bad.raw").write_bytes(bytes(100)),
        "bad.raw: found a file that does not tell its sample rate, expected a recording",
    ),
    "the same name": (
        lambda: recording("other/good.flac"),
        "other/good.flac: found the name of good.wav, expected a name of its own",
    ),
    "an estimate's name": (
        lambda: recording("out/good_s2.wav"),
        "out/good_s2.wav: found a recording to separate, expected another folder for --out",
    ),
    "a long name": (
        lambda: recording(f"{'n' * 244}.wav"),
        f"{'n' * 244}.wav: found a name of 244 bytes before its suffix, expected at most 243, ",
    ),
}


def snapshot(folder="."):
    """All that is in it: {path: bytes, or None for a folder}."""
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
    assert exit.value.code.startswith(f"ERROR: {expected}")
    assert "\n" not in exit.value.code
    assert capsys.readouterr() == ("", "")
    assert snapshot() == before


@pytest.mark.parametrize("name", ["n" * 243, "ü" * 121, os.fsdecode(b"caf\xe9"), "a, 'b'"])
def test_a_recording_of_any_other_name_is_separated(model, command, name):
    recording("any.wav")
    os.rename("any.wav", f"{name}.wav")
    finished = as_a_user(command, model, f"{name}.wav", "--out", "out")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("\n") == 1
    assert sorted(os.listdir("out")) == [f"{name}_s1.wav", f"{name}_s2.wav"]


@pytest.mark.parametrize("out", ["good.wav", "good.wav/out"])
def test_a_file_is_no_folder(model, out):
    recording("good.wav")
    before = snapshot()
    with pytest.raises(SystemExit, match=f"^ERROR: {out}: found a file, expected a folder$"):
        run(model, "good.wav", out=out)
    assert snapshot() == before


def test_a_recording_beyond_the_numbers_is_refused(model, recwarn):
    recording("a.wav", np.full((100, 2), 3e38), subtype="FLOAT")
    with pytest.raises(SystemExit, match=r"ERROR: a.wav: found estimates with NaN or infinite"):
        run(model, "a.wav")
    assert list(Path("out").iterdir()) == []
    assert not recwarn


def test_an_unfinished_trainings_checkpoint_will_do(tiny, command):
    path = Path("scratch/checkpoint.pt")
    with command.start("train") as process:
        while not path.exists() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    weights = torch.load(path, weights_only=True)["best_weights"]
    expected = training.make_network(tiny.params).eval()
    expected.load_state_dict(weights)
    network = checkpoint.load_model(path)
    assert network.configuration == expected.configuration
    recording("a.wav")
    run(str(path), "a.wav")
    mixture = torch.from_numpy(speech(0)[:, :4000])
    with torch.inference_mode():
        outputs = expected(mixture)[-1, 0].numpy()
    np.testing.assert_allclose(
        estimates("a"), explaining(outputs, mixture[0].numpy()), rtol=1e-3, atol=1e-5
    )


def test_foreign_content_is_no_network(model, tmp_path):
    whole = torch.load(model, weights_only=True)
    sizes, weights = whole["configuration"], whole["state_dict"]
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
        with pytest.raises(InputError, match=r"foreign.pt: found another kind of file, expected"):
            checkpoint.load_model(path)
    for content in (b"", b"PK\x03\x04 cut short", Path(model).read_bytes()[:-1000]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"foreign.pt: found an unreadable file, expected"):
            checkpoint.load_model(path)
    path.unlink()
    with pytest.raises(InputError, match=r"foreign.pt: found no file, expected the network"):
        checkpoint.load_model(path)
