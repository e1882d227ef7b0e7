"""Checks of every file of a data set, once, before anything is trained on it.

Each mixture is checked together with its sources:

- Every file is there, readable, neither cut short nor empty; it has the expected sample rate and
  channels, the length of its mixture, and no NaN or infinity.
- No file is silent: some sample is above -90 dBFS, about one step of 16 bits.
- The sources add up to the mixture, as nearly as `Rules` demand.
- No two splits hold the same mixture, sample by sample.

The files of a mixture are read block by block, side by side, so that memory does not grow with
their length. Mixtures are checked on all cores; the results do not depend on the number of cores.
"""

from __future__ import annotations

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

from contract.errors import BadFilesError, InputError, first_ten
from metrics.core.progress import progress
from metrics.workers import on_all_cores
from stages.datasets.audio import ANOTHER_COPY, require

BLOCK = 2**16  # samples of each file that are in memory at a time
SILENCE = 10 ** (-90 / 20)  # the peak of a silent file, at most: -90 dBFS
STEP = 2**-15  # the distance between two values of 16 bits


@dataclass(frozen=True)
class Mixture:
    """A mixture and its sources, as files."""

    split: str
    path: Path
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Rules:
    """What the files of a data set must fulfil.

    Args:
        sample_rate: in Hz.
        channels: how many every file has.
        largest_difference: the energy of a mixture minus the sum of its sources, relative to the
            energy of the mixture, in dB. What rounding to 16 bits can cause is always allowed.
        mixed_by_program: whether sources that do not add up, or that are silent, are an error.
            Otherwise people made the mixtures, and it is a warning.
        same_splits: whether the splits hold the same mixtures on purpose.
        unscored: what the warning about a silent source in the test split adds, if its mixture
            will have no scores.
    """

    sample_rate: int
    channels: int
    largest_difference: float
    mixed_by_program: bool
    same_splits: bool = False
    unscored: str = ""


@dataclass(frozen=True)
class CheckResult:
    """What the check of a mixture and its sources found."""

    samples: int  # the length of each file
    peak: float  # the largest absolute sample of all files
    content: bytes  # a hash of the mixture's samples
    errors: list[InputError]
    warnings: list[InputError]


def check_all(
    mixtures: Sequence[Mixture], rules: Rules, stage: str, unit: str
) -> list[CheckResult]:
    """Checks mixtures on all cores, with progress and warnings on stderr.

    Args:
        mixtures: all mixtures of a data set.
        rules: what they must fulfil.
        stage: the name of the stage, for the progress.
        unit: what a mixture is called, for the progress.

    Returns:
        The result of every mixture, in their order.

    Raises:
        BadFilesError: the bad files, in the order of the mixtures.
    """
    results = []
    with closing(on_all_cores(partial(check_mixture, rules=rules), mixtures)) as on_cores:
        for _, result in zip(progress(mixtures, stage, unit), on_cores, strict=True):
            results.append(result)
    errors = [error for result in results for error in result.errors]
    if not rules.same_splits:
        errors += _duplicates(mixtures, results)
    if errors:
        raise BadFilesError(errors)
    for line in first_ten([warning for result in results for warning in result.warnings]):
        print(f"WARNING: {line}", file=sys.stderr, flush=True)
    return results


def summary(
    mixtures: Sequence[Mixture], results: Sequence[CheckResult], rules: Rules, unit: str
) -> str:
    """Returns a table of the splits: the number of mixtures, hours, sample rate, largest peak.

    Args:
        mixtures: all mixtures of a data set.
        results: as `check_all` returns them.
        rules: that they fulfil.
        unit: what a mixture is called.
    """
    lines = [f"{'split':<6}{unit + 's':>10}{'hours':>10}{'Hz':>8}{'peak dBFS':>11}"]
    for split in dict.fromkeys(mixture.split for mixture in mixtures):
        pairs = zip(mixtures, results, strict=True)
        in_split = [result for mixture, result in pairs if mixture.split == split]
        count = len(in_split)
        hours = sum(result.samples for result in in_split) / rules.sample_rate / 3600
        peak = 20 * math.log10(max(result.peak for result in in_split))
        lines.append(f"{split:<6}{count:>10}{hours:>10.3f}{rules.sample_rate:>8}{peak:>11.2f}")
    return "\n".join(lines)


def check_mixture(mixture: Mixture, rules: Rules) -> CheckResult:
    """Checks one mixture and its sources. Of each file, the first fault is reported.

    Args:
        mixture: with its sources.
        rules: what they must fulfil.
    """
    errors: list[InputError] = []
    warnings: list[InputError] = []
    readable, samples = _check_headers(mixture, rules, errors)
    # If a file is missing or unlike the others, the rest cannot be read side by side.
    groups = [[path] for path in readable] if errors else [readable]
    for paths in groups:
        try:
            scan = _scan(paths)
        except InputError as error:
            errors.append(error)
            continue
        for path, file_scan in zip(paths, scan.files, strict=True):
            _check_samples(mixture, path, file_scan, rules, errors, warnings)
    if errors:
        return CheckResult(0, 0.0, b"", errors, warnings)
    _check_sum(mixture, scan, rules, errors if rules.mixed_by_program else warnings)
    peak = max(file_scan.peak for file_scan in scan.files)
    return CheckResult(samples, peak, scan.content, errors, warnings)


def _check_headers(
    mixture: Mixture, rules: Rules, errors: list[InputError]
) -> tuple[list[Path], int | None]:
    """Checks the header of every file and adds to `errors`.

    Returns:
        The good files, the mixture first; and the mixture's number of samples, None if it is bad.
    """
    readable, samples = [], None
    for path in (mixture.path, *mixture.sources):
        try:
            info = require(path, rules.sample_rate, rules.channels, samples)
        except InputError as error:
            errors.append(error)
            continue
        readable.append(path)
        if path == mixture.path:
            samples = info.samples
    return readable, samples


