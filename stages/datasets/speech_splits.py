"""The mixtures of speech in each split, as files."""

from __future__ import annotations

from pathlib import Path

from contract.errors import InputError
from contract.names import check_names
from contract.params import Speech
from contract.sources import MIXTURE
from stages.datasets.checks import Mixture
from stages.datasets.wsj0mix import SPLITS, part_names, split_folder


def find_mixtures(speech: Speech, root: Path) -> list[Mixture]:
    """Returns the mixtures of all splits, in each of them sorted by name.

    Whether their sources are there is checked later.

    Args:
        speech: the configuration.
        root: the folder that wav8k/ or wav16k/ is in.

    Raises:
        InputError: a split has no mixtures, or a mixture's name cannot be listed.
    """
    mixtures = []
    for split in SPLITS:
        folder = split_folder(root, speech.sample_rate, speech.mode, split)
        paths = sorted((folder / MIXTURE).glob("*.wav"))
        if not paths:
            raise InputError(folder / MIXTURE, "has no WAV files", "make the mixtures again")
        check_names(paths)
        sources = [folder / name for name in part_names(speech.speakers)[1:]]
        mixtures += [
            Mixture(split, path, tuple(source / path.name for source in sources)) for path in paths
        ]
    return mixtures
