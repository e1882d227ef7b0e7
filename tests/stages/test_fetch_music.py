"""The songs of every choice of music, fetched from a real server or from a local path."""

import functools
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import soundfile

from contract import params
from contract.errors import InputError
from stages import fetch_music
from stages.datasets import musdb18
from stages.datasets.audio import ANOTHER_COPY
from stages.datasets.stems import STREAMS
from stages.fetching.unpack import ANOTHER_ARCHIVE
from tests.conftest import ROOT, TEST_DATA
from tests.stages import patience
from tests.stages.disks import grow, small_disk
from tests.stages.server import Served, Server
from tests.stages.workspaces import command, environment, run_stage, workspace
from tests.yaml_files import read_yaml

SONGS = TEST_DATA / "data" / "music"  # the embedded song, in MUSDB18-HQ's layout
STEMS_FILE = (
    Path(find_spec("stempeg").origin).parent / "data" / "The Easton Ellises - Falcon 69.stem.mp4"
)
ARCHIVE = "musdb18hq.zip/content"  # its path on the server
NO_SPACE = "no space left on device; make room on its disk and repeat the command"


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def wrong_checksum(where: str | Path, checksum: str, expected: str) -> str:
    remedy = "get another copy, or correct the checksum"
    return f"ERROR: {where}: has the checksum {checksum}, not {expected}; {remedy}"


def checksums(folder: Path) -> dict[str, str]:
    """The checksums of the files below a folder, by name."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): md5(path.read_bytes()) for path in paths}


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip of these files, by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


@functools.cache
def hq_archive(top: str = "") -> bytes:
    """An archive like MUSDB18-HQ's, with the embedded song below the folder `top`."""
    return zipped(
        {top + str(p.relative_to(SONGS)): p.read_bytes() for p in sorted(SONGS.glob("*/*/*"))}
    )


@functools.cache
def excerpts_archive() -> bytes:
    """An archive like the excerpts', with two of them."""
    stems = STEMS_FILE.read_bytes()
    names = ("train/A - Song.stem.mp4", "test/B - Song.stem.mp4")
    return zipped({**{name: stems for name in names}, "train/._A - Song.stem.mp4": b"Finder"})


@pytest.fixture
def server():
    with Server() as server:
        yield server


def record(checksum: str, name: str = "key") -> bytes:
    """Zenodo's record of the archive.

    Args:
        checksum: of the archive.
        name: the key under which the record has the names of files.
    """
    files = [
        {name: "README.md", "checksum": "md5:0"},
        {name: "musdb18hq.zip", "checksum": checksum},
    ]
    return json.dumps({"files": files}).encode()


def hq_workspace(
    root: Path, server: Server, archive: bytes, checksum: str | None = None, **served: Any
) -> Path:
    """Makes a workspace that fetches MUSDB18-HQ from our server.

    Args:
        root: the folder of the workspace.
        server: gets the archive, and a record with its checksum.
        archive: the archive's content.
        checksum: the one in the configuration.
        served: how the archive is served.
    """
    server.files[ARCHIVE] = Served(archive, **served)
    server.files["record"] = Served(record(md5(archive)))
    source = {"record": server.url("record"), "checksum": checksum}
    url = server.url(ARCHIVE)
    return workspace(root, "music", "musdb18hq", url=url, source=source)


def fetch(root: Path) -> Path:
    """Runs the stage, which must succeed and leave nothing but data/music. Returns data/music."""
    done = run_stage(root, "fetch_music")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (root / "data").iterdir()] == ["music"]
    assert not scratch_files(root)
    return root / "data" / "music"


def scratch_files(root: Path) -> list[Path]:
    """The files below the scratch folder, without locks."""
    paths = (root / "scratch").rglob("*")
    return [path for path in paths if path.is_file() and path.suffix != ".lock"]


def fail(root: Path) -> str:
    """Runs the stage, which must fail and make no data/music. Returns the error, its last line."""
    done = run_stage(root, "fetch_music")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("ERROR: ") == 1
    assert not (root / "data" / "music").exists()
    return done.stderr.splitlines()[-1]


