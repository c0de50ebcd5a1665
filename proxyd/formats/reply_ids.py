"""The Message-ID that a provider gave a message, as its reply to the final dot names it.

Microsoft 365 and Outlook.com: `250 2.0.0 OK <VI1PR…@VI1PR….prod.outlook.com> [Hostname=…]`; Brevo and others likewise,
in brackets. Amazon SES names only what stands before the @ (`250 Ok 0102…-000000`); behind it comes the region that
took the message, which is `email` for the first one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxyd.formats.message import message_ids

_BRACKETED = re.compile(r"<[^<>\s@]{1,400}@[^<>\s@]{1,400}>")
_SES = re.compile(r"(?<![0-9A-Za-z-])[0-9a-f]{16}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d{6}(?![0-9A-Za-z-])")
_SES_HOST = re.compile(r"email-smtp(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com")


def ids_in_reply(lines: Sequence[str], host: str, people: Iterable[str]) -> tuple[str, ...]:
    """The ids in the reply's lines. `host` is the server's name; `people` are the addresses of the envelope: some
    servers repeat one of those in brackets."""
    text = " ".join(lines)
    addresses = {each.strip().lower() for each in people}
    found = [id for token in _BRACKETED.findall(text) for id in message_ids(token) if id.lower() not in addresses]
    region = _SES_HOST.fullmatch(host.strip().lower())
    domain = "email" if region is None or region[1] == "us-east-1" else region[1]
    found += [f"{each}@{domain}.amazonses.com" for each in _SES.findall(text)]
    return tuple(dict.fromkeys(found))
