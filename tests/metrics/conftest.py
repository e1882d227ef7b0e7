"""Estimates as a trainer would leave them: real references with some of the others leaking in."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import soundfile
from playwright.sync_api import sync_playwright

from metrics.music_scores import aggregate_music, music_by_track, score_music
from metrics.report import images
from metrics.score_all import Unfinished
from metrics.speech_scores import aggregate_speech, score_speech
from tests.metrics.files import (
    MUSIC_SECONDS,
    TARGETS,
    read_list,
    write,
    write_scores,
    write_training,
)


@pytest.fixture
def music(workspace):
    """The workspace with two short mono test tracks and estimates of their stems."""
    source = pd.read_csv(workspace.root / "data/csv/music/test.csv").iloc[0]
    rows = []
    for index, name in enumerate(["First (live)", "Zweiter, Ö"]):
        row = {}
        stems = {}
        for target in ["mixture", *TARGETS]:
            column = "mix_path" if target == "mixture" else f"{target}_path"
            samples, rate = soundfile.read(workspace.root / source[column], always_2d=True)
            length = round(MUSIC_SECONDS * rate)
            stems[target] = samples[index * length : (index + 1) * length, 0]
            row[column] = f"data/own/{name}/{target}.wav"
            write(workspace.root / row[column], stems[target], rate)
        for number, target in enumerate(TARGETS, start=1):
            leaking = stems[target] + 0.1 * number * stems["mixture"]
            path = workspace.root / f"results/spleeter/estimates/{name}/{target}.wav"
            write(path, leaking, rate)
        rows.append({**row, "duration": MUSIC_SECONDS})
    pd.DataFrame(rows).to_csv(workspace.root / "data/csv/music/test.csv", index=False)
    return workspace


@pytest.fixture
def speech(workspace):
    """The workspace with estimates of its speech test mixtures, the second's speakers swapped."""
    for index, item in enumerate(read_list(workspace.root, "speech")):
        mixture, rate = soundfile.read(workspace.root / item["mix_path"])
        for number, speaker in enumerate(["s1", "s2"]):
            source, _ = soundfile.read(workspace.root / item[f"{speaker}_path"])
            folder = f"s{(number + index) % 2 + 1}"
            name = Path(item["mix_path"]).name
            path = workspace.root / f"results/svoice/estimates/{folder}/{name}"
            write(path, source + 0.1 * (number + 1) * mixture, rate)
    return workspace


@pytest.fixture
def kept(tmp_path):
    """Where unfinished scores lie."""
    folder = tmp_path / "unfinished"
    folder.mkdir()
    return Unfinished(folder)


@pytest.fixture(scope="session")
def known_scores():
    """The scores of the fixtures' estimates, computed by the first test that needs them."""
    return {}


@pytest.fixture
def finished(music, speech, known_scores, kept):
    """The workspace as a whole run leaves it: trained, separated, scored."""
    root = music.root
    for model in ("spleeter", "svoice"):
        write_training(root, model)
        environment = {"interpreter": "3.11.7", "packages": {model: "2.4.2"}}
        (root / f"results/{model}/environment.json").write_text(json.dumps(environment))
    if not known_scores:
        known_scores["music"] = music_by_track(score_music(root, 0.25, 0.25, kept))
        known_scores["speech"] = score_speech(root, kept)
    scores = known_scores["music"]
    write_scores(root, "spleeter", scores, aggregate_music(scores))
    scores = known_scores["speech"]
    write_scores(root, "svoice", scores, aggregate_speech(scores))
    return music


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, headless."""
    program = images.browser()
    if program is None:
        reason = f"no Chromium: none of {', '.join(images.BROWSERS)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()