def _check_samples(
    mixture: Mixture,
    path: Path,
    scan: _FileScan,
    rules: Rules,
    errors: list[InputError],
    warnings: list[InputError],
) -> None:
    """Adds what is wrong with the samples of one file to `errors` or `warnings`."""
    is_mixture = path == mixture.path
    serious = is_mixture or rules.mixed_by_program
    # BSS Eval adds the channels up: a source counts as silent if their sum is zero throughout.
    unscored = not scan.is_audible and not is_mixture and mixture.split == "test"
    consequence = rules.unscored if unscored else ""
    if scan.not_finite is not None:
        problem = f"has NaN or infinite samples, the first is sample {scan.not_finite}"
        errors.append(InputError(path, problem, ANOTHER_COPY))
    elif scan.peak <= SILENCE:
        remedy = consequence or ("replace it, or remove its mixture" if serious else "")
        silent = InputError(path, "is silent: no sample is above -90 dBFS", remedy)
        (errors if serious else warnings).append(silent)
    elif consequence:
        cancelling = InputError(
            path, "has channels that cancel each other: their sum is silent", consequence
        )
        (errors if serious else warnings).append(cancelling)


def _check_sum(mixture: Mixture, scan: _Scan, rules: Rules, faults: list[InputError]) -> None:
    """Adds to `faults` if the sources do not add up to the mixture."""
    allowed = 10 ** (rules.largest_difference / 10) * scan.energy
    # Every file is rounded by up to half a step.
    rounding = (len(scan.files) / 2 * STEP) ** 2 * scan.values
    if scan.difference > max(allowed, rounding):
        decibels = 10 * math.log10(scan.difference / scan.energy)
        problem = (
            f"differs from the sum of its sources by {decibels:.1f} dB relative to its energy, "
            f"expected at most {rules.largest_difference:.0f} dB"
        )
        faults.append(InputError(mixture.path, problem, "check that its sources belong to it"))


@dataclass(frozen=True)
class _FileScan:
    """What the samples of one file are like."""

    peak: float  # NaN or infinite if a sample is
    not_finite: int | None  # the first sample that is NaN or infinite
    is_audible: bool  # whether the sum of its channels is other than zero anywhere


@dataclass(frozen=True)
class _Scan:
    """What the samples of files of the same length are like; the mixture is the first of them."""

    files: list[_FileScan]
    energy: float  # the energy of the mixture
    difference: float  # the energy of the mixture minus the sum of the other files
    values: int  # samples × channels
    content: bytes  # a hash of the mixture's samples


def _scan(paths: Sequence[Path]) -> _Scan:
    """Reads files side by side, to their end.

    Raises:
        InputError: a file cannot be read to its end.
    """
    peaks = np.zeros(len(paths))
    not_finite: list[int | None] = [None] * len(paths)
    audible = np.zeros(len(paths), bool)
    energy = difference = 0.0
    content = hashlib.blake2b(digest_size=16)
    with ExitStack() as stack:
        stack.enter_context(np.errstate(over="ignore", invalid="ignore"))
        files = [stack.enter_context(soundfile.SoundFile(path)) for path in paths]
        samples, channels = files[0].frames, files[0].channels
        # (files, samples, channels); single precision holds 16 and 24 bits exactly.
        blocks = np.empty((len(files), min(samples, BLOCK), channels), np.float32)
        for start in range(0, samples, BLOCK):
            blocks = blocks[:, : samples - start]
            for file, block in zip(files, blocks, strict=True):
                _read(file, block)
            # np.maximum keeps NaN, so that a peak is finite only if all samples are.
            peaks = np.maximum(peaks, np.maximum(blocks.max((1, 2)), -blocks.min((1, 2))))
            audible |= blocks.sum(2).any(1)
            for number in np.flatnonzero(~np.isfinite(peaks)):
                if not_finite[number] is None:
                    finite = np.isfinite(blocks[number]).all(1)
                    not_finite[number] = start + int(finite.argmin())
            mixture, sources = blocks[0], blocks[1:]
            energy += _energy(mixture)
            difference += _energy(mixture - sources.sum(0))
            content.update(mixture)
    file_scans = [
        _FileScan(*values)
        for values in zip(peaks.tolist(), not_finite, audible.tolist(), strict=True)
    ]
    return _Scan(file_scans, energy, difference, samples * channels, content.digest())


def _read(file: soundfile.SoundFile, block: np.ndarray) -> None:
    """Fills `block`, (samples, channels), with the next samples of a file."""
    start = file.tell()
    try:
        count = len(file.read(out=block))
    except soundfile.LibsndfileError:
        count = 0
    if count < len(block):
        problem = (
            f"cannot be read from sample {start + count} on; its header says {file.frames} samples"
        )
        raise InputError(file.name, problem, ANOTHER_COPY)


def _energy(samples: np.ndarray) -> float:
    return float(np.square(samples).sum(dtype=np.float64))


def _duplicates(mixtures: Sequence[Mixture], results: Sequence[CheckResult]) -> list[InputError]:
    """The errors of good mixtures that another split holds as well."""
    first: dict[bytes, Mixture] = {}
    errors = []
    for mixture, result in zip(mixtures, results, strict=True):
        if result.errors:
            continue
        other = first.setdefault(result.content, mixture)
        if other.split != mixture.split:
            problem = f"has the same audio as {other.path}, which is in another split"
            errors.append(InputError(mixture.path, problem, "remove one of them"))
    return errors
