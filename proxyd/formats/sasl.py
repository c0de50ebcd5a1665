"""Signing in with an access token: the initial responses of XOAUTH2 (Google's) and OAUTHBEARER (RFC 7628), and what a
server says when it refuses one.

XOAUTH2 comes first where both are offered: it is what every mail program has used for years.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable

MECHANISMS = ("XOAUTH2", "OAUTHBEARER")


def mechanism(offered: Iterable[str]) -> str | None:
    """The one to use of those that a server offers, in any case."""
    there = {each.upper() for each in offered}
    return next((each for each in MECHANISMS if each in there), None)


def token_response(mechanism: str, user: str, token: str, host: str, port: int) -> bytes:
    """The initial response in base64. Raises ValueError for what would break its fields."""
    for value in (user, token, host):
        if any(ord(c) < 0x20 or ord(c) == 0x7F for c in value):
            raise ValueError("a control character in what a sign-in is made of")
    if mechanism == "XOAUTH2":
        return base64.b64encode(f"user={user}\x01auth=Bearer {token}\x01\x01".encode())
    name = user.replace("=", "=3D").replace(",", "=2C")  # a saslname of RFC 5801
    fields = f"n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"
    return base64.b64encode(fields.encode())


def after_refusal(mechanism: str) -> bytes:
    """What the client has to answer before the server says its final no (RFC 7628 section 3.2.3)."""
    return b"AQ==" if mechanism == "OAUTHBEARER" else b""


def why_refused(challenge: bytes) -> str:
    """The server's reason in its challenge: JSON in base64; "" where there is none."""
    try:
        said = json.loads(base64.b64decode(challenge.strip(), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return ""
    status = said.get("status") if isinstance(said, dict) else None
    return f"status {status}" if isinstance(status, str | int) else ""