def check_songs(music: Path, source: dict[str, Any] | None = None) -> None:
    """All songs are there; `source` is the content of source.json, None if there is none."""
    files = checksums(music)
    if source is not None:
        del files["source.json"]
        assert json.loads((music / "source.json").read_text()) == source
    assert files == checksums(SONGS)


def source_of(server: Server, archive: bytes) -> dict[str, Any]:
    """What source.json says of an archive."""
    url = server.url(ARCHIVE)
    return {"url": url, "checksum": md5(archive), "bytes": len(archive)}


# --- MUSDB18-HQ -----------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "musdb18hq/"])
def test_all_songs_are_fetched_and_musdb_reads_them(server, tmp_path, top):
    import musdb

    music = fetch(hq_workspace(tmp_path, server, hq_archive(top)))
    check_songs(music, source_of(server, hq_archive(top)))
    tracks = list(musdb.DB(str(music), is_wav=True))
    assert sorted(track.subset for track in tracks) == ["test", "train", "train"]
    assert all(len(track.sources) == 4 for track in tracks)


def test_the_same_archive_makes_the_same_files(server, tmp_path):
    first = checksums(fetch(hq_workspace(tmp_path / "1", server, hq_archive())))
    assert (
        checksums(fetch(hq_workspace(tmp_path / "2", server, hq_archive(), cuts=[9, 99]))) == first
    )


def test_an_interrupted_download_resumes(server, tmp_path):
    generator = random.Random(5)
    cuts = [generator.randrange(len(hq_archive()) // 4) for _ in range(3)]
    check_songs(
        fetch(hq_workspace(tmp_path, server, hq_archive(), cuts=cuts)),
        source_of(server, hq_archive()),
    )
    assert server.sent(ARCHIVE) == len(hq_archive())


def test_a_server_without_ranges_is_enough(server, tmp_path):
    root = hq_workspace(tmp_path, server, hq_archive(), ranges=False, cuts=[1_000_000])
    check_songs(fetch(root), source_of(server, hq_archive()))


def test_a_redirect_is_followed(server, tmp_path):
    root = hq_workspace(tmp_path, server, b"", location=server.url("elsewhere"))
    server.files["elsewhere"] = Served(hq_archive())
    server.files["record"] = Served(record(md5(hq_archive())))
    check_songs(fetch(root), source_of(server, hq_archive()))


def test_a_busy_server_is_asked_again(server, tmp_path):
    busy = [(503, {"Retry-After": "0"})] * 3
    root = hq_workspace(tmp_path, server, hq_archive(), failures=list(busy))
    server.files["record"].failures = list(busy)
    check_songs(fetch(root), source_of(server, hq_archive()))


def test_a_missing_archive_is_an_error_without_retries(server, tmp_path):
    root = hq_workspace(tmp_path, server, hq_archive())
    served = server.files.pop(ARCHIVE)
    assert fail(root) == (
        f"ERROR: {server.url(ARCHIVE)}: cannot be fetched: HTTP 404 Not Found; {musdb18.REMEDY}"
    )
    assert len(server.requests) == 2
    server.files[ARCHIVE] = served
    check_songs(fetch(root), source_of(server, hq_archive()))


def test_an_archive_with_a_wrong_checksum_is_downloaded_again(server, tmp_path):
    root = hq_workspace(tmp_path, server, hq_archive())
    wrong = hq_archive()[:-1] + b"x"
    server.files[ARCHIVE].content = wrong
    assert fail(root) == wrong_checksum(server.url(ARCHIVE), md5(wrong), md5(hq_archive()))
    server.files[ARCHIVE].content = hq_archive()
    check_songs(fetch(root), source_of(server, hq_archive()))


def test_with_a_configured_checksum_the_record_is_not_requested(server, tmp_path):
    sha256 = f"sha256:{hashlib.sha256(hq_archive()).hexdigest()}"
    root = hq_workspace(tmp_path, server, hq_archive(), checksum=sha256)
    server.files["record"].content = record("md5:" + "0" * 32)
    check_songs(fetch(root), {**source_of(server, hq_archive()), "checksum": sha256})
    assert [request.path for request in server.requests] == ["/musdb18hq.zip/content"]


def test_a_record_in_zenodos_older_format_is_read(server, tmp_path):
    root = hq_workspace(tmp_path, server, hq_archive())
    server.files["record"].content = record(md5(hq_archive()).removeprefix("md5:"), name="filename")
    check_songs(fetch(root), source_of(server, hq_archive()))


OTHER_CONTENT = "is not a record with the checksum of musdb18hq.zip"
SET_CHECKSUM = "set music.source.checksum to the checksum of musdb18hq.zip"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"<html>", OTHER_CONTENT),
        (b"[]", OTHER_CONTENT),
        (b'{"files": []}', OTHER_CONTENT),
        (b'{"files": [{"key": "musdb18.zip", "checksum": "md5:0"}]}', OTHER_CONTENT),
        (b'{"files": [{"key": "musdb18hq.zip"}]}', OTHER_CONTENT),
        (record("crc:12"), "states 'crc:12', which is not a checksum"),
        (b"\xff", "is not UTF-8 text"),
    ],
)
def test_a_record_without_the_checksum_is_refused(server, tmp_path, monkeypatch, content, problem):
    monkeypatch.chdir(tmp_path)
    server.files["record"] = Served(content)
    with pytest.raises(InputError) as caught:
        musdb18.published_checksum(server.url("record"))
    assert str(caught.value) == f"{server.url('record')}: {problem}; {SET_CHECKSUM}"


