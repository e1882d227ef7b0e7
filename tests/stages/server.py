"""A web server on this machine that serves files well or badly, as a test wants it."""

from __future__ import annotations

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
        content: of the file.
        ranges: whether requests for a part of the file are honoured.
        etag: the ETag header. None sends none; "" sends a hash of the content.
        modified: the Last-Modified header; None sends none.
        cuts: responses break off after so many bytes of their body: the first after the first
            number, and so on. Later responses are complete.
        failures: the statuses and headers of the first responses.
        location: the address of a redirect, which is served instead of the file.
        sized: whether responses state their size.
        honours_if_range: False sends the part whatever version was requested.
        shift: parts start so many bytes late.
        before_gate: the bytes of a body that are sent before it waits for the gate.
        gate: an event that responses wait for.
    """

    content: bytes = b""
    ranges: bool = True
    etag: str | None = ""
    modified: str | None = None
    cuts: list[int] = field(default_factory=list)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    location: str | None = None
    sized: bool = True
    honours_if_range: bool = True
    shift: int = 0
    before_gate: int = 0
    gate: threading.Event | None = None

    def version(self) -> str | None:
        """The ETag header."""
        if self.etag == "":
            return f'"{hashlib.md5(self.content).hexdigest()}"'
        return self.etag


@dataclass
class Request:
    """One request, and how it was answered."""

    path: str  # with the query
    headers: dict[str, str]
    status: int = 0
    sent: int = 0  # bytes of the body


class Server:
    """A web server, as a `with` block.

    `files` holds what is served, by path without the first slash; `requests` what was requested.
    """

    def __init__(self):
        self.files: dict[str, Served] = {}
        self.requests: list[Request] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *_: object) -> None:
                """Logs nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for served in self.files.values():
            if served.gate is not None:
                served.gate.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self._http.server_port}/{path}"

    def sent(self, path: str) -> int:
        """The bytes of a file that were sent, in all responses together."""
        return sum(
            request.sent for request in self.requests if urlsplit(request.path).path == f"/{path}"
        )

    def statuses(self) -> list[int]:
        """The statuses of all responses."""
        return [request.status for request in self.requests]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        request = Request(handler.path, dict(handler.headers))
        self.requests.append(request)
        served = self.files.get(urlsplit(handler.path).path[1:])
        if served is None:
            self._send_head(handler, request, 404, {"Content-Length": "0"})
        elif served.failures:
            status, headers = served.failures.pop(0)
            self._send_head(handler, request, status, {"Content-Length": "0", **headers})
        elif served.location is not None:
            headers = {"Content-Length": "0", "Location": served.location}
            self._send_head(handler, request, 302, headers)
        else:
            self._send_file(handler, request, served)

    def _send_file(self, handler: BaseHTTPRequestHandler, request: Request, served: Served) -> None:
        start = self._start(request, served)
        size = len(served.content)
        headers = {}
        if served.version():
            headers["ETag"] = served.version()
        if served.modified:
            headers["Last-Modified"] = served.modified
        if start >= size > 0 and start > 0:
            headers |= {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
            self._send_head(handler, request, 416, headers)
            return
        if start:
            start += served.shift
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        body = served.content[start:]
        if served.sized:
            headers["Content-Length"] = str(len(body))
        else:
            headers["Connection"] = "close"
        self._send_head(handler, request, 206 if start else 200, headers)
        cut = served.cuts.pop(0) if served.cuts else None
        try:
            self._send_body(handler, request, body[:cut], served)
        except OSError:  # the client is gone
            handler.close_connection = True
        if cut is not None or not served.sized:
            handler.close_connection = True

    def _start(self, request: Request, served: Served) -> int:
        """The byte that the response starts with."""
        requested = request.headers.get("Range")
        if not served.ranges or requested is None:
            return 0
        versions = (None, served.version(), served.modified)
        if served.honours_if_range and request.headers.get("If-Range") not in versions:
            return 0
        return int(requested.removeprefix("bytes=").removesuffix("-"))

    def _send_body(
        self, handler: BaseHTTPRequestHandler, request: Request, body: bytes, served: Served
    ) -> None:
        gate = served.before_gate if served.gate is not None else None
        position = 0
        while position < len(body):
            if gate is not None and position >= gate:
                handler.wfile.flush()
                served.gate.wait()
                gate = None
            end = position + BLOCK if gate is None else min(gate, position + BLOCK)
            handler.wfile.write(body[position:end])
            request.sent += len(body[position:end])
            position = min(end, len(body))
        handler.wfile.flush()

    def _send_head(
        self,
        handler: BaseHTTPRequestHandler,
        request: Request,
        status: int,
        headers: dict[str, str],
    ) -> None:
        request.status = status
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
