"""The command that scores any folder of estimates: `separation-scores score`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pandas as pd

from .errors import InputError
from .folders import LAYOUTS, PATTERN, Folders, Track, find
from .kept import Item, Kept, forget_others, score_all
from .mixtures import mixture_item, mixture_scores, mixture_summary, score_mixture
from .progress import say
from .songs import museval_json, score_song, song_item, song_scores, song_summary
from .written import SCORES, not_ours, write_scores

KEPT = ".scored"  # the results of each track, for the next run
SHOWN = 10  # the most notes and errors that are printed

DESCRIPTION = """\
Scores a folder of estimates against a folder of references.

Layouts:
  musdb     [test/]TRACK/vocals.wav, drums.wav, ...: BSS Eval v4 as museval computes it, the
            uSDR of the Music Demixing challenges, SI-SDR, SI-SIR and SI-SAR
  flat      the same scores for files after a pattern, such as TRACK_vocals.wav
  wsj0mix   s1/NAME.wav, s2/NAME.wav, ...: SI-SNR and SDR under the best permutation, and
            their improvements if the references have a folder mix/

Estimates that lie otherwise than the references are found by --estimates-pattern, in each
layout: for instance '{track}_est{target}.wav' with --layout wsj0mix. no_vocals, as Demucs
calls it, is taken for the accompaniment if that has no file.

Writes scores.csv, for music also museval/test/TRACK.json, and prints a table. What is
scored is kept in the folder, so that an interrupted command goes on when it is repeated,
and only what has changed is scored again. FLAC files may stand for WAV files.
"""


class _Kind(NamedTuple):
    """How songs are scored, or mixtures."""

    unit: str
    item: Callable[[Track, int | None], Item]
    score: Callable[..., dict[str, Any]]
    table: Callable[[Sequence[Track], Sequence[dict[str, Any]]], pd.DataFrame]
    summary: Callable[[pd.DataFrame], str]
    json: Callable[[Track, dict[str, Any]], str] | None


SONGS = _Kind("track", song_item, score_song, song_scores, song_summary, museval_json)
SPEECH = _Kind("mixture", mixture_item, score_mixture, mixture_scores, mixture_summary, None)


def score_folders(
    references: Path,
    estimates: Path,
    out: Path,
    sample_rate: int | None = None,
    layout: str = "musdb",
    pattern: str = PATTERN,
    workers: int | None = None,
    estimates_pattern: str | None = None,
) -> pd.DataFrame:
    """Scores a folder of estimates against a folder of references, and writes the scores.

    Notes on what was done to the estimates go to stderr.

    Args:
        references: the folder of the references.
        estimates: the folder of the estimates.
        out: the folder of the scores, which is made if it is missing.
        sample_rate: what all audio is converted to, in Hz; None for its own rate.
        layout: one of `folders.LAYOUTS`.
        pattern: of the files' paths in their folder, for the layout `flat`.
        workers: the number of processes; None for one per core.
        estimates_pattern: of the paths of the estimates, for any layout; None if they lie as the
            references do.

    Returns:
        The rows of scores.csv: of each track and target `songs.COLUMNS`, or of each mixture and
        speaker `mixtures.COLUMNS`.

    Raises:
        InputError: a folder or some files are wrong. Nothing is written but what is kept.
        OSError: a file cannot be read or written.
    """
    kind = SPEECH if layout == "wsj0mix" else SONGS
    if kind.json and (error := not_ours(out)):
        raise error
    folders = find(references, estimates, layout, pattern, estimates_pattern)
    _note_missing(folders)
    results = _results(kind, folders.tracks, out, sample_rate, workers)
    contents = [kept.result for kept in results]
    scores = kind.table(folders.tracks, contents)
    frames = {}
    if kind.json:
        frames = {
            f"{track.subset}/{track.name}.json": kind.json(track, content)
            for track, content in zip(folders.tracks, contents, strict=True)
        }
    write_scores(out, scores.to_csv(index=False), frames)
    forget_others(results)
    return scores


def _results(
    kind: _Kind, tracks: Sequence[Track], out: Path, sample_rate: int | None, workers: int | None
) -> list[Kept]:
    """Returns the result of each track, and prints the notes about them.

    Raises:
        InputError: some tracks are wrong. The results of the others are kept.
    """
    items, errors, results = [], [], []
    for track in tracks:
        try:
            if track.problem:
                raise track.problem
            items.append(kind.item(track, sample_rate))
        except InputError as error:
            errors.append(error)
    if items:
        for result in score_all(kind.score, items, out / KEPT, "scoring", kind.unit, workers):
            (results if isinstance(result, Kept) else errors).append(result)
    if old := sum(not result.new for result in results):
        _note(f"{old} of {len(tracks)} {kind.unit}s were scored before")
    if errors:
        kept = len(tracks) - len(errors)
        scored = f"; {kept} of {len(tracks)} {kind.unit}s are kept for the next run" if kept else ""
        raise _BadTracksError(errors, scored)
    lines = [
        f"{track.name}: {note}"
        for track, result in zip(tracks, results, strict=True)
        for note in result.result["notes"]
    ]
    for line in _first(lines):
        _note(line)
    return results


class _BadTracksError(InputError):
    """Some tracks are wrong: a line for each of the first ten.

    Args:
        errors: at least one.
        kept: what is kept, in words; empty if nothing is.
    """

    def __init__(self, errors: Sequence[InputError], kept: str) -> None:
        Exception.__init__(self, errors, kept)

    def __str__(self) -> str:
        errors, kept = self.args
        lines = _first([str(error) for error in errors])
        return "\nERROR: ".join([*lines, f"nothing is written{kept}"])


def _note_missing(folders: Folders) -> None:
    """Says which tracks only one of the folders has."""
    for names, what in (
        (folders.without_estimates, "estimates"),
        (folders.without_references, "references"),
    ):
        if names:
            others = f" and {len(names) - 3} more" if len(names) > 3 else ""
            _note(f"not scored, for lack of {what}: {', '.join(names[:3])}{others}")


def _first(lines: list[str]) -> list[str]:
    """Returns the first lines, and one that counts the others."""
    return [*lines[:SHOWN], f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else lines


def _note(line: str) -> None:
    say(line, sys.stderr)


class _Parser(argparse.ArgumentParser):
    """A command line whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"ERROR: {self.prog}: {message}; --help lists the options\n")