def test_without_a_record_nothing_is_downloaded(server, tmp_path):
    root = hq_workspace(tmp_path, server, hq_archive())
    del server.files["record"]
    assert fail(root) == (
        f"ERROR: {server.url('record')}: cannot be fetched: HTTP 404 Not Found; {SET_CHECKSUM}"
    )
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["../outside.wav", "/outside.wav", "train/../../outside.wav"])
def test_an_archive_that_would_write_elsewhere_is_refused(server, tmp_path, name):
    evil = zipped({"train/a/mixture.wav": b"x", name: b"evil"})
    root = hq_workspace(tmp_path / "workspace", server, evil)
    line = fail(root)
    problem = f"has the member {name!r}, whose name leaves the folder; {ANOTHER_ARCHIVE}"
    assert line.startswith(f"ERROR: {root}/scratch/music/")
    assert line.endswith(f": {problem}")
    assert not list(tmp_path.rglob("*outside*"))
    assert not Path("/outside.wav").exists()
    assert not scratch_files(root)


FIVE_FILES = "a song needs mixture.wav, vocals.wav, drums.wav, bass.wav, other.wav"
TWO_FOLDERS = "has no folders train/ and test/; put the songs into train/ and test/"


def test_an_archive_without_songs_is_refused(server, tmp_path):
    root = hq_workspace(tmp_path, server, zipped({"a.txt": b""}))
    assert fail(root) == f"ERROR: {server.url(ARCHIVE)}: {TWO_FOLDERS}"


def test_an_archive_of_incomplete_songs_is_refused(server, tmp_path):
    archive = zipped({"train/a/mixture.wav": b"", "test/a/b": b""})
    line = fail(hq_workspace(tmp_path, server, archive))
    assert line.startswith(f"ERROR: {tmp_path}/scratch/music/")
    assert line.endswith(f"/train/a/vocals.wav: there is no such file; {FIVE_FILES}")


def test_after_a_full_disk_the_next_run_resumes(server, tmp_path):
    """First while an archive of unknown size is downloaded, then while it is unpacked."""
    small = tmp_path / "small"
    songs = sum(path.stat().st_size for path in SONGS.rglob("*.wav"))
    assert len(hq_archive()) < songs < 1.3 * len(hq_archive())
    with small_disk(small, f"{len(hq_archive()) // 2}"):
        root = hq_workspace(small, server, hq_archive(), sized=False)
        assert fail(root).endswith(f"musdb18hq.zip.part: {NO_SPACE}")
        # There is room for either the archive or the songs, never for both.
        grow(small, f"{len(hq_archive()) + 200_000}")
        assert fail(root).endswith(f".wav: {NO_SPACE}")
        grow(small, f"{int(songs * 1.1)}")
        server.requests.clear()
        check_songs(fetch(root), source_of(server, hq_archive()))
        assert server.sent(ARCHIVE) == 0


