"""Typed access to configuration.yaml, of which every value is checked before a stage does any work.

The comments in conf/ explain the keys.
"""

from collections.abc import Mapping
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
from contract.composed import read_groups
from contract.errors import InputError, alternatives
from contract.layout import CONFIGURATION
from contract.model_settings import SPEAKERS, SpleeterSettings, SVoiceSettings
from contract.ranges import COUNT, LARGEST, NOT_NEGATIVE, POSITIVE, SAMPLES, WHOLE
from contract.scores import PESQ_MODES


class Strict(BaseModel):
    """A group of configuration.yaml without unknown keys, silent conversions and NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


# The ranges of `contract.ranges` as pydantic's types.
Count = Annotated[int, Field(ge=COUNT.least, le=COUNT.most)]
Whole = Annotated[int, Field(ge=WHOLE.least, le=WHOLE.most)]
Positive = Annotated[float, Field(gt=POSITIVE.least)]
NonNegative = Annotated[float, Field(ge=NOT_NEGATIVE.least)]
Text = Annotated[str, Field(min_length=1)]
_SIZE = "^[1-9][0-9]*[bkmg]$"
CHECKSUM = "^(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})$"
Size = Annotated[str, Field(pattern=_SIZE)]  # of memory, as Docker writes it
Checksum = Annotated[str, Field(pattern=CHECKSUM)]
Details = Mapping[str, Any]  # one of pydantic's errors, as pydantic describes it
COMPOSE = "run `dvc exp run` to compose configuration.yaml from conf/"
# The patterns in words, for errors.
_FORMS = {
    _SIZE: "a whole number with the unit b, k, m or g, such as 16g",
    CHECKSUM: "md5: with 32 or sha256: with 64 hexadecimal digits",
}


class RuleError(ValueError):
    """A value that breaks a rule over several keys.

    Args:
        key: the key of the wrong value, relative to the model that checks the rule.
        value: the wrong value; None if the user has to set one.
        expected: what is allowed, in words.
    """

    def __init__(self, key: str, value: object, expected: str) -> None:
        super().__init__(key, value, expected)


# --- data ---------------------------------------------------------------------------------


class Parts(Strict):
    """The part of an excerpt that each split is cut from: its start and its end, in seconds."""

    train: list[NonNegative] = Field(min_length=2, max_length=2)
    valid: list[NonNegative] = Field(min_length=2, max_length=2)
    test: list[NonNegative] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def _check_order(self) -> "Parts":
        for key in ("train", "valid", "test"):
            start, end = getattr(self, key)
            if end <= start:
                raise RuleError(key, [start, end], "a start before its end")
        return self


class Excerpt(Strict):
    """The embedded song: a file of the stempeg package, and the parts of it that are used."""

    file: str
    sha256: str
    parts: Parts


class Zenodo(Strict):
    """A record at Zenodo, which states the archive's checksum unless one is set here."""

    record: str
    checksum: Checksum | None


class Archive(Strict):
    """A zip archive, which is verified by a checksum if one is set."""

    checksum: Checksum | None


class _Music(Strict):
    """What all choices of the group `music` have in common.

    Attributes:
        sample_rate: in Hz.
        path: the user's own copy.
        url: the address to download from.
        validation_tracks: the songs of the train folder that are used for validation; None stands
            for the last tenth of them by name.
    """

    sample_rate: Count
    path: str | None
    url: str | None
    validation_tracks: Annotated[list[str], Field(min_length=1)] | None


class MiniMusic(_Music):
    """The excerpt of a song that the stempeg package ships."""

    name: Literal["mini"]
    path: None
    url: None
    source: Excerpt


class Musdb18HQ(_Music):
    """MUSDB18-HQ, downloaded or from the user's own copy."""

    name: Literal["musdb18hq"]
    url: str
    source: Zenodo


class Musdb18Excerpts(_Music):
    """Seven seconds of each song of MUSDB18, downloaded or from the user's own copy."""

    name: Literal["musdb18_7s"]
    source: Archive


class MusicFolder(_Music):
    """A folder with the user's own songs."""

    name: Literal["folder"]
    url: None
    source: None

    @model_validator(mode="after")
    def _require_path(self) -> "MusicFolder":
        if self.path is None:
            raise RuleError("path", None, "the folder that holds train/ and test/")
        return self


class Voice(Strict):
    """A voice of the embedded prompts: Debian's package, and the person who speaks."""

    package: str
    speaker: str


