"""The page about one run: what it holds, that it needs nothing else, and what it says where parts
are missing."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import soundfile

from contract.errors import InputError
from contract.layout import (
    DETAILS,
    ENVIRONMENT,
    EPOCHS,
    ESTIMATES,
    MUSIC_TEST,
    SCORES,
    SPLEETER_RESULTS,
    STEPS,
    SVOICE_RESULTS,
    TRAIN,
)
from contract.scores import BSS_METRICS
from contract.sources import MIXTURE_PATH, path_column
from report import against
from report.figure import POINTS, thin
from report.listen import SECONDS, encode
from report.page import build
from tests.results import read_list, rewrite_list, write_audio, write_training

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """The elements and texts of a page. Tags that do not nest fail."""

    def __init__(self, html):
        super().__init__()
        self.open = []
        self.elements = []  # (tag, attributes)
        self.texts = {}  # tag -> texts directly inside
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def all(self, tag, **attributes):
        """The attributes of every element with this tag and these attributes."""
        return [
            own
            for name, own in self.elements
            if name == tag and all(own.get(key) == value for key, value in attributes.items())
        ]

    @property
    def text(self):
        """All texts but scripts and style sheets, grouped by their tags."""
        hidden = ("script", "style")
        texts = [text for tag, texts in self.texts.items() if tag not in hidden for text in texts]
        return " ".join(" ".join(texts).split())

    @property
    def plots(self):
        """The title and plotly's JSON of each figure."""
        titles = [plot["aria-label"].split(".")[0] for plot in self.all("div", role="img")]
        specs = [json.loads(text) for text in self.texts["script"] if text.startswith('{"data"')]
        return list(zip(titles, specs, strict=True))


def values(encoded):
    """An array from what plotly makes of it."""
    if isinstance(encoded, dict):
        return np.frombuffer(base64.b64decode(encoded["bdata"]), dtype=encoded["dtype"])
    return np.asarray(encoded)


def decode(source):
    """The samples, `(samples, channels)`, and the rate of audio in a data URI."""
    return soundfile.read(io.BytesIO(base64.b64decode(source.split(",", 1)[1])), always_2d=True)


def player(page, label):
    """The samples and the rate of the player with a label."""
    (audio,) = page.all("audio", **{"aria-label": label})
    return decode(audio["src"])


(STUDY,) = re.findall('href="(.*)"', against.PAGE)  # the one link to another file
BOUNDS = "Between the bounds"
SECTIONS = ["summary", "scores", "curves", "study", "health", "listen", "provenance"]


def test_the_page_of_a_finished_run_has_all_its_results(finished):
    root = finished.root
    html = build(root)
    page = Page(html)

    sections = [section["id"] for section in page.all("section")]
    assert sections == SECTIONS
    links = [link["href"] for link in page.all("a") if "download" not in link]
    assert links == [*(f"#{anchor}" for anchor in sections), STUDY]
    assert len(page.all("h1")) == 1

    losses = ["Training loss", "Validation loss", "Time per step"]
    health = ["Gradient norm", "Learning rate"]
    # The runs of the study with the same choices.
    study = ["adam · step · norm", "adam, 100 steps"]
    titles = [BOUNDS, BOUNDS, *losses, *losses, *study, *health, *health]
    assert [title for title, _ in page.plots] == titles

    # 2 tracks × (mixture + 4 references + 4 estimates), 2 mixtures × (1 + 2 + 2).
    labels = [audio["aria-label"] for audio in page.all("audio")]
    assert len(labels) == len(set(labels)) == 2 * 9 + 2 * 5
    spectrograms = [image["alt"] for image in page.all("img")]
    assert spectrograms == [f"Spectrogram of {label}" for label in labels]

    scores = json.loads((root / "results/spleeter/details.json").read_text())
    for metric in BSS_METRICS:
        for value in scores[metric].values():
            assert f"{value:.2f}".replace("-", "−") in page.texts["td"]
    drawn = [trace["x"] for trace in page.plots[0][1]["data"]]
    assert drawn == [list(scores["bounds"][bound].values()) for bound in ("mixture", "oracle")] + [
        list(scores["SDR"].values())
    ]
    speech = json.loads((root / "results/svoice/details.json").read_text())
    assert f"{speech['si_snr_improvement']:.2f} " in page.texts["p"]

    for model in ("spleeter", "svoice"):
        for name in (TRAIN, DETAILS, SCORES, STEPS, EPOCHS):
            assert f"results/{model}/{name}" in page.texts["code"]
        assert f'"{model}": "2.4.2"' in page.text
    assert (root / "configuration.yaml").read_text() in page.texts["pre"]
    assert "missing" not in page.text


