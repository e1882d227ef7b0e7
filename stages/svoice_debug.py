"""The eight mixtures that the study used, of the debug folder of SVoice's repository."""

from pathlib import Path

from metrics.progress import progress
from stages import small_files
from stages.checksums import read_checksums
from stages.outputs import directory
from stages.params import SVoiceDebug
from stages.wsj0mix import SPLITS

CHECKSUMS = Path("conf/speech/svoice_debug.sha256")


def fetch(speech: SVoiceDebug, corpus: Path, recipes: Path) -> None:
    """Puts the same eight into each split, corpus/{tr,cv,tt}/{mix,s1,s2}/: as the study had it.

    Raises:
        InputError: a file that cannot be had, or is another.
    """
    checksums = list(read_checksums(CHECKSUMS.read_text()).items())
    with directory(recipes), directory(corpus) as ready:
        for name, sha256 in progress(checksums, "fetch_speech", "file"):
            expected = "a mixture or source"
            content = small_files.read(
                name, speech.path, speech.url, sha256, "speech.path", expected
            )
            for split in SPLITS.values():
                copy = ready / split / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
