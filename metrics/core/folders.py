"""Finds what belongs together in two folders, of references and of estimates.

Three layouts are known:

- `musdb`: `[test/|train/]TRACK/TARGET.wav`, as MUSDB18-HQ and what `museval` reads beside it;
- `flat`: files after a pattern such as `{track}_{target}.wav`;
- `wsj0mix`: `s1/NAME.wav`, `s2/NAME.wav`, … as WSJ0-mix, with its mixtures in `mix/`.

A `.flac` file may stand for any `.wav` file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import NamedTuple

from .audio import ENDINGS
from .errors import InputError

LAYOUTS = ("musdb", "wsj0mix", "flat")
PATTERN = "{track}_{target}.wav"
SUBSETS = ("train", "test")  # the folders of MUSDB
MIXTURES = ("mixture", "linear_mixture")  # what stands beside the targets, and is none
ACCOMPANIMENT = "accompaniment"  # all but the vocals
VOCALS = "vocals"
STEMS = (VOCALS, "drums", "bass", "other")  # in the order of MUSDB
MIX = "mix"  # the folder of the mixtures of WSJ0-mix

AUDIO = "WAV or FLAC files"


class Track(NamedTuple):
    """What is scored together: a song with its targets, or a mixture with its speakers.

    Attributes:
        name: of the song or the mixture.
        subset: the subset of MUSDB that it belongs to, `test` where there are none.
        references: the files of the references by target or speaker.
        estimates: those of the estimates, which need not be the same ones.
        mixture: the file of the mixture, if there is one and it is needed.
    """

    name: str
    subset: str
    references: dict[str, Path]
    estimates: dict[str, Path]
    mixture: Path | None = None


class Folders(NamedTuple):
    """What two folders have in common.

    Attributes:
        tracks: what both have, in the order of their names.
        without_estimates: the names of the others of the references.
        without_references: the names of the others of the estimates.
    """

    tracks: list[Track]
    without_estimates: list[str]
    without_references: list[str]


def find(references: Path, estimates: Path, layout: str, pattern: str = PATTERN) -> Folders:
    """Returns what is scored together.

    Args:
        references: the folder of the references.
        estimates: the folder of the estimates.
        layout: one of `LAYOUTS`.
        pattern: of the files' paths in their folder, for the layout `flat`.

    Raises:
        InputError: a folder is missing or has other files than the layout says, two files are of
            one target, or nothing is in both folders.
    """
    for folder in (references, estimates):
        if not folder.is_dir():
            raise InputError(folder, "there is no such folder")
    if layout == "wsj0mix":
        tracks = _speech_tracks(references, estimates)
    else:
        by_name = [
            _musdb(folder) if layout == "musdb" else _flat(folder, pattern)
            for folder in (references, estimates)
        ]
        tracks = _common(*by_name)
    if not tracks.tracks:
        problem = f"has nothing that {references} has, such as {tracks.without_estimates[0]}"
        remedy = f"it has {tracks.without_references[0]}; both folders need the same names"
        raise InputError(estimates, problem, remedy)
    return tracks


def targets(names: Iterable[str]) -> list[str]:
    """Returns targets in the order in which they are shown: MUSDB's first, the accompaniment last.

    Args:
        names: the targets.
    """

    def place(name: str) -> tuple[bool, int, str]:
        return name == ACCOMPANIMENT, STEMS.index(name) if name in STEMS else len(STEMS), name

    return sorted(names, key=place)


# The files of each song by its subset (empty if there is none) and its name, by target.
Songs = dict[tuple[str, str], dict[str, Path]]


def _common(references: Songs, estimates: Songs) -> Folders:
    """Returns the songs that both have. One of them may have the subsets' folders and the other
    not."""
    tracks, used = [], set()
    for subset, name in references:
        keys = [(subset, name), ("", name), *((part, name) for part in SUBSETS if not subset)]
        key = next((key for key in keys if key in estimates), None)
        if key and key not in used:
            used.add(key)
            parts = (references[subset, name], estimates[key])
            tracks.append(Track(name, subset or key[0] or "test", *parts))
    scored = {track.name for track in tracks}
    return Folders(
        sorted(tracks, key=lambda track: (track.name, track.subset)),
        sorted(name for _, name in references if name not in scored),
        sorted(name for subset, name in estimates if (subset, name) not in used),
    )


def _musdb(folder: Path) -> Songs:
    """Returns the songs of a folder in MUSDB's layout."""
    subsets = [name for name in SUBSETS if (folder / name).is_dir()]
    # A song may be called `test`; then there is audio in its folder.
    subsets = [name for name in subsets if not any(_audio(folder / name))]
    songs = {}
    for subset in subsets or [""]:
        for song in sorted(path for path in (folder / subset).iterdir() if path.is_dir()):
            files: dict[str, Path] = {}
            for path in _audio(song):
                _add(files, path.stem, path)
            if files:
                songs[subset, song.name] = files
    if not songs:
        problem = f"has no folder with {AUDIO} for each track"
        if any(folder.rglob("*.stem.mp4")):
            remedy = "convert its .stem.mp4 files first, for instance with musdbconvert"
        else:
            remedy = "--layout says how else the files may lie"
        raise InputError(folder, problem, remedy)
    return songs


