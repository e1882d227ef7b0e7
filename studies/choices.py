"""Composes configurations outside of DVC: what an experiment's choices imply, what it will be."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from contract.errors import InputError
from contract.yaml_files import read_yaml

MENU = "config"  # .yaml: the groups, in the order in which they are composed


def implied(conf: Path, params: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the configuration of the same choices without any other setting.

    Args:
        conf: the folder of Hydra groups that `params` were composed from.
        params: an experiment's whole configuration, in which each group has its `name`.

    Returns:
        The configuration, or None if it cannot be composed: `conf` does not exist, or does not hold
        one of the choices.
    """
    path = conf / f"{MENU}.yaml"
    if not path.is_file():
        return None
    try:
        entries = read_yaml(path).get("defaults", [])
        groups = [group for entry in entries if isinstance(entry, dict) for group in entry]
        # A group such as `optional study_settings` follows from the others.
        names = {group: params[group]["name"] for group in groups if " " not in group}
        return composed(conf, tuple(f"{group}={name}" for group, name in names.items()))
    except (InputError, HydraException, OmegaConfBaseException, KeyError, TypeError):
        return None


@cache
def composed(conf: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Returns the configuration that overrides compose.

    Args:
        conf: the folder of Hydra groups.
        overrides: in Hydra's grammar.

    Raises:
        HydraException: Hydra cannot compose them.
    """
    with initialize_config_dir(str(conf.absolute()), version_base=None):
        return OmegaConf.to_container(compose(MENU, list(overrides)), resolve=True)
