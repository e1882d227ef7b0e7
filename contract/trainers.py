"""The groups `spleeter` and `svoice` of params.yaml: the sizes of the networks, and how long and on
what they are trained. What each may be is declared here once, for the pipeline's checks and for the
trainers, each of which is handed its own."""

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
FILTERS = ListOf(COUNT, UNET_LEVELS)  # of the convolutions, level by level

Settings = TypeVar("Settings", bound="Checked")


def _setting(allowed: Range | ListOf) -> Any:
    return field(metadata={"range": allowed})


class Checked:
    """A group of settings that is checked as it is read."""

    KEY: str  # of the group

    @classmethod
    def read(cls: type[Settings], values: Any) -> Settings:
        """Returns the group, checked.

        Args:
            values: as the configuration has it.

        Raises:
            InputError: the first setting that is wrong, or settings that do not fit each other.
        """
        ranges = {item.name: item.metadata["range"] for item in fields(cls)}
        settings = cls(**check_settings(cls.KEY, values, ranges))
        settings.check()
        return settings

    def check(self) -> None:
        """Raises `InputError` for settings that do not fit each other."""


@dataclass(frozen=True)
class Spleeter(Checked):
    """Spleeter's network and its training on music."""

    KEY = "spleeter"

    name: str = _setting(one_of("mini", "published"))
    T: int = _setting(multiple_of(2**UNET_LEVELS))  # frames of a segment
    F: int = _setting(multiple_of(2**UNET_LEVELS))  # frequency bins
    frame_length: int = _setting(COUNT)  # samples
    frame_step: int = _setting(COUNT)  # samples
    filters: list[int] = _setting(FILTERS)
    batch_size: int = _setting(COUNT)  # segments
    chunk_seconds: float = _setting(POSITIVE)
    chunks_per_song: int = _setting(COUNT)
    steps: int = _setting(COUNT)
    validate_every: int = _setting(COUNT)  # steps: an epoch
    log_every: int = _setting(COUNT)  # steps: how often steps.csv gets a row

    def check(self) -> None:
        bins = self.frame_length // 2 + 1
        if bins < self.F:
            expected = f"at most frame_length / 2 + 1 = {bins} frequency bins"
            raise InputError.mismatch("spleeter.F", self.F, expected)


@dataclass(frozen=True)
class SVoice(Checked):
    """SVoice's network and its training on speech."""

    KEY = "svoice"

    name: str = _setting(one_of("mini", "published"))
    N: int = _setting(COUNT)  # features of the encoder
    L: int = _setting(multiple_of(2))  # samples that the encoder sees at once
    H: int = _setting(COUNT)  # units of an LSTM in one direction
    R: int = _setting(COUNT)  # double blocks
    group_norm: bool = _setting(FLAG)
    segment_seconds: float = _setting(POSITIVE)
    stride_seconds: float = _setting(POSITIVE)
    count_padding: bool = _setting(FLAG)
    batch_size: int = _setting(COUNT)  # segments
    epochs: int = _setting(COUNT)
    precision: str = _setting(one_of("fp32", "bf16", "fp16"))
    tf32: bool = _setting(FLAG)
    compile: bool = _setting(FLAG)
    activation_checkpointing: bool = _setting(FLAG)
    accumulation_steps: int = _setting(COUNT)

    def check(self) -> None:
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


SPEAKERS = between(2, MOST_SPEAKERS)
