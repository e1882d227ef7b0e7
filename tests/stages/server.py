"""A web server on this machine, as good or as bad as a test wants it."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

BLOCK = 2**16


@dataclass
class Served:
    """A file, and how it is served.

    Args:
        ranges: whether parts of it can be had.
        etag: as sent; None sends none. "" is one of the content.
        modified: the Last-Modified header; None sends none.
        cuts: answers break off after so many bytes of their body, one each, then none does.
        failures: statuses answered first, one each, with headers.
        location: redirects there instead.
        sized: whether the size is told.
        honours_if_range: False sends the part whatever the version asked for.
        shift: parts start so many bytes late.
        gate: answers send `before_gate` bytes and wait for it.
    """

    content: bytes = b""
    ranges: bool = True
    etag: str | None = ""
    modified: str | None = None
    cuts: list[int] = field(default_factory=list)
    failures: list[tuple[int, dict]] = field(default_factory=list)
    location: str | None = None
    sized: bool = True
    honours_if_range: bool = True
    shift: int = 0
    before_gate: int = 0
    gate: threading.Event | None = None

    def version(self) -> str | None:
        if self.etag == "":
            return f'"{hashlib.md5(self.content).hexdigest()}"'
        return self.etag


@dataclass
class Asked:
    """One request: its path with the query, its headers, and the answer."""

    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0  # bytes of the body


class Server:
    """`files` are served by path, which does not start with a slash. Use as a `with` block."""

    def __init__(self):
        self.files: dict[str, Served] = {}
        self.asked: list[Asked] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                server._answer(self)

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_):
        for served in self.files.values():
            if served.gate is not None:
                served.gate.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/{path}"

    def sent(self, path: str) -> int:
        """All bytes that were sent of a file."""
        return sum(asked.sent for asked in self.asked if urlsplit(asked.path).path == f"/{path}")

    def statuses(self) -> list[int]:
        return [asked.status for asked in self.asked]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = Asked(handler.path, dict(handler.headers))
        self.asked.append(asked)
        served = self.files.get(urlsplit(handler.path).path[1:])
        if served is None:
            self._head(handler, asked, 404, {"Content-Length": "0"})
        elif served.failures:
            status, headers = served.failures.pop(0)
            self._head(handler, asked, status, {"Content-Length": "0", **headers})
        elif served.location is not None:
            headers = {"Content-Length": "0", "Location": served.location}
            self._head(handler, asked, 302, headers)
        else:
            self._file(handler, asked, served)

    def _file(self, handler, asked: Asked, served: Served) -> None:
        start = self._start(asked, served)
        size = len(served.content)
        headers = {}
        if served.version():
            headers["ETag"] = served.version()
        if served.modified:
            headers["Last-Modified"] = served.modified
        if start >= size > 0 and start > 0:
            headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            self._head(handler, asked, 416, headers)
            return
        if start:
            start += served.shift
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        body = served.content[start:]
        if served.sized:
            headers["Content-Length"] = str(len(body))
        else:
            headers["Connection"] = "close"
        self._head(handler, asked, 206 if start else 200, headers)
        cut = served.cuts.pop(0) if served.cuts else None
        gate = served.before_gate if served.gate is not None else None
        try:
            self._send(handler, asked, body[:cut], gate, served.gate)
        except OSError:  # who asked is gone
            handler.close_connection = True
        if cut is not None or not served.sized:
            handler.close_connection = True

    def _start(self, asked: Asked, served: Served) -> int:
        wanted = asked.headers.get("Range")
        if not served.ranges or wanted is None:
            return 0
        versions = (None, served.version(), served.modified)
        if served.honours_if_range and asked.headers.get("If-Range") not in versions:
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _send(self, handler, asked: Asked, body: bytes, gate: int | None, event) -> None:
        position = 0
        while position < len(body):
            if gate is not None and position >= gate:
                handler.wfile.flush()
                event.wait()
                gate = None
            end = position + BLOCK if gate is None else min(gate, position + BLOCK)
            handler.wfile.write(body[position:end])
            asked.sent += len(body[position:end])
            position = min(end, len(body))
        handler.wfile.flush()

    def _head(self, handler, asked: Asked, status: int, headers: dict) -> None:
        asked.status = status
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