class Mixtures(Strict):
    """The number of mixtures in each split."""

    train: Count
    valid: Count
    test: Count


class Subsets(Strict):
    """The subset of LibriSpeech that each split takes its utterances from."""

    train: str
    valid: str
    test: str


class _Speech(Strict):
    """What all choices of the group `speech` have in common.

    Attributes:
        speakers: the number of speakers in a mixture.
        sample_rate: in Hz.
        mode: `min` cuts the sources of a mixture to the shortest, `max` pads them to the longest.
    """

    speakers: Annotated[int, Field(ge=SPEAKERS.least, le=SPEAKERS.most)]
    sample_rate: Count
    mode: Literal["min", "max"]


class MiniSpeech(_Speech):
    """Mixtures of the telephone prompts in Debian's packages."""

    name: Literal["mini", "prompts"]
    seed: Whole
    mixtures: Mixtures
    voices: dict[str, Voice]

    @model_validator(mode="after")
    def _check_people(self) -> "MiniSpeech":
        people = len({voice.speaker for voice in self.voices.values()})
        if self.speakers > people:
            raise RuleError("speakers", self.speakers, f"at most {people}, the people in voices")
        return self


class WSJ0Mix(_Speech):
    """WSJ0-2mix to WSJ0-5mix, made by the published recipes from the user's licensed corpus."""

    name: Literal["wsj0_2mix", "wsj0_3mix", "wsj0_4mix", "wsj0_5mix"]
    sample_rate: Literal[8000, 16000]
    corpus: str | None
    lists: str | None
    url: str

    @model_validator(mode="after")
    def _check_speakers(self) -> "WSJ0Mix":
        if self.name != f"wsj0_{self.speakers}mix":
            raise RuleError("speakers", self.speakers, f"the number in {self.name}")
        return self

    @model_validator(mode="after")
    def _require_corpus(self) -> "WSJ0Mix":
        if self.corpus is None:
            expected = "your licensed copy of WSJ0 (LDC93S6A), the folder that holds wsj0/si_tr_s"
            raise RuleError("corpus", None, expected)
        return self


class LibriSpeechMix(_Speech):
    """Mixtures of LibriSpeech's utterances, made as in WSJ0-mix."""

    name: Literal["librispeech_2mix"]
    sample_rate: Literal[8000, 16000]
    corpus: str | None
    url: str
    subsets: Subsets
    seed: Whole
    mixtures: Mixtures


class SVoiceDebug(_Speech):
    """The eight mixtures of the study, downloaded or from the user's own copy."""

    name: Literal["svoice_debug"]
    speakers: Literal[2]
    sample_rate: Literal[8000]
    path: str | None
    url: str


class SpeechFolder(_Speech):
    """A folder with the user's own mixtures."""

    name: Literal["folder"]
    path: str | None

    @model_validator(mode="after")
    def _require_path(self) -> "SpeechFolder":
        if self.path is None:
            raise RuleError("path", None, "the folder that holds tr/, cv/ and tt/")
        return self


# --- the menu's choices ---------------------------------------------------------------------


def _check_optimizer(values: Any) -> dict[str, Any]:
    """Checks the group `optimizer`, a name and the settings of each trainer, and returns it."""
    if not isinstance(values, dict):
        raise InputError.mismatch("optimizer", repr(values), "a name, and each trainer's settings")
    for key in values:
        if key not in ("name", menu.SPLEETER, menu.SVOICE):
            remedy = f"the settings belong in optimizer.{menu.SPLEETER} and optimizer.{menu.SVOICE}"
            raise InputError(f"optimizer.{key}", "there is no such setting", remedy)
    name = menu.check_name("optimizer", values.get("name"))
    return {
        "name": name,
        **{
            trainer: menu.check_optimizer(name, values.get(trainer), trainer)
            for trainer in (menu.SPLEETER, menu.SVOICE)
        },
    }


# --- evaluation, runtime, and all groups together -----------------------------------------


class Evaluation(Strict):
    """How the estimates are scored.

    Attributes:
        window_seconds: the length of the windows in which music is scored.
        hop_seconds: the time from one window to the next.
        pesq: whether to compute PESQ of speech.
        stoi: whether to compute STOI of speech.
    """

    window_seconds: Positive
    hop_seconds: Positive
    pesq: bool
    stoi: bool


