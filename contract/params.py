"""Typed access to params.yaml. Every value is checked here, once, before a stage does any work."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    ValidationError,
    model_validator,
)

from contract import menu
from contract.errors import InputError, alternatives
from contract.layout import PARAMS, PESQ_MODES
from contract.ranges import LARGEST
from contract.trainers import MOST_SPEAKERS, Spleeter, SVoice
from contract.yaml_files import read_yaml


class Strict(BaseModel):
    """No unknown keys, no silent conversions, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


Count = Annotated[int, Field(ge=1, le=LARGEST)]
Whole = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
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


# --- the menu's choices ---------------------------------------------------------------------


def _optimizer(values: Any) -> dict[str, Any]:
    """The group `optimizer`: a name, and the settings of each trainer."""
    if not isinstance(values, dict):
        raise InputError.mismatch("optimizer", repr(values), "a name, and each trainer's settings")
    for key in values:
        if key not in ("name", menu.SPLEETER, menu.SVOICE):
            remedy = f"the optimizer's settings are in optimizer.{menu.SPLEETER} and .{menu.SVOICE}"
            raise InputError(f"optimizer.{key}", "there is no such setting", remedy)
    name = menu.check_name("optimizer", values.get("name"))
    return {
        "name": name,
        **{
            trainer: menu.check_optimizer(name, values.get(trainer), trainer)
            for trainer in (menu.SPLEETER, menu.SVOICE)
        },
    }


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
            or (type(self.gpus) is int and 0 < self.gpus <= LARGEST)
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
Runtime = LocalRuntime | DockerRuntime


class Params(Strict):
    """params.yaml as a whole; the values' meaning stands beside them in conf/."""

    seed: Whole
    evaluation: Evaluation
    music: Annotated[Music, Discriminator("name")]
    speech: Annotated[Speech, Discriminator("name")]
    spleeter: Annotated[InstanceOf[Spleeter], BeforeValidator(Spleeter.read)]
    svoice: Annotated[InstanceOf[SVoice], BeforeValidator(SVoice.read)]
    optimizer: Annotated[dict[str, Any], BeforeValidator(_optimizer)]
    schedule: Annotated[dict[str, Any], BeforeValidator(partial(menu.check_choice, "schedule"))]
    clipping: Annotated[dict[str, Any], BeforeValidator(partial(menu.check_choice, "clipping"))]
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


def load(path: Path = PARAMS) -> Params:
    """Reads and checks params.yaml.

    Raises:
        InputError: the file is missing or not YAML, or as `check`.
    """
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "run `dvc exp run` to compose it") from None
    if not isinstance(values, dict):
        raise InputError.mismatch(path, f"a {type(values).__name__}", "the groups of conf/")
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
        if _is_model(model)
        for name in get_args(model.model_fields["name"].annotation)
        if _takes(model, key.split("."))
    ]


def _takes(model: type[Strict], keys: list[str]) -> bool:
    field = model.model_fields.get(keys[0])
    if field is None:
        return False
    if len(keys) == 1:
        return field.annotation is not type(None)
    return _is_model(field.annotation) and _takes(field.annotation, keys[1:])


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Strict)


def _explained(error: dict, values: dict) -> InputError:
    """One of pydantic's errors as a line for the user."""
    keys: list[str] = []
    value: Any = values
    for part in error["loc"]:
        if isinstance(value, dict) and value.get("name") == part and part not in value:
            continue  # the name of a variant is in the location but not in the file
        keys.append(str(part))
        value = value.get(part) if isinstance(value, dict) else value[part]
    key, kind, context = ".".join(keys), error["type"], error.get("ctx", {})
    if kind == "none_required":
        group, name = keys
        expected = f"null, as {group}={values[group]['name']} takes no {name}"
        if others := choices_with(group, name):
            expected += f"; {alternatives(others)} takes one"
        return InputError.mismatch(key, repr(value), expected)
    if kind in ("missing", "union_tag_not_found"):
        key = key if kind == "missing" else f"{key}.name"
        return InputError(key, "is missing", "params.yaml is composed from conf/ with all its keys")
    if kind == "extra_forbidden":
        return InputError(key, f"there is no such key here (its value is {value!r})", "remove it")
    if kind == "union_tag_invalid":
        names = context["expected_tags"].replace("'", "").split(", ")
        return InputError.mismatch(f"{key}.name", repr(context["tag"]), alternatives(names))
    if kind == "value_error" and isinstance(context.get("error"), RuleError):
        name, value, expected = context["error"].args
        if value is None:
            return InputError(f"{key}.{name}", "is not set", f"set it to {expected}")
        return InputError.mismatch(".".join([*keys, name]), repr(value), expected)
    return InputError.mismatch(key, repr(value), _words(kind, context, error["msg"]))


def _words(kind: str, context: dict, message: str) -> str:
    """What pydantic expects, as a continuation of `expected`."""
    bounds = {
        "greater_than": "a number above {gt}",
        "greater_than_equal": "a number from {ge}",
        "less_than": "a number below {lt}",
        "less_than_equal": "a number up to {le}",
        "string_pattern_mismatch": "text of the form {pattern}",
        "string_too_short": "text",
        "too_short": "a list of at least {min_length}",
        "too_long": "a list of at most {max_length}",
        "literal_error": "{expected}",
        "int_type": "a whole number",
        "float_type": "a number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "dict_type": "a group of settings",
        "model_type": "a group of settings",
        "model_attributes_type": "a group of settings",
        "finite_number": "a finite number",
    }
    if kind in bounds:
        return bounds[kind].format(**context)
    return message.removeprefix("Input should be ")
