"""The page: what it holds, that it needs nothing else, and what it says when parts are missing."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import soundfile

from metrics.errors import InputError
from metrics.report import against
from metrics.report.figure import POINTS, thin
from metrics.report.listen import SECONDS, encode
from metrics.report.page import build
from tests.metrics.files import read_list, rewrite_list, write, write_training

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """What a page is made of; fails on tags that do not nest."""

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
        return [
            found
            for name, found in self.elements
            if name == tag and all(found.get(key) == value for key, value in attributes.items())
        ]

    @property
    def text(self):
        hidden = ("script", "style")
        seen = "".join(" ".join(v) + " " for k, v in self.texts.items() if k not in hidden)
        return " ".join(seen.split())

    @property
    def plots(self):
        """The plotly figures, by their title."""
        titles = [found["aria-label"].split(".")[0] for found in self.all("div", role="img")]
        specs = [json.loads(text) for text in self.texts["script"] if text.startswith('{"data"')]
        return list(zip(titles, specs, strict=True))


def values(encoded):
    """An array as plotly writes it."""
    if isinstance(encoded, dict):
        return np.frombuffer(base64.b64decode(encoded["bdata"]), dtype=encoded["dtype"])
    return np.asarray(encoded)


def decode(source):
    return soundfile.read(io.BytesIO(base64.b64decode(source.split(",", 1)[1])), always_2d=True)


def player(page, label):
    (found,) = page.all("audio", **{"aria-label": label})
    return decode(found["src"])


(STUDY,) = re.findall('href="(.*)"', against.PAGE)  # the one link to another file
SECTIONS = ["summary", "scores", "curves", "study", "health", "listen", "provenance"]


def test_whole_run(finished):
    root = finished.root
    html = build(root)
    page = Page(html)

    sections = [found["id"] for found in page.all("section")]
    assert sections == SECTIONS
    links = [found["href"] for found in page.all("a") if "download" not in found]
    assert links == [*(f"#{anchor}" for anchor in sections), STUDY]
    assert len(page.all("h1")) == 1

    losses = ["Training loss", "Validation loss", "Time per step"]
    health = ["Gradient norm", "Learning rate"]
    # The study's runs with the same choices.
    study = ["adam · step · norm", "adam, 100 steps"]
    assert [title for title, _ in page.plots] == [*losses, *losses, *study, *health, *health]

    # 2 tracks × (mixture + 4 references + 4 estimates), 2 mixtures × (1 + 2 + 2).
    labels = [found["aria-label"] for found in page.all("audio")]
    assert len(labels) == len(set(labels)) == 2 * 9 + 2 * 5
    spectrograms = [found["alt"] for found in page.all("img")]
    assert spectrograms == [f"Spectrogram of {label}" for label in labels]

    scores = json.loads((root / "results/spleeter/scores.json").read_text())
    for metric in ("SDR", "SIR", "SAR", "ISR"):
        for value in scores[metric].values():
            assert f"{value:.2f}".replace("-", "−") in page.texts["td"]
    speech = json.loads((root / "results/svoice/scores.json").read_text())
    assert f"{speech['si_snr_improvement']:.2f} " in page.texts["p"]

    for model in ("spleeter", "svoice"):
        for name in ("train.json", "scores.json", "scores.csv", "steps.csv", "epochs.csv"):
            assert f"results/{model}/{name}" in page.texts["code"]
        assert f'"{model}": "2.4.2"' in page.text
    assert (root / "params.yaml").read_text() in page.texts["pre"]
    assert "missing" not in page.text


def test_needs_no_network(finished):
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


def test_same_files_same_page(finished):
    assert build(finished.root) == build(finished.root)


def test_curves_are_the_files_numbers(finished):
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


def test_log_axis_only_where_every_value_is_positive(finished):
    path = finished.root / "results/svoice/steps.csv"
    steps = pd.read_csv(path)
    steps["loss"] -= 2
    steps.to_csv(path, index=False)
    groups = [found["aria-label"] for found in Page(build(finished.root)).all("div", role="group")]
    assert groups.count("Training loss: vertical axis") == 1
    assert groups.count("Gradient norm: vertical axis") == 2


def test_players_hold_the_files_audio(finished):
    root = finished.root
    page = Page(build(root))
    item = read_list(root, "music")[0]
    expected, rate = soundfile.read(root / item["bass_path"])
    samples, found_rate = player(page, "First (live): bass, reference")
    assert found_rate == rate
    np.testing.assert_allclose(samples[:, 0], expected, atol=1 / 32768)

    item = read_list(root, "speech")[1]  # whose speakers the estimates have swapped
    name = item["mix_path"].split("/")[-1]
    expected, _ = soundfile.read(root / f"results/svoice/estimates/s2/{name}")
    samples, _ = player(page, f"{name.removesuffix('.wav')}: s1, estimate")
    np.testing.assert_allclose(samples[:, 0], expected, atol=1 / 32768)


def test_long_items_are_cut_to_their_middle(finished):
    root = finished.root
    item = read_list(root, "music")[0]
    for column in [name for name in item if name.endswith("_path")]:
        samples, rate = soundfile.read(root / item[column])
        write(root / item[column], np.tile(samples, 20), rate)
    for path in (root / "results/spleeter/estimates/First (live)").iterdir():
        samples, rate = soundfile.read(path)
        write(path, np.tile(samples, 20), rate)
    rewrite_list(root, "music", duration=12.0)
    page = Page(build(root))
    samples, rate = player(page, "First (live): drums, estimate")
    assert len(samples) == SECONDS * rate
    whole, _ = soundfile.read(root / "results/spleeter/estimates/First (live)/drums.wav")
    np.testing.assert_allclose(samples[:, 0], whole[2 * rate : 10 * rate], atol=1 / 32768)
    assert "Seconds 2.0 to 10.0 of" in page.text


def test_loud_audio_is_made_quieter_not_clipped(workspace):
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
    assert remark.startswith("5 non-finite samples silenced, made 6.0 dB quieter")


def test_diverged_run_is_a_result(finished):
    write_training(finished.root, "svoice", steps=7, status="diverged")
    page = Page(build(finished.root))
    assert "▲ SVoice diverged at step 7." in page.text
    assert "the initial weights, for none had been validated" in page.text
    assert "Spleeter diverged" not in page.text
    marks = [
        [label["text"] for label in spec["layout"].get("annotations", [])] for _, spec in page.plots
    ]
    assert marks == [[]] * 3 + [["diverged"]] * 3 + [[]] * 3 + [["diverged"]] * 2
    np.testing.assert_array_equal(values(page.plots[3][1]["data"][0]["x"]), np.arange(1, 7))


@pytest.mark.parametrize("rows", [0, 1])
def test_run_that_ends_as_it_starts(finished, rows):
    """Diverged at the first step, or not one step written."""
    path = finished.root / "results/spleeter/steps.csv"
    steps = pd.read_csv(path).head(rows)
    steps["loss"] = steps["gradient_norm"] = np.nan
    steps.to_csv(path, index=False)
    (finished.root / "results/spleeter/epochs.csv").write_text(
        "epoch,step,train_loss,valid_loss,best_valid_loss\n"
    )
    page = Page(build(finished.root))
    assert len(page.plots) == 11
    assert values(page.plots[0][1]["data"][0]["y"]).size == 0
    assert "0 validations." in page.text


def test_scores_without_a_value_are_dashes(finished):
    path = finished.root / "results/spleeter/scores.json"
    scores = json.loads(path.read_text())
    whole = Page(build(finished.root)).texts["td"].count("–")
    scores["SDR"]["bass"] = scores["SDR"]["mean"] = None
    path.write_text(json.dumps(scores))
    page = Page(build(finished.root))
    assert page.texts["td"].count("–") == whole + 2
    assert "Spleeter reaches" not in page.text and "SVoice reaches" in page.text


@pytest.mark.parametrize("model", ["spleeter", "svoice"])
@pytest.mark.parametrize(
    "name",
    ["train.json", "steps.csv", "epochs.csv", "scores.json", "scores.csv", "environment.json"],
)
def test_missing_file_is_named(finished, model, name):
    path = f"results/{model}/{name}"
    (finished.root / path).unlink()
    html = build(finished.root)
    assert f"<code>{path}</code> is missing." in html
    assert Page(html).texts["td"].count("missing") == 1  # among the files of the provenance


def test_empty_workspace_names_what_is_missing(tmp_path):
    page = Page(build(tmp_path))
    missing = set(page.texts["code"])
    assert {"params.yaml", "results/spleeter/train.json", "results/svoice/scores.json"} <= missing
    assert not page.all("audio") and not page.all("figure")
    assert [found["id"] for found in page.all("section")] == SECTIONS


def test_tracks_without_scores_are_told_apart(finished):
    root = finished.root
    music = pd.read_csv(root / "results/spleeter/scores.csv")
    assert "no scores and no part" not in Page(build(root)).text
    first = music["track"] == music["track"].iloc[0]
    music.loc[first, ["SDR", "SIR", "SAR", "ISR"]] = np.nan
    music.to_csv(root / "results/spleeter/scores.csv", index=False)
    page = Page(build(root))
    assert (
        "1 of 2 tracks has no scores and no part in the medians: in every frame a reference or an "
        "estimate is silent (First (live))."
    ) in page.text
    assert "SDR, median over the frames of 1 track, mean over the stems" in page.text


def test_many_items_get_distributions_and_a_cut_table(finished):
    root = finished.root
    music = pd.read_csv(root / "results/spleeter/scores.csv")
    tracks = [music.assign(track=f"track {n} of {music['track'].iloc[0]}") for n in range(20)]
    pd.concat(tracks).to_csv(root / "results/spleeter/scores.csv", index=False)
    speech = pd.read_csv(root / "results/svoice/scores.csv")
    pd.concat([speech] * 5).to_csv(root / "results/svoice/scores.csv", index=False)
    page = Page(build(root))
    titles = [title for title, _ in page.plots]
    assert titles[:3] == [
        "Distribution of the scores",
        "Improvement of each estimate",
        "Improvement against the input",
    ]
    assert "the first 48 of 160 rows" in page.text


def test_names_are_text_not_markup(finished):
    root = finished.root
    name = '<b>"R&D"</b>'.replace("/", "∕")
    (root / "results/spleeter/estimates/First (live)").rename(
        root / "results/spleeter/estimates" / name
    )
    (root / "data/own/First (live)").rename(root / "data/own" / name)
    for path in (root / "data/csv/music/test.csv", root / "results/spleeter/scores.csv"):
        frame = pd.read_csv(path)
        frame = frame.map(lambda v: v.replace("First (live)", name) if isinstance(v, str) else v)
        frame.to_csv(path, index=False)
    page = Page(build(root))
    assert not page.all("b")
    assert name in page.texts["th"] and name in page.texts["h4"]
    assert len(page.all("audio")) == 28


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("params.yaml", "a: [1", r"params.yaml: found .*, expected YAML"),
        ("params.yaml", "- 1", r"params.yaml: found a list, expected a mapping"),
        ("results/svoice/train.json", "{", r"train.json: found .*, expected a JSON object"),
        (
            "results/svoice/steps.csv",
            "step,loss\n1,2\n",
            r"steps.csv: found the columns step, loss",
        ),
        (
            "results/svoice/epochs.csv",
            "epoch,step,valid_loss,best_valid_loss\n1,1,high,2\n",
            r"epochs.csv: found 'high' in column valid_loss of row 1, expected a number",
        ),
        ("results/svoice/epochs.csv", "", r"epochs.csv: found unreadable data"),
        ("data/csv/music/test.csv", "mix_path\n", r"music/test.csv: found the columns mix_path"),
    ],
)
def test_spoiled_file_is_one_line(finished, path, content, message):
    (finished.root / path).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        build(finished.root)
    assert "\n" not in str(caught.value)


def test_thinned_line_keeps_its_extremes_and_order():
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
