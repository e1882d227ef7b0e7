"""The songs of every choice, fetched as a user does: from a real server, or from a local path."""

import functools
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import soundfile

from metrics.errors import InputError
from stages import fetch_music, musdb18, params
from tests.conftest import ROOT, TEST_DATA
from tests.stages.disks import grow, small_disk
from tests.stages.server import Served, Server
from tests.stages.workspaces import command, environment, run_stage, workspace
from tests.yaml_files import read_yaml

SONGS = TEST_DATA / "data" / "music"  # the embedded ones, in MUSDB18-HQ's layout
STEMS = (
    Path(find_spec("stempeg").origin).parent / "data" / "The Easton Ellises - Falcon 69.stem.mp4"
)


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


def found(folder: Path) -> dict[str, str]:
    """The checksums of the files below a folder."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): md5(path.read_bytes()) for path in paths}


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


@functools.cache
def full(top: str = "") -> bytes:
    """MUSDB18-HQ's archive, of the embedded songs, below the folder `top`."""
    return zipped(
        {top + str(p.relative_to(SONGS)): p.read_bytes() for p in sorted(SONGS.glob("*/*/*"))}
    )


@functools.cache
def excerpts() -> bytes:
    """The excerpts' archive, of two."""
    stems = STEMS.read_bytes()
    names = ("train/A - Song.stem.mp4", "test/B - Song.stem.mp4")
    return zipped({**{name: stems for name in names}, "train/._A - Song.stem.mp4": b"Finder"})


@pytest.fixture
def server():
    with Server() as server:
        yield server


def record(checksum: str, name: str = "key") -> bytes:
    """What Zenodo says of the archive."""
    files = [
        {name: "README.md", "checksum": "md5:0"},
        {name: "musdb18hq.zip", "checksum": checksum},
    ]
    return json.dumps({"files": files}).encode()


def hq(root: Path, server: Server, archive: bytes, checksum: str | None = None, **served) -> Path:
    """A workspace that fetches MUSDB18-HQ from our server, whose record has the checksum."""
    server.files["musdb18hq.zip/content"] = Served(archive, **served)
    server.files["record"] = Served(record(md5(archive)))
    source = {"record": server.url("record"), "checksum": checksum}
    url = server.url("musdb18hq.zip/content")
    return workspace(root, "music", "musdb18hq", url=url, source=source)


def succeeds(root: Path) -> Path:
    """Runs the stage; returns data/music, beside which nothing is left over."""
    done = run_stage(root, "fetch_music")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (root / "data").iterdir()] == ["music"]
    assert not [path for path in left(root) if path.suffix != ".lock"]
    return root / "data" / "music"


def left(root: Path) -> list[Path]:
    return [path for path in (root / "scratch").rglob("*") if path.is_file()]


def fails(root: Path) -> str:
    """Runs the stage; returns its one line, after which there is no data/music."""
    done = run_stage(root, "fetch_music")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("ERROR: ") == 1
    assert not (root / "data" / "music").exists()
    return done.stderr.splitlines()[-1]


def is_whole(music: Path, source: dict | None = None) -> None:
    files = found(music)
    if source is not None:
        del files["source.json"]
        assert json.loads((music / "source.json").read_text()) == source
    assert files == found(SONGS)


def told(server: Server, archive: bytes) -> dict:
    url = server.url("musdb18hq.zip/content")
    return {"url": url, "checksum": md5(archive), "bytes": len(archive)}


# --- MUSDB18-HQ -----------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "musdb18hq/"])
def test_the_songs_are_fetched_whole_and_musdb_reads_them(server, tmp_path, top):
    import musdb

    music = succeeds(hq(tmp_path, server, full(top)))
    is_whole(music, told(server, full(top)))
    tracks = list(musdb.DB(str(music), is_wav=True))
    assert sorted(track.subset for track in tracks) == ["test", "train", "train"]
    assert all(len(track.sources) == 4 for track in tracks)