class _Runtime(Strict):
    """What all choices of the group `runtime` have in common.

    Attributes:
        gpus: the GPUs of a training: `auto`, `all`, `none`, a count, or a list of numbers or
            UUIDs.
    """

    gpus: Any

    @model_validator(mode="after")
    def _check_gpus(self) -> "_Runtime":
        is_word = self.gpus in ("auto", "all", "none")
        # `type`, because True is an instance of int.
        is_count = type(self.gpus) is int and 0 < self.gpus <= LARGEST
        is_list = (
            isinstance(self.gpus, list)
            and len(self.gpus) > 0
            and all(type(gpu) in (int, str) for gpu in self.gpus)
        )
        if not (is_word or is_count or is_list):
            expected = "auto, all, none, a count, or a list of numbers or UUIDs"
            raise RuleError("gpus", self.gpus, expected)
        return self


class LocalRuntime(_Runtime):
    """The trainers run in virtual environments."""

    name: Literal["local"]


class Bases(Strict):
    """The base image of each trainer's image, or `auto`."""

    spleeter: Text
    svoice: Text


class ContainerRuntime(_Runtime):
    """The trainers run in containers.

    Attributes:
        name: what runs the containers: the Docker engine, or podman.
        base: the images that the trainers' images are built on.
        memory: the limit of a container's memory, such as `16g`; None sets no limit.
        cpus: the processors of a container, such as 4 or 0.5; None stands for all.
        shared_memory: the shared memory for processes that load data, such as `1g`.
    """

    name: Literal["docker", "podman"]
    base: Bases
    memory: Size | None
    cpus: Positive | None
    shared_memory: Size


Music = MiniMusic | Musdb18HQ | Musdb18Excerpts | MusicFolder
Speech = MiniSpeech | WSJ0Mix | LibriSpeechMix | SVoiceDebug | SpeechFolder
Runtime = LocalRuntime | ContainerRuntime


class Params(Strict):
    """All groups of configuration.yaml."""

    seed: Whole
    evaluation: Evaluation
    music: Annotated[Music, Discriminator("name")]
    speech: Annotated[Speech, Discriminator("name")]
    spleeter: Annotated[InstanceOf[SpleeterSettings], BeforeValidator(SpleeterSettings.read)]
    svoice: Annotated[InstanceOf[SVoiceSettings], BeforeValidator(SVoiceSettings.read)]
    optimizer: Annotated[dict[str, Any], BeforeValidator(_check_optimizer)]
    schedule: Annotated[dict[str, Any], BeforeValidator(partial(menu.check_choice, "schedule"))]
    clipping: Annotated[dict[str, Any], BeforeValidator(partial(menu.check_choice, "clipping"))]
    runtime: Annotated[Runtime, Discriminator("name")]

    @model_validator(mode="after")
    def _check_pesq(self) -> "Params":
        rate = self.speech.sample_rate
        if self.evaluation.pesq and rate not in PESQ_MODES:
            raise RuleError("evaluation.pesq", True, f"false, as speech.sample_rate is {rate}")
        return self

    @model_validator(mode="after")
    def _check_durations(self) -> "Params":
        rate = self.music.sample_rate
        self.spleeter.check_sample_rate(rate)
        self.svoice.check_sample_rate(self.speech.sample_rate)
        for key in ("window_seconds", "hop_seconds"):
            seconds = getattr(self.evaluation, key)
            if not 0.5 < seconds * rate <= LARGEST:  # rounded, it is from 1 to LARGEST
                raise RuleError(f"evaluation.{key}", seconds, SAMPLES)
        return self


