"""Fetches files over HTTP: an interrupted one is gone on with, a whole one is verified.

Every address has a folder of its own below scratch/downloads. A file grows there as `<name>.part`
beside `<name>.json`, which notes what it is a part of, and gets its name when it is verified.
"""

import hashlib
import http
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3
from requests import exceptions
from tqdm import tqdm

from metrics.errors import InputError
from stages import outputs
from stages.files import writing
from stages.lock import lock
from stages.progress import ByteProgress
from stages.scratch import scratch_root

ATTEMPTS = 5  # without progress
FIRST_WAIT = 1.0  # seconds, doubled at each attempt
LONGEST_WAIT = 60.0  # seconds, whatever the server asks for
TIMEOUTS = (30, 60)  # seconds: until connected, until anything more is heard
BLOCK = 2**18  # bytes


def download(url: str, checksum: str | None = None, expected: str = "the file") -> Path:
    """The file at `url`, whole and verified; one that is here already is not fetched again.

    Args:
        checksum: `md5:…` or `sha256:…`; None checks the size only.
        expected: what an error says was expected at `url`.

    Raises:
        InputError: it cannot be had, or is another file, or needs more room than there is.
    """
    _refuse_credentials(url, expected)
    folder = scratch_root() / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16]
    file = _File(folder / file_name(url))
    with lock(folder.with_suffix(".lock"), shown(url)):
        folder.mkdir(exist_ok=True)
        if file.whole.exists() and not file.is_verified(checksum):
            file.remove()
        if not file.whole.exists():
            with _Session() as session:
                _persist(url, lambda: _go_on(session, url, file, expected), file.size, expected)
            _verify(url, file, checksum)
    return file.whole


def discard(path: Path) -> None:
    """Removes a downloaded file and what belongs to it."""
    _File(path).remove()
    path.parent.rmdir()


def take(path: Path, target: Path) -> None:
    """Moves a downloaded file to where it is used, and removes what belongs to it."""
    # First the notes, so that a kill leaves none behind: without them the file is verified again.
    _File(path).forget()
    path.replace(target)
    path.parent.rmdir()


def text(url: str, expected: str = "a text file") -> str:
    """A small text file (UTF-8), with the same patience and errors as `download`."""
    _refuse_credentials(url, expected)
    content = bytearray()

    def attempt() -> None:
        content.clear()
        with _answer(session, url, {}, expected) as response:
            for block in _blocks(response):
                content.extend(block)

    with _Session() as session:
        _persist(url, attempt, lambda: 0, expected)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError(shown(url), "binary content", expected) from None


def digest(path: Path, algorithm: str) -> str:
    """A file's checksum, as `<algorithm>:<hexadecimal digits>`."""
    found = hashlib.new(algorithm, usedforsecurity=False)
    size = path.stat().st_size
    with path.open("rb") as stream, ByteProgress(f"checking {path.name}", size) as progress:
        while block := stream.read(2**20):
            found.update(block)
            progress.add(len(block))
    return f"{algorithm}:{found.hexdigest()}"