def test_the_same_archive_is_noted_in_the_same_bytes(server, tmp_path):
    first = found(succeeds(hq(tmp_path / "1", server, full())))
    assert found(succeeds(hq(tmp_path / "2", server, full(), cuts=[9, 99]))) == first


def test_cut_off_at_random_bytes_it_is_gone_on_with(server, tmp_path):
    chance = random.Random(5)
    cuts = [chance.randrange(len(full()) // 4) for _ in range(3)]
    is_whole(succeeds(hq(tmp_path, server, full(), cuts=cuts)), told(server, full()))
    assert server.sent("musdb18hq.zip/content") == len(full())


def test_a_server_without_ranges(server, tmp_path):
    root = hq(tmp_path, server, full(), ranges=False, cuts=[1_000_000])
    is_whole(succeeds(root), told(server, full()))


def test_a_redirect(server, tmp_path):
    root = hq(tmp_path, server, b"", location=server.url("elsewhere"))
    server.files["elsewhere"] = Served(full())
    server.files["record"] = Served(record(md5(full())))
    is_whole(succeeds(root), told(server, full()))


def test_busy_at_first(server, tmp_path):
    busy = [(503, {"Retry-After": "0"})] * 3
    root = hq(tmp_path, server, full(), failures=list(busy))
    server.files["record"].failures = list(busy)
    is_whole(succeeds(root), told(server, full()))


def test_a_missing_archive_is_one_line_at_once(server, tmp_path):
    root = hq(tmp_path, server, full())
    served = server.files.pop("musdb18hq.zip/content")
    assert fails(root) == (
        f"ERROR: {server.url('musdb18hq.zip/content')}: found HTTP 404 Not Found, expected "
        "the songs (a mirror: music.url; a copy: music.path)"
    )
    assert len(server.asked) == 2
    server.files["musdb18hq.zip/content"] = served
    is_whole(succeeds(root), told(server, full()))


def test_a_wrong_checksum_is_one_line_and_fetched_anew(server, tmp_path):
    root = hq(tmp_path, server, full())
    wrong = full()[:-1] + b"x"
    server.files["musdb18hq.zip/content"].content = wrong
    line = fails(root)
    assert line.endswith(f"content: found {md5(wrong)}, expected {md5(full())}")
    server.files["musdb18hq.zip/content"].content = full()
    is_whole(succeeds(root), told(server, full()))


def test_a_configured_checksum_wins_and_the_record_is_not_asked(server, tmp_path):
    sha256 = f"sha256:{hashlib.sha256(full()).hexdigest()}"
    root = hq(tmp_path, server, full(), checksum=sha256)
    server.files["record"].content = record("md5:" + "0" * 32)
    is_whole(succeeds(root), {**told(server, full()), "checksum": sha256})
    assert [asked.path for asked in server.asked] == ["/musdb18hq.zip/content"]


def test_the_record_of_an_older_zenodo(server, tmp_path):
    root = hq(tmp_path, server, full())
    server.files["record"].content = record(md5(full()).removeprefix("md5:"), name="filename")
    is_whole(succeeds(root), told(server, full()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "other content"),
        (b"[]", "other content"),
        (b'{"files": []}', "other content"),
        (b'{"files": [{"key": "musdb18.zip", "checksum": "md5:0"}]}', "other content"),
        (b'{"files": [{"key": "musdb18hq.zip"}]}', "other content"),
        (record("crc:12"), "the checksum 'crc:12'"),
        (b"\xff", "binary content"),
    ],
)
def test_a_record_without_the_checksum_is_one_line(server, tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    server.files["record"] = Served(content)
    with pytest.raises(InputError) as caught:
        musdb18.published_checksum(server.url("record"))
    assert str(caught.value) == (
        f"{server.url('record')}: found {reason}, expected a record with the checksum of "
        "musdb18hq.zip (or give it: music.source.checksum)"
    )


def test_a_missing_record_is_one_line_and_nothing_is_fetched(server, tmp_path):
    root = hq(tmp_path, server, full())
    del server.files["record"]
    assert "/record: found HTTP 404 Not Found, expected a record with the checksum" in fails(root)
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["../outside.wav", "/outside.wav", "train/../../outside.wav"])
def test_an_archive_that_would_write_elsewhere_is_refused(server, tmp_path, name):
    evil = zipped({"train/a/mixture.wav": b"x", name: b"evil"})
    root = hq(tmp_path / "workspace", server, evil)
    assert f"found the member {name!r}, expected names that stay in the folder" in fails(root)
    assert not list(tmp_path.rglob("*outside*"))
    assert not Path("/outside.wav").exists()
    assert not [path for path in left(root) if path.suffix != ".lock"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.txt": b""}, "found no train/ and test/, expected songs in these two folders"),
        ({"train/a/mixture.wav": b"", "test/a/b": b""}, "train/a/vocals.wav: found no such file"),
    ],
)
def test_an_archive_of_something_else_is_refused(server, tmp_path, members, message):
    assert message in fails(hq(tmp_path, server, zipped(members)))


