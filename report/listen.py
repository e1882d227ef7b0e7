"""The section with the audio of the first test items: mixture, references and estimates."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile

from contract.layout import ESTIMATES
from contract.menu import SPLEETER, SVOICE
from contract.models import MODELS
from contract.sources import MIXTURE_PATH, STEMS, path_column
from metrics import audio
from metrics.tables import read_music_list, read_speech_list, speakers
from report import spectrogram
from report.experiments import Experiment
from report.markup import code, missing, notice, number, plural, source
from report.results import ModelResults, Workspace

ITEMS = 3  # items shown for each model
SECONDS = 8  # seconds played, from an item's middle
VARIANTS = 8  # variants played side by side for each model
TOGETHER_SECONDS = 4  # seconds played of an item when variants are side by side
MARGIN = (
    "The first items of each test set: the mixture, the references and the estimates. When "
    "another player of the item starts, it continues where the last one was."
)
TOGETHER = (
    "The first item of each test set, separated by the baseline and by the variants with the best "
    "scores. When another player of the item starts, it continues where the last one was."
)


class Pair(NamedTuple):
    """A reference, and the estimate that is matched to it."""

    name: str  # the name of the stem or the speaker
    reference: Path
    estimate: Path
    score: str  # the score of the estimate, in words


class Item(NamedTuple):
    """A song or a mixture of the test set; its paths are relative to the workspace."""

    name: str
    mixture: Path
    pairs: list[Pair]

    def paths(self) -> list[Path]:
        """Returns all files of the item."""
        pairs = [path for pair in self.pairs for path in (pair.reference, pair.estimate)]
        return [self.mixture, *pairs]


def render(workspace: Workspace) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about one run.

    Args:
        workspace: the workspace of the run.
    """
    return MARGIN, "".join(
        f"<h3>{escape(model.title)}</h3>{_model(workspace.root, model)}"
        for model in workspace.models
    )


def _model(root: Path, model: ModelResults) -> str:
    """Returns the first items of a model, or the notice that a file is missing."""
    estimates = model.results / ESTIMATES
    for path in (model.test_list, estimates):
        if not (root / path).exists():
            return missing(path, "audio")
    first_items = islice(READ_ITEMS[model.key](root, model), ITEMS)
    return "".join(_item(root, item) for item in first_items) + source(model.test_list, estimates)


def _songs(root: Path, model: ModelResults) -> Iterator[Item]:
    """Yields the tracks of the test list in `root`."""
    for row in read_music_list(root / model.test_list).to_dict("records"):
        pairs = []
        for target in STEMS:
            scores = _scores(model.scores, track=row["track"], target=target)
            pairs.append(
                Pair(
                    target,
                    Path(row[path_column(target)]),
                    model.results / ESTIMATES / row["track"] / f"{target}.wav",
                    _decibels(model.score, scores.get("SDR")),
                )
            )
        yield Item(row["track"], Path(row[MIXTURE_PATH]), pairs)


def _mixtures(root: Path, model: ModelResults) -> Iterator[Item]:
    """Yields the mixtures of the test list in `root`."""
    listed = read_speech_list(root / model.test_list)
    for row in listed.to_dict("records"):
        mixture = Path(row["file"]).stem
        pairs = []
        for speaker in speakers(listed):
            scores = _scores(model.scores, mixture=mixture, speaker=speaker)
            matched = scores.get("estimate", speaker)
            pairs.append(
                Pair(
                    speaker,
                    Path(row[path_column(speaker)]),
                    model.results / ESTIMATES / matched / row["file"],
                    _decibels(model.score, scores.get("si_snr_improvement")),
                )
            )
        yield Item(mixture, Path(row[MIXTURE_PATH]), pairs)


# What reads the items of each model's test list.
READ_ITEMS: dict[str, Callable[[Path, ModelResults], Iterator[Item]]] = {
    SPLEETER: _songs,
    SVOICE: _mixtures,
}


def first_item(root: Path, model: ModelResults) -> Item | None:
    """Returns the first item of a model's test list, on which several experiments are heard.

    Args:
        root: the workspace.
        model: in the workspace.

    Returns:
        The item; None if there is no list.
    """
    if not (root / model.test_list).is_file():
        return None
    return next(READ_ITEMS[model.key](root, model))


