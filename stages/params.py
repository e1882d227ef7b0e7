"""Typed access to params.yaml. Every value is checked here, once, before a stage does any work."""

from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from metrics.errors import InputError, alternatives
from metrics.perception import PESQ_MODES
from metrics.yaml_files import read_yaml

PATH = Path("params.yaml")
MOST_SPEAKERS = 10  # of a mixture


class Strict(BaseModel):
    """No unknown keys, no silent conversions, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


MOST = 2**31 - 1  # what every library takes as a number, a seed, or a size
Count = Annotated[int, Field(ge=1, le=MOST)]
Whole = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
Size = Annotated[str, Field(pattern="^[1-9][0-9]*[bkmg]$")]  # of memory, as Docker has them
Checksum = Annotated[str, Field(pattern="^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$")]


class RuleError(ValueError):
    """A rule over several keys: what was found, what is expected."""

    def __init__(self, key: str, found, expected: str):
        super().__init__(key, found, expected)


# --- data ---------------------------------------------------------------------------------


class Parts(Strict):
    """From and to, in seconds, of each split."""

    train: list[NonNegative] = Field(min_length=2, max_length=2)
    valid: list[NonNegative] = Field(min_length=2, max_length=2)
    test: list[NonNegative] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def _forward(self):
        for key in ("train", "valid", "test"):
            start, end = getattr(self, key)
            if end <= start:
                raise RuleError(key, [start, end], "a start before its end")
        return self


class Excerpt(Strict):
    file: str
    sha256: str
    parts: Parts


class Zenodo(Strict):
    record: str
    checksum: Checksum | None


class Archive(Strict):
    checksum: Checksum | None


class _Music(Strict):
    sample_rate: Count
    path: str | None
    url: str | None
    validation_tracks: Annotated[list[str], Field(min_length=1)] | None


class MiniMusic(_Music):
    name: Literal["mini"]
    path: None
    url: None
    source: Excerpt


class Musdb18HQ(_Music):
    name: Literal["musdb18hq"]
    url: str
    source: Zenodo


class Musdb18Excerpts(_Music):
    name: Literal["musdb18_7s"]
    source: Archive


class MusicFolder(_Music):
    name: Literal["folder"]
    url: None
    source: None

    @model_validator(mode="after")
    def _given(self):
        if self.path is None:
            raise RuleError("path", None, "the folder that holds train/ and test/")
        return self


class Voice(Strict):
    package: str
    speaker: str


class Mixtures(Strict):
    train: Count
    valid: Count
    test: Count


class Subsets(Strict):
    train: str
    valid: str
    test: str


class _Speech(Strict):
    speakers: Annotated[int, Field(ge=2, le=MOST_SPEAKERS)]
    sample_rate: Count
    mode: Literal["min", "max"]


class MiniSpeech(_Speech):
    name: Literal["mini"]
    seed: Whole
    mixtures: Mixtures
    voices: dict[str, Voice]

    @model_validator(mode="after")
    def _enough_people(self):
        people = len({voice.speaker for voice in self.voices.values()})
        if self.speakers > people:
            raise RuleError("speakers", self.speakers, f"at most {people}, the people in voices")
        return self


class WSJ0Mix(_Speech):
    name: Literal["wsj0_2mix", "wsj0_3mix", "wsj0_4mix", "wsj0_5mix"]
    sample_rate: Literal[8000, 16000]
    corpus: str | None
    lists: str | None
    url: str

    @model_validator(mode="after")
    def _as_named(self):
        if self.name != f"wsj0_{self.speakers}mix":
            raise RuleError("speakers", self.speakers, f"as {self.name} has them")
        return self

    @model_validator(mode="after")
    def _licensed(self):
        if self.corpus is None:
            expected = "your licensed copy of WSJ0 (LDC93S6A), the folder that holds wsj0/si_tr_s"
            raise RuleError("corpus", None, expected)
        return self


class LibriSpeechMix(_Speech):
    name: Literal["librispeech_2mix"]
    sample_rate: Literal[8000, 16000]
    corpus: str | None
    url: str
    subsets: Subsets
    seed: Whole
    mixtures: Mixtures


class SVoiceDebug(_Speech):
    name: Literal["svoice_debug"]
    speakers: Literal[2]
    sample_rate: Literal[8000]
    path: str | None
    url: str


class SpeechFolder(_Speech):
    name: Literal["folder"]
    path: str | None

    @model_validator(mode="after")
    def _given(self):
        if self.path is None:
            raise RuleError("path", None, "the folder that holds tr/, cv/ and tt/")
        return self


# --- models -------------------------------------------------------------------------------


class Spleeter(Strict):
    name: Literal["mini", "published"]
    T: Annotated[int, Field(ge=64, le=MOST, multiple_of=64)]
    F: Annotated[int, Field(ge=64, le=MOST, multiple_of=64)]
    frame_length: Count
    frame_step: Count
    filters: list[Count] = Field(min_length=6, max_length=6)
    batch_size: Count
    chunk_seconds: Positive
    chunks_per_song: Count
    steps: Count
    validate_every: Count
    log_every: Count

    @model_validator(mode="after")
    def _bins(self):
        bins = self.frame_length // 2 + 1
        if bins < self.F:
            raise RuleError("F", self.F, f"at most frame_length/2+1 = {bins}")
        return self


class SVoice(Strict):
    name: Literal["mini", "published"]
    N: Count
    L: Annotated[int, Field(ge=2, le=MOST, multiple_of=2)]
    H: Count
    R: Count
    group_norm: bool
    segment_seconds: Positive
    stride_seconds: Positive
    count_padding: bool
    batch_size: Count
    epochs: Count
    precision: Literal["fp32", "bf16", "fp16"]
    tf32: bool
    compile: bool
    activation_checkpointing: bool
    accumulation_steps: Count

    @model_validator(mode="after")
    def _parts_hold_something(self):
        if self.accumulation_steps > self.batch_size:
            raise RuleError(
                "accumulation_steps",
                self.accumulation_steps,
                f"at most batch_size = {self.batch_size}",
            )
        return self

    @model_validator(mode="after")
    def _decoder_covers(self):
        if self.N % self.L:
            raise RuleError("N", self.N, f"a multiple of L = {self.L}")
        if self.N // self.L < self.L // 2:
            raise RuleError(
                "N", self.N, f"at least L²/2 = {self.L * self.L // 2}, else the decoder leaves gaps"
            )
        return self


# --- optimization -------------------------------------------------------------------------

_RANGES = {
    "momentum": Fraction,
    "initial_accumulator_value": NonNegative,
    "initial_mean_square": NonNegative,
    "epsilon_inside_root": bool,
    "epsilon_before_correction": bool,
    "alpha": Fraction,
    "rho": Fraction,
    "beta1": Fraction,
    "beta2": Fraction,
    "weight_decay": NonNegative,
    "momentum_decay": NonNegative,
}
# What each optimizer has beside its learning rate; "epsilon" is "eps" to PyTorch.
HYPERPARAMETERS = {
    "sgd": [],
    "momentum": ["momentum"],
    "nesterov": ["momentum"],
    "adagrad": ["initial_accumulator_value", "epsilon"],
    "adadelta": ["rho", "epsilon"],
    "rmsprop": ["alpha", "momentum", "epsilon", "initial_mean_square", "epsilon_inside_root"],
    "adam": ["beta1", "beta2", "epsilon", "epsilon_before_correction"],
    "adamw": ["beta1", "beta2", "epsilon", "weight_decay"],
    "adamax": ["beta1", "beta2", "epsilon"],
    "nadam": ["beta1", "beta2", "epsilon", "momentum_decay"],
}


class _NoDivisionByZero(Strict):
    """Adagrad's settings: TensorFlow 1's has no epsilon."""

    @model_validator(mode="after")
    def _divides(self):
        key = "epsilon" if hasattr(self, "epsilon") else "eps"
        if not getattr(self, key) and not self.initial_accumulator_value:
            raise RuleError(key, 0.0, "more than 0, as initial_accumulator_value is 0")
        return self


def _optimizer(name: str) -> type[Strict]:
    base, least = (_NoDivisionByZero, NonNegative) if name == "adagrad" else (Strict, Positive)

    def settings(rate: str, epsilon: str) -> type[Strict]:
        ranges = {**_RANGES, epsilon: least}
        keys = [epsilon if key == "epsilon" else key for key in HYPERPARAMETERS[name]]
        fields = {key: (ranges[key], ...) for key in keys}
        return create_model(name, __base__=base, **{rate: (Positive, ...)}, **fields)

    return create_model(
        name,
        __base__=Strict,
        name=(Literal[name], ...),
        spleeter=(settings("learning_rate", "epsilon"), ...),
        svoice=(settings("lr", "eps"), ...),
    )


class _Schedule(Strict):
    warmup_steps: Whole


class Constant(_Schedule):
    name: Literal["constant"]


class Step(_Schedule):
    name: Literal["step"]
    epochs: Count
    factor: Factor


class Plateau(_Schedule):
    name: Literal["plateau"]
    patience: Whole
    factor: Factor


class Exponential(_Schedule):
    name: Literal["exponential"]
    factor: Factor


class Cosine(_Schedule):
    name: Literal["cosine"]
    floor: Fraction


class NoClipping(Strict):
    name: Literal["none"]


class NormClipping(Strict):
    name: Literal["norm"]
    max_norm: Positive


class ValueClipping(Strict):
    name: Literal["value"]
    max_value: Positive


class AdaptiveClipping(Strict):
    name: Literal["adaptive"]
    factor: Positive
    epsilon: Positive


# --- the whole ----------------------------------------------------------------------------


class Evaluation(Strict):
    window_seconds: Positive
    hop_seconds: Positive
    pesq: bool
    stoi: bool


class _Runtime(Strict):
    gpus: Any

    @model_validator(mode="after")
    def _countable(self):
        ids = self.gpus if isinstance(self.gpus, list) else []
        known = (
            self.gpus in ("all", "none")
            or (type(self.gpus) is int and 0 < self.gpus <= MOST)
            or (ids and all(type(one) in (int, str) for one in ids))
        )
        if not known:
            expected = "all, none, how many, or a list of numbers or UUIDs"
            raise RuleError("gpus", self.gpus, expected)
        return self


class LocalRuntime(_Runtime):
    name: Literal["local"]


class Bases(Strict):
    spleeter: Text
    svoice: Text


class DockerRuntime(_Runtime):
    name: Literal["docker"]
    base: Bases
    memory: Size | None
    cpus: Positive | None
    shared_memory: Size


Music = MiniMusic | Musdb18HQ | Musdb18Excerpts | MusicFolder
Speech = MiniSpeech | WSJ0Mix | LibriSpeechMix | SVoiceDebug | SpeechFolder
Optimizer = Union[tuple(_optimizer(name) for name in HYPERPARAMETERS)]  # noqa: UP007
Schedule = Constant | Step | Plateau | Exponential | Cosine
Runtime = LocalRuntime | DockerRuntime
Clipping = NoClipping | NormClipping | ValueClipping | AdaptiveClipping


class Params(Strict):
    """params.yaml as a whole; the values' meaning stands beside them in conf/."""

    seed: Whole
    evaluation: Evaluation
    music: Annotated[Music, Discriminator("name")]
    speech: Annotated[Speech, Discriminator("name")]
    spleeter: Spleeter
    svoice: SVoice
    optimizer: Annotated[Optimizer, Discriminator("name")]
    schedule: Annotated[Schedule, Discriminator("name")]
    clipping: Annotated[Clipping, Discriminator("name")]
    runtime: Annotated[Runtime, Discriminator("name")]

    @model_validator(mode="after")
    def _measurable(self):
        rate = self.speech.sample_rate
        if self.evaluation.pesq and rate not in PESQ_MODES:
            raise RuleError("evaluation.pesq", True, f"false, as speech.sample_rate is {rate}")
        return self


