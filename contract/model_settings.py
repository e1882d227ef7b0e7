"""The groups `spleeter` and `svoice` of configuration.yaml: the networks, and how they are trained.

The range of each setting is declared here once, for the pipeline's checks and for the trainers,
each of which reads its own group. The files in conf/ explain the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from contract.errors import InputError
from contract.ranges import (
    COUNT,
    FLAG,
    LARGEST,
    POSITIVE,
    SAMPLES,
    ListOf,
    Range,
    between,
    check_settings,
    multiple_of,
    one_of,
)

UNET_LEVELS = 6  # levels of Spleeter's U-Net, each of which halves both axes
MOST_SPEAKERS = 10  # the most speakers of a mixture
SPEAKERS = between(2, MOST_SPEAKERS)
UNET_SIZE = multiple_of(2**UNET_LEVELS)  # the frames, and the frequency bins, of a segment
FILTERS = ListOf(COUNT, UNET_LEVELS)  # the filters of the convolutions, level by level

Settings = TypeVar("Settings", bound="Checked")


def setting(setting_range: Range | ListOf) -> Any:
    """Returns a field of a dataclass with its range.

    Args:
        setting_range: the values that it may have.
    """
    return field(metadata={"range": setting_range})


class Checked:
    """A group of settings that is checked when it is read.

    Attributes:
        KEY: the key of the group.
    """

    KEY: str

    @classmethod
    def read(cls: type[Settings], values: Any) -> Settings:
        """Checks a group and returns it.

        Args:
            values: the group, as the configuration has it.

        Raises:
            InputError: a setting is wrong, or settings do not fit each other.
        """
        ranges = {item.name: item.metadata["range"] for item in fields(cls)}
        settings = cls(**check_settings(cls.KEY, values, ranges))
        settings.check()
        return settings

    def check(self) -> None:
        """Checks settings against each other.

        Raises:
            InputError: they do not fit each other.
        """


@dataclass(frozen=True)
class SpleeterSettings(Checked):
    """Spleeter's network and its training on music."""

    KEY = "spleeter"

    name: str = setting(one_of("mini", "published", "musdb"))
    T: int = setting(UNET_SIZE)  # frames of a segment
    F: int = setting(UNET_SIZE)  # frequency bins
    frame_length: int = setting(COUNT)  # samples
    frame_step: int = setting(COUNT)  # samples
    filters: list[int] = setting(FILTERS)
    batch_size: int = setting(COUNT)  # segments
    chunk_seconds: float = setting(POSITIVE)
    chunks_per_song: int = setting(COUNT)
    steps: int = setting(COUNT)
    validate_every: int = setting(COUNT)  # steps of an epoch, after which the model is validated
    log_every: int = setting(COUNT)  # steps from one row of steps.csv to the next

    def check(self) -> None:
        """Checks the sizes of the STFT.

        Raises:
            InputError: they do not fit each other.
        """
        check_stft(self.F, self.frame_length, self.frame_step)

    def check_sample_rate(self, sample_rate: int) -> None:
        """Checks that a chunk of the songs holds a segment.

        Args:
            sample_rate: the sample rate of the songs, in Hz.

        Raises:
            InputError: the chunk is too short.
        """
        least = least_chunk_seconds(self.T, self.frame_length, self.frame_step, sample_rate)
        check_chunk_seconds(self.chunk_seconds, least, self.T)


def check_stft(F: int, frame_length: int, frame_step: int, prefix: str = "spleeter.") -> None:
    """Checks that a frame has enough frequency bins, and that no sample is between two frames.

    Args:
        F: the frequency bins that the network sees.
        frame_length: in samples.
        frame_step: from the start of one frame to the start of the next, in samples.
        prefix: what stands before the keys `F` and `frame_step` in errors.

    Raises:
        InputError: the frame has fewer than F bins, or the step is longer than the frame.
    """
    bins = frame_length // 2 + 1
    if bins < F:
        expected = f"at most frame_length / 2 + 1 = {bins} frequency bins"
        raise InputError.mismatch(f"{prefix}F", F, expected)
    if frame_step > frame_length:
        expected = f"at most frame_length = {frame_length} samples"
        raise InputError.mismatch(f"{prefix}frame_step", frame_step, expected)