def check(values: dict[str, Any]) -> Params:
    """Checks parameters and returns them typed.

    Args:
        values: all groups, as configuration.yaml has them.

    Raises:
        InputError: a key is missing, unknown, or has a wrong value. The first one is reported.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise explain(error, values) from None


def load(path: Path = CONFIGURATION) -> Params:
    """Reads and checks configuration.yaml.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, is not YAML, or `check` refuses its contents.
    """
    try:
        return check(read_groups(path))
    except FileNotFoundError:
        raise InputError(path, "there is no such file", "run `dvc exp run` to compose it") from None


def choices_with(group: str, key: str) -> list[str]:
    """Returns the choices of a group in which a key may have a value, such as `music=folder`.

    Args:
        group: a key of `Params`.
        key: a key of the group, or a path of keys joined by dots.
    """
    annotation = Params.model_fields[group].annotation
    models = get_args(annotation) or [annotation]
    return [
        f"{group}={name}"
        for model in models
        if _is_model(model)
        for name in get_args(model.model_fields["name"].annotation)
        if _accepts_value(model, key.split("."))
    ]


def _accepts_value(model: type[Strict], keys: list[str]) -> bool:
    """Returns whether a model has a key, given as its path, that is not always null."""
    field = model.model_fields.get(keys[0])
    if field is None:
        return False
    if len(keys) == 1:
        return field.annotation is not type(None)
    return _is_model(field.annotation) and _accepts_value(field.annotation, keys[1:])


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Strict)


def explain(
    error: ValidationError, values: Any, file: str | Path = "", if_missing: str = COMPOSE
) -> InputError:
    """Returns the first of pydantic's errors as an error for the user.

    Args:
        error: what a model has found.
        values: what it has checked, as YAML has it.
        file: the name that stands before that of the key; empty for configuration.yaml, which is
            the only file with its keys.
        if_missing: what to do about a key that is missing.
    """
    keys, value, details = _first(error, values)
    kind, context = details[0]["type"], details[0].get("ctx", {})

    def where(*more_keys: str) -> str:
        return ", ".join(filter(None, (str(file), ".".join([*keys, *more_keys]))))

    if kind == "none_required":
        group, name = keys
        expected = f"null, as {group}={values[group]['name']} takes no {name}"
        if others := choices_with(group, name):
            expected += f"; {alternatives(others)} takes one"
        return InputError.mismatch(where(), repr(value), expected)
    if kind == "missing":
        return InputError(where(), "is missing", if_missing)
    if kind == "union_tag_not_found":
        return InputError(where("name"), "is missing", if_missing)
    if kind == "extra_forbidden":
        problem = f"there is no such key here (its value is {value!r})"
        return InputError(where(), problem, "remove it")
    if kind == "union_tag_invalid":
        names = context["expected_tags"].replace("'", "").split(", ")
        return InputError.mismatch(where("name"), repr(context["tag"]), alternatives(names))
    if kind == "value_error" and isinstance(context.get("error"), RuleError):
        name, value, expected = context["error"].args
        if value is None:
            return InputError(where(name), "is not set", f"set it to {expected}")
        return InputError.mismatch(where(name), repr(value), expected)
    expectations = list(dict.fromkeys(map(_expected, details)))
    return InputError.mismatch(where(), repr(value), alternatives(expectations))


def _first(error: ValidationError, values: Any) -> tuple[list[str], Any, list[Details]]:
    """Returns the path of the first wrong key, its value, and pydantic's errors about it.

    They are several if the value may be of several kinds. Of a list that is not of a kind with a
    wrong value in it, that value is returned.
    """
    located = [(*_locate(details, values), details) for details in error.errors()]
    first_keys = located[0][0]
    inside = [entry for entry in located if entry[0][: len(first_keys)] == first_keys]
    keys, value, _ = max(inside, key=lambda entry: len(entry[0]))
    return keys, value, [details for other_keys, _, details in inside if other_keys == keys]


def _locate(details: Details, values: Any) -> tuple[list[str], Any]:
    """Returns the path of keys that one of pydantic's errors is about, and their value."""
    keys: list[str] = []
    value = values
    for part in details["loc"]:
        has_part = part in value if isinstance(value, dict) else isinstance(part, int)
        if has_part:
            value = value[part]
        elif details["type"] == "missing" and part == details["loc"][-1]:
            value = None
        else:
            continue  # pydantic adds the name of a choice or of a kind, which is no key of the file
        keys.append(str(part))
    return keys, value


def _expected(details: Details) -> str:
    """Returns what pydantic expects of a value, in words that continue `expected`."""
    kind, context = details["type"], details.get("ctx", {})
    expectations = {
        "greater_than": "a number above {gt:g}",
        "greater_than_equal": "a number of at least {ge:g}",
        "less_than": "a number below {lt:g}",
        "less_than_equal": "a number of at most {le}",
        "string_too_short": "text that is not empty",
        "too_short": "a list of at least {min_length} values",
        "too_long": "a list of at most {max_length} values",
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
    if kind == "string_pattern_mismatch":
        return _FORMS[context["pattern"]]
    if kind == "too_short" and context["min_length"] == 1:
        return "a list that is not empty"
    if kind in expectations:
        return expectations[kind].format(**context)
    return details["msg"].removeprefix("Input should be ")