def test_the_page_needs_no_network(finished):
    html = build(finished.root)
    page = Page(html)
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:", STUDY))
    assert not page.all("link") and not page.all("iframe")
    styles = "".join(page.texts["style"])
    assert "url(" not in styles and "@import" not in styles
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert "default-src 'none'" in policy["content"] and "http" not in policy["content"]


def test_the_same_files_give_the_same_page(finished):
    assert build(finished.root) == build(finished.root)


def test_the_curves_have_the_numbers_of_the_files(finished):
    steps = pd.read_csv(finished.root / "results/spleeter/steps.csv")
    epochs = pd.read_csv(finished.root / "results/spleeter/epochs.csv")
    page = Page(build(finished.root))
    plots = dict(reversed(page.plots))  # Spleeter's come first
    for title, trace, expected in [
        ("Training loss", 0, steps["loss"]),
        ("Training loss", 1, steps["loss"].ewm(span=10).mean()),
        ("Validation loss", 0, epochs["valid_loss"]),
        ("Validation loss", 1, epochs["best_valid_loss"]),
        ("Gradient norm", 0, steps["gradient_norm"]),
        ("Learning rate", 0, steps["learning_rate"]),
        ("Time per step", 0, steps["seconds"]),
    ]:
        np.testing.assert_array_equal(values(plots[title]["data"][trace]["y"]), expected)
    np.testing.assert_array_equal(values(plots["Training loss"]["data"][0]["x"]), steps["step"])
    assert plots["Training loss"]["layout"]["xaxis"]["title"]["text"] == "step"
    assert plots["Time per step"]["layout"]["yaxis"]["title"]["text"] == "seconds per step (s)"
    clipped = (steps["gradient_norm"] > 5).sum()
    assert f"Clipped to 5 in {clipped} of 40 steps." in page.text


def test_a_logarithmic_axis_is_offered_only_where_every_value_is_positive(finished):
    path = finished.root / "results/svoice/steps.csv"
    steps = pd.read_csv(path)
    steps["loss"] -= 2
    steps.to_csv(path, index=False)
    page = Page(build(finished.root))
    groups = [group["aria-label"] for group in page.all("div", role="group")]
    assert groups.count("Training loss: vertical axis") == 1
    assert groups.count("Gradient norm: vertical axis") == 2


def test_the_players_hold_the_audio_of_the_files(finished):
    root = finished.root
    page = Page(build(root))
    item = read_list(root, "music")[0]
    expected, expected_rate = soundfile.read(root / item[path_column("bass")])
    samples, rate = player(page, "First (live): bass, reference")
    assert rate == expected_rate
    np.testing.assert_allclose(samples[:, 0], expected, atol=1 / 32768)

    item = read_list(root, "speech")[1]  # its estimates have the speakers swapped
    name = item[MIXTURE_PATH].split("/")[-1]
    expected, _ = soundfile.read(root / SVOICE_RESULTS / ESTIMATES / "s2" / name)
    samples, _ = player(page, f"{name.removesuffix('.wav')}: s1, estimate")
    np.testing.assert_allclose(samples[:, 0], expected, atol=1 / 32768)


def test_of_a_long_item_the_middle_is_played(finished):
    root = finished.root
    item = read_list(root, "music")[0]
    for column in [name for name in item if name.endswith("_path")]:
        samples, rate = soundfile.read(root / item[column])
        write_audio(root / item[column], np.tile(samples, 20), rate)
    estimates = root / SPLEETER_RESULTS / ESTIMATES / "First (live)"
    for path in estimates.iterdir():
        samples, rate = soundfile.read(path)
        write_audio(path, np.tile(samples, 20), rate)
    rewrite_list(root, "music", duration=12.0)
    page = Page(build(root))
    samples, rate = player(page, "First (live): drums, estimate")
    assert len(samples) == SECONDS * rate
    estimate, _ = soundfile.read(estimates / "drums.wav")
    np.testing.assert_allclose(samples[:, 0], estimate[2 * rate : 10 * rate], atol=1 / 32768)
    assert "Seconds 2.0 to 10.0 of" in page.text


