"""Downloads from a real server on this machine: whole and verified, or one clear line."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import quote

import pytest

from metrics.errors import InputError
from stages import download, progress
from tests.conftest import ROOT
from tests.stages.disks import grow, small_disk
from tests.stages.server import Served, Server

CONTENT = random.Random(0).randbytes(700_000)
OTHER = random.Random(1).randbytes(len(CONTENT))
MODIFIED = formatdate(1e9, usegmt=True)


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)
    return tmp_path


@pytest.fixture
def server():
    with Server() as server:
        yield server


def left(tmp_path) -> list[str]:
    """What lies below the downloads, but for locks."""
    paths = (tmp_path / "scratch" / "downloads").rglob("*")
    return sorted(path.name for path in paths if path.is_file() and path.suffix != ".lock")


def as_a_stage(*arguments: str, before: str = "") -> list:
    """The command of a process that downloads as a stage does."""
    script = f"""
import sys
from stages import download
from stages.run import run
{before}
run(lambda: print(download.download(*sys.argv[1:])), own_arguments=True)
"""
    return [sys.executable, "-c", script, *arguments]


def process(folder, command, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def interrupted(server, path, at):
    """A download that ended after so many bytes, as a kill would end it."""
    served = server.files[path]
    served.cuts = [at]
    patience, download.ATTEMPTS = download.ATTEMPTS, 0
    try:
        with pytest.raises(InputError):
            download.download(server.url(path))
    finally:
        download.ATTEMPTS = patience
    served.cuts = []
    server.asked.clear()


@pytest.mark.parametrize(
    "checksum", [md5(CONTENT), f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", None]
)
def test_a_file_is_fetched_whole_and_once(server, tmp_path, checksum):
    server.files["a/songs.zip"] = Served(CONTENT)
    for _ in range(2):
        path = download.download(server.url("a/songs.zip"), checksum)
        assert path.read_bytes() == CONTENT
        assert path.is_relative_to(tmp_path / "scratch" / "downloads")
    assert server.statuses() == [200]
    download.discard(path)
    assert not left(tmp_path)


@pytest.mark.parametrize(
    "version",
    [
        {},
        {"etag": None, "modified": MODIFIED},
        {"etag": 'W/"weak"', "modified": MODIFIED},
        {"etag": None},
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_cut_at_random_bytes_only_the_missing_ones_are_fetched(server, version, seed):
    chance = random.Random(seed)
    cuts = [chance.choice([0, 1, chance.randrange(200_000)]) for _ in range(chance.randint(1, 6))]
    server.files["f.zip"] = Served(CONTENT, cuts=list(cuts), **version)
    path = download.download(server.url("f.zip"), md5(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.sent("f.zip") == len(CONTENT)
    assert not server.files["f.zip"].cuts


@pytest.mark.parametrize("name", ["n" * 300, "音" * 100], ids=["ASCII", "other"])
def test_a_file_of_any_name_is_fetched(server, tmp_path, name):
    address = quote(f"a/{name}.zip")
    server.files[address] = Served(CONTENT)
    path = download.download(server.url(address), md5(CONTENT))
    assert path.read_bytes() == CONTENT
    assert path.suffix == ".zip"


def test_cut_off_behind_its_last_byte_it_is_whole(server):
    server.files["f.zip"] = Served(CONTENT, cuts=[len(CONTENT)])
    assert download.download(server.url("f.zip")).read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_without_ranges_it_starts_again(server):
    server.files["f.zip"] = Served(CONTENT, ranges=False, cuts=[1000, 300_000])
    path = download.download(server.url("f.zip"), md5(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.statuses() == [200, 200, 200]


def test_a_size_that_is_not_told(server):
    server.files["f.zip"] = Served(CONTENT, sized=False)
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT


def test_it_gives_up_without_progress(server, tmp_path):
    """The same cut again and again; what is here stays for the next call."""
    server.files["f.zip"] = Served(CONTENT, ranges=False, cuts=[1000] * 20)
    with pytest.raises(InputError, match=r"^http://.*/f\.zip: found .* \(5 times\), expected the"):
        download.download(server.url("f.zip"))
    assert server.statuses() == [200] * (1 + download.ATTEMPTS)
    assert left(tmp_path) == ["f.zip.json", "f.zip.part"]
    server.files["f.zip"] = Served(CONTENT)
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 1, 200_000, 100_000, 50_000])
@pytest.mark.parametrize(
    ("version", "later"),
    [
        ({}, {}),
        ({}, {"honours_if_range": False}),
        ({"etag": None, "modified": MODIFIED}, {"modified": formatdate(1e9 + 9, usegmt=True)}),
    ],
)
def test_a_changed_file_is_never_joined_to_the_old_one(server, size, version, later):
    changed = random.Random(2).randbytes(size)
    server.files["f.zip"] = Served(CONTENT, **version)
    interrupted(server, "f.zip", at=100_000)
    server.files["f.zip"] = Served(changed, **{**version, **later})
    assert download.download(server.url("f.zip")).read_bytes() == changed


@pytest.mark.parametrize("size", [len(CONTENT) + 1, 100_000, 50_000])
def test_without_a_version_the_size_tells_that_it_changed(server, size):
    changed = random.Random(2).randbytes(size)
    server.files["f.zip"] = Served(CONTENT, etag=None)
    interrupted(server, "f.zip", at=100_000)
    server.files["f.zip"] = Served(changed, etag=None)
    assert download.download(server.url("f.zip"), md5(changed)).read_bytes() == changed


def test_another_part_than_asked_for_is_not_appended(server):
    server.files["f.zip"] = Served(CONTENT, shift=10, cuts=[100_000])
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT
    assert server.statuses() == [200, 206, 200]


def test_a_part_of_which_nothing_is_known_is_not_gone_on_with(server, tmp_path):
    server.files["f.zip"] = Served(CONTENT)
    interrupted(server, "f.zip", at=100_000)
    (notes,) = tmp_path.glob("scratch/downloads/*/f.zip.json")
    notes.write_text("{")
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT
    assert server.statuses() == [200]


def test_a_wrong_checksum_is_one_line_and_the_next_call_starts_afresh(server, tmp_path):
    server.files["f.zip"] = Served(OTHER)
    with pytest.raises(InputError) as caught:
        download.download(server.url("f.zip"), md5(CONTENT))
    expected = f"{server.url('f.zip')}: found {md5(OTHER)}, expected {md5(CONTENT)}"
    assert str(caught.value) == expected
    assert not left(tmp_path)
    server.files["f.zip"] = Served(CONTENT)
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT


def test_what_is_here_is_verified_by_a_checksum_that_is_given_later(server):
    server.files["f.zip"] = Served(OTHER)
    download.download(server.url("f.zip"))
    assert download.download(server.url("f.zip"), md5(OTHER)).read_bytes() == OTHER
    assert len(server.asked) == 1
    server.files["f.zip"] = Served(CONTENT)
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT


def test_killed_before_it_is_verified_it_is_verified_by_the_next_call(server, tmp_path):
    """Without the server; and what was not verified never has its name."""
    server.files["f.zip"] = Served(OTHER)
    kill = "download.digest = lambda *_: __import__('os').kill(__import__('os').getpid(), 9)"
    command = as_a_stage(server.url("f.zip"), md5(CONTENT), before=kill)
    assert process(tmp_path, command).wait() == -signal.SIGKILL
    assert left(tmp_path) == ["f.zip.json", "f.zip.part"]
    server.asked.clear()
    with pytest.raises(InputError, match="found md5:"):
        download.download(server.url("f.zip"), md5(CONTENT))
    assert not server.asked
    assert not left(tmp_path)


@pytest.mark.parametrize(
    ("status", "words"), [(404, "Not Found"), (403, "Forbidden"), (410, "Gone"), (401, "Unauth")]
)
def test_what_will_not_get_better_is_one_line_at_once(server, tmp_path, status, words):
    server.files["f.zip"] = Served(CONTENT, failures=[(status, {})])
    with pytest.raises(
        InputError, match=rf"/f\.zip: found HTTP {status} {words}.*, expected the f"
    ):
        download.download(server.url("f.zip"))
    assert server.statuses() == [status]
    assert not left(tmp_path)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_what_may_get_better_is_tried_again(server, status):
    server.files["f.zip"] = Served(CONTENT, failures=[(status, {})] * 4)
    assert download.download(server.url("f.zip")).read_bytes() == CONTENT
    server.files["g.zip"] = Served(CONTENT, failures=[(status, {})] * 9)
    with pytest.raises(InputError, match=rf"g\.zip: found HTTP {status} .* \(5 times\)"):
        download.download(server.url("g.zip"))


@pytest.mark.parametrize("date", [False, True])
def test_it_waits_as_long_as_it_is_asked_to(server, monkeypatch, date):
    def after(seconds):
        asked = formatdate(time.time() + seconds, usegmt=True) if date else str(seconds)
        return [(503, {"Retry-After": asked})]

    server.files["f.zip"] = Served(CONTENT, failures=after(2))
    start = time.monotonic()
    download.download(server.url("f.zip"))
    assert 0.9 < time.monotonic() - start < 5
    monkeypatch.setattr(download, "LONGEST_WAIT", 0.01)
    server.files["g.zip"] = Served(CONTENT, failures=after(86_400))
    start = time.monotonic()
    download.download(server.url("g.zip"))
    assert time.monotonic() - start < 5


def test_nobody_there_is_one_line():
    with Server() as gone:
        url = gone.url("f.zip")
    with pytest.raises(
        InputError, match=r"found Connection refused \(5 times\), expected the file$"
    ):
        download.download(url)


@pytest.mark.parametrize("url", ["ftp://host/f.zip", "f.zip", "http://[/f.zip", "http:///f.zip"])
def test_what_is_no_address_is_one_line(url):
    with pytest.raises(InputError, match=r"found no address that can be asked, expected the file$"):
        download.download(url)


def test_redirects_are_followed_but_not_for_ever(server):
    server.files["moved.zip"] = Served(location=server.url("f.zip?key=secret"))
    server.files["f.zip"] = Served(CONTENT, cuts=[1000])
    assert download.download(server.url("moved.zip")).read_bytes() == CONTENT
    assert server.statuses() == [302, 200, 302, 206]
    server.files["loop.zip"] = Served(location=server.url("loop.zip"))
    with pytest.raises(InputError, match=r"/loop\.zip: found endless redirects"):
        download.download(server.url("loop.zip"))


def test_keys_in_addresses_are_not_shown(server, capsys):
    server.files["moved.zip"] = Served(location=server.url("f.zip?key=secret"))
    server.files["f.zip"] = Served(CONTENT, failures=[(500, {}), (500, {}), (404, {})])
    with pytest.raises(InputError) as caught:
        download.download(server.url("moved.zip?key=secret"))
    assert "HTTP 404" in str(caught.value)
    assert "again" in capsys.readouterr().err
    assert "secret" not in f"{caught.value}{capsys.readouterr()}"


def test_credentials_are_never_sent(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.files["moved.zip"] = Served(location=server.url("f.zip"))
    server.files["f.zip"] = Served(CONTENT)
    download.download(server.url("moved.zip"))
    assert len(server.asked) == 2
    assert not any("authorization" in name.lower() for a in server.asked for name in a.headers)
    with pytest.raises(InputError) as caught:
        download.download("http://me:secret@host/f.zip")
    assert str(caught.value).startswith("http://host/f.zip: found a user name in the address")


def test_proxies_come_from_the_environment(server, monkeypatch):
    server.files["f.zip"] = Served(CONTENT)
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    # The proxy is asked for the whole address, of which our server takes the path.
    assert download.download("http://nowhere.invalid/f.zip").read_bytes() == CONTENT
    assert server.asked[0].path == "http://nowhere.invalid/f.zip"


def test_too_little_room_is_said_before_anything_is_fetched(server, tmp_path, monkeypatch):
    served = Served(CONTENT, before_gate=1000, gate=threading.Event())
    server.files["f.zip"] = served
    with small_disk(tmp_path / "small", "256k"):
        monkeypatch.chdir(tmp_path / "small")
        with pytest.raises(
            InputError, match=r"found \d+kB free, expected 700kB for http://.*/f\.zip"
        ):
            download.download(server.url("f.zip"))
        served.gate.set()
        monkeypatch.chdir(tmp_path)


def test_a_disk_that_fills_up_is_one_line_and_what_is_here_stays(server, tmp_path):
    server.files["f.zip"] = Served(CONTENT, sized=False)
    with small_disk(tmp_path / "small", "256k"):
        command = as_a_stage(server.url("f.zip"), md5(CONTENT))
        failed = process(tmp_path / "small", command)
        _, errors = failed.communicate()
        assert failed.returncode == 1
        assert errors.endswith("f.zip.part: found no space left, expected room for the output\n")
        assert errors.count("ERROR") == 1
        assert "Traceback" not in errors
        assert left(tmp_path / "small") == ["f.zip.json", "f.zip.part"]
        grow(tmp_path / "small", "2m")
        done = process(tmp_path / "small", command)
        path, _ = done.communicate()
        assert done.returncode == 0
        with open(path.strip(), "rb") as stream:
            assert stream.read() == CONTENT


def test_a_killed_download_is_gone_on_with(server, tmp_path):
    gate = threading.Event()
    server.files["f.zip"] = Served(CONTENT, before_gate=300_001, gate=gate)
    command = as_a_stage(server.url("f.zip"), md5(CONTENT))
    killed = process(tmp_path, command)
    parts = tmp_path.glob
    until(lambda: [p for p in parts("scratch/downloads/*/f.zip.part") if p.stat().st_size > 2e5])
    killed.kill()
    killed.communicate()
    gate.set()
    server.files["f.zip"] = Served(CONTENT)
    (part,) = parts("scratch/downloads/*/f.zip.part")
    have = part.stat().st_size
    server.asked.clear()
    done = process(tmp_path, command)
    done.communicate()
    assert done.returncode == 0
    assert (server.statuses(), server.sent("f.zip")) == ([206], len(CONTENT) - have)
    assert download.download(server.url("f.zip")).read_bytes() == CONTENT


def test_of_two_at_once_one_fetches(server, tmp_path):
    gate = threading.Event()
    server.files["f.zip"] = Served(CONTENT, before_gate=1000, gate=gate)
    command = as_a_stage(server.url("f.zip"), md5(CONTENT))
    first = process(tmp_path, command)
    until(lambda: server.asked)
    second = process(tmp_path, command)
    assert "waiting" in second.stderr.readline()
    gate.set()
    for done in (first, second):
        path, _ = done.communicate()
        assert done.returncode == 0
        with open(path.strip(), "rb") as stream:
            assert stream.read() == CONTENT
    assert server.sent("f.zip") == len(CONTENT)


def test_a_text(server):
    server.files["list.txt"] = Served("später\n".encode(), failures=[(503, {})], cuts=[3])
    assert download.text(server.url("list.txt")) == "später\n"
    server.files["list.txt"] = Served(b"\xff\xfe")
    with pytest.raises(InputError, match=r"list\.txt: found binary content, expected a text file"):
        download.text(server.url("list.txt"))
    with pytest.raises(InputError, match=r"none\.txt: found HTTP 404 Not Found, expected a text"):
        download.text(server.url("none.txt"))


def test_progress_is_a_line_every_tenth_of_the_way(server, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SMALL", 0)
    monkeypatch.setattr(download, "BLOCK", 7_000)
    server.files["f.zip"] = Served(CONTENT)
    download.download(server.url("f.zip"))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "fetching f.zip: 0.00B of 700kB"
    assert len(lines) == 11
    assert all("B/s, 00:0" in line and line.endswith(" left") for line in lines[1:])
    assert lines[-1].startswith("fetching f.zip: 700kB of 700kB, ")


def test_a_small_file_is_not_worth_a_line(server, capsys):
    server.files["f.zip"] = Served(CONTENT)
    download.download(server.url("f.zip"))
    assert capsys.readouterr().err == ""
