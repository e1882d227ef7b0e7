"""Reads and writes YAML by the rules of YAML 1.2."""

from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def read_yaml(path: Path) -> Any:
    """Returns the contents of a YAML file."""
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """Returns the contents of a YAML text."""
    return YAML(typ="safe").load(text)


def write_yaml(path: Path, values: Any) -> None:
    """Writes values as a YAML file, in block style."""
    text = StringIO()
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.dump(values, text)
    path.write_text(text.getvalue(), encoding="utf-8")
