"""Downloads from a real server on this machine: complete and verified, or one clear error."""

import hashlib
import http
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from urllib.parse import quote

import pytest

from contract.errors import InputError
from stages.fetching import download, progress
from tests.conftest import ROOT
from tests.stages import patience
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


def remaining(tmp_path) -> list[str]:
    """The files in the folder of downloads, without locks."""
    paths = (tmp_path / "scratch" / "downloads").rglob("*")
    return sorted(path.name for path in paths if path.is_file() and path.suffix != ".lock")


def download_command(*arguments: str, before: str = "") -> list[str]:
    """The command of a process that downloads as a stage does.

    Args:
        arguments: of `download`.
        before: Python code that runs first.
    """
    script = f"""
import sys
from stages.fetching import download
from stages.run import run
{before}
run(lambda: print(download.download(*sys.argv[1:])), own_arguments=True)
"""
    return [sys.executable, "-c", script, *arguments]


def start(folder, command, **options):
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


def interrupt(server, path, after):
    """Ends a download after so many bytes, as a kill would end it."""
    served = server.files[path]
    served.cuts = [after]
    attempts, download.ATTEMPTS = download.ATTEMPTS, 0
    try:
        with pytest.raises(InputError):
            download.download(server.url(path))
    finally:
        download.ATTEMPTS = attempts
    served.cuts = []
    server.requests.clear()


def error_of(*arguments) -> str:
    """The message of a download that fails."""
    with pytest.raises(InputError) as caught:
        download.download(*arguments)
    return str(caught.value)


def cannot_fetch(url: str, reason: str) -> str:
    return f"{url}: cannot be fetched: {reason}; {download.REMEDY}"


def wrong_checksum(url: str, checksum: str, expected: str) -> str:
    remedy = "get another copy, or correct the checksum"
    return f"{url}: has the checksum {checksum}, not {expected}; {remedy}"