def test_loud_audio_is_made_quieter_rather_than_clipped(workspace):
    path = next((workspace.root / "data/music/test").iterdir()) / "vocals.wav"
    samples, rate = soundfile.read(path)
    loud = samples / np.abs(samples).max() * 2
    encoded, remark = encode(loud, rate)
    decoded, _ = decode(f"data:,{encoded}")
    np.testing.assert_allclose(decoded, loud / 2, atol=1 / 32768)
    assert remark == "made 6.0 dB quieter to fit 16 bits"
    loud[10:15, 0] = np.nan
    encoded, remark = encode(loud, rate)
    decoded, _ = decode(f"data:,{encoded}")
    assert (decoded[10:15, 0] == 0).all()
    assert remark == "5 non-finite samples silenced, made 6.0 dB quieter to fit 16 bits"


def test_a_diverged_run_is_a_result(finished):
    write_training(finished.root, "svoice", steps=7, status="diverged")
    page = Page(build(finished.root))
    assert "▲ SVoice diverged at step 7." in page.text
    assert "from the initial weights, because there was no validation before." in page.text
    assert "Spleeter diverged" not in page.text
    marks = [
        [label["text"] for label in spec["layout"].get("annotations", [])] for _, spec in page.plots
    ]
    assert marks == [[]] * 5 + [["diverged"]] * 3 + [[]] * 3 + [["diverged"]] * 2
    np.testing.assert_array_equal(values(page.plots[5][1]["data"][0]["x"]), np.arange(1, 7))


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_with_no_finite_step_has_a_page(finished, rows):
    """It diverged at the first step, or has written none."""
    path = finished.root / "results/spleeter/steps.csv"
    steps = pd.read_csv(path).head(rows)
    steps["loss"] = steps["gradient_norm"] = np.nan
    steps.to_csv(path, index=False)
    (finished.root / "results/spleeter/epochs.csv").write_text(
        "epoch,step,train_loss,valid_loss,best_valid_loss\n"
    )
    page = Page(build(finished.root))
    assert len(page.plots) == 13
    assert values(page.plots[2][1]["data"][0]["y"]).size == 0
    assert "0 validations." in page.text


def test_missing_scores_are_dashes(finished):
    path = finished.root / "results/spleeter/details.json"
    scores = json.loads(path.read_text())
    dashes = Page(build(finished.root)).texts["td"].count("–")
    scores["SDR"]["bass"] = scores["SDR"]["mean"] = None
    path.write_text(json.dumps(scores))
    page = Page(build(finished.root))
    assert page.texts["td"].count("–") == dashes + 2
    assert "Spleeter reaches" not in page.text and "SVoice reaches" in page.text


@pytest.mark.parametrize("model", ["spleeter", "svoice"])
@pytest.mark.parametrize(
    "name",
    [TRAIN, STEPS, EPOCHS, DETAILS, SCORES, ENVIRONMENT],
)
def test_the_page_names_a_missing_file(finished, model, name):
    path = f"results/{model}/{name}"
    (finished.root / path).unlink()
    html = build(finished.root)
    assert f"<code>{path}</code> is missing." in html
    assert Page(html).texts["td"].count("missing") == 1  # among the files of the provenance


def test_the_page_of_an_empty_workspace_names_what_is_missing(tmp_path):
    page = Page(build(tmp_path))
    missing = set(page.texts["code"])
    assert {
        "configuration.yaml",
        "results/spleeter/train.json",
        "results/svoice/details.json",
    } <= missing
    assert not page.all("audio") and not page.all("figure")
    assert [section["id"] for section in page.all("section")] == SECTIONS


def test_the_page_names_tracks_without_scores(finished):
    root = finished.root
    music = pd.read_csv(root / "results/spleeter/scores.csv")
    assert "no scores, and the medians leave" not in Page(build(root)).text
    first = music["track"] == music["track"].iloc[0]
    music.loc[first, list(BSS_METRICS)] = np.nan
    music.to_csv(root / "results/spleeter/scores.csv", index=False)
    page = Page(build(root))
    assert (
        "1 of 2 tracks has no scores, and the medians leave it out: in every frame a reference or "
        "an estimate is silent (First (live))."
    ) in page.text
    assert "SDR, median over the frames of 1 track, mean over the stems" in page.text


