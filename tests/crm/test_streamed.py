"""Bodies that are written while they are sent: the same octets as at once, and none of them held."""

from __future__ import annotations

import base64
import email
import email.policy
import json
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.crm.streamed import HERE, Streamed, form_body, json_body
from tests.crm.delivering import letter, scene
from tests.looping import on_the_loop

SIZE = 12_000_000  # octets
MOST = 6_000_000  # octets that may be held at the same time, buffers of every kind among them


def reading(chunks: list[bytes]) -> Callable[[], AsyncIterator[bytes]]:
    async def read() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return read


def written(body: Streamed) -> bytes:
    """All of it; there is nothing in it to wait for."""

    async def gathered() -> bytes:
        return b"".join([chunk async for chunk in body.chunks()])

    with pytest.raises(StopIteration) as ended:
        gathered().send(None)
    octets: bytes = ended.value.value
    assert len(octets) == body.length
    return octets


@given(st.lists(st.binary(max_size=50), max_size=6), st.text())
def test_json_is_what_it_would_be_at_once(chunks: list[bytes], text: str) -> None:
    octets = b"".join(chunks)
    body = json_body({"text": text, "file": f"data:,{HERE}", "more": [text]}, len(octets), reading(chunks))
    document = json.loads(written(body))
    assert document == {"text": text, "file": f"data:,{base64.b64encode(octets).decode()}", "more": [text]}


@given(st.lists(st.binary(max_size=50), max_size=6))
def test_a_form_is_read_by_a_general_parser(chunks: list[bytes]) -> None:
    octets = b"".join(chunks)
    body = form_body({"folder": "/f"}, "1-Größe.pdf", "application/pdf", len(octets), reading(chunks))
    head = f"Content-Type: {body.type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    folder, file = email.message_from_bytes(head + written(body), policy=email.policy.HTTP).iter_parts()
    assert folder.get_content() == "/f"
    assert file.get_content_type() == "application/pdf"
    assert written(body).partition(b"application/pdf\r\n\r\n")[2].startswith(octets + b"\r\n--")


@pytest.fixture
def sink() -> Iterator[ThreadingHTTPServer]:
    """Takes everything, and keeps nothing of it."""

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            left = int(self.headers["content-length"])
            while left > 0:
                left -= len(self.rfile.read(min(left, 65_536)))
            server.taken.append(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        taken: list[int] = []  # noqa: RUF012 one server, one list

    server = Server(("127.0.0.1", 0), Sink)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@on_the_loop(timeout=120)
async def test_a_large_attachment_costs_a_buffer(tmp_path: Path, sink: ThreadingHTTPServer) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("whsec_" + base64.b64encode(b"s" * 32).decode())
    url = f"http://127.0.0.1:{sink.server_address[1]}/"
    async with scene(tmp_path, f"webhook: {{url: '{url}', secret: {{file: {secret}}}}}", begin=False) as s:
        await s.log(letter(1, attach=[bytes(SIZE)]))
        await s.until(lambda: s.timeline()[0]["attachments"], "its body to be read")
        tracemalloc.start()
        try:
            await s.begin_delivery()
            await s.drained()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert max(sink.taken) > SIZE  # type: ignore[attr-defined]
    assert peak < MOST
