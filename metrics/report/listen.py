"""Audio of the first test items: mixture, references and estimates side by side."""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile

from metrics import audio
from metrics.experiments import Experiment
from metrics.report import spectrogram
from metrics.report.markup import code, missing, notice, number, plural, source
from metrics.report.results import Model, Workspace
from metrics.workspace import (
    MUSIC_TEST,
    SPEECH_TEST,
    TARGETS,
    read_music_list,
    read_speech_list,
    speakers,
)

ITEMS = 3  # per model
SECONDS = 8  # of an item, from its middle
VARIANTS = 8  # heard beside each other, of each model
TOGETHER_SECONDS = 4
MARGIN = (
    "The first items of each test set: what went in, what should come out, what came out. "
    "Starting another player of an item goes on where the last one was."
)

TOGETHER = (
    "The first item of each test set, separated by the baseline and by the variants with the best "
    "scores. Starting another player goes on where the last one was."
)


class Pair(NamedTuple):
    """A reference, the estimate matched to it, and what the estimate scores."""

    name: str
    reference: Path
    estimate: Path
    score: str


class Item(NamedTuple):
    """A song or a mixture of the test set; paths are relative to the workspace."""

    name: str
    mixture: Path
    pairs: list[Pair]

    def paths(self) -> list[Path]:
        pairs = [path for pair in self.pairs for path in (pair.reference, pair.estimate)]
        return [self.mixture, *pairs]


def render(workspace: Workspace) -> tuple[str, str]:
    music, speech = workspace.models
    return MARGIN, (
        f"<h3>{escape(music.title)}</h3>{_music(workspace.root, music)}"
        f"<h3>{escape(speech.title)}</h3>{_speech(workspace.root, speech)}"
    )


def _music(root: Path, model: Model) -> str:
    if gap := _gap(root, MUSIC_TEST, model):
        return gap
    return _items(root, _songs(root, model)) + source(MUSIC_TEST, model.results / "estimates")


def _speech(root: Path, model: Model) -> str:
    if gap := _gap(root, SPEECH_TEST, model):
        return gap
    return _items(root, _mixtures(root, model)) + source(SPEECH_TEST, model.results / "estimates")


def _items(root: Path, items: Iterator[Item]) -> str:
    return "".join(_item(root, *item) for item in islice(items, ITEMS))


def _songs(root: Path, model: Model) -> Iterator[Item]:
    """The tracks of the test list in `root`."""
    for row in read_music_list(root / MUSIC_TEST).to_dict("records"):
        pairs = []
        for target in TARGETS:
            scores = _scores(model.scores, track=row["track"], target=target)
            pairs.append(
                Pair(
                    target,
                    Path(row[f"{target}_path"]),
                    model.results / "estimates" / row["track"] / f"{target}.wav",
                    _decibels("SDR", scores.get("SDR")),
                )
            )
        yield Item(row["track"], Path(row["mix_path"]), pairs)


def _mixtures(root: Path, model: Model) -> Iterator[Item]:
    """The mixtures of the test list in `root`."""
    listed = read_speech_list(root / SPEECH_TEST)
    for row in listed.to_dict("records"):
        mixture = Path(row["file"]).stem
        pairs = []
        for speaker in speakers(listed):
            scores = _scores(model.scores, mixture=mixture, speaker=speaker)
            matched = scores.get("estimate", speaker)
            pairs.append(
                Pair(
                    speaker,
                    Path(row[f"{speaker}_path"]),
                    model.results / "estimates" / matched / row["file"],
                    _decibels("SI-SNR improvement", scores.get("si_snr_improvement")),
                )
            )
        yield Item(mixture, Path(row["mix_path"]), pairs)


LISTS = {"spleeter": (MUSIC_TEST, _songs), "svoice": (SPEECH_TEST, _mixtures)}