def _parser() -> _Parser:
    parser = _Parser(prog="separation-scores", description="Scores of separated audio.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    score = commands.add_parser(
        "score",
        help="score a folder of estimates against a folder of references",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, text in (
        ("references", "the folder of the references"),
        ("estimates", "the folder of the estimates"),
        ("out", "the folder of the scores, which is made if it is missing"),
    ):
        score.add_argument(f"--{name}", required=True, type=Path, metavar="DIR", help=text)
    text = "convert all audio to this sample rate (default: it must have one rate already)"
    score.add_argument("--sample-rate", type=_positive, metavar="HZ", help=text)
    text = "how the files lie in the folders (default: %(default)s)"
    score.add_argument("--layout", choices=LAYOUTS, default="musdb", help=text)
    text = f"with --layout flat: what the files are called (default: {PATTERN})"
    score.add_argument("--pattern", metavar="PATTERN", help=text)
    text = "what the estimates are called (default: they lie as the references do)"
    score.add_argument("--estimates-pattern", metavar="PATTERN", help=text)
    text = "the number of processes (default: one per core)"
    score.add_argument("--workers", type=_positive, metavar="N", help=text)
    return parser


def _positive(text: str) -> int:
    """Returns a positive whole number."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command.

    Bad input ends it with one line on stderr for each file, and exit code 1; wrong arguments with
    one line and exit code 2; Ctrl-C with exit code 130.

    Args:
        arguments: those of the command line if None.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    # Not by argparse, which would say it before it says that an option is unknown.
    if vars(args).pop("command") is None:
        parser.error("name a command: score")
    if args.pattern is not None and args.layout != "flat":
        parser.error("--pattern needs --layout flat")
    kind = SPEECH if args.layout == "wsj0mix" else SONGS
    try:
        scores = score_folders(**vars(args) | {"pattern": args.pattern or PATTERN})
        say(f"{kind.summary(scores)}\nWritten: {args.out / SCORES}", sys.stdout)
    except InputError as error:
        sys.exit(f"ERROR: {error}")
    except OSError as error:
        where = parser.prog if error.filename is None else os.fsdecode(error.filename)
        reason = (error.strerror or str(error)).lower()
        sys.exit(f"ERROR: {where}: {reason}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
