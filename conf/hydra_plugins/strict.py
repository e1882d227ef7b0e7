"""Loaded by DVC as it composes params.yaml: refuses a bad configuration in one clear line.

Hydra reports an unknown group or key over many lines, and checks no ranges. DVC offers no hook
after composition, only this plugin folder (`hydra.plugins_path`), so the composing method of
Hydra's loader is wrapped here. `SystemExit` passes through DVC untouched: nothing is written,
queued or run.
"""

import sys
from functools import wraps
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    OmegaConfBaseException,
)

sys.path.append(str(Path(__file__).resolve().parents[2]))

from metrics.errors import InputError, alternatives
from metrics.repository import check_repository
from stages.hand_edits import tell
from stages.overrides import check_choices
from stages.params import Params, check, choices_with

ROOT = Path(__file__).resolve().parents[2]
# The keys of params.yaml that are chosen by the name of a file in conf/.
GROUPS = [key for key in Params.model_fields if (ROOT / "conf" / key).is_dir()]
TEMPORARY = {"--temp", "--queue"}  # the options of `dvc exp run` that make temporary workspaces


def _strict(load_configuration):
    @wraps(load_configuration)
    def load(*args, **kwargs):
        overrides = kwargs.get("overrides", args[2] if len(args) > 2 else [])
        try:
            check_repository(ROOT, temporary=not TEMPORARY.isdisjoint(sys.argv))
            check_choices(overrides, GROUPS)
            config = load_configuration(*args, **kwargs)
            checked = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
            params = OmegaConf.to_container(checked, resolve=True)
            check(params)
            tell(ROOT, params)
        except InputError as error:
            sys.exit(f"ERROR: {error}")
        except (HydraException, OmegaConfBaseException) as error:
            sys.exit(f"ERROR: {_one_line(error)}")
        return config

    return load


def _one_line(error: Exception) -> str:
    if isinstance(error, InterpolationKeyError):
        expected = "no ${…}, or one with a backslash before it where it is meant as it stands"
        return str(InputError(error.full_key, "a reference to a key that does not exist", expected))
    if isinstance(error.__cause__, ConfigKeyError | ConfigAttributeError):
        return str(_no_such_key(error.__cause__.full_key))
    lines = [line.strip() for line in str(error).splitlines()]
    if "Config search path:" in lines:
        lines = lines[: lines.index("Config search path:")]
    message, *rest = [line for line in lines if line and "_type=" not in line]
    if rest and rest[0].startswith("Available options"):
        return f"{message}; {rest[0].lower()} {', '.join(rest[1:])}"
    return "; ".join([message, *rest])


def _no_such_key(key: str) -> InputError:
    group, _, rest = key.partition(".")
    if group in GROUPS and rest and (choices := choices_with(group, rest)):
        return InputError(key, "no such key in this choice", f"it with {alternatives(choices)}")
    return InputError(key, "no such key", "a key of conf/, as params.yaml shows them")


ConfigLoaderImpl.load_configuration = _strict(ConfigLoaderImpl.load_configuration)
