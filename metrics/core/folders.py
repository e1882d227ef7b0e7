"""Finds what belongs together in two folders, of references and of estimates.

Three layouts are known:

- `musdb`: `[test/|train/]TRACK/TARGET.wav`, as MUSDB18-HQ and what `museval` reads beside it;
- `flat`: files after a pattern such as `{track}_{target}.wav`;
- `wsj0mix`: `s1/NAME.wav`, `s2/NAME.wav`, … as WSJ0-mix, with its mixtures in `mix/`.

Estimates may follow a pattern of their own in each of them. A `.flac` file may stand for any `.wav`
file, and `no_vocals`, as Demucs calls it, for the accompaniment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
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
NO_VOCALS = "no_vocals"  # the same, as Demucs calls it
VOCALS = "vocals"
STEMS = (VOCALS, "drums", "bass", "other")  # in the order of MUSDB
MIX = "mix"  # the folder of the mixtures of WSJ0-mix

AUDIO = "WAV or FLAC files"
# The endings of audio files that are not read, and that must not be taken for missing ones.
NOT_READ = (".aac", ".aif", ".aiff", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wma", ".wv")


class Track(NamedTuple):
    """What is scored together: a song with its targets, or a mixture with its speakers.

    Attributes:
        name: of the song or the mixture.
        subset: the subset of MUSDB that it belongs to, `test` where there are none.
        references: the files of the references by target or speaker.
        estimates: those of the estimates, which need not be the same ones.
        mixture: the file of the mixture, if there is one and it is needed.
        problem: what is wrong with the names of its files, if anything is.
    """

    name: str
    subset: str
    references: dict[str, Path]
    estimates: dict[str, Path]
    mixture: Path | None = None
    problem: InputError | None = None


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


def find(
    references: Path,
    estimates: Path,
    layout: str,
    pattern: str = PATTERN,
    estimates_pattern: str | None = None,
) -> Folders:
    """Returns what is scored together.

    Args:
        references: the folder of the references.
        estimates: the folder of the estimates.
        layout: one of `LAYOUTS`.
        pattern: of the files' paths in their folder, for the layout `flat`.
        estimates_pattern: of the paths of the estimates, for any layout; None if they lie as the
            references do.

    Raises:
        InputError: a folder is missing or has other files than the layout says, or nothing is in
            both folders. What is wrong with the files of one track is its `problem`.
    """
    for folder in (references, estimates):
        if not folder.is_dir():
            raise InputError(folder, "there is no such folder")
    option, shared = ("--pattern", pattern) if layout == "flat" else ("--layout", None)
    own = shared if estimates_pattern is None else estimates_pattern
    of_references = _songs(references, layout, shared, option)
    of_estimates = _songs(estimates, layout, own, "--estimates-pattern")
    if layout == "wsj0mix":
        _require_speakers(of_references, references)
        _add_mixtures(of_references, references)
        if own is None:
            _require_same_speakers(references, estimates)
            _require_speakers(of_estimates, estimates)
    folders = _common(of_references, of_estimates)
    if not folders.tracks:
        problem = f"has nothing that {references} has, such as {folders.without_estimates[0]}"
        remedy = f"it has {folders.without_references[0]}; both folders need the same names"
        raise InputError(estimates, problem, remedy)
    if layout == "wsj0mix":
        return folders._replace(tracks=[_mixture(track) for track in folders.tracks])
    return folders


def targets(names: Iterable[str]) -> list[str]:
    """Returns targets in the order in which they are shown: MUSDB's first, the accompaniment last.

    Args:
        names: the targets.
    """

    def place(name: str) -> tuple[bool, int, str]:
        return name == ACCOMPANIMENT, STEMS.index(name) if name in STEMS else len(STEMS), name

    return sorted(names, key=place)


@dataclass
class _Files:
    """The audio files of a song or a mixture in one of the folders.

    Attributes:
        by_target: those that can be read, by target or speaker.
        not_read: those in other formats, likewise.
        problem: what is wrong with them, if anything is.
    """

    by_target: dict[str, Path] = field(default_factory=dict)
    not_read: dict[str, Path] = field(default_factory=dict)
    problem: InputError | None = None

    def add(self, target: str, path: Path) -> None:
        """Adds a file."""
        if path.suffix.lower() in NOT_READ:
            self.not_read[target] = path
        elif target in self.by_target:
            problem = f"stands for the same as {self.by_target[target].name}"
            self.problem = InputError(path, problem, "remove one of the two")
        else:
            self.by_target[target] = path

    def rename_no_vocals(self) -> None:
        """Takes `no_vocals` for the accompaniment, unless this has a file."""
        if ACCOMPANIMENT not in self.by_target:
            for files in (self.by_target, self.not_read):
                if NO_VOCALS in files:
                    files[ACCOMPANIMENT] = files.pop(NO_VOCALS)

    def without(self, names: Iterable[str]) -> InputError | None:
        """Returns which of the targets is there in another format only; None if there is none.
        Where nothing can be read, any target is one of them."""
        for name in names if self.by_target else self.not_read:
            if name in self.not_read and name not in self.by_target:
                remedy = "convert it to one of them"
                return InputError(self.not_read[name], "is neither WAV nor FLAC", remedy)
        return None

    def require(self, paths: dict[str, Path]) -> None:
        """Notes as the problem which of the targets is missing.

        Args:
            paths: where they should be.
        """
        self.problem = self.problem or self.without(paths)
        for name, path in paths.items():
            if name not in self.by_target and not self.problem:
                self.problem = InputError(path, "there is no such file")


# The files of each song or mixture by its subset (empty if there is none) and its name.
Songs = dict[tuple[str, str], _Files]


def _common(references: Songs, estimates: Songs) -> Folders:
    """Returns the songs that both have. One of them may have the subsets' folders and the other
    not."""
    tracks, used = [], set()
    for (subset, name), files in references.items():
        keys = [(subset, name), ("", name), *((part, name) for part in SUBSETS if not subset)]
        key = next((key for key in keys if key in estimates), None)
        if key and key not in used:
            used.add(key)
            tracks.append(_track(name, subset or key[0] or "test", files, estimates[key]))
    scored = {track.name for track in tracks}
    return Folders(
        sorted(tracks, key=lambda track: (track.name, track.subset)),
        sorted(name for _, name in references if name not in scored),
        sorted(name for subset, name in estimates if (subset, name) not in used),
    )


def _track(name: str, subset: str, references: _Files, estimates: _Files) -> Track:
    """Returns a track, with what is wrong with its files."""
    for files in (references, estimates):
        files.rename_no_vocals()
    problem = (
        references.problem
        or estimates.problem
        or references.without(_needed(estimates))
        or estimates.without(_needed(references))
        or _not_utf8(name, references)
        or _not_utf8(name, estimates)
    )
    return Track(name, subset, references.by_target, estimates.by_target, problem=problem)


def _needed(others: _Files) -> list[str]:
    """Returns the targets whose files matter to the scores, given the files in the other folder."""
    names = {*STEMS, ACCOMPANIMENT, *others.by_target, *others.not_read}
    return sorted(names.difference(MIXTURES))


def _not_utf8(track: str, files: _Files) -> InputError | None:
    """Returns which name is not UTF-8, in which all scores are written; None if there is none."""
    for target, path in files.by_target.items():
        if not _is_utf8(track + target):
            where = next(part for part in (path, *path.parents) if not _is_utf8(part.name))
            return InputError(where, "has a name that is not UTF-8", "rename it")
    return None


def _is_utf8(name: str) -> bool:
    # Bytes that are not UTF-8 are surrogates in names of files.
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _songs(folder: Path, layout: str, pattern: str | None, option: str) -> Songs:
    """Returns the songs or mixtures of a folder.

    Args:
        folder: the folder.
        layout: one of `LAYOUTS`.
        pattern: of the files' paths; None if they lie as the layout has them.
        option: what says how else the files may lie.
    """
    if pattern is not None:
        if any(pattern.count(part) != 1 for part in ("{track}", "{target}")):
            raise InputError(option, f"{pattern} must have {{track}} and {{target}} once each")
        read, what = partial(_by_pattern, pattern=pattern), f"{AUDIO} like {pattern}"
    elif layout == "musdb":
        read, what = _musdb, f"folder with {AUDIO} for each track"
    else:
        read, what = _wsj0mix, f"folder s1 with {AUDIO}"
    if songs := read(folder):
        return songs
    remedy = f"{option} says how else the files may lie"
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and read(path)]
    if len(inside) == 1:
        remedy = f"{inside[0]} has: name that one"
    elif any(folder.rglob("*.stem.mp4")):
        remedy = "convert its .stem.mp4 files first, for instance with musdbconvert"
    raise InputError(folder, f"has no {what}", remedy)


def _musdb(folder: Path) -> Songs:
    """Returns the songs of a folder in MUSDB's layout."""
    subsets = [name for name in SUBSETS if (folder / name).is_dir()]
    # A song may be called `test`; then there is audio in its folder.
    subsets = [
        name for name in subsets if not any(path.is_file() for path in _audio(folder / name))
    ]
    songs: Songs = {}
    for subset in subsets or [""]:
        for song in sorted(path for path in (folder / subset).iterdir() if path.is_dir()):
            for path in _audio(song):
                songs.setdefault((subset, song.name), _Files()).add(path.stem, path)
    return songs


