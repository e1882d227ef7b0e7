"""The eight mixtures of the study: those of the debug folder of SVoice's repository."""

from __future__ import annotations

from pathlib import Path

from contract.files import new_folder
from contract.layout import CONF
from contract.params import SVoiceDebug
from metrics.core.progress import progress
from stages.datasets.wsj0mix import SPLITS
from stages.fetching import small_files
from stages.fetching.checksums import read_checksums

CHECKSUMS = CONF / "speech" / "svoice_debug.sha256"


def fetch(speech: SVoiceDebug, corpus: Path, recipes: Path) -> None:
    """Puts the same eight mixtures into every split, as in the study.

    They become corpus/{tr,cv,tt}/{mix,s1,s2}/<name>.wav.

    Args:
        speech: the configuration.
        corpus: the new folder of the mixtures.
        recipes: a new folder, which stays empty: the mixtures are ready-made.

    Raises:
        InputError: a file is missing, cannot be downloaded, or has another checksum.
    """
    checksums = list(read_checksums(CHECKSUMS.read_text()).items())
    with new_folder(recipes), new_folder(corpus) as mixtures:
        for name, sha256 in progress(checksums, "fetch_speech", "file"):
            content = small_files.read(
                name,
                speech.path,
                speech.url,
                sha256,
                key="speech.path",
                description="the study's mixtures and their sources",
            )
            for split in SPLITS.values():
                path = mixtures / split / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
