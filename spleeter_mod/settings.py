"""The settings of a run: the keys of configuration.yaml that Spleeter's trainer reads."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract import menu
from contract.composed import Composed
from contract.model_settings import SpleeterSettings, least_chunk_seconds
from contract.sizes import valid_chunk_seconds
from contract.sources import CHANNELS, STEMS

# The files in the folder of a trained model, besides the records.
MODEL_FILES = (
    *(".probe", "checkpoint", "config.json"),
    *("model.index", "model.data-00000-of-00001"),
)

# When Spleeter takes several chunks of a song, it leaves out this much at both ends
# (`spleeter.dataset.DatasetBuilder.MARGIN`, repeated here to check lists without TensorFlow).
MARGIN_SECONDS = 0.5


@dataclass(frozen=True)
class Settings:
    """A training run.

    Attributes:
        seed: the seed of the initial weights, and of the order of segments and crops.
        sample_rate: the sample rate of the songs, in Hz.
        T: the frames of a segment.
        F: the frequency bins that the network sees, from the lowest.
        frame_length: the frame length of the STFT, in samples.
        frame_step: the frame step of the STFT, in samples.
        filters: the filters of the network's convolutions, level by level.
        batch_size: in segments.
        chunk_seconds: the length of the chunks of which training takes crops.
        chunks_per_song: the number of chunks of a song.
        steps: the steps of the run.
        validate_every: the steps between two validations, which are an epoch.
        log_every: the steps between two rows of steps.csv.
        optimizer: the `name` of the optimizer and its settings.
        schedule: the `name` of the learning-rate schedule and its settings.
        clipping: the `name` of the gradient clipping and its settings.
        mix_name: the name of the mixture.
        stems: the names of the stems.
        same_passes: whether every pass over the segments begins in the same order, as it does in
            Spleeter with a cache.
        network: the keys of Spleeter's own configuration that differ from the usual ones.
    """

    seed: int
    sample_rate: int
    T: int
    F: int
    frame_length: int
    frame_step: int
    filters: list[int]
    batch_size: int
    chunk_seconds: float
    chunks_per_song: int
    steps: int
    validate_every: int
    log_every: int
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    clipping: dict[str, Any]
    mix_name: str = "mix"
    stems: tuple[str, ...] = STEMS
    same_passes: bool = True
    network: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Reads the settings from configuration.yaml.

        Args:
            path: the file.

        Raises:
            InputError: there is no such file, it is not a YAML file, the first key that is missing
                or wrong, or values that do not fit each other.
        """
        composed = Composed.read(path)
        group = SpleeterSettings.read(composed.part("spleeter"))
        sample_rate = composed.sample_rate("music")
        group.check_sample_rate(sample_rate)
        sizes = dataclasses.asdict(group)
        del sizes["name"]
        optimizer, optimizer_settings = composed.optimizer(menu.SPLEETER)
        return cls(
            seed=composed.seed,
            sample_rate=sample_rate,
            **sizes,
            optimizer={"name": optimizer, **optimizer_settings},
            schedule=composed.choice("schedule"),
            clipping=composed.choice("clipping"),
        )

    def validates(self, step: int) -> bool:
        """Returns whether a step ends an epoch or the run.

        Args:
            step: its number, from 1.
        """
        return step % self.validate_every == 0 or step == self.steps

    def logs(self, step: int) -> bool:
        """Returns whether a step has a row in steps.csv. The last step of an epoch always has.

        Args:
            step: its number, from 1.
        """
        return step % self.log_every == 0 or self.validates(step)

    @property
    def least_seconds(self) -> float:
        """The length of the shortest chunk in which Spleeter finds T frames."""
        return least_chunk_seconds(self.T, self.frame_length, self.frame_step, self.sample_rate)

    @property
    def valid_chunk_seconds(self) -> float:
        """The length of the chunk on whose middle T frames a run validates."""
        return valid_chunk_seconds(self.chunk_seconds, self.least_seconds)

    @property
    def train_seconds(self) -> float:
        """The length of the shortest song to train on: every chunk has T steps of the STFT."""
        margin = MARGIN_SECONDS if self.chunks_per_song > 1 else 0.0
        return self.valid_seconds + margin

    @property
    def valid_seconds(self) -> float:
        """The length of the shortest song to validate on."""
        return self.T * self.frame_step / self.sample_rate

    def spleeter(self) -> dict[str, Any]:
        """Returns the run as Spleeter's own JSON configuration, its musdb.json with other sizes.

        `model_dir` is relative to the folder that the environment variable MODEL_PATH names.
        """
        return {
            "model_dir": "spleeter",
            "mix_name": self.mix_name,
            "instrument_list": list(self.stems),
            "sample_rate": self.sample_rate,
            "frame_length": self.frame_length,
            "frame_step": self.frame_step,
            "T": self.T,
            "F": self.F,
            "n_channels": CHANNELS,
            "separation_exponent": 2,
            "mask_extension": "zeros",
            "model": {
                "type": "unet.unet",
                "params": {
                    "conv_activation": "ELU",
                    "deconv_activation": "ELU",
                    "conv_n_filters": list(self.filters),
                },
            },
            **self.network,
        }