def test_many_items_have_distributions_and_a_shortened_table(finished):
    root = finished.root
    music = pd.read_csv(root / "results/spleeter/scores.csv")
    tracks = [music.assign(track=f"track {n} of {music['track'].iloc[0]}") for n in range(20)]
    pd.concat(tracks).to_csv(root / "results/spleeter/scores.csv", index=False)
    speech = pd.read_csv(root / "results/svoice/scores.csv")
    pd.concat([speech] * 5).to_csv(root / "results/svoice/scores.csv", index=False)
    page = Page(build(root))
    titles = [title for title, _ in page.plots]
    assert titles[:5] == [
        BOUNDS,
        "Distribution of the scores",
        BOUNDS,
        "Improvement of each estimate",
        "Improvement against the input",
    ]
    assert "the first 48 of 160 rows" in page.text


def test_names_are_shown_as_text_and_not_as_markup(finished):
    root = finished.root
    name = '<b>"R&D"</b>'.replace("/", "∕")
    estimates = root / SPLEETER_RESULTS / ESTIMATES
    (estimates / "First (live)").rename(estimates / name)
    (root / "data/own/First (live)").rename(root / "data/own" / name)
    for path in (root / MUSIC_TEST, root / SPLEETER_RESULTS / SCORES):
        frame = pd.read_csv(path)
        frame = frame.map(lambda v: v.replace("First (live)", name) if isinstance(v, str) else v)
        frame.to_csv(path, index=False)
    page = Page(build(root))
    assert not page.all("b")
    assert name in page.texts["th"] and name in page.texts["h4"]
    assert len(page.all("audio")) == 28


REMEDY = "run the stage that writes it again"


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (
            "configuration.yaml",
            "- 1",
            "does not hold the groups of conf/; run `dvc exp run` to compose it",
        ),
        (
            "results/svoice/train.json",
            "{",
            "is not valid JSON (Expecting property name enclosed in double quotes: line 1 column 2 "
            f"(char 1)); {REMEDY}",
        ),
        (
            "results/svoice/steps.csv",
            "step,loss\n1,2\n",
            "has the columns step, loss, but not epoch, learning_rate, gradient_norm, seconds; "
            + REMEDY,
        ),
        (
            "results/svoice/epochs.csv",
            "epoch,step,train_loss,valid_loss,best_valid_loss\n1,1,2,high,2\n",
            f"'high' in row 1, column valid_loss, is not a number; {REMEDY}",
        ),
        (
            "results/svoice/epochs.csv",
            "",
            f"is not a valid CSV file (No columns to parse from file); {REMEDY}",
        ),
        (
            "data/csv/music/test.csv",
            "mix_path\n",
            "has the columns mix_path, but not vocals_path, drums_path, bass_path, other_path, "
            f"duration; {REMEDY}",
        ),
    ],
)
def test_a_spoiled_file_is_one_line(finished, path, content, message):
    (finished.root / path).write_text(content)
    with pytest.raises(InputError) as caught:
        build(finished.root)
    assert str(caught.value) == f"{finished.root / path}: {message}"


def test_params_that_are_not_yaml_are_one_line(finished):
    path = finished.root / "configuration.yaml"
    path.write_text("a: [1")
    with pytest.raises(InputError) as caught:
        build(finished.root)
    assert str(caught.value).startswith(f"{path}: is not valid YAML (while parsing a flow sequence")
    assert "\n" not in str(caught.value)


def test_a_thinned_line_keeps_its_extremes_and_its_order():
    x = np.arange(1.0, 100_001)
    y = np.sin(x / 500)
    y[77_777] = 50
    y[123] = -50
    y[500] = np.nan
    thin_x, thin_y = thin(x, y)
    assert thin_x.size <= POINTS
    assert thin_y.max() == 50 and thin_y.min() == -50
    assert (np.diff(thin_x) > 0).all()
    short_x, short_y = thin(x[:100], y[:100])
    np.testing.assert_array_equal(short_x, x[:100])
    np.testing.assert_array_equal(short_y, y[:100])
