"""Reading YAML files as DVC reads them."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from contract.errors import InputError


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, by the rules of YAML 1.2: `1e-3` is a number, `yes` a text.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not YAML.
    """
    try:
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    # A ValueError is text that is not UTF-8, or a date that no calendar has.
    except (YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(path, f"is not valid YAML ({reason})") from None
