"""What the names of an experiment's choices imply: the configuration that they alone compose."""

from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metrics.errors import InputError
from metrics.yaml_files import read_yaml

MENU = "config"  # .yaml: the groups, in the order in which they are composed


def implied(conf: Path, params: dict) -> dict | None:
    """The configuration of the same choices without any other setting.

    Args:
        conf: the Hydra groups that `params` were composed from.
        params: an experiment's whole configuration, in which each group has its `name`.

    Returns:
        The configuration, or None where `conf` cannot tell: it is not there, or has no such choice.
    """
    path = conf / f"{MENU}.yaml"
    if not path.is_file():
        return None
    try:
        entries = read_yaml(path).get("defaults", [])
        groups = [group for entry in entries if isinstance(entry, dict) for group in entry]
        # Others, as `optional study_settings`, follow from these.
        names = {group: params[group]["name"] for group in groups if " " not in group}
        return _composed(conf, tuple(f"{group}={name}" for group, name in names.items()))
    except (InputError, HydraException, OmegaConfBaseException, KeyError, TypeError):
        return None


@cache
def _composed(conf: Path, overrides: tuple[str, ...]) -> dict:
    with initialize_config_dir(str(conf.absolute()), version_base=None):
        return OmegaConf.to_container(compose(MENU, list(overrides)), resolve=True)
