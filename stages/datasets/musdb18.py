"""MUSDB18: as MUSDB18-HQ (WAV), and as excerpts of 7 seconds (STEMS).

The archive is downloaded and unpacked below scratch/music, so that a run that is killed resumes.
data/music appears when all is done. source.json beside the songs states the address, checksum and
size of the archive.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from contract import files
from contract.errors import InputError
from contract.layout import scratch_root
from contract.locks import lock
from contract.names import check_names
from contract.params import CHECKSUM, Musdb18Excerpts, Musdb18HQ
from contract.yaml_files import read_yaml
from metrics.core.progress import progress
from metrics.workers import KilledWorkerError, on_all_cores
from stages.datasets import musdb_folder
from stages.datasets.stems import SUFFIX, decode, write_song
from stages.fetching.checksums import wrong_checksum
from stages.fetching.download import (
    digest,
    download,
    download_text,
    file_name,
    move_download,
    without_secrets,
)
from stages.fetching.unpack import unpack

ARCHIVE = "musdb18hq.zip"  # its name in the Zenodo record
SOURCE = "source.json"
REMEDY = "set music.url to a mirror, or music.path to your copy"


def fetch_full(music: Musdb18HQ, target: Path) -> None:
    """Copies the songs of MUSDB18-HQ, or unpacks its archive.

    The user's own copy, unpacked or as a zip, stays as it is. A downloaded archive frees its room
    on the disk while it is unpacked, so that archive and songs are never there completely at the
    same time.

    Args:
        music: the configuration.
        target: the new folder of the songs.

    Raises:
        InputError: there is no such copy, or the archive cannot be downloaded, has another
            checksum, or does not hold the songs.
    """
    checksum = music.source.checksum
    if music.path is not None:
        copy = musdb_folder.find_copy(music.path, may_be_archive=True)
        if copy.is_dir():
            musdb_folder.copy_songs(copy, target)
            return
        with _unpacked_copy(copy, checksum) as root:
            musdb_folder.find_songs(root)
            files.adopt(root, target)
        return
    checksum = checksum or published_checksum(music.source.record)
    with _unpacked_download(music.url, checksum, consume=True) as (root, source):
        musdb_folder.find_songs(root)
        files.write(root / SOURCE, source)
        files.adopt(root, target)


def fetch_excerpts(music: Musdb18Excerpts, target: Path) -> None:
    """Decodes the excerpts' STEMS files, which are downloaded or the user's own.

    Args:
        music: the configuration.
        target: the new folder of the songs.

    Raises:
        InputError: there is no such copy, or the excerpts cannot be downloaded, have another
            checksum, or cannot be decoded.
    """
    if music.path is not None:
        copy = musdb_folder.find_copy(music.path, may_be_archive=True)
        if copy.is_dir():
            _decode_all(copy, target, music.sample_rate)
            return
        with _unpacked_copy(copy, music.source.checksum) as root:
            _decode_all(root, target, music.sample_rate)
    else:
        url = music.url or excerpts_address()
        with _unpacked_download(url, music.source.checksum, consume=False) as (root, source):
            _decode_all(root, target, music.sample_rate, source)


def published_checksum(record: str) -> str:
    """Returns the checksum of MUSDB18-HQ's archive that its Zenodo record states.

    Args:
        record: the record's address.

    Raises:
        InputError: the record cannot be downloaded, or does not state the checksum.
    """
    remedy = f"set music.source.checksum to the checksum of {ARCHIVE}"
    where = without_secrets(record)
    content = download_text(record, remedy)
    try:
        entries = {
            entry.get("key") or entry["filename"]: entry for entry in json.loads(content)["files"]
        }
        checksum = str(entries[ARCHIVE]["checksum"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(where, f"is not a record with the checksum of {ARCHIVE}", remedy) from None
    if ":" not in checksum:  # older records leave the algorithm out
        checksum = f"md5:{checksum}"
    if not re.fullmatch(CHECKSUM, checksum):
        raise InputError(where, f"states {checksum!r}, which is not a checksum", remedy)
    return checksum


def excerpts_address() -> str:
    """Returns the address from which the installed musdb package downloads the excerpts."""
    configuration = Path(find_spec("musdb").origin).parent / "configs" / "mus.yaml"
    return read_yaml(configuration)["sample-url"]


@contextmanager
def _unpacked_download(url: str, checksum: str | None, consume: bool) -> Iterator[tuple[Path, str]]:
    """Downloads and unpacks an archive. Yields the folder of train/ and test/, and source.json."""
    with _work_folder("fetched", url) as work:
        archive, source = _download_archive(work, url, checksum)
        unpack(archive, work / "unpacked", consume)
        yield musdb_folder.find_root(work / "unpacked", without_secrets(url)), source


@contextmanager
def _unpacked_copy(archive: Path, expected: str | None) -> Iterator[Path]:
    """Unpacks the user's archive, which stays as it is. Yields the folder of train/ and test/."""
    if expected is not None:
        checksum = digest(archive, expected.partition(":")[0])
        if checksum != expected:
            raise wrong_checksum(archive, checksum, expected)
    status = archive.stat()
    key = ("copy", str(archive.resolve()), status.st_size, status.st_mtime_ns)
    with _work_folder(*key) as work:
        unpack(archive, work / "unpacked")
        yield musdb_folder.find_root(work / "unpacked", archive)


