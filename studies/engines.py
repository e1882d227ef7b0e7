"""Where a study's experiments run: a file of conf/engine/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from contract.errors import InputError, alternatives
from contract.layout import CONF
from contract.params import Count, Strict, Text, Whole, explain
from contract.yaml_files import read_yaml

ENGINES = CONF / "engine"
LOCAL = "local"  # the engine where none is named


class Local(Strict):
    """DVC's queue on this machine."""

    name: Literal["local"]


class Slurm(Strict):
    """A Slurm cluster. conf/engine/slurm.yaml explains the keys."""

    name: Literal["slurm"]
    shared: Text
    partition: Text | None
    account: Text | None
    time_limit: Text | None
    signal_seconds: Count
    requeues: Whole
    at_once: Count
    nodes: Count
    gres: Text | None
    cpus: Count
    memory: Text | None
    room_gb: Whole
    sbatch: list[Text]
    setup: list[Text]


Engine = Local | Slurm
_ENGINE = TypeAdapter(Annotated[Engine, Field(discriminator="name")])


def read_engine(name: str, folder: Path = ENGINES) -> Engine:
    """Reads an engine by its name.

    Args:
        name: the name of its file, without .yaml.
        folder: the folder of the engines.

    Raises:
        InputError: there is no such file, or it is not an engine.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        remedy = f"choose {alternatives(names)}" if names else f"restore the files of {folder}"
        raise InputError("ENGINE", f"there is no engine {name!r}", remedy)
    values = read_yaml(path)
    try:
        return _ENGINE.validate_python(values)
    except ValidationError as error:
        remedy = "an engine has the keys of conf/engine/slurm.yaml or conf/engine/local.yaml"
        raise explain(error, values, path, remedy) from None