def test_a_full_disk_is_one_line_and_what_is_here_is_gone_on_with(server, tmp_path):
    """First while the archive is fetched, whose size is not told; then while it is unpacked."""
    small = tmp_path / "small"
    songs = sum(path.stat().st_size for path in SONGS.rglob("*.wav"))
    assert len(full()) < songs < 1.3 * len(full())
    with small_disk(small, f"{len(full()) // 2}"):
        root = hq(small, server, full(), sized=False)
        message = "found no space left, expected room for the output"
        assert fails(root).endswith(f"musdb18hq.zip.part: {message}")
        # What is unpacked and what is still packed are never there whole at the same time.
        grow(small, f"{len(full()) + 200_000}")
        line = fails(root)
        assert line.endswith(f".wav: {message}")
        grow(small, f"{int(songs * 1.1)}")
        server.asked.clear()
        is_whole(succeeds(root), told(server, full()))
        assert server.sent("musdb18hq.zip/content") == 0


def test_too_little_room_is_said_before_it_is_fetched(server, tmp_path):
    with small_disk(tmp_path / "small", "1m"):
        root = hq(tmp_path / "small", server, full())
        assert " free, expected 4." in fails(root)
        assert not list(root.rglob("*.part")) or not max(
            path.stat().st_size for path in root.rglob("*.part")
        )


def killed(root: Path, when) -> None:
    """Kills the stage, run as a user does, when the condition holds."""
    process = subprocess.Popen(
        command("fetch_music"), cwd=root, env=environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not when():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (root / "data" / "music").exists()


def test_killed_while_it_fetches_only_the_missing_bytes_are_fetched(server, tmp_path):
    gate, half = threading.Event(), len(full()) // 2
    root = hq(tmp_path, server, full(), before_gate=half, gate=gate)

    def parts():
        return list(root.glob("scratch/downloads/*/*.part"))

    killed(root, lambda: any(part.stat().st_size > half // 2 for part in parts()))
    gate.set()
    have = parts()[0].stat().st_size
    server.files["musdb18hq.zip/content"] = Served(full())
    server.asked.clear()
    is_whole(succeeds(root), told(server, full()))
    assert server.sent("musdb18hq.zip/content") == len(full()) - have


# A stage that is killed at the n-th call of one of its functions.
KILLED = """
import os, sys
from stages import {module} as module
from stages.fetch_music import main
from stages.run import run
count, step = 0, module.{name}
def killing(*arguments, **options):
    global count
    count += 1
    if count == {number}:
        os.kill(os.getpid(), 9)
    return step(*arguments, **options)
module.{name} = killing
run(main)
"""


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        ("unpack", "_write", 1),
        ("unpack", "_write", 8),
        ("unpack", "writing", 15),
        ("unpack", "_is_there", 12),
        ("musdb18", "take", 1),
        ("musdb_folder", "songs", 1),
        ("outputs", "adopt", 1),
    ],
)
def test_killed_anywhere_it_is_gone_on_with_and_nothing_is_fetched_twice(
    server, tmp_path, module, name, number
):
    root = hq(tmp_path, server, full())
    script = KILLED.format(module=module, name=name, number=number)
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment())
    assert done.returncode == -signal.SIGKILL
    assert not (root / "data" / "music").exists()
    is_whole(succeeds(root), told(server, full()))
    assert server.sent("musdb18hq.zip/content") == len(full())