def test_too_little_room_is_an_error_before_the_download(server, tmp_path):
    with small_disk(tmp_path / "small", "1m"):
        root = hq_workspace(tmp_path / "small", server, hq_archive())
        assert re.fullmatch(
            rf"ERROR: {root}/scratch/downloads/\w{{16}}: has \S+B free, and {server.url(ARCHIVE)} "
            r"needs 4\.\d\dMB; make room on its disk",
            fail(root),
        )
        assert not list(root.rglob("*.part")) or not max(
            path.stat().st_size for path in root.rglob("*.part")
        )


def start_and_kill(root: Path, condition: Callable[[], bool]) -> None:
    """Runs the stage, and kills it when the condition holds."""
    process = subprocess.Popen(
        command("fetch_music"), cwd=root, env=environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + patience.SECONDS
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (root / "data" / "music").exists()


def test_after_a_kill_only_the_missing_bytes_are_fetched(server, tmp_path):
    gate, half = threading.Event(), len(hq_archive()) // 2
    root = hq_workspace(tmp_path, server, hq_archive(), before_gate=half, gate=gate)

    def parts():
        return list(root.glob("scratch/downloads/*/*.part"))

    start_and_kill(root, lambda: any(part.stat().st_size > half // 2 for part in parts()))
    gate.set()
    have = parts()[0].stat().st_size
    server.files[ARCHIVE] = Served(hq_archive())
    server.requests.clear()
    check_songs(fetch(root), source_of(server, hq_archive()))
    assert server.sent(ARCHIVE) == len(hq_archive()) - have


# Runs the stage until it is killed at a call of one of its functions.
KILLED_STAGE = """
import os, sys
from {package} import {module} as module
from stages.fetch_music import main
from stages.run import run
calls, original = 0, module.{function}
def kill_or_call(*arguments, **options):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), 9)
    return original(*arguments, **options)
module.{function} = kill_or_call
run(main)
"""


@pytest.mark.parametrize(
    ("package", "module", "function", "call"),
    [
        ("stages.fetching", "unpack", "_write", 1),
        ("stages.fetching", "unpack", "_write", 8),
        ("stages.fetching", "unpack", "writing", 15),
        ("stages.fetching", "unpack", "_is_unpacked", 12),
        ("stages.datasets", "musdb18", "move_download", 1),
        ("stages.datasets", "musdb_folder", "find_songs", 1),
        ("contract", "files", "adopt", 1),
    ],
)
def test_after_a_kill_anywhere_the_next_run_fetches_nothing_twice(
    server, tmp_path, package, module, function, call
):
    root = hq_workspace(tmp_path, server, hq_archive())
    script = KILLED_STAGE.format(package=package, module=module, function=function, call=call)
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment())
    assert done.returncode == -signal.SIGKILL
    assert not (root / "data" / "music").exists()
    check_songs(fetch(root), source_of(server, hq_archive()))
    assert server.sent(ARCHIVE) == len(hq_archive())


def test_another_archive_at_the_same_address_replaces_unfinished_work(server, tmp_path):
    root = hq_workspace(tmp_path, server, hq_archive())
    script = KILLED_STAGE.format(
        package="stages.fetching", module="unpack", function="_write", call=8
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment())
    assert done.returncode == -signal.SIGKILL
    hq_workspace(root, server, hq_archive("top/"))
    check_songs(fetch(root), source_of(server, hq_archive("top/")))


def test_older_songs_stay_if_the_new_ones_are_bad(server, tmp_path):
    root = hq_workspace(tmp_path, server, hq_archive())
    check_songs(fetch(root), source_of(server, hq_archive()))
    server.files[ARCHIVE].content = b"other"
    done = run_stage(root, "fetch_music")
    assert done.returncode == 1
    check_songs(root / "data" / "music", source_of(server, hq_archive()))


def test_the_users_archive_is_unpacked_and_stays(tmp_path):
    archive = tmp_path / "musdb18hq.zip"
    archive.write_bytes(hq_archive("musdb18hq/"))
    source = {"record": "http://nowhere.invalid", "checksum": md5(archive.read_bytes())}
    root = workspace(tmp_path / "1", "music", "musdb18hq", path=str(archive), source=source)
    check_songs(fetch(root))
    assert archive.read_bytes() == hq_archive("musdb18hq/")
    source["checksum"] = md5(b"")
    root = workspace(tmp_path / "2", "music", "musdb18hq", path=str(archive), source=source)
    assert fail(root) == wrong_checksum(archive, md5(hq_archive("musdb18hq/")), md5(b""))


def test_of_the_users_folder_only_the_songs_are_copied(tmp_path):
    shutil.copytree(SONGS, tmp_path / "songs" / "musdb18hq")
    (tmp_path / "songs/musdb18hq/train/notes.txt").write_text("x")
    (song,) = (tmp_path / "songs/musdb18hq/test").iterdir()
    (song / "linear_mixture.wav").write_text("x")
    path = str(tmp_path / "songs")
    check_songs(fetch(workspace(tmp_path / "1", "music", "musdb18hq", path=path)))


# --- the user's own songs -------------------------------------------------------------------


def test_a_relative_path_starts_at_the_workspace(tmp_path):
    shutil.copytree(SONGS, tmp_path / "songs")
    check_songs(fetch(workspace(tmp_path / "1", "music", "folder", path=str(tmp_path / "songs"))))
    check_songs(fetch(workspace(tmp_path / "2", "music", "folder", path="../songs")))


def remove_a_stem(folder):
    sorted(folder.glob("train/*/drums.wav"))[0].unlink()


def remove_the_songs_of_a_split(folder):
    shutil.rmtree(folder / "test")
    (folder / "test").mkdir()


def remove_a_split(folder):
    shutil.rmtree(folder / "test")


SET_PATH = "set it to the folder that holds train/ and test/"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            remove_a_stem,
            "{own}/train/The Easton Ellises - Falcon 69 (train)/drums.wav: "
            f"there is no such file; {FIVE_FILES}",
        ),
        (remove_the_songs_of_a_split, "{own}/test: has no songs; add a folder for each song"),
        (remove_a_split, f"{{own}}: {TWO_FOLDERS}"),
        (shutil.rmtree, f"music.path: there is nothing at {{own}}; {SET_PATH}"),
    ],
)
def test_a_bad_folder_is_refused(tmp_path, damage, message):
    shutil.copytree(SONGS, tmp_path / "songs")
    damage(tmp_path / "songs")
    root = workspace(tmp_path / "1", "music", "folder", path="../songs")
    assert fail(root) == f"ERROR: {message.format(own=root / '../songs')}"


