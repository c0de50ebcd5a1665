"""Request bodies that are written while they are sent: an attachment is never held whole.

Their length is known before: many servers take no chunked body, and refuse one that is too long before it has come.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxyd.formats.transfer import Base64Encoder, base64_length

HERE = secrets.token_hex(32)  # stands for the octets in a JSON document; no message can hold it


@dataclass(frozen=True, slots=True)
class Streamed:
    """`length` in octets; `chunks` begins anew with each call."""

    length: int
    type: str
    chunks: Callable[[], AsyncIterator[bytes]]


def whole_body(document: Any) -> Streamed:
    """`document` as it is: small enough to be held."""
    octets = json.dumps(document).encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield octets

    return Streamed(len(octets), "application/json", chunks)


def json_body(document: Any, size: int, octets: Callable[[], AsyncIterator[bytes]]) -> Streamed:
    """`document`, in which the text HERE, once, stands for the `size` octets in base64."""
    before, after = json.dumps(document).encode().split(HERE.encode())

    async def chunks() -> AsyncIterator[bytes]:
        yield before
        async for chunk in in_base64(octets()):
            yield chunk
        yield after

    return Streamed(len(before) + base64_length(size) + len(after), "application/json", chunks)


def form_body(
    fields: Mapping[str, str], name: str, type: str, size: int, octets: Callable[[], AsyncIterator[bytes]]
) -> Streamed:
    """A form with one file (multipart/form-data, RFC 7578), `file`; `name` holds neither quotes nor line ends."""
    boundary = secrets.token_hex(16)
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    )
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    head += f"Content-Type: {type}\r\n\r\n"
    before, after = head.encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode()

    async def chunks() -> AsyncIterator[bytes]:
        yield before
        async for chunk in octets():
            yield chunk
        yield after

    return Streamed(len(before) + size + len(after), f"multipart/form-data; boundary={boundary}", chunks)


async def in_base64(octets: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    encoder = Base64Encoder()
    async for chunk in octets:
        if encoded := encoder.feed(chunk):
            yield encoded
    yield encoder.finish()
