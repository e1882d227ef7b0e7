"""Stores of scores, of one track or many, with the attributes, methods and files of museval's."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import InputError

MUSEVAL_VERSION = "0.4.1"  # whose files these are
METRICS = ("SDR", "SIR", "ISR", "SAR")
PRECISION = Decimal("0.00001")  # dB
COLUMNS = ("time", "target", "metric", "score", "track")

FRAME_AGGREGATES: dict[str, Callable[..., Any]] = {"median": np.nanmedian, "mean": np.nanmean}


class TrackStore:
    """The scores of the targets of one track in each frame.

    Attributes:
        track_name: the name of the track.
        win: the length of a frame in s.
        hop: from the start of one frame to the start of the next, in s.
        frames_agg: the function that makes one value of those of the frames, for `print`.
        scores: what the JSON file holds.
    """

    def __init__(
        self,
        track_name: str,
        win: float = 1,
        hop: float = 1,
        frames_agg: str | Callable[..., Any] = "median",
    ) -> None:
        """Makes a store without targets.

        Args:
            track_name: the name of the track.
            win: the length of a frame in s.
            hop: from the start of one frame to the start of the next, in s.
            frames_agg: `median`, `mean`, or a function of a list; NaN are left out.
        """
        self.track_name = track_name
        self.win = win
        self.hop = hop
        self.frames_agg = (
            frames_agg if callable(frames_agg) else _chosen(FRAME_AGGREGATES, frames_agg)
        )
        self.scores: dict[str, Any] = {"targets": [], "museval_version": MUSEVAL_VERSION}

    def add_target(self, target_name: str, values: Mapping[str, Sequence[float]]) -> None:
        """Adds the scores of a target, rounded to 1e-5 dB; infinite ones become NaN.

        Args:
            target_name: as `vocals`.
            values: the ratios of each frame in dB, by `SDR`, `SIR`, `SAR` and `ISR`.
        """
        frames = [
            {
                "time": number * self.hop,
                "duration": self.win,
                "metrics": {metric: _rounded(values[metric][number]) for metric in _IN_FILES},
            }
            for number in range(len(values["SDR"]))
        ]
        self.scores["targets"].append({"name": target_name, "frames": frames})

    @property
    def json(self) -> str:
        """The scores as the text of a JSON file, digit by digit as museval writes it."""
        # The json module would write numbers of five digits as floats, with more or fewer of them.
        marked = json.dumps(self.scores, indent=2, default=lambda number: f"\0{number}")
        return re.sub(r'"\\u0000([^"]*)"', r"\1", marked)

    @property
    def df(self) -> pd.DataFrame:
        """A row per target × frame × metric: `time` (s), `target, metric, score` (dB), `track`."""
        return json2df(self.scores, self.track_name)

    def __repr__(self) -> str:
        lines = []
        for target in self.scores["targets"]:
            values = {
                metric: self.frames_agg(
                    [float(frame["metrics"][metric]) for frame in target["frames"]]
                )
                for metric in METRICS
            }
            lines.append(_line(target["name"], values))
        return "".join(lines)

    def validate(self) -> None:
        """Raises `InputError` if the scores do not have the form of museval's files."""
        where = f"the scores of {self.track_name}"
        for target in self.scores["targets"]:
            if not isinstance(target["name"], str):
                raise InputError(where, f"{target['name']!r} is not the name of a target")
            for frame in target["frames"]:
                numbers = {"time": frame["time"], "duration": frame["duration"], **frame["metrics"]}
                for name, value in numbers.items():
                    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                        raise InputError(where, f"{name} of {target['name']} is {value!r}")

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the JSON file.

        Args:
            path: the file.
        """
        Path(path).write_text(self.json, encoding="utf-8")


class _Store:
    """A table of scores, and their aggregates over frames, and then over tracks.

    Attributes:
        df: the table, with the columns of `TrackStore.df` and those that a store adds.
        frames_agg: `median` or `mean`.
        tracks_agg: `median` or `mean`.
    """

    _labels: tuple[str, ...] = ()  # the columns that the store adds

    def __init__(self, frames_agg: str = "median", tracks_agg: str = "median") -> None:
        """Makes an empty store.

        Args:
            frames_agg: `median` or `mean`.
            tracks_agg: `median` or `mean`.
        """
        self.df = pd.DataFrame()
        self.frames_agg = frames_agg
        self.tracks_agg = tracks_agg

    def agg_frames_scores(self) -> pd.Series:
        """Returns the scores of each track, aggregated over its frames."""
        keys = [*self._labels, "track", "target", "metric"]
        return _aggregated(self.df, keys, self.frames_agg)

    def agg_frames_tracks_scores(self) -> pd.Series:
        """Returns the scores, aggregated over each track's frames, and then over the tracks."""
        by_track = self.agg_frames_scores().reset_index()
        return _aggregated(by_track, [*self._labels, "target", "metric"], self.tracks_agg)

    def load(self, path: str | PathLike[str]) -> None:
        """Reads the table that `save` has written.

        Args:
            path: the file, a pickle: it can run code, so read none of unknown origin.
        """
        self.df = pd.read_pickle(path)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the table as a pickle.

        Args:
            path: the file.
        """
        self.df.to_pickle(path)

    def _add(self, table: pd.DataFrame) -> None:
        tables = [table] if self.df.empty else [self.df, table]
        self.df = pd.concat(tables, ignore_index=True)


class EvalStore(_Store):
    """The scores of many tracks.

    Attributes:
        df: a row per track × target × frame × metric, as `TrackStore.df`.
        frames_agg: `median` or `mean`.
        tracks_agg: `median` or `mean`.
    """

    def add_track(self, track: TrackStore | pd.DataFrame) -> None:
        """Adds the scores of a track.

        Args:
            track: its store, or the table of it.
        """
        self._add(track.df if isinstance(track, TrackStore) else track)

    def add_eval_dir(self, path: str | PathLike[str]) -> None:
        """Adds the scores of all JSON files in `test/` and below it.

        Args:
            path: the folder with `test/`.

        Raises:
            InputError: there are no such files, or one does not hold scores.
        """
        files = sorted(Path(path).glob("test/**/*.json"))
        if not files:
            raise InputError(path, "there are no files test/**/*.json", "name another folder")
        for file in files:
            self.add_track(_read(file))

    def __repr__(self) -> str:
        heading = (
            f"Aggregated scores ({self.frames_agg} over frames, {self.tracks_agg} over tracks)"
        )
        if self.df.empty:
            return f"{heading}\n"
        scores = self.agg_frames_tracks_scores().unstack()
        targets = self.df["target"].unique()
        return "".join([f"{heading}\n", *(_line(name, scores.loc[name]) for name in targets)])


class MethodStore(_Store):
    """The scores of several methods.

    Attributes:
        df: a row per method × track × target × frame × metric.
        frames_agg: `median` or `mean`.
        tracks_agg: `median` or `mean`.
    """

    _labels = ("method",)

    def add_sisec18(self) -> None:
        """Raises `InputError`: the scores of SiSEC 2018 are on the web only, as a pickle."""
        raise InputError(
            "add_sisec18",
            "does not fetch the scores of SiSEC 2018, a pickle on the web",
            "download sisec18_mus.pandas of sigsep/sigsep-mus-2018-analysis and load() it",
        )

    def add_eval_dir(self, path: str | PathLike[str]) -> None:
        """Adds a method: the scores of all JSON files in `test/` and below it.

        Args:
            path: the folder with `test/`. Its name is that of the method.

        Raises:
            InputError: there are no such files, or one does not hold scores.
        """
        method = EvalStore()
        method.add_eval_dir(path)
        self.add_evalstore(method, Path(path).stem)

    def add_evalstore(self, method: EvalStore, name: str) -> None:
        """Adds a method.

        Args:
            method: its scores.
            name: what to call it.
        """
        self._add(method.df.assign(method=name))


def json2df(json_string: Mapping[str, Any], track_name: str) -> pd.DataFrame:
    """Returns the scores of a JSON file as a table.

    Args:
        json_string: what the file holds, parsed.
        track_name: the name of the track.

    Returns:
        A row per metric × target × frame, with the columns `COLUMNS`.
    """
    rows = [
        (frame["time"], target["name"], metric, float(frame["metrics"][metric]), track_name)
        for metric in ("SDR", "SAR", "ISR", "SIR")  # in museval's order
        for target in json_string["targets"]
        for frame in target["frames"]
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.rename(index=str)


_IN_FILES = ("SDR", "SIR", "SAR", "ISR")  # the order of the metrics in a JSON file


def _rounded(decibels: float) -> float | Decimal:
    """Returns a number rounded to `PRECISION`, NaN for an infinite one."""
    number = float(decibels)
    return Decimal(number).quantize(PRECISION) if math.isfinite(number) else math.nan


def _chosen(aggregates: Mapping[str, Any], name: str) -> Any:
    """Returns the aggregate of a name, or raises `InputError` if there is none."""
    if name not in aggregates:
        raise InputError("aggregation", f"{name!r} is neither median nor mean")
    return aggregates[name]


def _aggregated(table: pd.DataFrame, keys: list[str], name: str) -> pd.Series:
    """Returns the median or mean of the scores that share their values of `keys`."""
    groups = table.groupby(keys)["score"]
    return _chosen({"median": groups.median, "mean": groups.mean}, name)()


def _line(target: str, scores: Mapping[str, float]) -> str:
    """Returns a target and its scores in dB, by metric, as a line."""
    numbers = "".join(f"{metric}:{scores[metric]:>8.3f}  " for metric in METRICS)
    return f"{target:<16}==> {numbers}\n"


def _read(file: Path) -> pd.DataFrame:
    """Returns the table of a JSON file, or raises `InputError` if it does not hold scores."""
    try:
        return json2df(json.loads(file.read_text(encoding="utf-8")), file.stem)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(file, f"does not hold scores of museval ({error!r})") from error