def _flat(folder: Path, pattern: str) -> Songs:
    """Returns the songs of a folder whose files follow a pattern."""
    if any(pattern.count(field) != 1 for field in ("{track}", "{target}")):
        raise InputError("--pattern", f"{pattern} must have {{track}} and {{target}} once each")
    ending = next((end for end in ENDINGS if pattern.lower().endswith(end)), "")
    expression = re.escape(pattern[: len(pattern) - len(ending)])
    # Names of targets are the shorter ones: where both readings fit, `my_song_vocals` are vocals.
    for field, name in (("track", "[^/]+"), ("target", "[^/]+?")):
        expression = expression.replace(re.escape(f"{{{field}}}"), f"(?P<{field}>{name})")
    songs: Songs = {}
    for path in _audio(folder, "/".join("*" * (pattern.count("/") + 1))):
        match = re.fullmatch(expression, path.relative_to(folder).with_suffix("").as_posix())
        if match:
            _add(songs.setdefault(("", match["track"]), {}), match["target"], path)
    if not songs:
        remedy = "--pattern says how they are called"
        raise InputError(folder, f"has no {AUDIO} like {pattern}", remedy)
    return songs


def _speech_tracks(references: Path, estimates: Path) -> Folders:
    """Returns the mixtures of two folders in WSJ0-mix's layout."""
    names = _speakers(references)
    others = _speakers(estimates)
    if names != others:
        problem = f"has {', '.join(others)}, but the references have {', '.join(names)}"
        raise InputError(estimates, problem)
    mixtures = _by_stem(references / MIX) if (references / MIX).is_dir() else None
    folders = [[_by_stem(folder / name) for name in names] for folder in (references, estimates)]
    of_references, of_estimates = (set().union(*parts) for parts in folders)
    tracks = []
    for name in sorted(of_references & of_estimates):
        files = []
        for folder, parts in zip((references, estimates), folders, strict=True):
            missing = [names[index] for index, part in enumerate(parts) if name not in part]
            if missing:
                raise InputError(folder / missing[0] / f"{name}.wav", "there is no such file")
            files.append({names[index]: part[name] for index, part in enumerate(parts)})
        if mixtures is not None and name not in mixtures:
            raise InputError(references / MIX / f"{name}.wav", "there is no such file")
        tracks.append(Track(name, "", *files, mixtures[name] if mixtures is not None else None))
    return Folders(
        tracks, sorted(of_references - of_estimates), sorted(of_estimates - of_references)
    )


def _speakers(folder: Path) -> list[str]:
    """Returns the names of the folders of the speakers, `["s1", "s2"]`."""
    names = (f"s{number}" for number in count(1))
    present = list(takewhile(lambda name: (folder / name).is_dir(), names))
    if not present:
        raise InputError(folder, "has no folder s1", "--layout says how else the files may lie")
    for name in present:
        if not _by_stem(folder / name):
            raise InputError(folder / name, f"has no {AUDIO}")
    return present


def _by_stem(folder: Path) -> dict[str, Path]:
    """Returns the audio files in a folder by their names without ending."""
    files: dict[str, Path] = {}
    for path in _audio(folder):
        _add(files, path.stem, path)
    return files


def _audio(folder: Path, glob: str = "*") -> Iterator[Path]:
    """Yields the audio files in a folder, without hidden ones, in the order of their names."""
    for path in sorted(folder.glob(glob)):
        if path.suffix.lower() in ENDINGS and path.name[0] != "." and path.is_file():
            yield path


def _add(files: dict[str, Path], name: str, path: Path) -> None:
    """Adds a file under a name, or raises an `InputError` if there is another."""
    if name in files:
        problem = f"stands for the same as {files[name].name}"
        raise InputError(path, problem, "remove one of the two")
    files[name] = path
