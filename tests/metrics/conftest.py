"""Estimates as a trained model leaves them: the references, into which the mixture leaks."""

import json
from pathlib import Path

import pandas as pd
import pytest
import soundfile

from contract.layout import ENVIRONMENT, ESTIMATES, MUSIC_TEST, SPLEETER_RESULTS, SVOICE_RESULTS
from contract.scores import BOUNDS, SPEECH_METRICS
from contract.sources import MIXTURE_PATH, path_column, speaker
from metrics.music_scores import aggregate_music, music_by_track, score_music
from metrics.score_all import KeptScores
from metrics.speech_scores import aggregate_speech, score_speech
from tests.conftest import ROOT
from tests.results import (
    MUSIC_SECONDS,
    TARGETS,
    read_list,
    write_audio,
    write_scores,
    write_training,
)
from tests.yaml_files import read_yaml

# Made up, in the form of details.json.
MUSIC_BOUNDS = {
    bound: dict.fromkeys([*TARGETS, "mean"], value)
    for bound, value in zip(BOUNDS, (-5.0, 9.0), strict=True)
}
SPEECH_BOUNDS = {
    bound: dict.fromkeys(SPEECH_METRICS, value)
    for bound, value in zip(BOUNDS, (0.0, 12.0), strict=True)
}


@pytest.fixture
def music(workspace):
    """The workspace with two short mono test tracks and estimates of their stems."""
    source = pd.read_csv(workspace.root / MUSIC_TEST).iloc[0]
    rows = []
    for index, name in enumerate(["First (live)", "Zweiter, Ö"]):
        row = {}
        stems = {}
        for target in ["mixture", *TARGETS]:
            column = MIXTURE_PATH if target == "mixture" else path_column(target)
            samples, rate = soundfile.read(workspace.root / source[column], always_2d=True)
            length = round(MUSIC_SECONDS * rate)
            stems[target] = samples[index * length : (index + 1) * length, 0]
            row[column] = f"data/own/{name}/{target}.wav"
            write_audio(workspace.root / row[column], stems[target], rate)
        for number, target in enumerate(TARGETS, start=1):
            estimate = stems[target] + 0.1 * number * stems["mixture"]
            path = workspace.root / SPLEETER_RESULTS / ESTIMATES / name / f"{target}.wav"
            write_audio(path, estimate, rate)
        rows.append({**row, "duration": MUSIC_SECONDS})
    pd.DataFrame(rows).to_csv(workspace.root / MUSIC_TEST, index=False)
    return workspace


@pytest.fixture
def speech(workspace):
    """The workspace with estimates of its speech test mixtures, the second's speakers swapped."""
    for index, item in enumerate(read_list(workspace.root, "speech")):
        mixture, rate = soundfile.read(workspace.root / item[MIXTURE_PATH])
        for number, reference in enumerate([speaker(1), speaker(2)]):
            samples, _ = soundfile.read(workspace.root / item[path_column(reference)])
            folder = speaker((number + index) % 2 + 1)
            name = Path(item[MIXTURE_PATH]).name
            path = workspace.root / SVOICE_RESULTS / ESTIMATES / folder / name
            write_audio(path, samples + 0.1 * (number + 1) * mixture, rate)
    return workspace


@pytest.fixture
def kept_scores(tmp_path):
    """The scores of an unfinished run, none so far."""
    folder = tmp_path / "unfinished"
    folder.mkdir()
    return KeptScores(folder)


@pytest.fixture(scope="session")
def known_scores():
    """The scores of the fixtures' estimates, computed by the first test that needs them."""
    return {}


@pytest.fixture
def finished(music, speech, known_scores, kept_scores):
    """The workspace as a whole run leaves it: trained, separated, scored."""
    root = music.root
    # One that the student study has as well, so that a page compares them.
    music.params["schedule"] = read_yaml(ROOT / "conf/schedule/step.yaml")
    music.write_params()
    for model in ("spleeter", "svoice"):
        write_training(root, model)
        environment = {"interpreter": "3.11.7", "packages": {model: "2.4.2"}}
        (root / "results" / model / ENVIRONMENT).write_text(json.dumps(environment))
    if not known_scores:
        known_scores["music"] = music_by_track(score_music(root, 0.25, 0.25, kept_scores))
        known_scores["speech"] = score_speech(root, kept_scores)
    scores = known_scores["music"]
    write_scores(root, "spleeter", scores, aggregate_music(scores) | {"bounds": MUSIC_BOUNDS})
    scores = known_scores["speech"]
    write_scores(root, "svoice", scores, aggregate_speech(scores) | {"bounds": SPEECH_BOUNDS})
    return music