def _by_pattern(folder: Path, pattern: str) -> Songs:
    """Returns the songs or mixtures of a folder whose files follow a pattern."""
    ending = next((end for end in ENDINGS if pattern.lower().endswith(end)), "")
    expression = re.escape(pattern[: len(pattern) - len(ending)])
    # Names of targets are the shorter ones: where both readings fit, `my_song_vocals` are vocals.
    for part, name in (("track", "[^/]+"), ("target", "[^/]+?")):
        expression = expression.replace(re.escape(f"{{{part}}}"), f"(?P<{part}>{name})")
    songs: Songs = {}
    for path in _audio(folder, "/".join("*" * (pattern.count("/") + 1))):
        match = re.fullmatch(expression, path.relative_to(folder).with_suffix("").as_posix())
        if match:
            songs.setdefault(("", match["track"]), _Files()).add(match["target"], path)
    return songs


def _wsj0mix(folder: Path) -> Songs:
    """Returns the speakers of the mixtures of a folder in WSJ0-mix's layout."""
    mixtures: Songs = {}
    for speaker in _speakers(folder):
        for path in _audio(folder / speaker):
            mixtures.setdefault(("", path.stem), _Files()).add(speaker, path)
    return mixtures


def _speakers(folder: Path) -> list[str]:
    """Returns the names of the folders of the speakers, `["s1", "s2"]`."""
    names = (f"s{number}" for number in count(1))
    return list(takewhile(lambda name: (folder / name).is_dir(), names))


