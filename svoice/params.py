"""The part of a composed configuration that a training reads, checked and typed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import menu
from contract.composed import Composed
from contract.model_settings import SPEAKERS, SVoiceSettings


@dataclass(frozen=True)
class Params:
    """All that determines a training, except its data.

    Attributes:
        seed: the seed of the initial weights and of the order of the segments.
        speakers: the number of speakers in a mixture.
        sample_rate: the sample rate of the mixtures, in Hz.
        svoice: the sizes of the network and of its training.
        optimizer: the name of the optimizer.
        optimizer_settings: its settings, by PyTorch's names.
        schedule: the learning-rate schedule: its `name` and its settings.
        clipping: the gradient clipping: its `name` and its settings.
    """

    seed: int
    speakers: int
    sample_rate: int
    svoice: SVoiceSettings
    optimizer: str
    optimizer_settings: dict[str, Any]
    schedule: dict[str, Any]
    clipping: dict[str, Any]

    @classmethod
    def of(cls, configuration: Any) -> Params:
        """Reads the parameters from a composed configuration.

        Args:
            configuration: as configuration.yaml has it; it may hold more than is read here.

        Raises:
            InputError: the first key that is missing or wrong.
        """
        return cls._of(Composed(configuration, "the configuration"))

    @classmethod
    def _of(cls, composed: Composed) -> Params:
        speakers = composed.checked(SPEAKERS, "speech", "speakers")
        sample_rate = composed.sample_rate("speech")
        svoice = SVoiceSettings.read(composed.part("svoice"))
        svoice.check_sample_rate(sample_rate)
        optimizer, optimizer_settings = composed.optimizer(menu.SVOICE)
        return cls(
            seed=composed.seed,
            speakers=speakers,
            sample_rate=sample_rate,
            svoice=svoice,
            optimizer=optimizer,
            optimizer_settings=optimizer_settings,
            schedule=composed.choice("schedule"),
            clipping=composed.choice("clipping"),
        )

    @classmethod
    def read(cls, path: Path) -> Params:
        """Reads the parameters from configuration.yaml.

        Args:
            path: the file.

        Raises:
            InputError: there is no such file, it is not a YAML file, or the first key that is
                missing or wrong.
        """
        return cls._of(Composed.read(path))

    def configuration(self) -> dict[str, Any]:
        """Returns the parameters as a configuration, for files; `of` reads it back."""
        return {
            "seed": self.seed,
            "speech": {"speakers": self.speakers, "sample_rate": self.sample_rate},
            "svoice": dataclasses.asdict(self.svoice),
            "optimizer": {"name": self.optimizer, "svoice": self.optimizer_settings},
            "schedule": self.schedule,
            "clipping": self.clipping,
        }

    @property
    def learning_rate(self) -> float:
        """The optimizer's own learning rate, from which the schedule starts."""
        return self.optimizer_settings["lr"]

    @property
    def network_sizes(self) -> dict[str, Any]:
        """The arguments of `network.SVoice` that determine its weights."""
        names = ("N", "L", "H", "R", "segment_seconds", "group_norm")
        sizes = {name: getattr(self.svoice, name) for name in names}
        return {**sizes, "C": self.speakers, "sample_rate": self.sample_rate}

    def samples(self, key: str) -> int:
        """Returns a duration in samples.

        Args:
            key: the key of the duration in the group `svoice`, as `segment_seconds`.
        """
        return round(getattr(self.svoice, key) * self.sample_rate)
