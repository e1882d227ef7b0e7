"""MUSDB18: as MUSDB18-HQ (WAV), and as excerpts of 7 seconds (STEMS).

The archive is fetched and unpacked below scratch/music, which outlives a kill; data/music appears
when all is done, with source.json beside the songs: the address, checksum and size of the archive.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from metrics.errors import InputError
from metrics.names import check_names
from metrics.progress import progress
from metrics.workers import on_all_cores
from metrics.yaml_files import read_yaml
from stages import musdb_folder, outputs
from stages.download import digest, download, file_name, shown, take, text
from stages.lock import lock
from stages.params import Musdb18Excerpts, Musdb18HQ
from stages.scratch import scratch_root
from stages.stems import decode, write_song
from stages.unpack import unpack

ARCHIVE = "musdb18hq.zip"  # what the record calls it
SOURCE = "source.json"
STEMS = ".stem.mp4"


def fetch_full(music: Musdb18HQ, archive: Path | None, target: Path) -> None:
    """Unpacks MUSDB18-HQ's archive to the folder `target`.

    While it unpacks, a fetched archive gives its room on the disk back: both are never there whole.

    Args:
        archive: a copy that is here already; None fetches it.

    Raises:
        InputError: the archive cannot be had, is another, or does not hold the songs.
    """
    checksum = music.source.checksum
    if archive is not None:
        with _unpacked_copy(archive, checksum) as root:
            musdb_folder.songs(root)
            outputs.adopt(root, target)
        return
    checksum = checksum or published_checksum(music.source.record)
    with _unpacked(music.url, checksum, consume=True) as (root, source):
        musdb_folder.songs(root)
        outputs.write(root / SOURCE, source)
        outputs.adopt(root, target)


def fetch_excerpts(music: Musdb18Excerpts, copy: Path | None, target: Path) -> None:
    """Decodes the excerpts' STEMS files to the folder `target`.

    Args:
        copy: the unpacked folder or the zip, if it is here already; None fetches it.

    Raises:
        InputError: they cannot be had, are others, or do not decode.
    """
    if copy is not None and copy.is_dir():
        _decode_all(musdb_folder.find(copy, copy), target, music.sample_rate)
    elif copy is not None:
        with _unpacked_copy(copy, music.source.checksum) as root:
            _decode_all(root, target, music.sample_rate)
    else:
        url = music.url or excerpts_address()
        with _unpacked(url, music.source.checksum, consume=False) as (root, source):
            _decode_all(root, target, music.sample_rate, source)


def published_checksum(record: str) -> str:
    """The checksum of MUSDB18-HQ's archive, as its Zenodo record (an address) has it."""
    expected = f"a record with the checksum of {ARCHIVE} (or give it: music.source.checksum)"
    content = text(record, expected)
    try:
        files = {file.get("key") or file["filename"]: file for file in json.loads(content)["files"]}
        checksum = str(files[ARCHIVE]["checksum"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(shown(record), "other content", expected) from None
    if ":" not in checksum:  # Zenodo once left it out
        checksum = f"md5:{checksum}"
    if not re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", checksum):
        raise InputError(shown(record), f"the checksum {checksum!r}", expected)
    return checksum


def excerpts_address() -> str:
    """Where the installed musdb package would fetch the excerpts from."""
    configuration = Path(find_spec("musdb").origin).parent / "configs" / "mus.yaml"
    return read_yaml(configuration)["sample-url"]


@contextmanager
def _unpacked(url: str, checksum: str | None, consume: bool) -> Iterator[tuple[Path, str]]:
    """The folder with train/ and test/ of the archive at `url`, and what source.json will say."""
    with _work("fetched", url) as work:
        archive, source = _archive(work, url, checksum)
        unpack(archive, work / "unpacked", consume)
        yield musdb_folder.find(work / "unpacked", shown(url)), source


@contextmanager
def _unpacked_copy(archive: Path, checksum: str | None) -> Iterator[Path]:
    """The folder with train/ and test/ of an archive that is here; it stays as it is."""
    if checksum is not None:
        found = digest(archive, checksum.partition(":")[0])
        if found != checksum:
            raise InputError(archive, found, checksum)
    status = archive.stat()
    with _work("copy", str(archive.resolve()), status.st_size, status.st_mtime_ns) as work:
        unpack(archive, work / "unpacked")
        yield musdb_folder.find(work / "unpacked", archive)


@contextmanager
def _work(*key) -> Iterator[Path]:
    """A folder for unfinished work on what `key` determines.

    It outlives a kill, a full disk and the like, so that the next call goes on there. It is removed
    when the work is done, and when its input turned out bad.
    """
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    folder = scratch_root() / "music" / name
    with lock(folder.with_suffix(".lock"), "the same songs"):
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        except InputError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def _archive(work: Path, url: str, checksum: str | None) -> tuple[Path, str]:
    """The fetched archive, and what source.json will say of it.

    It is moved from the downloads to the folder that it is unpacked in: one that has given room
    back is whole only together with what was unpacked of it.
    """
    note, archive = work / SOURCE, work / file_name(url)
    if archive.is_file() and note.is_file():
        source = note.read_text()
        if checksum in (None, json.loads(source)["checksum"]):
            return archive, source
    shutil.rmtree(work)
    work.mkdir()
    fetched = download(url, checksum, "the songs (a mirror: music.url; a copy: music.path)")
    known = checksum or digest(fetched, "sha256")
    details = {"url": shown(url), "checksum": known, "bytes": fetched.stat().st_size}
    source = json.dumps(details, indent=2) + "\n"
    outputs.write(note, source)
    take(fetched, archive)
    return archive, source


def _decode_all(tree: Path, target: Path, sample_rate: int, source: str | None = None) -> None:
    found = sorted(
        path.relative_to(tree)
        for split in musdb_folder.SPLITS
        for path in (tree / split).glob(f"[!.]*{STEMS}")
    )
    for split in musdb_folder.SPLITS:
        if split not in {path.parts[0] for path in found}:
            raise InputError(tree / split, f"no *{STEMS}", "a STEMS file per song")
    check_names(tree / path for path in found)
    with outputs.directory(target) as root:
        job = partial(_decode_song, tree=tree, root=root, sample_rate=sample_rate)
        for _ in zip(progress(found, "fetch_music", "song"), on_all_cores(job, found), strict=True):
            pass
        if source is not None:
            outputs.write(root / SOURCE, source)


def _decode_song(path: Path, tree: Path, root: Path, sample_rate: int) -> None:
    song = root / path.with_name(path.name.removesuffix(STEMS))
    write_song(song, decode(tree / path, sample_rate), sample_rate)
