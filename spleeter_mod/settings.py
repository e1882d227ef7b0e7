"""What a run is made of: the keys of params.yaml that Spleeter's trainer reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from spleeter_mod.errors import InputError

OPTIMIZERS = (
    *("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop"),
    *("adam", "adamw", "adamax", "nadam"),
)
SCHEDULES = ("constant", "step", "exponential", "cosine", "plateau")
CLIPPINGS = ("none", "norm", "value", "adaptive")

SPLEETER_KEYS = (
    *("T", "F", "frame_length", "frame_step", "filters", "batch_size"),
    *("chunk_seconds", "chunks_per_song", "steps", "validate_every", "log_every"),
)

MODEL = Path("models/spleeter")
RESULTS = Path("results/spleeter")

LOGS = ("steps.csv", "epochs.csv", "train.json")
MODEL_FILES = (
    *(".probe", "checkpoint", "config.json"),
    *("model.index", "model.data-00000-of-00001"),
)

STEMS = ("vocals", "drums", "bass", "other")
CHANNELS = 2  # the last layer of Spleeter's U-Net has two filters
LEVELS = 6  # of the U-Net, each halving both axes

# Spleeter leaves this much of a song's ends alone when it takes several chunks of it
# (`spleeter.dataset.DatasetBuilder.MARGIN`, repeated here to check lists without TensorFlow).
MARGIN_SECONDS = 0.5
# Of the middle of a song, Spleeter validates on the middle (`spleeter.dataset
# .get_validation_dataset`).
VALID_SECONDS = 12.0


@dataclass(frozen=True)
class Settings:
    """A training run. `optimizer`, `schedule` and `clipping` are their groups' own dictionaries,
    each with its `name`."""

    seed: int
    sample_rate: int  # Hz
    T: int  # frames
    F: int  # frequency bins
    frame_length: int  # samples
    frame_step: int  # samples
    filters: list[int]
    batch_size: int
    chunk_seconds: float
    chunks_per_song: int
    steps: int
    validate_every: int  # steps; an epoch
    log_every: int  # steps; how often steps.csv gets a row
    optimizer: dict
    schedule: dict
    clipping: dict
    mix_name: str = "mix"
    stems: tuple[str, ...] = STEMS
    # Whether every pass over the segments begins in the same order, as in Spleeter with a cache.
    same_passes: bool = True
    network: dict = field(default_factory=dict)  # of Spleeter's own configuration, what differs

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Read params.yaml.

        Raises:
            InputError: the file is no YAML, a key is missing, or values do not fit each other.
        """
        try:
            # As DVC reads it, by the rules of YAML 1.2: `1e-3` is a number.
            params = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        # A ValueError is text that is not UTF-8, or a date that no calendar has.
        except (YAMLError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(path, f"no valid YAML ({reason})", "a composed params.yaml") from None

        def get(*keys):
            value = params
            for key in keys:
                if not isinstance(value, dict) or key not in value:
                    raise InputError(path, f"no key {'.'.join(keys)}", "a composed params.yaml")
                value = value[key]
            return value

        settings = cls(
            seed=get("seed"),
            sample_rate=get("music", "sample_rate"),
            **{key: get("spleeter", key) for key in SPLEETER_KEYS},
            optimizer={"name": get("optimizer", "name"), **get("optimizer", "spleeter")},
            schedule={"name": get("schedule", "name"), **get("schedule")},
            clipping={"name": get("clipping", "name"), **get("clipping")},
        )
        settings.check()
        return settings

    def check(self, where: Callable[[str], str] = "spleeter.{}".format) -> None:
        """
        Args:
            where: makes of a key's name what errors call it.

        Raises:
            InputError: values do not fit each other.
        """
        names = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "clipping": CLIPPINGS}
        for group, known in names.items():
            name = getattr(self, group)["name"]
            if name not in known:
                raise InputError(f"{group}.name", name, f"one of {', '.join(known)}")
        unit = 2**LEVELS
        for key in ("T", "F"):
            value = getattr(self, key)
            if value % unit:
                raise InputError(where(key), value, f"a multiple of {unit}")
        bins = self.frame_length // 2 + 1
        if bins < self.F:
            raise InputError(
                where("F"), self.F, f"at most frame_length / 2 + 1 = {bins} frequency bins"
            )
        if len(self.filters) != LEVELS:
            raise InputError(where("filters"), f"{len(self.filters)} numbers", LEVELS)
        if self.chunk_seconds < self.least_seconds:
            raise InputError(
                where("chunk_seconds"),
                self.chunk_seconds,
                f"at least {self.least_seconds:.3f} s, to hold T = {self.T} frames",
            )

    def validates(self, step: int) -> bool:
        """Whether step `step`, from 1, ends an epoch or the run."""
        return step % self.validate_every == 0 or step == self.steps

    def logs(self, step: int) -> bool:
        """Whether step `step`, from 1, has a row in steps.csv; an epoch's last always has."""
        return step % self.log_every == 0 or self.validates(step)

    @property
    def least_seconds(self) -> float:
        """The shortest chunk in which Spleeter finds T frames."""
        return (self.T * self.frame_step + self.frame_length) / self.sample_rate

    @property
    def valid_chunk_seconds(self) -> float:
        """How much of a song's middle is looked at for the T frames to validate on: 12 s as in
        Spleeter, or as much as in training where those do not hold T frames (Spleeter refuses)."""
        return VALID_SECONDS if self.least_seconds <= VALID_SECONDS else self.chunk_seconds

    @property
    def train_seconds(self) -> float:
        """The shortest song that can be trained on: T steps of the STFT in every
        chunk."""
        margin = MARGIN_SECONDS if self.chunks_per_song > 1 else 0.0
        return self.valid_seconds + margin

    @property
    def valid_seconds(self) -> float:
        """The shortest song that can be validated on."""
        return self.T * self.frame_step / self.sample_rate

    def spleeter(self) -> dict:
        """This run as Spleeter's own JSON configuration (its musdb.json, with our sizes).

        `model_dir` is relative; Spleeter looks for it in the folder that the environment
        variable MODEL_PATH names.
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
