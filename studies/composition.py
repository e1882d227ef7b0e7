"""Composes an experiment only from what is right, and refuses anything else in one clear line.

Hydra reports an unknown group or key over many lines, and checks no ranges. conf/hydra_plugins
wraps its composing method with `strict`, before DVC composes an experiment's configuration.

DVC would write all of it to params.yaml, and show every value as a column of `dvc exp show`. So the
whole is written to configuration.yaml, and params.yaml gets what people compare: the choices, the
seed and the rates, and whatever else differs from the default.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from pathlib import Path
from typing import Any

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    OmegaConfBaseException,
)

from contract.errors import InputError, alternatives
from contract.files import write
from contract.layout import CONF, CONFIGURATION, PARAMS
from contract.params import Params, check, choices_with
from contract.yaml_files import flat
from stages.settings import NAMED, RATES, summary
from studies.hand_edits import report_edits
from studies.overrides import check_choices
from studies.repository import check_repository

ROOT = Path(__file__).resolve().parents[1]
# The keys of the configuration that are chosen by the name of a file in conf/.
CONF_GROUPS = [key for key in Params.model_fields if (ROOT / CONF / key).is_dir()]
TEMPORARY = {"--temp", "--queue"}  # the options of `dvc exp run` that make temporary workspaces
_repository_is_checked = ContextVar("repository_is_checked", default=False)


@contextmanager
def in_checked_repository() -> Iterator[None]:
    """Composes experiments within the block without a check of the repository.

    For a process that composes many, in a repository that `check_repository` has accepted.
    """
    token = _repository_is_checked.set(True)
    try:
        yield
    finally:
        _repository_is_checked.reset(token)


def strict(load_configuration: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Returns Hydra's composing method with checks before and after it.

    A bad configuration ends the process by `SystemExit`, which passes through DVC untouched:
    nothing is written, queued or run.

    Args:
        load_configuration: `load_configuration` of Hydra's loader.
    """
    compositions: dict[tuple[str, ...], dict[str, Any]] = {}  # by the names of their choices

    @wraps(load_configuration)
    def load(*args: Any, **kwargs: Any) -> DictConfig:
        overrides = kwargs.get("overrides", args[2] if len(args) > 2 else [])
        try:
            if not _repository_is_checked.get():
                check_repository(ROOT, temporary=not TEMPORARY.isdisjoint(sys.argv))
            check_choices(overrides, CONF_GROUPS)
            config = load_configuration(*args, **kwargs)
            own_keys = [key for key in config if key != "hydra"]
            own = OmegaConf.to_container(OmegaConf.masked_copy(config, own_keys), resolve=True)
            check(own)

            def composed(*names: str) -> dict[str, Any]:
                """Returns what the names of choices compose without any other setting."""
                if names in compositions:
                    return compositions[names]
                values = {**kwargs, "overrides": list(names)}
                if len(args) > 2:
                    values.pop("overrides")
                    positions = (*args[:2], list(names), *args[3:])
                else:
                    positions = args
                other = load_configuration(*positions, **values)
                keys = [key for key in other if key != "hydra"]
                other_own = OmegaConf.masked_copy(other, keys)
                compositions[names] = OmegaConf.to_container(other_own, resolve=True)
                return compositions[names]

            short = shown(own, composed)
            report_edits(ROOT, {CONFIGURATION: own, PARAMS: short})
            _write(ROOT, OmegaConf.to_yaml(OmegaConf.create(own)))
            # DVC resolves what it gets, and these values are resolved already.
            result = OmegaConf.create({**_literal(short), "hydra": {}})
            result.hydra = config.hydra
        except InputError as error:
            sys.exit(f"ERROR: {error}")
        except (HydraException, OmegaConfBaseException) as error:
            sys.exit(f"ERROR: {_one_line(error)}")
        return result

    return load


def shown(configuration: dict[str, Any], composed: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """Returns what params.yaml says: a summary, and what differs from the default.

    Args:
        configuration: all groups.
        composed: returns all groups that some overrides such as `svoice=mini` compose.
    """
    choices = {
        group: values["name"]
        for group, values in configuration.items()
        if isinstance(values, dict) and "name" in values
    }
    default = composed()
    others = [f"{g}={name}" for g, name in choices.items() if name != default[g]["name"]]
    implied = flat(composed(*others) if others else default)
    summarised = {"seed", *RATES, *(f"{group}.name" for group in NAMED)}
    short = summary(configuration)
    for key, value in flat(configuration).items():
        group = key.split(".")[0]
        is_other_choice = key == f"{group}.name" and value != default[group]["name"]
        if key not in summarised and (is_other_choice or implied.get(key) != value):
            short[key] = value
    return short


def _literal(value: Any) -> Any:
    """Returns a value in whose texts OmegaConf reads no `${`."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value


def _write(root: Path, text: str) -> None:
    """Writes configuration.yaml and tells Git, as DVC does with params.yaml.

    DVC puts an experiment aside with `git stash`, which may overlook a file that was written in the
    same second as the index.
    """
    write(root / CONFIGURATION, text)
    command = ["git", "-C", str(root), "add", "--", str(CONFIGURATION)]
    subprocess.run(command, capture_output=True)


def _one_line(error: Exception) -> str:
    """Returns what an error of Hydra or OmegaConf says, as one line."""
    if isinstance(error, InterpolationKeyError):
        problem = "refers to a key that does not exist"
        remedy = r"if ${…} is meant literally, write \${…}"
        return str(InputError(error.full_key, problem, remedy))
    if isinstance(error.__cause__, ConfigKeyError | ConfigAttributeError):
        return str(_unknown_key(error.__cause__.full_key))
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return str(InputError.mismatch(group, repr(choice), f"one of {', '.join(error.options)}"))
    lines = [line.strip() for line in str(error).splitlines()]
    if "Config search path:" in lines:
        lines = lines[: lines.index("Config search path:")]
    return "; ".join(line for line in lines if line and "_type=" not in line)


def _unknown_key(key: str) -> InputError:
    group, _, rest = key.partition(".")
    if group in CONF_GROUPS and rest and (choices := choices_with(group, rest)):
        problem = f"this choice of {group} has no such key"
        return InputError(key, problem, f"it belongs to {alternatives(choices)}")
    return InputError(key, "there is no such key", f"see the keys in {CONFIGURATION}")
