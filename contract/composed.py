"""The composed configuration, of which each trainer reads its part.

The pipeline checks all of it by `contract.params`, which needs pydantic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract import menu
from contract.errors import InputError
from contract.ranges import COUNT, WHOLE, Range
from contract.yaml_files import read_yaml


def read_groups(path: Path) -> dict[str, Any]:
    """Returns the groups of configuration.yaml, which are not checked.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not a YAML file, or holds something else.
    """
    groups = read_yaml(path)
    if not isinstance(groups, dict):
        problem = "does not hold the groups of conf/"
        raise InputError(path, problem, "run `dvc exp run` to compose it")
    return groups


class Composed:
    """A composed configuration.

    Args:
        values: the configuration, as configuration.yaml has it; it may hold more than is read.
        where: its name in errors about a missing key.
    """

    def __init__(self, values: Any, where: str | Path) -> None:
        self._values, self._where = values, where

    @classmethod
    def read(cls, path: Path) -> Composed:
        """Reads configuration.yaml.

        Args:
            path: the file.

        Raises:
            InputError: there is no such file, or it is not a YAML file.
        """
        try:
            return cls(read_yaml(path), path)
        except FileNotFoundError:
            raise InputError(path, "there is no such file", "compose it from conf/") from None

    def part(self, *keys: str) -> Any:
        """Returns the value under a path of keys, which is not checked.

        Args:
            keys: the path, as in `"optimizer", "name"`.

        Raises:
            InputError: the configuration has no such key.
        """
        value = self._values
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                problem = f"has no key {'.'.join(keys)}"
                raise InputError(self._where, problem, "compose it from conf/")
            value = value[key]
        return value

    def checked(self, setting_range: Range, *keys: str) -> Any:
        """Returns the value under a path of keys.

        Args:
            setting_range: its range.
            keys: the path.

        Raises:
            InputError: the configuration has no such key, or the value is not in its range.
        """
        return setting_range.check(".".join(keys), self.part(*keys))

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return self.checked(WHOLE, "seed")

    def sample_rate(self, group: str) -> int:
        """Returns the sample rate of the data, in Hz.

        Args:
            group: `music` or `speech`.

        Raises:
            InputError: the configuration has none, or it is not a positive whole number.
        """
        return self.checked(COUNT, group, "sample_rate")

    def optimizer(self, trainer: str) -> tuple[str, dict[str, Any]]:
        """Returns the optimizer's name and its settings.

        Args:
            trainer: `spleeter` or `svoice`, whose keys the settings have.

        Raises:
            InputError: the name or a setting is missing, unknown or wrong.
        """
        name = menu.check_name("optimizer", self.part("optimizer", "name"))
        return name, menu.check_optimizer(name, self.part("optimizer", trainer), trainer)

    def choice(self, group: str) -> dict[str, Any]:
        """Returns the name and the settings of a schedule or a clipping.

        Args:
            group: `schedule` or `clipping`.

        Raises:
            InputError: the name or a setting is missing, unknown or wrong.
        """
        return menu.check_choice(group, self.part(group))