def test_an_archive_is_refused_as_a_folder_of_songs(tmp_path):
    (tmp_path / "songs.zip").write_bytes(hq_archive())
    root = workspace(tmp_path / "1", "music", "folder", path="../songs.zip")
    assert fail(root) == (f"ERROR: music.path: {root / '../songs.zip'} is not a folder; {SET_PATH}")


# --- the excerpts ---------------------------------------------------------------------------


def check_excerpts(music: Path) -> None:
    """The excerpts are there, with the samples of the embedded song, which is cut from them."""
    files = checksums(music)
    files.pop("source.json", None)
    assert set(files) == {
        f"{song}/{stem}.wav" for song in ("train/A - Song", "test/B - Song") for stem in STREAMS
    }
    for name in STREAMS:
        (part,) = SONGS.glob(f"train/*(train)/{name}.wav")
        expected, _ = soundfile.read(part, dtype="int16")
        for song in ("train/A - Song", "test/B - Song"):
            samples, rate = soundfile.read(music / song / f"{name}.wav", dtype="int16")
            assert (rate, samples.ndim) == (44100, 2)
            assert (samples[: len(expected)] == expected).all()


def test_excerpts_are_downloaded_and_decoded(server, tmp_path):
    server.files["7s.zip"] = Served(excerpts_archive(), cuts=[100_000])
    root = workspace(tmp_path, "music", "musdb18_7s", url=server.url("7s.zip"))
    music = fetch(root)
    check_excerpts(music)
    assert json.loads((music / "source.json").read_text()) == {
        "url": server.url("7s.zip"),
        "checksum": f"sha256:{hashlib.sha256(excerpts_archive()).hexdigest()}",
        "bytes": len(excerpts_archive()),
    }