@pytest.mark.parametrize(
    "checksum", [md5(CONTENT), f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", None]
)
def test_a_file_is_downloaded_completely_and_once(server, tmp_path, checksum):
    server.files["a/songs.zip"] = Served(CONTENT)
    for _ in range(2):
        path = download.download(server.url("a/songs.zip"), checksum)
        assert path.read_bytes() == CONTENT
        assert path.is_relative_to(tmp_path / "scratch" / "downloads")
    assert server.statuses() == [200]
    download.discard(path)
    assert not remaining(tmp_path)


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
def test_after_interruptions_only_the_missing_bytes_are_fetched(server, version, seed):
    generator = random.Random(seed)
    cuts = [
        generator.choice([0, 1, generator.randrange(200_000)])
        for _ in range(generator.randint(1, 6))
    ]
    server.files["f.zip"] = Served(CONTENT, cuts=list(cuts), **version)
    path = download.download(server.url("f.zip"), md5(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.sent("f.zip") == len(CONTENT)
    assert not server.files["f.zip"].cuts


@pytest.mark.parametrize("name", ["n" * 300, "音" * 100], ids=["ASCII", "other"])
def test_a_file_of_any_name_is_downloaded(server, tmp_path, name):
    address = quote(f"a/{name}.zip")
    server.files[address] = Served(CONTENT)
    path = download.download(server.url(address), md5(CONTENT))
    assert path.read_bytes() == CONTENT
    assert path.suffix == ".zip"


def test_a_connection_that_breaks_after_the_last_byte_needs_no_retry(server):
    server.files["f.zip"] = Served(CONTENT, cuts=[len(CONTENT)])
    assert download.download(server.url("f.zip")).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_without_ranges_a_download_restarts(server):
    server.files["f.zip"] = Served(CONTENT, ranges=False, cuts=[1000, 300_000])
    path = download.download(server.url("f.zip"), md5(CONTENT))
    assert path.read_bytes() == CONTENT
    assert server.statuses() == [200, 200, 200]


def test_a_file_of_unknown_size_is_downloaded(server):
    server.files["f.zip"] = Served(CONTENT, sized=False)
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT


def test_retries_without_progress_end_in_an_error(server, tmp_path):
    """Every response breaks off at the same byte. The next call resumes with the part."""
    server.files["f.zip"] = Served(CONTENT, ranges=False, cuts=[1000] * 20)
    url = server.url("f.zip")
    assert error_of(url) == cannot_fetch(url, "a broken connection (5 times)")
    assert server.statuses() == [200] * (1 + download.ATTEMPTS)
    assert remaining(tmp_path) == ["f.zip.json", "f.zip.part"]
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
    interrupt(server, "f.zip", after=100_000)
    server.files["f.zip"] = Served(changed, **{**version, **later})
    assert download.download(server.url("f.zip")).read_bytes() == changed


@pytest.mark.parametrize("size", [len(CONTENT) + 1, 100_000, 50_000])
def test_a_changed_file_without_a_version_is_recognized_by_its_size(server, size):
    changed = random.Random(2).randbytes(size)
    server.files["f.zip"] = Served(CONTENT, etag=None)
    interrupt(server, "f.zip", after=100_000)
    server.files["f.zip"] = Served(changed, etag=None)
    assert download.download(server.url("f.zip"), md5(changed)).read_bytes() == changed


def test_another_part_than_requested_is_not_appended(server):
    server.files["f.zip"] = Served(CONTENT, shift=10, cuts=[100_000])
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT
    assert server.statuses() == [200, 206, 200]


def test_a_part_without_notes_is_not_resumed(server, tmp_path):
    server.files["f.zip"] = Served(CONTENT)
    interrupt(server, "f.zip", after=100_000)
    (notes,) = tmp_path.glob("scratch/downloads/*/f.zip.json")
    notes.write_text("{")
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT
    assert server.statuses() == [200]


def test_after_a_wrong_checksum_the_next_call_restarts(server, tmp_path):
    server.files["f.zip"] = Served(OTHER)
    url = server.url("f.zip")
    assert error_of(url, md5(CONTENT)) == wrong_checksum(url, md5(OTHER), md5(CONTENT))
    assert not remaining(tmp_path)
    server.files["f.zip"] = Served(CONTENT)
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT


def test_a_downloaded_file_is_verified_by_a_later_checksum(server):
    server.files["f.zip"] = Served(OTHER)
    download.download(server.url("f.zip"))
    assert download.download(server.url("f.zip"), md5(OTHER)).read_bytes() == OTHER
    assert len(server.requests) == 1
    server.files["f.zip"] = Served(CONTENT)
    assert download.download(server.url("f.zip"), md5(CONTENT)).read_bytes() == CONTENT


def test_a_download_killed_before_its_verification_is_verified_by_the_next_call(server, tmp_path):
    """The server is not needed for it, and the file has no name before it is verified."""
    server.files["f.zip"] = Served(OTHER)
    kill = "download.digest = lambda *_: __import__('os').kill(__import__('os').getpid(), 9)"
    command = download_command(server.url("f.zip"), md5(CONTENT), before=kill)
    assert start(tmp_path, command).wait() == -signal.SIGKILL
    assert remaining(tmp_path) == ["f.zip.json", "f.zip.part"]
    server.requests.clear()
    url = server.url("f.zip")
    assert error_of(url, md5(CONTENT)) == wrong_checksum(url, md5(OTHER), md5(CONTENT))
    assert not server.requests
    assert not remaining(tmp_path)


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "Not Found"), (403, "Forbidden"), (410, "Gone"), (401, "Unauthorized")],
)
def test_a_lasting_failure_is_not_retried(server, tmp_path, status, words):
    server.files["f.zip"] = Served(CONTENT, failures=[(status, {})])
    url = server.url("f.zip")
    assert error_of(url) == cannot_fetch(url, f"HTTP {status} {words}")
    assert server.statuses() == [status]
    assert not remaining(tmp_path)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