def shown(url: str) -> str:
    """An address without what may be secret in it."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def file_name(url: str) -> str:
    """A file name: the last part of the path that looks like one."""
    parts = PurePosixPath(unquote(urlsplit(url).path)).parts
    name = next((part for part in reversed(parts) if "." in part.strip(".")), "file")
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[-100:].lstrip(".")


class _TryAgainError(Exception):
    """Worth another attempt.

    Args:
        reason: what went wrong.
        wait: seconds to wait, if that is not ours to choose.
    """

    def __init__(self, reason: str, wait: float | None = None):
        super().__init__(reason)
        self.wait = wait


class _Session(requests.Session):
    """Proxies and certificates come from the environment; credentials are never sent."""

    def __init__(self):
        super().__init__()
        self.auth = lambda request: request  # without one, ~/.netrc is read

    def rebuild_auth(self, prepared_request, response) -> None:
        """After a redirect there are no credentials either."""


class _File:
    """A file under its own name, its part, and the notes on it."""

    def __init__(self, whole: Path):
        self.whole = whole
        self.part = whole.with_name(f"{whole.name}.part")
        self._notes = whole.with_name(f"{whole.name}.json")

    def size(self) -> int:
        """The bytes that are here."""
        return self.part.stat().st_size if self.part.exists() else 0

    def notes(self) -> dict:
        """`url`, `etag`, `last_modified` and `bytes` of the whole, and the `checksum` that was
        verified; empty if nothing is known."""
        try:
            return dict(json.loads(self._notes.read_text()))
        except (OSError, ValueError, TypeError):
            return {}

    def note(self, **values) -> None:
        outputs.write(self._notes, json.dumps({**self.notes(), **values}))

    def is_verified(self, checksum: str | None) -> bool:
        if checksum is None or self.notes().get("checksum") == checksum:
            return True
        if digest(self.whole, checksum.partition(":")[0]) != checksum:
            return False
        self.note(checksum=checksum)
        return True

    def forget(self) -> None:
        self._notes.unlink(missing_ok=True)

    def remove(self) -> None:
        for path in (self.whole, self.part):
            path.unlink(missing_ok=True)
        self.forget()


def _verify(url: str, file: _File, checksum: str | None) -> None:
    """Gives the fetched file its name, or removes it."""
    if checksum is not None:
        found = digest(file.part, checksum.partition(":")[0])
        if found != checksum:
            file.remove()
            raise InputError(shown(url), found, checksum)
    file.note(checksum=checksum)
    file.part.replace(file.whole)


def _persist(url: str, attempt: Callable[[], None], size: Callable[[], int], expected: str) -> None:
    """Attempts until it succeeds, as long as there is progress: more here than ever before."""
    furthest, failures = size(), 0
    while True:
        try:
            return attempt()
        except _TryAgainError as again:
            reason, wait = str(again), again.wait
        failures = 0 if size() > furthest else failures + 1
        furthest = max(furthest, size())
        if failures == ATTEMPTS:
            raise InputError(shown(url), f"{reason} ({ATTEMPTS} times)", expected)
        if wait is None:
            wait = FIRST_WAIT * 2 ** max(0, failures - 1)
        wait = min(wait, LONGEST_WAIT)
        tqdm.write(f"{shown(url)}: {reason}; again in {wait:.3g} s", file=sys.stderr)
        sys.stderr.flush()
        time.sleep(wait)


def _go_on(session: _Session, url: str, file: _File, expected: str) -> None:
    """Requests what is missing of a file and appends it; returns when the file is whole."""
    notes = file.notes()
    have = file.size() if notes else 0
    if have and have == notes["bytes"]:
        return
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := notes["etag"] or notes["last_modified"]:
            headers["If-Range"] = validator
    with _answer(session, url, headers, expected) as response:
        if response.status_code == 200:
            have = 0
        elif not _continues(response, have, notes):
            file.part.unlink()
            raise _TryAgainError("another part than asked for, so from the start", wait=0)
        elif response.status_code == 416:  # there is no more
            file.note(bytes=have)
            return
        total = _total(response)
        with writing(file.part, "ab" if have else "wb") as stream:
            if not have:
                file.note(url=shown(url), bytes=total, **_validators(response))
            _require_room(file.part.parent, url, total, have)
            with ByteProgress(f"fetching {file.whole.name}", total, have) as progress:
                for block in _blocks(response):
                    stream.write(block)
                    progress.add(len(block))
            stream.flush()
            os.fsync(stream.fileno())
    if total is None:
        file.note(bytes=file.size())
    elif file.size() != total:
        raise _TryAgainError(f"{file.size()} of {total} bytes")


def _continues(response: requests.Response, have: int, notes: dict) -> bool:
    """Whether a partial answer (or that there is no more) goes with the part that we have."""
    known, total, now = notes["bytes"], _total(response), _validators(response)
    reached = total if response.status_code == 416 else _first(response)
    if reached != have or (None not in (known, total) and known != total):
        return False
    compared = [now[name] == notes[name] for name in now if now[name] and notes[name]]
    # Where neither has a version to compare, the size must at least be the same.
    return all(compared) and (bool(compared) or (known is not None and known == total))


def _validators(response: requests.Response) -> dict[str, str | None]:
    """What tells this version of the file from others. A weak ETag does not tell bytes apart."""
    etag = response.headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None
    return {"etag": strong, "last_modified": response.headers.get("Last-Modified")}


def _first(response: requests.Response) -> int | None:
    """The position in the file of the first byte of a partial answer."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total(response: requests.Response) -> int | None:
    """The size of the whole file, if the answer says it."""
    if response.status_code == 200:
        found = re.fullmatch(r"(\d+)", response.headers.get("Content-Length", ""))
    else:
        found = re.fullmatch(r"bytes .*/(\d+)", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _require_room(folder: Path, url: str, total: int | None, have: int) -> None:
    free = shutil.disk_usage(folder).free
    if total is not None and total - have > free:
        needed = tqdm.format_sizeof(total - have, "B")
        raise InputError(
            folder, f"{tqdm.format_sizeof(free, 'B')} free", f"{needed} for {shown(url)}"
        )


@contextmanager
def _answer(
    session: _Session, url: str, headers: dict[str, str], expected: str
) -> Iterator[requests.Response]:
    """A good answer: the file (200) or, if a range was asked for, a part (206) or that there is
    no such part (416)."""
    # The file's own bytes: ranges of compressed ones would fit nothing.
    headers = {"Accept-Encoding": "identity", **headers}
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUTS)
    except (exceptions.SSLError, exceptions.TooManyRedirects) as error:
        raise InputError(shown(url), _reason(error), expected) from None
    except (
        exceptions.ConnectionError,
        exceptions.Timeout,
        exceptions.ChunkedEncodingError,
    ) as error:
        raise _TryAgainError(_reason(error)) from None
    except (exceptions.RequestException, urllib3.exceptions.LocationParseError):
        raise InputError(shown(url), "no address that can be asked", expected) from None
    with response:
        status = response.status_code
        if status == 200 or (status in (206, 416) and "Range" in headers):
            yield response
            return
        found = f"HTTP {status} {http.client.responses.get(status, '')}".rstrip()
        if status in (408, 429) or status >= 500:
            raise _TryAgainError(found, _retry_after(response))
        raise InputError(shown(url), found, expected)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """The answer's bytes as they come, so that a break loses none that came before it."""
    try:
        while block := response.raw.read1(BLOCK, decode_content=False):
            yield block
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _TryAgainError(_reason(error)) from None


def _retry_after(response: requests.Response) -> float | None:
    """The seconds that the server asks us to wait, if it does."""
    asked = response.headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    """Why a connection failed, in a few words and without the address asked, which a redirect may
    have given a key."""
    if isinstance(error, exceptions.TooManyRedirects):
        return "endless redirects"
    reason = "a broken connection"
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        if isinstance(error, (exceptions.Timeout, urllib3.exceptions.TimeoutError)):
            reason = "no answer in time"
        inner = next((each for each in error.args if isinstance(each, BaseException)), None)
        error = error.__cause__ or error.__context__ or inner
    return reason


def _refuse_credentials(url: str, expected: str) -> None:
    try:
        credentials = "@" in urlsplit(url).netloc
    except ValueError:
        bare = url.rpartition("@")[2].partition("?")[0]
        raise InputError(bare, "no address that can be asked", expected) from None
    if credentials:
        raise InputError(shown(url), "a user name in the address", "none: none is ever sent")
