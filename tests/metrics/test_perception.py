"""PESQ and STOI on real voices, and the message where PESQ is not installed."""

import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import soundfile

from contract.errors import InputError
from contract.scores import SPEECH_SCORE_COLUMNS
from metrics import perception
from metrics.score_all import unfinished
from metrics.speech_scores import aggregate_speech, score_speech
from tests.results import read_list


@pytest.fixture
def voice(workspace):
    """The longest test voice, `(samples,)` at 8 kHz."""
    item = max(read_list(workspace.root, "speech"), key=lambda item: item["length"])
    return soundfile.read(workspace.root / item["s1_path"])[0]


def noisy(voice, level):
    """The voice with noise, whose level is relative to the voice's."""
    return voice + level * np.std(voice) * np.random.default_rng(0).normal(size=voice.size)


def test_stoi_falls_with_noise_and_is_nan_for_silence(voice):
    scores = [perception.stoi(voice, noisy(voice, level), 8000) for level in (0, 0.3, 3)]
    assert scores[0] == pytest.approx(1)
    assert 1 > scores[1] > scores[2] > 0
    assert np.isnan(perception.stoi(0 * voice, voice, 8000))
    assert np.isnan(perception.stoi(voice, 0 * voice, 8000))
    assert np.isnan(perception.stoi(voice, np.nan * voice, 8000))
    assert np.isnan(perception.stoi(voice[:2000], voice[:2000], 8000))


def test_pesq_falls_with_noise_and_is_nan_for_silence(voice):
    pytest.importorskip("pesq", reason="needs docker/requirements/pipeline-speech.txt")
    scores = [perception.pesq(voice, noisy(voice, level), 8000) for level in (0, 0.1, 1)]
    assert 4.6 > scores[0] > scores[1] > scores[2] >= 1
    assert np.isnan(perception.pesq(0 * voice, voice, 8000))
    assert np.isnan(perception.pesq(voice, 0 * voice, 8000))
    assert np.isnan(perception.pesq(voice[:100], voice[:100], 8000))


def test_a_measure_that_is_asked_for_is_a_column_and_a_mean(speech, tmp_path):
    with unfinished(tmp_path / "unfinished") as kept_scores:
        scores = score_speech(speech.root, kept_scores, stoi=True)
        without = score_speech(speech.root, kept_scores)
    assert tuple(scores) == (*SPEECH_SCORE_COLUMNS, "stoi")
    assert tuple(without) == SPEECH_SCORE_COLUMNS
    assert scores["stoi"].between(0, 1).all()
    assert aggregate_speech(scores)["stoi"] == pytest.approx(scores["stoi"].mean())


def test_without_its_library_pesq_is_refused_before_anything_is_scored(
    speech, kept_scores, monkeypatch
):
    def not_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(perception, "version", not_installed)
    with pytest.raises(InputError) as caught:
        score_speech(speech.root, kept_scores, pesq=True)
    assert str(caught.value) == (
        "evaluation.pesq: is true, but the package pesq is not installed; "
        "run `pip install -r docker/requirements/pipeline-speech.txt`"
    )
    assert not list(kept_scores.folder.iterdir())


def test_libraries_are_imported_only_where_they_are_needed(speech, kept_scores, monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    monkeypatch.setitem(sys.modules, "pystoi", None)
    assert len(score_speech(speech.root, kept_scores)) == 4