def test_the_users_copy_of_the_excerpts_is_decoded(tmp_path):
    (tmp_path / "7s.zip").write_bytes(excerpts_archive())
    with zipfile.ZipFile(tmp_path / "7s.zip") as archive:
        archive.extractall(tmp_path / "7s")
    for folder, path in (("of a zip", "../7s.zip"), ("of a folder", "../7s")):
        check_excerpts(fetch(workspace(tmp_path / folder, "music", "musdb18_7s", path=path)))
    assert (tmp_path / "7s.zip").read_bytes() == excerpts_archive()


NOT_STEMS = f"is not a STEMS file of 5 stereo streams of equal length; {ANOTHER_COPY}"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"train/a.stem.mp4": b"no audio", "test/b.stem.mp4": STEMS_FILE.read_bytes()},
            f"train/a.stem.mp4: {NOT_STEMS}",
        ),
        (
            {
                "train/a.stem.mp4": STEMS_FILE.read_bytes()[:-300_000],
                "test/b.stem.mp4": STEMS_FILE.read_bytes(),
            },
            f"train/a.stem.mp4: {NOT_STEMS}",
        ),
        (
            {"train/a.stem.mp4": b"", "test/b.wav": b""},
            "test: has no files *.stem.mp4; add at least one song to each split",
        ),
    ],
    ids=["other content", "cut short", "none"],
)
def test_bad_excerpts_are_refused(server, tmp_path, members, message):
    server.files["7s.zip"] = Served(zipped(members))
    root = workspace(tmp_path, "music", "musdb18_7s", url=server.url("7s.zip"))
    line = fail(root)
    assert line.startswith(f"ERROR: {root}/scratch/music/")
    assert line.endswith(f"/{message}")


def test_after_a_kill_of_a_worker_the_next_run_fetches_nothing_twice(server, tmp_path):
    server.files["7s.zip"] = Served(excerpts_archive())
    root = workspace(tmp_path, "music", "musdb18_7s", url=server.url("7s.zip"))
    script = KILLED_STAGE.format(
        package="stages.datasets", module="musdb18", function="decode", call=1
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "ERROR: worker processes: one of them was killed" in done.stderr
    check_excerpts(fetch(root))
    assert server.sent("7s.zip") == len(excerpts_archive())


def test_the_address_of_the_excerpts_is_that_of_the_musdb_package():
    assert musdb18.excerpts_address().startswith("https://github.com/sigsep/")
    assert musdb18.excerpts_address().endswith(".zip")


# --- the embedded excerpt -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (
            {"sha256": "0" * 64},
            rf"{re.escape(str(STEMS_FILE))}: has the checksum sha256:874a\w{{60}}, "
            r"not sha256:0{64}; get another copy, or correct the checksum",
        ),
        (
            {"parts": {"train": [0.0, 2.5], "valid": [2.5, 4.0], "test": [4.0, 60.0]}},
            r"music\.source\.parts\.test: found an end at 60\.0 s, expected at most 6\.\d\d s",
        ),
    ],
    ids=["checksum", "length"],
)
def test_another_embedded_excerpt_is_refused(tmp_path, change, pattern):
    values = read_yaml(ROOT / "configuration.yaml")
    values["music"] = read_yaml(ROOT / "conf" / "music" / "mini.yaml")
    values["music"]["source"] |= change
    with pytest.raises(InputError) as caught:
        fetch_music.fetch(params.check(values).music, tmp_path / "music")
    assert re.fullmatch(pattern, str(caught.value))
    assert not list(tmp_path.iterdir())


def test_the_embedded_excerpt_is_cut(tmp_path):
    check_songs(fetch(workspace(tmp_path, "music", "mini")))
    assert os.listdir(tmp_path / "data") == ["music"]