def _require_speakers(mixtures: Songs, folder: Path) -> None:
    """Notes as the problem of a mixture of a folder which of its speakers' files is missing."""
    for (_, name), files in mixtures.items():
        files.require({speaker: folder / speaker / f"{name}.wav" for speaker in _speakers(folder)})


def _add_mixtures(references: Songs, folder: Path) -> None:
    """Adds the files of the mixtures to those of their speakers, if the folder has mixtures."""
    if not (folder / MIX).is_dir():
        return
    for path in _audio(folder / MIX):
        if ("", path.stem) in references:
            references["", path.stem].add(MIX, path)
    for (_, name), files in references.items():
        files.require({MIX: folder / MIX / f"{name}.wav"})


def _require_same_speakers(references: Path, estimates: Path) -> None:
    """Raises an `InputError` if two folders have not the same speakers."""
    names, others = _speakers(references), _speakers(estimates)
    if names != others:
        problem = f"has {', '.join(others)}, but the references have {', '.join(names)}"
        raise InputError(estimates, problem)


def _mixture(track: Track) -> Track:
    """Returns a track as a mixture of speakers, each of whom must have an estimate."""
    references = {name: path for name, path in track.references.items() if name != MIX}
    others = (MIX, *MIXTURES)
    estimates = {name: path for name, path in track.estimates.items() if name not in others}
    problem = track.problem
    if not problem and len(estimates) != len(references):
        folder = next(iter(track.estimates.values())).parent
        speakers, present = len(references), ", ".join(estimates) or "none"
        what = f"{track.name} has {speakers} speakers, but as estimates {present}"
        remedy = "--estimates-pattern must find one for each speaker"
        problem = InputError(folder, what, remedy)
    mixture = track.references.get(MIX)
    return Track(track.name, track.subset, references, estimates, mixture, problem)


def _audio(folder: Path, glob: str = "*") -> Iterator[Path]:
    """Yields what is named as an audio file in a folder, unless hidden, in the order of the names.

    What is named as a file that is read, and is none, is an error when it is read.
    """
    for path in sorted(folder.glob(glob)):
        ending = path.suffix.lower()
        if path.name[0] != "." and (ending in ENDINGS or (ending in NOT_READ and path.is_file())):
            yield path
