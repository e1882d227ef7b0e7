"""Audio of the first test items: mixture, references and estimates side by side."""

import base64
import io
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile

from metrics import audio
from metrics.report.markup import code, missing, number, source
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
MARGIN = (
    "The first items of each test set: what went in, what should come out, what came out. "
    "Starting another player of an item goes on where the last one was."
)


class Pair(NamedTuple):
    """A reference, the estimate matched to it, and what the estimate scores."""

    name: str
    reference: Path
    estimate: Path
    score: str


def render(workspace: Workspace) -> tuple[str, str]:
    music, speech = workspace.models
    return MARGIN, (
        f"<h3>{escape(music.title)}</h3>{_music(workspace.root, music)}"
        f"<h3>{escape(speech.title)}</h3>{_speech(workspace.root, speech)}"
    )


def _music(root: Path, model: Model) -> str:
    if gap := _gap(root, MUSIC_TEST, model):
        return gap
    items = []
    for row in read_music_list(root / MUSIC_TEST).head(ITEMS).to_dict("records"):
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
        items.append(_item(root, row["track"], Path(row["mix_path"]), pairs))
    return "".join(items) + source(MUSIC_TEST, model.results / "estimates")


def _speech(root: Path, model: Model) -> str:
    if gap := _gap(root, SPEECH_TEST, model):
        return gap
    listed = read_speech_list(root / SPEECH_TEST)
    items = []
    for row in listed.head(ITEMS).to_dict("records"):
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
        items.append(_item(root, mixture, Path(row["mix_path"]), pairs))
    return "".join(items) + source(SPEECH_TEST, model.results / "estimates")


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


def _item(root: Path, name: str, mixture: Path, pairs: list[Pair]) -> str:
    form = audio.read_form(root / mixture)
    length = min(form.samples, SECONDS * form.sample_rate)
    start = (form.samples - length) // 2

    def player(path: Path, kind: str, label: str, note: str = "") -> str:
        samples = audio.read(root / path, form, start, start + length)
        encoded, remark = encode(samples, form.sample_rate)
        notes = " · ".join(filter(None, [note, remark]))
        return (
            f'<div class="player {kind}"><audio controls preload="metadata" '
            f'aria-label="{escape(f"{name}: {label}")}" '
            f'src="data:audio/flac;base64,{encoded}"></audio>'
            f'<span class="note"><span class="which">{kind}{" · " if notes else ""}</span>'
            f"{escape(notes)}</span></div>"
        )

    first, last = (number(at / form.sample_rate, 1) for at in (start, start + length))
    extent = f"All {last} s" if length == form.samples else f"Seconds {first} to {last}"
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
    return (
        f'<h4>{escape(name)}</h4><p class="source">{extent} of {code(mixture)}</p>'
        f'<div class="players" role="group" aria-label="{escape(name)}">{"".join(cells)}</div>'
    )


def encode(samples: np.ndarray, sample_rate: int) -> tuple[str, str]:
    """Audio `(samples, channels)` for a data URI: base64 of 16-bit FLAC (lossless).

    Returns it with a remark on what had to be changed: a signal that passes full scale is made
    quieter as a whole rather than clipped, and non-finite samples are silenced.
    """
    remarks = []
    finite = np.isfinite(samples)
    if not finite.all():
        samples = np.where(finite, samples, 0.0)
        remarks.append(f"{int((~finite).sum()):,} non-finite samples silenced")
    peak = np.abs(samples).max(initial=0.0)
    if peak > 1:
        samples = samples / peak
        remarks.append(f"made {number(20 * np.log10(peak), 1)} dB quieter to fit 16 bits")
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(buffer.getvalue()).decode("ascii"), ", ".join(remarks)