def test_a_passing_failure_is_retried(server, status):
    server.files["f.zip"] = Served(CONTENT, failures=[(status, {})] * 4)
    assert download.download(server.url("f.zip")).read_bytes() == CONTENT
    server.files["g.zip"] = Served(CONTENT, failures=[(status, {})] * 9)
    url, words = server.url("g.zip"), http.client.responses[status]
    assert error_of(url) == cannot_fetch(url, f"HTTP {status} {words} (5 times)")


@pytest.mark.parametrize("date", [False, True])
def test_retries_wait_as_long_as_the_server_asks(server, monkeypatch, date):
    def retry_after(seconds):
        value = formatdate(time.time() + seconds, usegmt=True) if date else str(seconds)
        return [(503, {"Retry-After": value})]

    server.files["f.zip"] = Served(CONTENT, failures=retry_after(2))
    start = time.monotonic()
    download.download(server.url("f.zip"))
    assert 0.9 < time.monotonic() - start < 5
    monkeypatch.setattr(download, "LONGEST_WAIT", 0.01)
    server.files["g.zip"] = Served(CONTENT, failures=retry_after(86_400))
    start = time.monotonic()
    download.download(server.url("g.zip"))
    assert time.monotonic() - start < 5


def test_a_server_that_does_not_run_is_an_error():
    with Server() as stopped:
        url = stopped.url("f.zip")
    assert error_of(url) == cannot_fetch(url, "Connection refused (5 times)")


@pytest.mark.parametrize("url", ["ftp://host/f.zip", "f.zip", "http://[/f.zip", "http:///f.zip"])
def test_other_addresses_than_http_are_refused(url):
    assert error_of(url) == f"{url}: is not an HTTP address; {download.REMEDY}"


def test_redirects_are_followed_but_not_for_ever(server):
    server.files["moved.zip"] = Served(location=server.url("f.zip?key=secret"))
    server.files["f.zip"] = Served(CONTENT, cuts=[1000])
    assert download.download(server.url("moved.zip")).read_bytes() == CONTENT
    assert server.statuses() == [302, 200, 302, 206]
    server.files["loop.zip"] = Served(location=server.url("loop.zip"))
    url = server.url("loop.zip")
    assert error_of(url) == cannot_fetch(url, "endless redirects")


def test_keys_in_addresses_are_not_shown(server, capsys):
    server.files["moved.zip"] = Served(location=server.url("f.zip?key=secret"))
    server.files["f.zip"] = Served(CONTENT, failures=[(500, {}), (500, {}), (404, {})])
    url = server.url("moved.zip")
    assert error_of(f"{url}?key=secret") == cannot_fetch(url, "HTTP 404 Not Found")
    output = capsys.readouterr()
    retry = f"{url}: HTTP 500 Internal Server Error; retrying in"
    assert output.err == f"{retry} 0.001 s\n{retry} 0.002 s\n"
    assert output.out == ""