def check(values: dict) -> Params:
    """The checked parameters.

    Raises:
        InputError: the first bad key, its value, and what is allowed.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise _explained(error.errors()[0], values) from None


def load(path: Path = PATH) -> Params:
    """Reads and checks params.yaml.

    Raises:
        InputError: the file is missing or not YAML, or as `check`.
    """
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        raise InputError(path, "no such file", "the composed configuration") from None
    if not isinstance(values, dict):
        raise InputError(path, type(values).__name__, "a mapping of parameter groups")
    return check(values)


def choices_with(group: str, key: str) -> list[str]:
    """The choices of a group whose `key` takes a value, as in `music=folder`.

    Args:
        group: a key of `Params`.
        key: a key of the group, or several with dots between them.
    """
    kind = Params.model_fields[group].annotation
    models = get_args(kind) or [kind]
    return [
        f"{group}={name}"
        for model in models
        for name in get_args(model.model_fields["name"].annotation)
        if _takes(model, key.split("."))
    ]


def _takes(model: type[Strict], keys: list[str]) -> bool:
    field = model.model_fields.get(keys[0])
    if field is None:
        return False
    if len(keys) == 1:
        return field.annotation is not type(None)
    kind = field.annotation
    return isinstance(kind, type) and issubclass(kind, Strict) and _takes(kind, keys[1:])


def _explained(error: dict, values: dict) -> InputError:
    """One of pydantic's errors as our one line."""
    keys, found = [], values
    for part in error["loc"]:
        if isinstance(found, dict) and found.get("name") == part and part not in found:
            continue  # a variant's name stands in the location but not in the file
        keys.append(str(part))
        found = found.get(part) if isinstance(found, dict) else found[part]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "none_required":
        group, key = keys
        expected = f"null, as {group}={values[group]['name']} takes no {key}"
        if others := choices_with(group, key):
            expected += f"; {alternatives(others)} takes one"
        return InputError(".".join(keys), repr(found), expected)
    if kind == "missing":
        return InputError(".".join(keys), "nothing", "a value")
    if kind == "extra_forbidden":
        return InputError(".".join(keys), repr(found), "no such key")
    if kind == "union_tag_invalid":
        tags = context["expected_tags"].replace("'", "")
        return InputError(".".join([*keys, "name"]), repr(context["tag"]), f"one of {tags}")
    if kind == "value_error" and isinstance(context.get("error"), RuleError):
        key, value, expected = context["error"].args
        found = "nothing" if value is None else repr(value)
        return InputError(".".join([*keys, key]), found, expected)
    if kind == "union_tag_not_found":
        return InputError(".".join([*keys, "name"]), "nothing", "a value")
    expected = error["msg"].removeprefix("Input should be ")
    expected = expected.replace("String should", "text that should", 1)
    return InputError(".".join(keys), repr(found), expected)