def least_chunk_seconds(T: int, frame_length: int, frame_step: int, sample_rate: int) -> float:
    """Returns the length of the shortest chunk of a song in which Spleeter finds T frames, in s.

    Args:
        T: the frames of a segment.
        frame_length: in samples.
        frame_step: from the start of one frame to the start of the next, in samples.
        sample_rate: in Hz.
    """
    return (T * frame_step + frame_length) / sample_rate


def check_chunk_seconds(
    chunk_seconds: float, least: float, T: int, key: str = "spleeter.chunk_seconds"
) -> None:
    """Checks that a chunk holds a segment.

    Args:
        chunk_seconds: the length of the chunk, in s.
        least: what it must be at least, as `least_chunk_seconds` returns it.
        T: the frames of a segment.
        key: what an error calls `chunk_seconds`.

    Raises:
        InputError: it is too short.
    """
    if chunk_seconds < least:
        expected = f"at least {least:.3f} s, to hold T = {T} frames"
        raise InputError.mismatch(key, chunk_seconds, expected)


@dataclass(frozen=True)
class SVoiceSettings(Checked):
    """SVoice's network and its training on speech."""

    KEY = "svoice"

    name: str = setting(one_of("mini", "published", "paper"))
    N: int = setting(COUNT)  # features of the encoder
    L: int = setting(multiple_of(2))  # samples of the encoder's kernel
    H: int = setting(COUNT)  # units of an LSTM in one direction
    R: int = setting(COUNT)  # double blocks
    group_norm: bool = setting(FLAG)
    segment_seconds: float = setting(POSITIVE)
    stride_seconds: float = setting(POSITIVE)
    count_padding: bool = setting(FLAG)
    batch_size: int = setting(COUNT)  # segments
    epochs: int = setting(COUNT)
    precision: str = setting(one_of("fp32", "bf16", "fp16"))
    tf32: bool = setting(FLAG)
    compile: bool = setting(FLAG)
    activation_checkpointing: bool = setting(FLAG)
    accumulation_steps: int = setting(COUNT)

    def check(self) -> None:
        """Checks the parts of a batch, and the sizes that the decoder needs.

        Raises:
            InputError: they do not fit each other.
        """
        if self.accumulation_steps > self.batch_size:
            raise InputError.mismatch(
                "svoice.accumulation_steps",
                self.accumulation_steps,
                f"at most svoice.batch_size = {self.batch_size}",
            )
        if self.N % self.L:
            raise InputError.mismatch("svoice.N", self.N, f"a multiple of svoice.L = {self.L}")
        if self.N // self.L < self.L // 2:
            expected = f"at least L²/2 = {self.L * self.L // 2}, else the decoder leaves gaps"
            raise InputError.mismatch("svoice.N", self.N, expected)

    def check_sample_rate(self, sample_rate: int) -> None:
        """Checks the durations, which become whole numbers of samples.

        Args:
            sample_rate: the sample rate of the mixtures, in Hz.

        Raises:
            InputError: a segment is shorter than the encoder's kernel, or the stride is shorter
                than a sample, or one of them has too many samples to be counted.
        """
        if sample_rate * self.segment_seconds < self.L:
            expected = f"at least as long as svoice.L = {self.L} samples"
            raise InputError.mismatch("svoice.segment_seconds", self.segment_seconds, expected)
        for key in ("segment_seconds", "stride_seconds"):
            seconds = getattr(self, key)
            if not 0.5 < seconds * sample_rate <= LARGEST:  # rounded, it is from 1 to LARGEST
                raise InputError.mismatch(f"svoice.{key}", seconds, SAMPLES)
