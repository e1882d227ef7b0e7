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
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

sys.path.append(str(Path(__file__).resolve().parents[2]))

from metrics.errors import InputError
from metrics.repository import check_repository
from stages.params import check

ROOT = Path(__file__).resolve().parents[2]
TEMPORARY = {"--temp", "--queue"}  # the options of `dvc exp run` that make temporary workspaces


def _strict(load_configuration):
    @wraps(load_configuration)
    def load(*args, **kwargs):
        try:
            check_repository(ROOT, temporary=not TEMPORARY.isdisjoint(sys.argv))
            config = load_configuration(*args, **kwargs)
            checked = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
            check(OmegaConf.to_container(checked, resolve=True))
        except InputError as error:
            sys.exit(f"ERROR: {error}")
        except HydraException as error:
            sys.exit(f"ERROR: {_one_line(error)}")
        return config

    return load


def _one_line(error: HydraException) -> str:
    if isinstance(error.__cause__, ConfigKeyError | ConfigAttributeError):
        key = error.__cause__.full_key
        return str(InputError(key, "no such key", "a key of conf/, as params.yaml shows them"))
    lines = [line.strip() for line in str(error).splitlines()]
    if "Config search path:" in lines:
        lines = lines[: lines.index("Config search path:")]
    message, *rest = [line for line in lines if line and "_type=" not in line]
    if rest and rest[0].startswith("Available options"):
        return f"{message}; {rest[0].lower()} {', '.join(rest[1:])}"
    return "; ".join([message, *rest])


ConfigLoaderImpl.load_configuration = _strict(ConfigLoaderImpl.load_configuration)