def test_credentials_are_never_sent(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.files["moved.zip"] = Served(location=server.url("f.zip"))
    server.files["f.zip"] = Served(CONTENT)
    download.download(server.url("moved.zip"))
    assert len(server.requests) == 2
    assert not any(
        "authorization" in name.lower() for request in server.requests for name in request.headers
    )
    assert error_of("http://me:secret@host/f.zip") == (
        "http://host/f.zip: has a user name in its address; remove it: credentials are never sent"
    )


def test_proxies_come_from_the_environment(server, monkeypatch):
    server.files["f.zip"] = Served(CONTENT)
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    # A proxy gets the whole address; our server looks only at its path.
    assert download.download("http://nowhere.invalid/f.zip").read_bytes() == CONTENT
    assert server.requests[0].path == "http://nowhere.invalid/f.zip"


def test_too_little_room_is_an_error_before_anything_is_fetched(server, tmp_path, monkeypatch):
    served = Served(CONTENT, before_gate=1000, gate=threading.Event())
    server.files["f.zip"] = served
    with small_disk(tmp_path / "small", "256k"):
        monkeypatch.chdir(tmp_path / "small")
        url = server.url("f.zip")
        message = error_of(url)
        assert re.fullmatch(
            rf"scratch/downloads/\w{{16}}: has \d+kB free, and {url} needs 700kB; "
            "make room on its disk",
            message.removeprefix(f"{tmp_path / 'small'}/"),
        )
        served.gate.set()
        monkeypatch.chdir(tmp_path)


def test_a_download_resumes_after_a_full_disk(server, tmp_path):
    server.files["f.zip"] = Served(CONTENT, sized=False)
    with small_disk(tmp_path / "small", "256k"):
        command = download_command(server.url("f.zip"), md5(CONTENT))
        failed = start(tmp_path / "small", command)
        _, errors = failed.communicate()
        assert failed.returncode == 1
        (part,) = (tmp_path / "small").rglob("*.part")
        assert errors == (
            f"fetching f.zip: 0.00B\nERROR: {part}: no space left on device; "
            "make room on its disk and repeat the command\n"
        )
        assert remaining(tmp_path / "small") == ["f.zip.json", "f.zip.part"]
        grow(tmp_path / "small", "2m")
        done = start(tmp_path / "small", command)
        path, _ = done.communicate()
        assert done.returncode == 0
        with open(path.strip(), "rb") as stream:
            assert stream.read() == CONTENT


def test_a_download_resumes_after_a_kill(server, tmp_path):
    gate = threading.Event()
    server.files["f.zip"] = Served(CONTENT, before_gate=300_001, gate=gate)
    command = download_command(server.url("f.zip"), md5(CONTENT))
    killed = start(tmp_path, command)
    parts = tmp_path.glob
    patience.until(
        lambda: [p for p in parts("scratch/downloads/*/f.zip.part") if p.stat().st_size > 2e5]
    )
    killed.kill()
    killed.communicate()
    gate.set()
    server.files["f.zip"] = Served(CONTENT)
    (part,) = parts("scratch/downloads/*/f.zip.part")
    have = part.stat().st_size
    server.requests.clear()
    done = start(tmp_path, command)
    done.communicate()
    assert done.returncode == 0
    assert (server.statuses(), server.sent("f.zip")) == ([206], len(CONTENT) - have)
    assert download.download(server.url("f.zip")).read_bytes() == CONTENT


def test_of_two_downloads_at_once_one_fetches(server, tmp_path):
    gate = threading.Event()
    server.files["f.zip"] = Served(CONTENT, before_gate=1000, gate=gate)
    command = download_command(server.url("f.zip"), md5(CONTENT))
    first = start(tmp_path, command)
    patience.until(lambda: server.requests)
    second = start(tmp_path, command)
    message = patience.line(second.stderr)
    assert message == f"waiting for {server.url('f.zip')} in another process\n"
    gate.set()
    for done in (first, second):
        path, _ = done.communicate()
        assert done.returncode == 0
        with open(path.strip(), "rb") as stream:
            assert stream.read() == CONTENT
    assert server.sent("f.zip") == len(CONTENT)


def test_a_text_file_is_downloaded(server):
    server.files["list.txt"] = Served("später\n".encode(), failures=[(503, {})], cuts=[3])
    url = server.url("list.txt")
    assert download.download_text(url) == "später\n"
    server.files["list.txt"] = Served(b"\xff\xfe")
    with pytest.raises(InputError) as caught:
        download.download_text(url, "ask for it")
    assert str(caught.value) == f"{url}: is not UTF-8 text; ask for it"
    url = server.url("none.txt")
    with pytest.raises(InputError) as caught:
        download.download_text(url)
    assert str(caught.value) == cannot_fetch(url, "HTTP 404 Not Found")


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


def test_a_small_file_shows_no_progress(server, capsys):
    server.files["f.zip"] = Served(CONTENT)
    download.download(server.url("f.zip"))
    assert capsys.readouterr().err == ""
