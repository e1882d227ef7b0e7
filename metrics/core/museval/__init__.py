"""What `museval` 0.4.1 offers: for its users, who change the import and nothing else.

The arguments, return values and files are museval's; the README of this package says what differs
and why. MUSDB's tracks are those of the package `musdb`, or any objects with the same attributes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from ..errors import InputError
from . import aggregate, metrics
from .aggregate import EvalStore, MethodStore, TrackStore, json2df
from .metrics import bss_eval

__all__ = [
    "EvalStore",
    "MethodStore",
    "TrackStore",
    "aggregate",
    "bss_eval",
    "eval_dir",
    "eval_mus_dir",
    "eval_mus_track",
    "evaluate",
    "json2df",
    "metrics",
    "pad_or_truncate",
]

MODES = ("v4", "v3")
PAIR = ("vocals", "accompaniment")  # are scored against each other, apart from all stems


class Target(Protocol):
    """A stem of a track, or a sum of stems."""

    @property
    def audio(self) -> np.ndarray:
        """The samples, `(samples, channels)`."""


class Track(Protocol):
    """A track, as `musdb` has them.

    Attributes:
        name: of the track.
        subset: `train` or `test`, the folder of its scores.
        rate: Hz.
        targets: by name, in the order of the scores.
    """

    name: str
    subset: str
    rate: float
    targets: Mapping[str, Target]


def evaluate(
    references: np.ndarray | Sequence[np.ndarray],
    estimates: np.ndarray | Sequence[np.ndarray],
    win: float = 1 * 44100,
    hop: float = 1 * 44100,
    mode: str = "v4",
    padding: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns SDR, ISR, SIR and SAR of estimates in each window.

    Args:
        references: `(sources, samples, channels)`.
        estimates: `(sources, samples, channels)`.
        win: the length of a window in samples.
        hop: from the start of one window to the start of the next, in samples.
        mode: `v4`, filters that are fitted over the whole signal; or `v3`, in each window anew.
        padding: whether the estimates may be longer or shorter than the references, see
            `pad_or_truncate`.

    Returns:
        The ratios in dB, each `(sources, windows)`.

    Raises:
        ValueError: the shapes differ, a source is silent throughout, or an argument is out of
            range.
    """
    if mode not in MODES:
        raise InputError("mode", f"{mode!r} is neither v4 nor v3")
    references, estimates = (
        _stacked(name, signals)
        for name, signals in (("references", references), ("estimates", estimates))
    )
    if padding:
        references, estimates = pad_or_truncate(references, estimates)
    sdr, isr, sir, sar, _ = bss_eval(
        references, estimates, win, hop, framewise_filters=mode == "v3"
    )
    return sdr, isr, sir, sar


