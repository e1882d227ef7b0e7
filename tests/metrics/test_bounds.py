"""The bounds of the scores: the mixture as the estimate, and ideal ratio masks made here."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from museval.metrics import bss_eval as museval_bss_eval

from contract.scores import MUSIC_BOUND_COLUMNS, SPEECH_BOUND_COLUMNS
from contract.sources import MIXTURE_PATH, STEMS, path_column, speaker
from metrics import oracle
from metrics.core.si_snr import si_snr
from metrics.music_scores import bound_music
from metrics.oracle import MUSIC_EXPONENT, ideal_ratio_masks
from metrics.speech_scores import bound_speech
from tests.results import read_list


def spectrum(samples, length, step):
    """The STFT of (samples,) with a Hann window, with a frame of silence before and behind."""
    padded = np.pad(samples, length)
    starts = range(0, len(padded) - length + 1, step)
    window = np.sin(np.pi * np.arange(length) / length) ** 2
    return np.stack([np.fft.rfft(window * padded[start : start + length]) for start in starts])


def waveform(frames, length, step, samples):
    """The waveform (samples,) whose STFT is closest to `frames`, in the least-squares sense."""
    window = np.sin(np.pi * np.arange(length) / length) ** 2
    total = np.zeros((2, samples + 3 * length))
    for number, frame in enumerate(frames):
        place = slice(number * step, number * step + length)
        total[0, place] += window * np.fft.irfft(frame, length)
        total[1, place] += window**2
    signal, weight = total[:, length : length + samples]
    return signal / weight


def masked(references, mixture, length, step, exponent):
    """What ideal ratio masks make of (samples,), the sum of (sources, samples)."""
    weights = [np.abs(spectrum(reference, length, step)) ** exponent for reference in references]
    total, frames = sum(weights), spectrum(mixture, length, step)
    shares = [np.divide(w, total, out=np.zeros_like(w), where=total > 0) for w in weights]
    return np.stack([waveform(share * frames, length, step, len(mixture)) for share in shares])


@pytest.mark.parametrize(("length", "step"), [(4096, 1024), (1000, 250), (512, 512)])
def test_masks_are_those_of_a_plain_computation(length, step):
    generator = np.random.default_rng(0)
    references = generator.normal(size=(3, 5000, 2))
    references[0, :2000] = 0
    mixture = references.sum(axis=0)
    estimates = ideal_ratio_masks(references, mixture, length, step, 2)
    step = min(step, length // 2)
    for channel in range(2):
        expected = masked(references[..., channel], mixture[:, channel], length, step, 2)
        np.testing.assert_allclose(estimates[..., channel], expected, atol=1e-5)


@pytest.mark.parametrize("samples", [5000, 4097, 1500])
def test_blocks_change_nothing(samples, monkeypatch):
    references = np.random.default_rng(1).normal(size=(2, samples, 1))
    arguments = (references, references.sum(axis=0), 512, 96, 1)
    whole = ideal_ratio_masks(*arguments)
    monkeypatch.setattr(oracle, "BLOCK_SAMPLES", 1000)
    np.testing.assert_allclose(ideal_ratio_masks(*arguments), whole, atol=1e-7)


@pytest.mark.parametrize("samples", [1, 100, 300])
def test_a_signal_may_be_shorter_than_a_frame(samples):
    references = np.random.default_rng(2).normal(size=(2, samples, 1))
    mixture = references.sum(axis=0)
    estimates = ideal_ratio_masks(references, mixture, 512, 128, 2)
    np.testing.assert_allclose(estimates.sum(axis=0), mixture, atol=1e-6)


def test_the_bounds_of_music_are_those_of_museval(workspace, kept_scores):
    params = workspace.params["spleeter"]
    stft = (params["frame_length"], params["frame_step"])
    bounds = bound_music(workspace.root, *stft, 1.0, 1.0, kept_scores)
    assert list(bounds) == list(MUSIC_BOUND_COLUMNS)
    (track,) = read_list(workspace.root, "music")
    references = [soundfile.read(workspace.root / track[path_column(stem)])[0] for stem in STEMS]
    mixture, rate = soundfile.read(workspace.root / track[MIXTURE_PATH])
    references = np.stack(references)
    expected_oracle = np.stack(
        [masked(references[..., c], mixture[:, c], *stft, MUSIC_EXPONENT) for c in range(2)],
        axis=-1,
    )
    mixtures = np.stack([mixture] * len(STEMS))
    medians = {}
    for bound, estimates in (("mixture", mixtures), ("oracle", expected_oracle)):
        ratios = museval_bss_eval(references, estimates, window=rate, hop=rate)
        medians[bound] = [np.nanmedian(values, axis=1) for values in ratios[:4]]
        for index, stem in enumerate(STEMS):
            (row,) = bounds[(bounds.bound == bound) & (bounds.target == stem)].to_dict("records")
            assert Path(track[MIXTURE_PATH]).parent.name == row["track"]
            # museval returns SDR, ISR, SIR, SAR.
            expected = [values[index] for values in medians[bound]]
            actual = [row[metric] for metric in ("SDR", "ISR", "SIR", "SAR")]
            np.testing.assert_allclose(actual, expected, atol=1e-3)
    assert (medians["oracle"][0] > medians["mixture"][0] + 5).all()


def test_the_bounds_of_speech_are_those_of_a_plain_computation(workspace, kept_scores):
    bounds = bound_speech(workspace.root, kept_scores)
    assert list(bounds) == list(SPEECH_BOUND_COLUMNS)
    rows = bounds.set_index(["bound", "mixture", "speaker"])
    for item in read_list(workspace.root, "speech"):
        mixture, rate = soundfile.read(workspace.root / item[MIXTURE_PATH])
        names = [speaker(1), speaker(2)]
        paths = [workspace.root / item[path_column(name)] for name in names]
        references = np.stack([soundfile.read(path)[0] for path in paths])
        assert rate == 8000
        estimates = masked(references, mixture, 256, 64, 1)  # 32 ms and 8 ms
        for name, reference, estimate in zip(names, references, estimates, strict=True):
            stem = Path(item[MIXTURE_PATH]).stem
            lower, upper = rows.loc[("mixture", stem, name)], rows.loc[("oracle", stem, name)]
            assert lower["si_snr"] == pytest.approx(float(si_snr(reference, mixture)), abs=1e-9)
            assert lower["si_snr_improvement"] == lower["sdr_improvement"] == 0
            assert upper["si_snr"] == pytest.approx(float(si_snr(reference, estimate)), abs=1e-3)
            difference = upper["si_snr"] - lower["si_snr"]
            assert upper["si_snr_improvement"] == pytest.approx(difference, abs=1e-9)
            assert difference > 5
