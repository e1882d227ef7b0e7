"""Downloads files over HTTP: an interrupted download resumes, a complete one is verified.

Every address has a folder of its own below scratch/downloads. While a file is incomplete it is
called `<name>.part`; `<name>.json` beside it notes which version of which file it is a part of. It
gets its name once it is verified.
"""

from __future__ import annotations

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
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3
from requests import exceptions
from tqdm import tqdm

from contract import files
from contract.errors import InputError
from contract.files import writing
from contract.layout import scratch_root
from contract.locks import lock
from stages.fetching.checksums import wrong_checksum
from stages.fetching.progress import ByteProgress

ATTEMPTS = 5  # attempts in a row without new bytes before a download fails
FIRST_WAIT = 1.0  # seconds before a retry; doubled at each one
LONGEST_WAIT = 60.0  # seconds before a retry, even if the server asks for more
TIMEOUTS = (30, 60)  # seconds to connect, and to wait for more data
BLOCK = 2**18  # bytes that are read at a time
REMEDY = "check the address and the network"


def download(url: str, checksum: str | None = None, remedy: str = REMEDY) -> Path:
    """Downloads a file, unless it is there from an earlier call, and verifies it.

    Args:
        url: the file's address.
        checksum: `md5:…` or `sha256:…`; None checks the size only.
        remedy: what an error tells the user to do if the file cannot be downloaded.

    Returns:
        The file's path in the scratch folder.

    Raises:
        InputError: the file cannot be downloaded, has another checksum, or does not fit on the
            disk.
    """
    _refuse_credentials(url, remedy)
    folder = scratch_root() / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16]
    file = _File(folder / file_name(url))
    with lock(folder.with_suffix(".lock"), without_secrets(url)):
        folder.mkdir(exist_ok=True)
        if file.path.exists() and not file.is_verified(checksum):
            file.remove()
        if not file.path.exists():
            with _Session() as session:
                _retry(url, lambda: _fetch_rest(session, url, file, remedy), file.size, remedy)
            _verify(url, file, checksum)
    return file.path


def discard(path: Path) -> None:
    """Removes a downloaded file, its notes and its folder.

    Args:
        path: the file, as `download` returns it.
    """
    _File(path).remove()
    path.parent.rmdir()


def move_download(path: Path, target: Path) -> None:
    """Moves a downloaded file to `target` and removes its notes and its folder.

    Args:
        path: as `download` returns it.
        target: its new path, on the same file system.
    """
    # The notes go first: without them, the file is verified again. In the other order, a process
    # killed in between would leave notes on a file that is gone.
    _File(path).remove_notes()
    path.replace(target)
    path.parent.rmdir()


def download_text(url: str, remedy: str = REMEDY) -> str:
    """Downloads a small UTF-8 text file, with the retries and errors of `download`.

    Args:
        url: the file's address.
        remedy: what an error tells the user to do if the file cannot be downloaded.

    Raises:
        InputError: the file cannot be downloaded, or is not UTF-8 text.
    """
    _refuse_credentials(url, remedy)
    content = bytearray()

    def attempt() -> None:
        content.clear()
        with _response(session, url, {}, remedy) as response:
            for block in _blocks(response):
                content.extend(block)

    with _Session() as session:
        _retry(url, attempt, lambda: 0, remedy)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError(without_secrets(url), "is not UTF-8 text", remedy) from None


def digest(path: Path, algorithm: str) -> str:
    """Returns a file's checksum, as `<algorithm>:<hexadecimal digits>`.

    Args:
        path: the file.
        algorithm: as hashlib names it.
    """
    checksum = hashlib.new(algorithm, usedforsecurity=False)
    size = path.stat().st_size
    with path.open("rb") as stream, ByteProgress(f"checking {path.name}", size) as progress:
        while block := stream.read(2**20):
            checksum.update(block)
            progress.add(len(block))
    return f"{algorithm}:{checksum.hexdigest()}"


def without_secrets(url: str) -> str:
    """Returns an address without user name, password and query, which may be secret.

    Args:
        url: the address.
    """
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def file_name(url: str) -> str:
    """Returns a name for the file at an address: the last part of its path that has a suffix.

    Args:
        url: the address.
    """
    parts = PurePosixPath(unquote(urlsplit(url).path)).parts
    name = next((part for part in reversed(parts) if "." in part.strip(".")), "file")
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[-100:].lstrip(".")


