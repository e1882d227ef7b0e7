"""Composes params.yaml only from what is right, and refuses anything else in one clear line.

Hydra reports an unknown group or key over many lines, and checks no ranges. conf/hydra_plugins
wraps its composing method with `strict`, before DVC composes an experiment's configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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
from contract.layout import CONF
from contract.params import Params, check, choices_with
from studies.hand_edits import report_edits
from studies.overrides import check_choices
from studies.repository import check_repository

ROOT = Path(__file__).resolve().parents[1]
# The keys of params.yaml that are chosen by the name of a file in conf/.
CONF_GROUPS = [key for key in Params.model_fields if (ROOT / CONF / key).is_dir()]
TEMPORARY = {"--temp", "--queue"}  # the options of `dvc exp run` that make temporary workspaces


def strict(load_configuration: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """Returns Hydra's composing method with checks before and after it.

    A bad configuration ends the process by `SystemExit`, which passes through DVC untouched:
    nothing is written, queued or run.

    Args:
        load_configuration: `load_configuration` of Hydra's loader.
    """

    @wraps(load_configuration)
    def load(*args: Any, **kwargs: Any) -> DictConfig:
        overrides = kwargs.get("overrides", args[2] if len(args) > 2 else [])
        try:
            check_repository(ROOT, temporary=not TEMPORARY.isdisjoint(sys.argv))
            check_choices(overrides, CONF_GROUPS)
            config = load_configuration(*args, **kwargs)
            own_keys = [key for key in config if key != "hydra"]
            params = OmegaConf.to_container(OmegaConf.masked_copy(config, own_keys), resolve=True)
            check(params)
            report_edits(ROOT, params)
        except InputError as error:
            sys.exit(f"ERROR: {error}")
        except (HydraException, OmegaConfBaseException) as error:
            sys.exit(f"ERROR: {_one_line(error)}")
        return config

    return load


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
    return InputError(key, "there is no such key", "see the keys in params.yaml")
