"""The eight mixtures that the study used, of the debug folder of SVoice's repository."""

from pathlib import Path

from metrics.errors import InputError
from metrics.progress import progress
from stages.checksums import check_sha256, read_checksums
from stages.download import discard, download
from stages.given import given
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
            content = _file(speech, name, sha256)
            for split in SPLITS.values():
                copy = ready / split / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)


def _file(speech: SVoiceDebug, name: str, sha256: str) -> bytes:
    if speech.path is None:
        path = download(f"{speech.url}/{name}", f"sha256:{sha256}")
        content = path.read_bytes()
        discard(path)
        return content
    path = given(speech.path) / name
    if not path.is_file():
        raise InputError(path, "no such file", "a mixture or source, in the folder speech.path")
    content = path.read_bytes()
    check_sha256(path, content, sha256)
    return content
