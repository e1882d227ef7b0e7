"""The checks at the door: every file of a data set, once, before anything is trained on it.

Each mixture is checked together with its sources:

- every file is there, readable, not cut short and not empty; has the sample rate and the channels
  that are wanted, the length of its mixture, and no NaN or infinity;
- none is silent: something in it is above -90 dBFS, about one step of 16 bits;
- the sources add up to the mixture (how nearly: `Rules`);
- no two splits hold the same mixture, sample by sample.

Files are read in blocks, side by side, so that memory does not grow with their length. Mixtures are
checked on all cores; what is found does not depend on how many those are.
"""

import hashlib
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from metrics.errors import BadFilesError, InputError, first_ten
from metrics.progress import progress
from metrics.workers import on_all_cores
from stages.audio import expect

BLOCK = 2**16  # samples of each file that are in memory at a time
SILENCE = 10 ** (-90 / 20)
STEP = 2**-15  # of 16 bits


@dataclass(frozen=True)
class Mixture:
    """A mixture and the sources it is made of, as files."""

    split: str
    path: Path
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Rules:
    """What the files of a data set are held to.

    Args:
        sample_rate: in Hz.
        channels: of every file.
        largest_difference: the energy of a mixture minus the sum of its sources, relative to that
            of the mixture, in dB. What comes of rounding to 16 bits is always allowed.
        mixed_by_program: sources that do not add up, or one that is silent, are an error;
            otherwise, where people made the mixture, a warning.
        same_splits: the splits hold the same mixtures on purpose.
        unscored: what is told of a source that is silent throughout in a mixture of the test split,
            if such a mixture has no scores.
    """

    sample_rate: int
    channels: int
    largest_difference: float
    mixed_by_program: bool
    same_splits: bool = False
    unscored: str = ""


@dataclass(frozen=True)
class Checked:
    """What was found in a mixture and its sources."""

    samples: int  # of each file
    peak: float  # the largest of all files
    content: bytes  # a hash of the mixture's samples
    errors: list[InputError]
    warnings: list[InputError]


def check(mixtures: Sequence[Mixture], rules: Rules, stage: str, unit: str) -> list[Checked]:
    """Checks mixtures on all cores; says how far it is, and warns, on stderr.

    Args:
        mixtures: all of a data set's.
        rules: what they are held to.
        stage: who checks.
        unit: what a mixture is called.

    Raises:
        BadFilesError: the bad files, in the order of the mixtures.
    """
    with closing(on_all_cores(partial(check_mixture, rules=rules), mixtures)) as results:
        # Progress counts the mixtures as their results come.
        checked = [one for _, one in zip(progress(mixtures, stage, unit), results, strict=True)]
    errors = [error for one in checked for error in one.errors]
    if not rules.same_splits:
        errors += _duplicates(mixtures, checked)
    if errors:
        raise BadFilesError(errors)
    for line in first_ten([warning for one in checked for warning in one.warnings]):
        print(f"WARNING: {line}", file=sys.stderr, flush=True)
    return checked


def summary(
    mixtures: Sequence[Mixture], checked: Sequence[Checked], rules: Rules, unit: str
) -> str:
    """A table of the splits: how many mixtures, hours, sample rate, largest peak of all files."""
    lines = [f"{'split':<6}{unit + 's':>10}{'hours':>10}{'Hz':>8}{'peak dBFS':>11}"]
    for split in dict.fromkeys(mixture.split for mixture in mixtures):
        pairs = zip(mixtures, checked, strict=True)
        some = [one for mixture, one in pairs if mixture.split == split]
        hours = sum(one.samples for one in some) / rules.sample_rate / 3600
        peak = 20 * math.log10(max(one.peak for one in some))
        lines.append(f"{split:<6}{len(some):>10}{hours:>10.3f}{rules.sample_rate:>8}{peak:>11.2f}")
    return "\n".join(lines)