@contextmanager
def _work_folder(*key: str | int) -> Iterator[Path]:
    """Yields a folder for unfinished work; the same key gets the same folder.

    After a full disk, or a kill of this process or a worker, the folder stays, so that the next
    call resumes. It is removed when the work is done, and when the input turns out to be bad.
    """
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    folder = scratch_root() / "music" / name
    with lock(folder.with_suffix(".lock"), "the same songs"):
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        except KilledWorkerError:
            raise
        except InputError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def _download_archive(work: Path, url: str, checksum: str | None) -> tuple[Path, str]:
    """Downloads an archive into the folder `work`, unless it is there already.

    It does not stay among the downloads, because an archive that frees its room while it is
    unpacked is of use only together with what was unpacked from it.

    Returns:
        The archive, and the content of source.json.
    """
    source_path, archive = work / SOURCE, work / file_name(url)
    if archive.is_file() and source_path.is_file():
        source = source_path.read_text()
        if checksum in (None, json.loads(source)["checksum"]):
            return archive, source
    shutil.rmtree(work)
    work.mkdir()
    path = download(url, checksum, REMEDY)
    details = {
        "url": without_secrets(url),
        "checksum": checksum or digest(path, "sha256"),
        "bytes": path.stat().st_size,
    }
    source = files.json_text(details)
    files.write(source_path, source)
    move_download(path, archive)
    return archive, source


def _decode_all(root: Path, target: Path, sample_rate: int, source: str | None = None) -> None:
    """Decodes the STEMS files below `root`, on all cores, to the new folder `target`.

    Args:
        root: the folder of train/ and test/.
        target: the new folder.
        sample_rate: in Hz.
        source: the content of source.json; None writes none.
    """
    paths = sorted(
        path.relative_to(root)
        for split in musdb_folder.SPLITS
        for path in (root / split).glob(f"[!.]*{SUFFIX}")
    )
    for split in musdb_folder.SPLITS:
        if split not in {path.parts[0] for path in paths}:
            raise InputError(
                root / split, f"has no files *{SUFFIX}", "add at least one song to each split"
            )
    check_names(root / path for path in paths)
    with files.new_folder(target) as songs:
        decode_song = partial(_decode_song, root=root, songs=songs, sample_rate=sample_rate)
        # Closed before `songs` is removed, so that no worker still writes there.
        with closing(on_all_cores(decode_song, paths)) as results:
            for _ in zip(progress(paths, "fetch_music", "song"), results, strict=True):
                pass
        if source is not None:
            files.write(songs / SOURCE, source)


def _decode_song(path: Path, root: Path, songs: Path, sample_rate: int) -> None:
    folder = songs / path.with_name(path.name.removesuffix(SUFFIX))
    write_song(folder, decode(root / path, sample_rate), sample_rate)