def heard(summary: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Returns the runs whose estimates the page plays.

    They are, of each model, the first run of the baseline and the first runs of the variants with
    the best mean scores.

    Args:
        summary: as `report.experiments.summary` returns it.
        baseline: a variant.

    Returns:
        Rows of `summary`.
    """
    scored = summary[summary["score"].notna()]
    ordered = scored.assign(
        mean=scored.groupby(["model", "variant"])["score"].transform("mean"),
        other=scored["variant"] != baseline,
    ).sort_values(["other", "mean"], ascending=[True, False], kind="stable")
    first_runs = ordered.drop_duplicates(["model", "variant"])
    return first_runs.groupby("model").head(VARIANTS)[list(summary.columns)]


def compare(
    experiments: Sequence[Experiment], summary: pd.DataFrame, baseline: str
) -> tuple[str, str]:
    """Returns the text in the margin, and the section's HTML about several experiments.

    Args:
        experiments: all of them. The audio of some may be missing.
        summary: as `report.experiments.summary` returns it.
        baseline: a variant.
    """
    by_name = {experiment.name: experiment for experiment in experiments}
    parts = []
    played = heard(summary, baseline)
    for model in summary["model"].unique():
        rows = played[played["model"] == model]
        if rows.empty:
            continue
        takes = [(row.variant, by_name[row.experiment].workspace) for row in rows.itertuples()]
        players = _side_by_side(model, takes)
        title = MODELS[model].title
        parts.append(f"<h3>{escape(title)}</h3>{players or notice('There is no audio to play.')}")
        others = summary[summary["model"] == model]["variant"].nunique() - len(rows)
        if others:
            verb = "is" if others == 1 else "are"
            text = f"{plural(others, 'more variant')} {verb} not played."
            parts.append(f'<p class="source">{text}</p>')
    return TOGETHER, "".join(parts) or notice("Nothing was scored, so there is nothing to play.")


def _side_by_side(model: str, takes: list[tuple[str, Workspace]]) -> str:
    """Returns the first item with the estimates of several variants; empty if there is no audio.

    Below its mixture there is each reference, and below each reference every variant's estimate.

    Args:
        model: its key.
        takes: the variants, each with a workspace that may have its estimates.
    """
    items = {}
    for variant, workspace in takes:
        item = first_item(workspace.root, getattr(workspace, model))
        if item and all((workspace.root / path).is_file() for path in item.paths()):
            items[variant] = workspace.root, item
    if not items:
        return ""
    root, first = next(iter(items.values()))
    excerpt = Excerpt.of(root / first.mixture, TOGETHER_SECONDS)
    # Estimates of another test set cannot stand beside these.
    items = {
        variant: (own_root, item)
        for variant, (own_root, item) in items.items()
        if item.name == first.name and audio.read_format(own_root / item.mixture) == excerpt.format
    }

    def take(path: Path, label: str, note: str = "", variant: str = "") -> str:
        attribute = f' data-variant="{escape(variant)}"' if variant else ""
        player = excerpt.player(path, f"{first.name}: {label}", note)
        name = escape(variant or label.rpartition(", ")[2])
        return f'<div class="player"{attribute}><span class="name">{name}</span>{player}</div>'

    cells = [take(root / first.mixture, "mixture")]
    for index, pair in enumerate(first.pairs):
        cells.append(f"<h5>{escape(pair.name)}</h5>")
        cells.append(take(root / pair.reference, f"{pair.name}, reference"))
        for variant, (own_root, item) in items.items():
            label = f"{pair.name}, estimate of {variant}"
            own_pair = item.pairs[index]
            cells.append(take(own_root / own_pair.estimate, label, own_pair.score, variant))
    return _group(first, excerpt, "players takes", cells)


def _scores(scores: pd.DataFrame | None, **values: str) -> dict[str, Any]:
    """Returns the row of scores.csv with these values in these columns; empty if there is none."""
    if scores is None:
        return {}
    rows = scores[(scores[list(values)] == pd.Series(values)).all(axis=1)]
    return {} if rows.empty else rows.iloc[0].to_dict()


def _decibels(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {number(value)} dB"


@dataclass(frozen=True)
class Excerpt:
    """The middle of a test item.

    Attributes:
        format: the format of the whole item.
        start: the first sample of the excerpt.
        length: in samples.
        loudest: the largest power in the spectrogram of the mixture's excerpt.
    """

    format: audio.AudioFormat
    start: int
    length: int
    loudest: float

    @classmethod
    def of(cls, mixture: Path, seconds: float) -> Excerpt:
        """Returns the middle of an item.

        Args:
            mixture: the mixture of the item.
            seconds: the length of the excerpt; a shorter item is taken as a whole.
        """
        mixture_format = audio.read_format(mixture)
        length = min(mixture_format.samples, round(seconds * mixture_format.sample_rate))
        start = (mixture_format.samples - length) // 2
        samples = audio.read(mixture, mixture_format, start, start + length)
        loudest = spectrogram.loudest(_silenced(samples), mixture_format.sample_rate)
        return cls(mixture_format, start, length, loudest)

    def __str__(self) -> str:
        ends = (self.start, self.start + self.length)
        first, last = (number(sample / self.format.sample_rate, 1) for sample in ends)
        whole = self.length == self.format.samples
        return f"All {last} s" if whole else f"Seconds {first} to {last}"

    def player(self, path: Path, label: str, note: str = "") -> str:
        """Returns the spectrogram and the player of the excerpt of a file.

        Args:
            path: the file.
            label: what it is, for screen readers.
            note: what stands below the player, before what had to be changed in the audio.
        """
        samples = audio.read(path, self.format, self.start, self.start + self.length)
        encoded, remark = encode(samples, self.format.sample_rate)
        picture = spectrogram.image(_silenced(samples), self.format.sample_rate, self.loudest)
        notes = " · ".join(filter(None, [note, remark]))
        return (
            f'<img alt="Spectrogram of {escape(label)}" loading="lazy" '
            f'width="{spectrogram.WIDTH}" height="{spectrogram.HEIGHT}" '
            f'src="data:image/png;base64,{picture}">'
            f'<audio controls preload="metadata" aria-label="{escape(label)}" '
            f'src="data:audio/flac;base64,{encoded}"></audio>'
            f'<span class="note">{escape(notes)}</span>'
        )


def _item(root: Path, item: Item) -> str:
    """Returns the players of an item of one run."""
    excerpt = Excerpt.of(root / item.mixture, SECONDS)

    def player(path: Path, kind: str, label: str, note: str = "") -> str:
        html = excerpt.player(root / path, f"{item.name}: {label}", note)
        return f'<div class="player {kind}"><span class="which">{kind}</span>{html}</div>'

    cells = [
        '<span class="name">mixture</span>',
        player(item.mixture, "mixture", "mixture"),
        '<span class="corner"></span><span class="column">reference</span>'
        '<span class="column">estimate</span>',
    ]
    for pair in item.pairs:
        cells.append(f'<span class="name">{escape(pair.name)}</span>')
        cells.append(player(pair.reference, "reference", f"{pair.name}, reference"))
        cells.append(player(pair.estimate, "estimate", f"{pair.name}, estimate", pair.score))
    return _group(item, excerpt, "players", cells)


def _group(item: Item, excerpt: Excerpt, kind: str, cells: list[str]) -> str:
    """Returns the players of an item below its heading.

    Args:
        item: what is played.
        excerpt: the part of it that is played.
        kind: the classes of the style sheet.
        cells: the players.
    """
    legend = spectrogram.CAPTION.format(top=excerpt.format.sample_rate / 2000)
    return (
        f"<h4>{escape(item.name)}</h4>"
        f'<p class="source">{excerpt} of {code(item.mixture)}. {legend}</p>'
        f'<div class="{kind}" role="group" aria-label="{escape(item.name)}">{"".join(cells)}</div>'
    )


def _silenced(samples: np.ndarray) -> np.ndarray:
    """Returns samples of any shape with 0 in place of those that are not finite."""
    return np.where(np.isfinite(samples), samples, 0.0)


def encode(samples: np.ndarray, sample_rate: int) -> tuple[str, str]:
    """Returns audio for a data URI: the base64 of 16-bit FLAC, which is lossless.

    A signal that passes full scale is made quieter as a whole, rather than clipped, and non-finite
    samples are silenced.

    Args:
        samples: `(samples, channels)`, full scale at 1.
        sample_rate: Hz.

    Returns:
        The base64, and a remark on what had to be changed; empty if nothing had to be.
    """
    remarks = []
    if nonfinite := int((~np.isfinite(samples)).sum()):
        samples = _silenced(samples)
        remarks.append(f"{plural(nonfinite, 'non-finite sample')} silenced")
    peak = np.abs(samples).max(initial=0.0)
    if peak > 1:
        samples = samples / peak
        remarks.append(f"made {number(20 * np.log10(peak), 1)} dB quieter to fit 16 bits")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode("ascii"), ", ".join(remarks)