def check_mixture(mixture: Mixture, rules: Rules) -> Checked:
    """Checks one mixture and its sources; of each file, the first fault is told."""
    files = (mixture.path, *mixture.sources)
    errors, warnings, alike = [], [], []
    expected = {"sample_rate": rules.sample_rate, "channels": rules.channels}
    for path in files:
        try:
            info = expect(path, **expected)
        except InputError as error:
            errors.append(error)
            continue
        alike.append(path)
        if path == mixture.path:
            expected["samples"] = info.samples
    doubtful = errors if rules.mixed_by_program else warnings
    # Where one is missing or unlike the others, each is read by itself.
    for together in [[path] for path in alike] if errors else [alike]:
        try:
            scan = _scan(together)
        except InputError as error:
            errors.append(error)
            continue
        per_file = zip(together, scan.peaks, scan.not_finite, scan.heard, strict=True)
        for path, peak, not_finite, heard in per_file:
            lost = not heard and path != mixture.path and mixture.split == "test"
            consequence = rules.unscored if lost else ""
            if not_finite is not None:
                found = f"NaN or infinity at sample {not_finite}"
                errors.append(InputError(path, found, "finite samples"))
            elif peak <= SILENCE:
                silent = InputError(path, "silence", f"a sample above -90 dBFS{consequence}")
                (errors if path == mixture.path else doubtful).append(silent)
            elif consequence:
                found = "channels that cancel each other"
                doubtful.append(InputError(path, found, f"a sum that is not silent{consequence}"))
    if errors:
        return Checked(0, 0.0, b"", errors, warnings)
    relative = 10 ** (rules.largest_difference / 10) * scan.energy
    rounding = (len(files) / 2 * STEP) ** 2 * scan.values
    if scan.difference > max(relative, rounding):
        decibels = 10 * math.log10(scan.difference / scan.energy)
        found = f"a difference of {decibels:.1f} dB to the sum of its sources"
        doubtful.append(InputError(mixture.path, found, f"at most {rules.largest_difference:.0f}"))
    return Checked(expected["samples"], max(scan.peaks), scan.content, errors, warnings)


@dataclass(frozen=True)
class _Scan:
    """What was found in the samples of files of one length; the mixture is the first of them."""

    peaks: list[float]  # of each file
    not_finite: list[int | None]  # of each file, the first sample that is not
    heard: list[bool]  # of each file, whether its channels' sum is other than zero anywhere
    energy: float  # of the mixture
    difference: float  # energy of the mixture minus the sum of the others
    values: int  # samples × channels
    content: bytes  # a hash of the mixture's samples


def _scan(paths: Sequence[Path]) -> _Scan:
    """Reads files side by side, to their end.

    Raises:
        InputError: one that cannot be read to its end.
    """
    peaks, not_finite = np.zeros(len(paths)), [None] * len(paths)
    heard = np.zeros(len(paths), bool)
    energy = difference = 0.0
    content = hashlib.blake2b(digest_size=16)
    with ExitStack() as stack:
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))
        files = [stack.enter_context(soundfile.SoundFile(path)) for path in paths]
        samples, channels = files[0].frames, files[0].channels
        # (files, samples, channels); single precision holds 16 and 24 bits as they are
        blocks = np.empty((len(files), min(samples, BLOCK), channels), np.float32)
        for start in range(0, samples, BLOCK):
            blocks = blocks[:, : samples - start]
            for file, block in zip(files, blocks, strict=True):
                _read(file, block)
            # NaN stays NaN.
            peaks = np.maximum(peaks, np.maximum(blocks.max((1, 2)), -blocks.min((1, 2))))
            heard |= blocks.sum(2).any(1)
            for number in np.flatnonzero(~np.isfinite(peaks)):
                if not_finite[number] is None:
                    finite = np.isfinite(blocks[number]).all(1)
                    not_finite[number] = start + int(finite.argmin())
            mixture, sources = blocks[0], blocks[1:]
            energy += _energy(mixture)
            difference += _energy(mixture - sources.sum(0))
            content.update(mixture)
    return _Scan(
        peaks.tolist(),
        not_finite,
        heard.tolist(),
        energy,
        difference,
        samples * channels,
        content.digest(),
    )


def _read(file: soundfile.SoundFile, block: np.ndarray) -> None:
    """Fills `block` (samples, channels) with what comes next."""
    start = file.tell()
    try:
        read = len(file.read(out=block))
    except soundfile.LibsndfileError:
        read = 0
    if read < len(block):
        found = f"nothing readable from sample {start + read} on"
        raise InputError(file.name, found, f"{file.frames} samples")


def _energy(samples: np.ndarray) -> float:
    return float(np.square(samples).sum(dtype=np.float64))


def _duplicates(mixtures: Sequence[Mixture], checked: Sequence[Checked]) -> list[InputError]:
    """The good mixtures that another split has as well."""
    first: dict[bytes, Mixture] = {}
    errors = []
    for mixture, one in zip(mixtures, checked, strict=True):
        if one.errors:
            continue
        other = first.setdefault(one.content, mixture)
        if other.split != mixture.split:
            found = f"the same audio as {other.path}"
            errors.append(InputError(mixture.path, found, "another mixture in each split"))
    return errors