def first_item(root: Path, model: Model) -> Item | None:
    """The first item of a model's test list, which is what several experiments are heard on; None
    where there is no list."""
    path, items = LISTS[model.key]
    return next(items(root, model)) if (root / path).is_file() else None


def heard(summary: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """The rows of `summary` (`metrics.experiments.summary`) whose estimates the page plays: of each
    model the baseline and the variants with the best mean scores, each by its first run."""
    scored = summary[summary["score"].notna()]
    best = scored.assign(
        mean=scored.groupby(["model", "variant"])["score"].transform("mean"),
        other=scored["variant"] != baseline,
    ).sort_values(["other", "mean"], ascending=[True, False], kind="stable")
    firsts = best.drop_duplicates(["model", "variant"])
    return firsts.groupby("model").head(VARIANTS)[list(summary.columns)]


def compare(
    experiments: Sequence[Experiment], summary: pd.DataFrame, baseline: str
) -> tuple[str, str]:
    """The estimates of several experiments beside each other, where their audio is at hand."""
    named = {each.name: each for each in experiments}
    parts = []
    played = heard(summary, baseline)
    for model in summary["model"].unique():
        rows = played[played["model"] == model]
        if rows.empty:
            continue
        takes = [(row.variant, named[row.experiment]) for row in rows.itertuples()]
        found = _beside(model, takes)
        title = getattr(experiments[0].workspace, model).title
        parts.append(f"<h3>{escape(title)}</h3>{found or notice('No audio at hand.')}")
        left = summary[summary["model"] == model]["variant"].nunique() - len(rows)
        if left:
            parts.append(f'<p class="source">{plural(left, "more variant")} not played.</p>')
    return TOGETHER, "".join(parts) or notice("Nothing was scored, so there is nothing to hear.")


def _beside(model: str, takes: list[tuple[str, Experiment]]) -> str:
    """The first variant's item: its mixture, and below each reference every variant's estimate."""
    items = {}
    for variant, experiment in takes:
        workspace = experiment.workspace
        item = first_item(workspace.root, getattr(workspace, model))
        if item and all((workspace.root / path).is_file() for path in item.paths()):
            items[variant] = workspace.root, item
    if not items:
        return ""
    root, reference = next(iter(items.values()))
    excerpt = Excerpt.of(root / reference.mixture, TOGETHER_SECONDS)
    # Another test set's estimates cannot stand beside these.
    items = {
        variant: (own, item)
        for variant, (own, item) in items.items()
        if item.name == reference.name and audio.read_form(own / item.mixture) == excerpt.form
    }

    def take(path: Path, label: str, note: str = "", variant: str = "") -> str:
        which = f' data-variant="{escape(variant)}"' if variant else ""
        made = excerpt.player(path, f"{reference.name}: {label}", note)
        name = escape(variant or label.rpartition(", ")[2])
        return f'<div class="player"{which}><span class="name">{name}</span>{made}</div>'

    cells = [take(root / reference.mixture, "mixture")]
    for index, pair in enumerate(reference.pairs):
        cells.append(f"<h5>{escape(pair.name)}</h5>")
        cells.append(take(root / pair.reference, f"{pair.name}, reference"))
        for variant, (own, item) in items.items():
            label = f"{pair.name}, estimate of {variant}"
            estimate = item.pairs[index]
            cells.append(take(own / estimate.estimate, label, estimate.score, variant))
    return _group(reference.name, reference.mixture, excerpt, "players takes", cells)


def _gap(root: Path, test_list: Path, model: Model) -> str:
    for path in (test_list, model.results / "estimates"):
        if not (root / path).exists():
            return missing(path, "audio")
    return ""


def _scores(scores: pd.DataFrame | None, **where: str) -> dict:
    """The row of scores.csv with these values in these columns; empty if there is none."""
    if scores is None:
        return {}
    rows = scores[(scores[list(where)] == pd.Series(where)).all(axis=1)]
    return {} if rows.empty else rows.iloc[0].to_dict()


def _decibels(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {number(value)} dB"


@dataclass(frozen=True)
class Excerpt:
    """The middle of a test item, and how loud its mixture is there."""

    form: audio.Form
    start: int  # samples
    length: int
    loudest: float  # power, of the mixture's spectrogram

    @classmethod
    def of(cls, mixture: Path, seconds: float) -> "Excerpt":
        form = audio.read_form(mixture)
        length = min(form.samples, round(seconds * form.sample_rate))
        start = (form.samples - length) // 2
        samples = audio.read(mixture, form, start, start + length)
        return cls(form, start, length, spectrogram.loudest(_silenced(samples), form.sample_rate))

    def __str__(self) -> str:
        ends = (self.start, self.start + self.length)
        first, last = (number(at / self.form.sample_rate, 1) for at in ends)
        return f"All {last} s" if self.length == self.form.samples else f"Seconds {first} to {last}"

    def player(self, path: Path, label: str, note: str = "") -> str:
        """What sounds and what it looks like; below them `note` and what had to be changed."""
        samples = audio.read(path, self.form, self.start, self.start + self.length)
        encoded, remark = encode(samples, self.form.sample_rate)
        picture = spectrogram.image(_silenced(samples), self.form.sample_rate, self.loudest)
        notes = " · ".join(filter(None, [note, remark]))
        return (
            f'<img alt="Spectrogram of {escape(label)}" loading="lazy" '
            f'width="{spectrogram.WIDTH}" height="{spectrogram.HEIGHT}" '
            f'src="data:image/png;base64,{picture}">'
            f'<audio controls preload="metadata" aria-label="{escape(label)}" '
            f'src="data:audio/flac;base64,{encoded}"></audio>'
            f'<span class="note">{escape(notes)}</span>'
        )


def _item(root: Path, name: str, mixture: Path, pairs: list[Pair]) -> str:
    excerpt = Excerpt.of(root / mixture, SECONDS)

    def player(path: Path, kind: str, label: str, note: str = "") -> str:
        made = excerpt.player(root / path, f"{name}: {label}", note)
        return f'<div class="player {kind}"><span class="which">{kind}</span>{made}</div>'

    cells = [
        '<span class="name">mixture</span>',
        player(mixture, "mixture", "mixture"),
        '<span class="corner"></span><span class="column">reference</span>'
        '<span class="column">estimate</span>',
    ]
    for pair in pairs:
        cells.append(f'<span class="name">{escape(pair.name)}</span>')
        cells.append(player(pair.reference, "reference", f"{pair.name}, reference"))
        cells.append(player(pair.estimate, "estimate", f"{pair.name}, estimate", pair.score))
    return _group(name, mixture, excerpt, "players", cells)


def _group(name: str, mixture: Path, excerpt: Excerpt, kind: str, cells: list[str]) -> str:
    looks = spectrogram.CAPTION.format(top=excerpt.form.sample_rate / 2000)
    return (
        f'<h4>{escape(name)}</h4><p class="source">{excerpt} of {code(mixture)}. {looks}</p>'
        f'<div class="{kind}" role="group" aria-label="{escape(name)}">{"".join(cells)}</div>'
    )


def _silenced(samples: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(samples), samples, 0.0)


def encode(samples: np.ndarray, sample_rate: int) -> tuple[str, str]:
    """Audio `(samples, channels)` for a data URI: base64 of 16-bit FLAC (lossless).

    Returns it with a remark on what had to be changed: a signal that passes full scale is made
    quieter as a whole rather than clipped, and non-finite samples are silenced.
    """
    remarks = []
    if lost := int((~np.isfinite(samples)).sum()):
        samples = _silenced(samples)
        remarks.append(f"{lost:,} non-finite samples silenced")
    peak = np.abs(samples).max(initial=0.0)
    if peak > 1:
        samples = samples / peak
        remarks.append(f"made {number(20 * np.log10(peak), 1)} dB quieter to fit 16 bits")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode("ascii"), ", ".join(remarks)
