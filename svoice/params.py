"""The part of a composed configuration that a training reads, checked and typed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract import menu
from contract.errors import InputError
from contract.ranges import COUNT, WHOLE, check_settings
from contract.trainers import SPEAKERS, SVoice
from contract.yaml_files import read_yaml


@dataclass(frozen=True)
class Params:
    """All that determines a training, except its data.

    Attributes:
        seed: of the initial weights and of the order of the segments.
        speakers: the number of speakers in a mixture.
        sample_rate: of the mixtures, in Hz.
        svoice: the sizes of the network and of its training.
        optimizer: the name of the optimizer.
        optimizer_settings: its settings, by PyTorch's names.
        schedule: the learning-rate schedule: its `name` and its settings.
        clipping: the gradient clipping: its `name` and its settings.
    """

    seed: int
    speakers: int
    sample_rate: int
    svoice: SVoice
    optimizer: str
    optimizer_settings: dict[str, Any]
    schedule: dict[str, Any]
    clipping: dict[str, Any]

    @classmethod
    def of(cls, configuration: Any, where: str | Path = "the configuration") -> Params:
        """Reads the parameters from a composed configuration.

        Args:
            configuration: as params.yaml has it; it may hold more than is read here.
            where: the name of the configuration in errors about a missing key.

        Raises:
            InputError: the first key that is missing or wrong.
        """

        def part(*keys: str) -> Any:
            value = configuration
            for key in keys:
                if not isinstance(value, dict) or key not in value:
                    name = ".".join(keys)
                    raise InputError(where, f"has no key {name}", "compose it from conf/")
                value = value[key]
            return value

        speech = {key: part("speech", key) for key in ("speakers", "sample_rate")}
        speech = check_settings("speech", speech, {"speakers": SPEAKERS, "sample_rate": COUNT})
        svoice = SVoice.read(part("svoice"))
        if speech["sample_rate"] * svoice.segment_seconds < svoice.L:
            raise InputError.mismatch(
                "svoice.segment_seconds",
                svoice.segment_seconds,
                f"at least as long as svoice.L = {svoice.L} samples",
            )
        name = menu.check_name("optimizer", part("optimizer", "name"))
        return cls(
            seed=WHOLE.check("seed", part("seed")),
            speakers=speech["speakers"],
            sample_rate=speech["sample_rate"],
            svoice=svoice,
            optimizer=name,
            optimizer_settings=menu.check_optimizer(name, part("optimizer", "svoice"), menu.SVOICE),
            schedule=menu.check_choice("schedule", part("schedule")),
            clipping=menu.check_choice("clipping", part("clipping")),
        )

    @classmethod
    def read(cls, path: Path) -> Params:
        """Reads the parameters from params.yaml.

        Raises:
            InputError: there is no such file, it is not a YAML file, or the first key that is
                missing or wrong.
        """
        try:
            return cls.of(read_yaml(path), path)
        except FileNotFoundError:
            raise InputError(path, "there is no such file", "compose it from conf/") from None

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
            key: of the duration in the group `svoice`, as `segment_seconds`.

        Raises:
            InputError: it is shorter than one sample.
        """
        seconds = getattr(self.svoice, key)
        if (samples := round(seconds * self.sample_rate)) < 1:
            raise InputError.mismatch(f"svoice.{key}", seconds, "at least one sample")
        return samples