def pad_or_truncate(
    audio_reference: np.ndarray, audio_estimates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the references, and the estimates as long as these.

    Args:
        audio_reference: `(sources, samples, channels)`.
        audio_estimates: `(sources, samples, channels)`. Zeros follow the end of shorter ones; the
            end of longer ones is cut off.
    """
    samples = audio_reference.shape[1]
    missing = samples - audio_estimates.shape[1]
    if missing > 0:
        channels = [(0, 0)] * (audio_estimates.ndim - 2)
        audio_estimates = np.pad(audio_estimates, [(0, 0), (0, missing), *channels])
    return audio_reference, audio_estimates[:, :samples]


def eval_mus_track(
    track: Track,
    user_estimates: Mapping[str, np.ndarray],
    output_dir: str | PathLike[str] | None = None,
    mode: str = "v4",
    win: float = 1.0,
    hop: float = 1.0,
) -> TrackStore:
    """Returns the scores of estimates of a track's targets.

    Vocals and accompaniment, where there are both, are scored against each other. All other
    targets are scored together, with the vocals among the sources.

    Args:
        track: the track.
        user_estimates: by the name of the target, `(samples, channels)`. Other names than those of
            targets are passed over.
        output_dir: where `<subset>/<track>.json` is written; None to write nothing.
        mode: as for `evaluate`.
        win: the length of a frame in s.
        hop: from the start of one frame to the start of the next, in s.

    Raises:
        ValueError: as for `evaluate`.
    """
    targets = [target for target in track.targets if target in user_estimates]
    has_pair = all(target in targets for target in PAIR)
    stems = [target for target in targets if not (has_pair and target == "accompaniment")]
    store = TrackStore(track.name, win, hop)

    def score(sources: Sequence[str], added: Sequence[str]) -> None:
        """Scores some targets against each other, and adds the scores of some of them."""
        ratios = evaluate(
            [track.targets[source].audio for source in sources],
            [user_estimates[source] for source in sources],
            int(win * track.rate),
            int(hop * track.rate),
            mode,
        )
        _add_targets(store, sources, ratios, added)

    if len(stems) >= 2:
        score(stems, [stem for stem in stems if not (has_pair and stem == "vocals")])
    elif not has_pair:
        message = f"{track.name} has no scores: these take estimates of two targets or more"
        warnings.warn(message, stacklevel=2)
    if has_pair:
        score(PAIR, PAIR)
    if output_dir is not None:
        _save(store, Path(output_dir) / track.subset)
    return store


def eval_mus_dir(
    dataset: Iterable[Track],
    estimates_dir: str | PathLike[str],
    output_dir: str | PathLike[str] | None = None,
    ext: str = "wav",
) -> None:
    """Scores the estimates of a data set's tracks, in frames of 1 s.

    If there is no estimate of any of them, it warns.

    Args:
        dataset: the tracks, as `musdb.DB`. Those without a folder of estimates are passed over.
        estimates_dir: the folder with `<subset>/<track>/<target>.<ext>`.
        output_dir: where `<subset>/<track>.json` is written.
        ext: the extension of the estimates.

    Raises:
        InputError: an estimate is not audio, or has another sample rate than its track.
    """
    tracks = 0
    for track in dataset:
        folder = Path(estimates_dir) / track.subset / track.name
        files = [file for file in _files(folder, ext) if file.stem in track.targets]
        estimates = {file.stem: _read(file, track.rate)[0] for file in files}
        if estimates:
            eval_mus_track(track, estimates, output_dir)
            tracks += 1
    if not tracks:
        problem = f"there are no estimates <subset>/<track>/<target>.{ext} of any track"
        warnings.warn(f"{estimates_dir}: {problem}; nothing is scored", stacklevel=2)


def eval_dir(
    reference_dir: str | PathLike[str],
    estimates_dir: str | PathLike[str],
    output_dir: str | PathLike[str] | None = None,
    mode: str = "v4",
    win: float = 1.0,
    hop: float = 1.0,
) -> TrackStore:
    """Returns the scores of the WAV files in a folder, each against the reference of its name.

    Args:
        reference_dir: the folder of the references. Its name is that of the track.
        estimates_dir: the folder of the estimates, with files of the same names.
        output_dir: where `<track>.json` is written; None to write nothing.
        mode: as for `evaluate`.
        win: the length of a frame in s.
        hop: from the start of one frame to the start of the next, in s.

    Returns:
        The scores. The names of the targets are those of the files, with `.wav`.

    Raises:
        InputError: a folder has no WAV files or not those of the other, or one is not audio or has
            another sample rate.
        ValueError: as for `evaluate`.
    """
    reference_files, estimate_files = (
        {file.name: file for file in _files(Path(folder), "wav")}
        for folder in (reference_dir, estimates_dir)
    )
    if not reference_files:
        raise InputError(reference_dir, "there are no WAV files", "name another folder")
    for folder, missing in (
        (reference_dir, estimate_files.keys() - reference_files.keys()),
        (estimates_dir, reference_files.keys() - estimate_files.keys()),
    ):
        if missing:
            raise InputError(folder, f"has no {min(missing)}, which the other folder has")
    rate = None
    references, estimates = [], []
    for name in reference_files:
        for file, signals in ((reference_files, references), (estimate_files, estimates)):
            signal, rate = _read(file[name], rate)
            signals.append(signal)
    assert rate is not None
    ratios = evaluate(references, estimates, int(win * rate), int(hop * rate), mode)
    store = TrackStore(Path(reference_dir).resolve().name, win, hop)
    _add_targets(store, list(reference_files), ratios, list(reference_files))
    if output_dir is not None:
        _save(store, Path(output_dir))
    return store


def _stacked(name: str, signals: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """Returns signals as one array, or raises `InputError` if their shapes differ."""
    shapes = {np.shape(signal) for signal in signals}
    if len(shapes) > 1:
        raise InputError(name, f"have different shapes: {', '.join(map(str, sorted(shapes)))}")
    if not shapes:
        raise InputError(name, "there are none")
    return np.asarray(signals)


def _add_targets(
    store: TrackStore,
    sources: Sequence[str],
    ratios: tuple[np.ndarray, ...],
    added: Sequence[str],
) -> None:
    """Adds the scores of some sources to a store.

    Args:
        store: the store.
        sources: the names of all sources that were scored together.
        ratios: SDR, ISR, SIR and SAR, each `(sources, windows)`.
        added: the names of those that are added.
    """
    by_metric = dict(zip(("SDR", "ISR", "SIR", "SAR"), ratios, strict=True))
    for number, source in enumerate(sources):
        if source in added:
            values = {metric: ratio[number].tolist() for metric, ratio in by_metric.items()}
            store.add_target(source, values)


def _save(store: TrackStore, folder: Path) -> None:
    """Writes the scores of a track to a folder."""
    store.validate()
    folder.mkdir(parents=True, exist_ok=True)
    store.save(folder / f"{store.track_name}.json")


def _files(folder: Path, extension: str) -> list[Path]:
    """Returns the files in a folder with this extension, sorted by name."""
    return sorted(file for file in folder.glob("*") if file.suffix == f".{extension}")


def _read(file: Path, rate: float | None) -> tuple[np.ndarray, int]:
    """Reads an audio file.

    Args:
        file: the file.
        rate: the sample rate that it must have, in Hz; None for any.

    Returns:
        The samples, `(samples, channels)`, and the sample rate in Hz.

    Raises:
        InputError: it is not audio, or has another sample rate.
    """
    try:
        samples, file_rate = soundfile.read(file, always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise InputError(file, f"cannot be read as audio ({reason})") from error
    if rate is not None and file_rate != rate:
        raise InputError(file, f"has {file_rate} samples a second, but the others have {rate:g}")
    return samples, file_rate
