"""The groups `spleeter` and `svoice` of params.yaml: the networks, and how they are trained.

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
    POSITIVE,
    ListOf,
    Range,
    between,
    check_settings,
    multiple_of,
    one_of,
)

UNET_LEVELS = 6  # of Spleeter's U-Net, each of which halves both axes
MOST_SPEAKERS = 10  # of a mixture
SPEAKERS = between(2, MOST_SPEAKERS)
UNET_SIZE = multiple_of(2**UNET_LEVELS)  # of a segment, in frames and in frequency bins
FILTERS = ListOf(COUNT, UNET_LEVELS)  # of the convolutions, level by level

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

    name: str = setting(one_of("mini", "published"))
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
        """Checks that a frame has enough frequency bins.

        Raises:
            InputError: it has fewer than F.
        """
        check_bins(self.F, self.frame_length)


def check_bins(F: int, frame_length: int, key: str = "spleeter.F") -> None:
    """Checks that a frame of the STFT has enough frequency bins.

    Args:
        F: the frequency bins that the network sees.
        frame_length: in samples.
        key: what an error calls `F`.

    Raises:
        InputError: the frame has fewer than F.
    """
    bins = frame_length // 2 + 1
    if bins < F:
        expected = f"at most frame_length / 2 + 1 = {bins} frequency bins"
        raise InputError.mismatch(key, F, expected)


@dataclass(frozen=True)
class SVoiceSettings(Checked):
    """SVoice's network and its training on speech."""

    KEY = "svoice"

    name: str = setting(one_of("mini", "published"))
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