class _RetryError(Exception):
    """A failure that may pass.

    Args:
        reason: what went wrong.
        wait: seconds to wait before the retry; None leaves the choice to us.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Session(requests.Session):
    """A session with the environment's proxies and certificates that never sends credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.auth = lambda request: request  # if this were unset, requests would read ~/.netrc

    def rebuild_auth(self, prepared_request: object, response: object) -> None:
        """Adds no credentials after a redirect either."""


class _File:
    """A download on the disk: the complete file, its part, and the notes on both."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self._notes_path = path.with_name(f"{path.name}.json")

    def size(self) -> int:
        """The number of bytes in the part."""
        return self.part.stat().st_size if self.part.exists() else 0

    def notes(self) -> dict[str, Any]:
        """The notes; empty if there are none that can be read.

        Their keys are `url`, `etag`, `last_modified` and `bytes` of the complete file, and the
        `checksum` that was verified.
        """
        try:
            return dict(json.loads(self._notes_path.read_text()))
        except (OSError, ValueError, TypeError):
            return {}

    def note(self, **values: Any) -> None:
        files.write(self._notes_path, json.dumps({**self.notes(), **values}))

    def is_verified(self, checksum: str | None) -> bool:
        """Returns whether the complete file has the checksum.

        It is computed unless the notes have it.
        """
        if checksum is None or self.notes().get("checksum") == checksum:
            return True
        if digest(self.path, checksum.partition(":")[0]) != checksum:
            return False
        self.note(checksum=checksum)
        return True

    def remove_notes(self) -> None:
        self._notes_path.unlink(missing_ok=True)

    def remove(self) -> None:
        for path in (self.path, self.part):
            path.unlink(missing_ok=True)
        self.remove_notes()


def _verify(url: str, file: _File, expected: str | None) -> None:
    """Gives the fetched file its name; removes it if it has another checksum."""
    if expected is not None:
        checksum = digest(file.part, expected.partition(":")[0])
        if checksum != expected:
            file.remove()
            raise wrong_checksum(without_secrets(url), checksum, expected)
    file.note(checksum=expected)
    file.part.replace(file.path)


def _retry(url: str, attempt: Callable[[], None], size: Callable[[], int], remedy: str) -> None:
    """Calls `attempt` until it succeeds.

    Raises:
        InputError: `ATTEMPTS` retries in a row fetched nothing new. New means that `size` returns
            more than ever before.
    """
    largest_size, failures = size(), 0
    while True:
        try:
            return attempt()
        except _RetryError as error:
            reason, wait = str(error), error.wait
        failures = 0 if size() > largest_size else failures + 1
        largest_size = max(largest_size, size())
        if failures == ATTEMPTS:
            raise InputError(
                without_secrets(url), f"cannot be fetched: {reason} ({ATTEMPTS} times)", remedy
            )
        if wait is None:
            wait = FIRST_WAIT * 2 ** max(0, failures - 1)
        wait = min(wait, LONGEST_WAIT)
        message = f"{without_secrets(url)}: {reason}; retrying in {wait:.3g} s"
        tqdm.write(message, file=sys.stderr)
        sys.stderr.flush()
        time.sleep(wait)


def _fetch_rest(session: _Session, url: str, file: _File, remedy: str) -> None:
    """Requests the bytes that a part lacks and appends them. Returns once the part is complete."""
    notes = file.notes()
    have = file.size() if notes else 0  # bytes
    if have and have == notes["bytes"]:
        return
    headers = {}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator := notes["etag"] or notes["last_modified"]:
            headers["If-Range"] = validator
    with _response(session, url, headers, remedy) as response:
        if response.status_code == 200:
            have = 0
        elif not _continues(response, have, notes):
            file.part.unlink()
            raise _RetryError("the server sent another part, so the download restarts", wait=0)
        elif response.status_code == 416:  # the part is the whole file
            file.note(bytes=have)
            return
        total = _total(response)
        with writing(file.part, "ab" if have else "wb") as stream:
            if not have:
                file.note(url=without_secrets(url), bytes=total, **_validators(response))
            _require_room(file.part.parent, url, total, have)
            with ByteProgress(f"fetching {file.path.name}", total, have) as progress:
                for block in _blocks(response):
                    stream.write(block)
                    progress.add(len(block))
            stream.flush()
            os.fsync(stream.fileno())
    if total is None:
        file.note(bytes=file.size())
    elif file.size() != total:
        raise _RetryError(f"the server sent {file.size()} of {total} bytes")


def _continues(response: requests.Response, have: int, notes: dict[str, Any]) -> bool:
    """Returns whether a response belongs to the part on the disk.

    Args:
        response: with status 206, or with 416: there is no more than what we have.
        have: the bytes of the part.
        notes: the notes on the part.
    """
    noted_total, total = notes["bytes"], _total(response)
    start = total if response.status_code == 416 else _start(response)
    if start != have or (None not in (noted_total, total) and noted_total != total):
        return False
    validators = _validators(response)
    same = [
        validator == notes[name]
        for name, validator in validators.items()
        if validator and notes[name]
    ]
    # If there is no version to compare, at least the size must be known and the same.
    return all(same) and (bool(same) or (noted_total is not None and noted_total == total))


def _validators(response: requests.Response) -> dict[str, str | None]:
    """The headers that distinguish this version of the file from others."""
    etag = response.headers.get("ETag")
    # Versions with the same weak ETag may differ in their bytes.
    strong = etag if etag and not etag.startswith("W/") else None
    return {"etag": strong, "last_modified": response.headers.get("Last-Modified")}


def _start(response: requests.Response) -> int | None:
    """The position in the file of the first byte of a partial response."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _total(response: requests.Response) -> int | None:
    """The size of the whole file in bytes, if the response states it."""
    if response.status_code == 200:
        match = re.fullmatch(r"(\d+)", response.headers.get("Content-Length", ""))
    else:
        match = re.fullmatch(r"bytes .*/(\d+)", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _require_room(folder: Path, url: str, total: int | None, have: int) -> None:
    """Raises InputError if the disk has no room for the rest of a file of known size."""
    free = shutil.disk_usage(folder).free
    if total is not None and total - have > free:
        problem = (
            f"has {tqdm.format_sizeof(free, 'B')} free, and {without_secrets(url)} needs "
            f"{tqdm.format_sizeof(total - have, 'B')}"
        )
        raise InputError(folder, problem, "make room on its disk")


@contextmanager
def _response(
    session: _Session, url: str, headers: dict[str, str], remedy: str
) -> Iterator[requests.Response]:
    """Yields a good response.

    That is the whole file (200) or, if a range was requested, a part of it (206) or the answer
    that there is no such part (416).

    Raises:
        _RetryError: a failure that may pass.
        InputError: any other.
    """
    # Ranges of a compressed transfer would not fit the bytes of the file.
    headers = {"Accept-Encoding": "identity", **headers}
    where = without_secrets(url)
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUTS)
    except (exceptions.SSLError, exceptions.TooManyRedirects) as error:
        raise InputError(where, f"cannot be fetched: {_reason(error)}", remedy) from None
    except (
        exceptions.ConnectionError,
        exceptions.Timeout,
        exceptions.ChunkedEncodingError,
    ) as error:
        raise _RetryError(_reason(error)) from None
    except (exceptions.RequestException, urllib3.exceptions.LocationParseError):
        raise InputError(where, "is not an HTTP address", remedy) from None
    with response:
        status = response.status_code
        if status == 200 or (status in (206, 416) and "Range" in headers):
            yield response
            return
        reason = f"HTTP {status} {http.client.responses.get(status, '')}".rstrip()
        if status in (408, 429) or status >= 500:
            raise _RetryError(reason, _retry_after(response))
        raise InputError(where, f"cannot be fetched: {reason}", remedy)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """Yields a response's bytes as they arrive, so that a broken connection loses none of them."""
    try:
        while block := response.raw.read1(BLOCK, decode_content=False):
            yield block
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _RetryError(_reason(error)) from None


def _retry_after(response: requests.Response) -> float | None:
    """The seconds that the server asks to wait, if it does."""
    value = response.headers.get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _reason(error: BaseException) -> str:
    """Why a connection failed, in a few words.

    The address is left out: a redirect may have added a key to it.
    """
    if isinstance(error, exceptions.TooManyRedirects):
        return "endless redirects"
    reason = "a broken connection"
    # The libraries wrap the system's error several times, as cause, context or argument.
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        if isinstance(error, (exceptions.Timeout, urllib3.exceptions.TimeoutError)):
            reason = "no answer in time"
        inner = next((cause for cause in error.args if isinstance(cause, BaseException)), None)
        error = error.__cause__ or error.__context__ or inner
    return reason


def _refuse_credentials(url: str, remedy: str) -> None:
    """Raises InputError for an address with a user name, or one that cannot be parsed."""
    try:
        credentials = "@" in urlsplit(url).netloc
    except ValueError:
        without_query = url.rpartition("@")[2].partition("?")[0]
        raise InputError(without_query, "is not an HTTP address", remedy) from None
    if credentials:
        raise InputError(
            without_secrets(url),
            "has a user name in its address",
            "remove it: credentials are never sent",
        )