def test_another_archive_at_the_same_address_replaces_unfinished_work(server, tmp_path):
    root = hq(tmp_path, server, full())
    script = KILLED.format(module="unpack", name="_write", number=8)
    subprocess.run([sys.executable, "-c", script], cwd=root, env=environment())
    hq(root, server, full("top/"))
    is_whole(succeeds(root), told(server, full("top/")))


def test_older_songs_stay_until_the_new_ones_are_there(server, tmp_path):
    root = hq(tmp_path, server, full())
    is_whole(succeeds(root), told(server, full()))
    server.files["musdb18hq.zip/content"].content = b"other"
    done = run_stage(root, "fetch_music")
    assert done.returncode == 1
    is_whole(root / "data" / "music", told(server, full()))


def test_a_copy_of_the_archive_is_unpacked_and_stays(tmp_path):
    archive = tmp_path / "musdb18hq.zip"
    archive.write_bytes(full("musdb18hq/"))
    source = {"record": "http://nowhere.invalid", "checksum": md5(archive.read_bytes())}
    root = workspace(tmp_path / "1", "music", "musdb18hq", path=str(archive), source=source)
    is_whole(succeeds(root))
    assert archive.read_bytes() == full("musdb18hq/")
    source["checksum"] = md5(b"")
    root = workspace(tmp_path / "2", "music", "musdb18hq", path=str(archive), source=source)
    assert fails(root) == f"ERROR: {archive}: found {md5(full('musdb18hq/'))}, expected {md5(b'')}"


def test_a_copy_of_the_folder_is_copied_and_nothing_else_of_it(tmp_path):
    shutil.copytree(SONGS, tmp_path / "mine" / "musdb18hq")
    (tmp_path / "mine/musdb18hq/train/notes.txt").write_text("x")
    (song,) = (tmp_path / "mine/musdb18hq/test").iterdir()
    (song / "linear_mixture.wav").write_text("x")
    path = str(tmp_path / "mine")
    is_whole(succeeds(workspace(tmp_path / "1", "music", "musdb18hq", path=path)))


# --- one's own songs ------------------------------------------------------------------------


def test_a_folder_is_copied_relative_to_the_workspace_too(tmp_path):
    shutil.copytree(SONGS, tmp_path / "mine")
    is_whole(succeeds(workspace(tmp_path / "1", "music", "folder", path=str(tmp_path / "mine"))))
    is_whole(succeeds(workspace(tmp_path / "2", "music", "folder", path="../mine")))


def without_a_stem(folder):
    sorted(folder.glob("train/*/drums.wav"))[0].unlink()


def without_songs(folder):
    shutil.rmtree(folder / "test")
    (folder / "test").mkdir()


def without_a_split(folder):
    shutil.rmtree(folder / "test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            without_a_stem,
            r"(train)/drums.wav: found no such file, expected a song's five WAV files",
        ),
        (without_songs, "mine/test: found no songs, expected a folder per song"),
        (without_a_split, "mine: found no train/ and test/, expected songs in these two folders"),
        (shutil.rmtree, "ERROR: music.path: found nothing at "),
    ],
)
def test_a_bad_folder_is_one_line(tmp_path, damage, message):
    shutil.copytree(SONGS, tmp_path / "mine")
    damage(tmp_path / "mine")
    assert message in fails(workspace(tmp_path / "1", "music", "folder", path="../mine"))


def test_a_file_is_no_folder_of_songs(tmp_path):
    (tmp_path / "mine.zip").write_bytes(full())
    line = fails(workspace(tmp_path / "1", "music", "folder", path="../mine.zip"))
    assert line.startswith("ERROR: music.path: found the file ")
    assert line.endswith("mine.zip, expected the folder that holds train/ and test/")


