"""An HTTP server that plays a CRM, and every way in which a CRM fails.

The vendors' own clients are the judges of the fakes made of it (test_judges.py); then our adapters talk to them.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

# What may become of a request: answered in the place of the CRM …
INSTEAD = ("500", "503", "429", "html", "cut")
# … or after the CRM has done what was asked: an error, no answer at all, or an answer that never comes.
AFTER = ("done, 500", "done, cut")


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # without the query
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def one(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: Any = b""  # octets, or what becomes JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeCrm:
    """`with FakeHub() as crm:`; `fault` is asked for each request and names what goes wrong, None = nothing."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.fault: Callable[[Request], str | None] = lambda request: None
        self.lock = threading.RLock()  # the CRM's state changes one request at a time
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._release = threading.Event()

    def answer(self, request: Request) -> Reply:
        """What the CRM does."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._release.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def handle(self, request: Request) -> Reply | None:
        """None: the connection is cut."""
        with self.lock:
            self.requests.append(request)
            fault = self.fault(request)
        if fault is None:
            return self.answer_in_turn(request)
        if fault.startswith("done"):
            self.answer_in_turn(request)
        return self.failure(fault)

    def answer_in_turn(self, request: Request) -> Reply:
        with self.lock:
            return self.answer(request)

    def failure(self, fault: str) -> Reply | None:
        match fault.removeprefix("done, "):
            case "cut":
                return None
            case "429":
                return Reply(429, {"message": "too many requests"}, {"Retry-After": "1"})
            case "401" | "403" as code:
                return Reply(int(code), {"message": "the key was revoked"})
            case "html":
                return Reply(200, b"<!DOCTYPE html><html><body>We are down for maintenance</body></html>")
            case "302":
                return Reply(302, b"", {"Location": "https://elsewhere.example/"})
            case "hold":
                self._release.wait(60)
                return None
            case code:
                return Reply(int(code), {"message": "something went wrong"})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away in the middle of an answer: here that is what is being tested."""


def _handler(crm: FakeCrm) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def setup(self) -> None:
            super().setup()
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def _body(self) -> bytes | None:
            """None: whoever sent it went away in the middle; no server takes what is not complete (RFC 9112, 8)."""
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            return body if len(body) == length else None

        def _do(self) -> None:
            body = self._body()
            if body is None:
                self.close_connection = True
                return
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, body)
            reply = crm.handle(request)
            if reply is None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            octets = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            kind = "text/html" if octets.startswith(b"<!DOCTYPE html") else "application/json"
            for name, value in ({"Content-Type": kind} | dict(reply.headers)).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Receiver(FakeCrm):
    """A program that takes webhooks: verifies each with the specification's own library, and drops what it has seen."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        from standardwebhooks import Webhook

        self._judge = Webhook(secret)
        self.any_time = False
        self.events: dict[str, Any] = {}

    def answer(self, request: Request) -> Reply:
        from standardwebhooks import WebhookVerificationError

        id, at = request.headers["webhook-id"], datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
        if self.any_time:
            signed = self._judge.sign(id, at, request.body.decode())
            if signed not in request.headers["webhook-signature"].split(" "):
                return Reply(400, {"message": "no matching signature"})
            self.events.setdefault(id, request.json())
            return Reply(204)
        try:
            event = self._judge.verify(request.body, dict(request.headers))
        except WebhookVerificationError as error:
            return Reply(400, {"message": str(error)})
        self.events.setdefault(request.headers["webhook-id"], event)
        return Reply(204)

    def of(self, kind: str) -> list[Any]:
        return [each["data"] for each in self.events.values() if each["type"] == kind]
