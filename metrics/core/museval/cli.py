"""The commands `bsseval` and `museval` of museval, as functions of their arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence

from ..errors import InputError
from . import Track, eval_dir, eval_mus_dir


def bsseval(inargs: Sequence[str] | None = None) -> None:
    """Scores a folder of WAV files against another, see `eval_dir`, and prints the medians.

    Args:
        inargs: the arguments; None for those of the command line.
    """
    parser = argparse.ArgumentParser(description="Scores a folder of estimates of one track.")
    parser.add_argument("reference_dir", help="the folder of the references")
    parser.add_argument("estimates_dir", help="the folder of the estimates, of the same names")
    parser.add_argument("-o", metavar="DIR", help="for the scores; by default that of estimates")
    parser.add_argument("--win", type=float, default=1.0, help="the length of a frame in s")
    parser.add_argument("--hop", type=float, default=1.0, help="from one frame to the next, in s")
    parser.add_argument("-m", default="v4", metavar="MODE", help="v4 or v3")
    arguments = parser.parse_args(inargs)
    output_dir = arguments.o or arguments.estimates_dir
    try:
        scores = eval_dir(
            arguments.reference_dir,
            arguments.estimates_dir,
            output_dir,
            arguments.m,
            arguments.win,
            arguments.hop,
        )
    except (ValueError, OSError) as error:
        sys.exit(f"ERROR: {error}")
    print(scores)


def museval(inargs: Sequence[str] | None = None) -> None:
    """Scores a folder of estimates of MUSDB's tracks, see `eval_mus_dir`.

    Args:
        inargs: the arguments; None for those of the command line.
    """
    parser = argparse.ArgumentParser(description="Scores estimates of MUSDB's tracks.")
    parser.add_argument("estimates_dir", help="the folder of the estimates")
    parser.add_argument("-o", metavar="DIR", help="for the scores; by default that of estimates")
    parser.add_argument("--musdb", metavar="DIR", help="the folder of MUSDB")
    parser.add_argument("--is-wav", action="store_true", help="MUSDB's files are WAV, not stems")
    arguments = parser.parse_args(inargs)
    output_dir = arguments.o or arguments.estimates_dir
    try:
        dataset = _musdb(arguments.musdb, arguments.is_wav)
        eval_mus_dir(dataset, arguments.estimates_dir, output_dir)
    except (ValueError, OSError) as error:
        sys.exit(f"ERROR: {error}")


def _musdb(root: str | None, is_wav: bool) -> Iterable[Track]:
    """Returns the tracks of MUSDB, or raises `InputError` where nothing can read them."""
    try:
        import musdb  # only this command needs it
    except ImportError as error:
        raise InputError("musdb", "is not installed", "pip install musdb") from error
    return musdb.DB(root=root, is_wav=is_wav)