# --- the excerpts ---------------------------------------------------------------------------


def are_decoded(music: Path) -> None:
    files = found(music)
    files.pop("source.json", None)
    assert {name for name in files} == {
        f"{song}/{stem}.wav"
        for song in ("train/A - Song", "test/B - Song")
        for stem in ("mixture", "vocals", "drums", "bass", "other")
    }
    # The embedded song, whose first part is cut from the same file.
    for name in ("mixture", "vocals", "drums", "bass", "other"):
        (part,) = SONGS.glob(f"train/*(train)/{name}.wav")
        expected, _ = soundfile.read(part, dtype="int16")
        for song in ("train/A - Song", "test/B - Song"):
            samples, rate = soundfile.read(music / song / f"{name}.wav", dtype="int16")
            assert (rate, samples.ndim) == (44100, 2)
            assert (samples[: len(expected)] == expected).all()


def test_excerpts_are_fetched_and_decoded(server, tmp_path):
    server.files["7s.zip"] = Served(excerpts(), cuts=[100_000])
    root = workspace(tmp_path, "music", "musdb18_7s", url=server.url("7s.zip"))
    music = succeeds(root)
    are_decoded(music)
    assert json.loads((music / "source.json").read_text()) == {
        "url": server.url("7s.zip"),
        "checksum": f"sha256:{hashlib.sha256(excerpts()).hexdigest()}",
        "bytes": len(excerpts()),
    }


def test_excerpts_that_are_here_are_decoded(tmp_path):
    (tmp_path / "7s.zip").write_bytes(excerpts())
    with zipfile.ZipFile(tmp_path / "7s.zip") as archive:
        archive.extractall(tmp_path / "7s")
    for path in ("../7s.zip", "../7s"):
        root = workspace(
            tmp_path / Path(path).name.replace(".", ""), "music", "musdb18_7s", path=path
        )
    are_decoded(succeeds(root))
    assert (tmp_path / "7s.zip").read_bytes() == excerpts()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"train/a.stem.mp4": b"no audio", "test/b.stem.mp4": STEMS.read_bytes()},
            "train/a.stem.mp4: found other content, expected 5 stereo streams of equal length",
        ),
        (
            {
                "train/a.stem.mp4": STEMS.read_bytes()[:-300_000],
                "test/b.stem.mp4": STEMS.read_bytes(),
            },
            "train/a.stem.mp4: found ",
        ),
        ({"train/a.stem.mp4": b"", "test/b.wav": b""}, "test: found no *.stem.mp4, expected a STE"),
    ],
)
def test_bad_excerpts_are_one_line(server, tmp_path, members, message):
    server.files["7s.zip"] = Served(zipped(members))
    root = workspace(tmp_path, "music", "musdb18_7s", url=server.url("7s.zip"))
    assert message in fails(root)


def test_the_excerpts_address_is_the_musdb_packages():
    assert musdb18.excerpts_address().startswith("https://github.com/sigsep/")
    assert musdb18.excerpts_address().endswith(".zip")


# --- the embedded excerpt -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "0" * 64}, r"stem.mp4: found sha256 874a.*, expected 0{64}$"),
        (
            {"parts": {"train": [0.0, 2.5], "valid": [2.5, 4.0], "test": [4.0, 60.0]}},
            r"^music.source.parts.test: found 60.0 s, expected at most 6.\d\d s$",
        ),
    ],
)
def test_another_embedded_excerpt_is_refused(tmp_path, change, message):
    values = read_yaml(ROOT / "params.yaml")
    values["music"] = read_yaml(ROOT / "conf" / "music" / "mini.yaml")
    values["music"]["source"] |= change
    with pytest.raises(InputError, match=message):
        fetch_music.fetch(params.check(values).music, tmp_path / "music")
    assert not list(tmp_path.iterdir())


def test_the_embedded_excerpt_is_cut(tmp_path):
    is_whole(succeeds(workspace(tmp_path, "music", "mini")))
    assert os.listdir(tmp_path / "data") == ["music"]
