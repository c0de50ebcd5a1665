"""A domain's settings file: what is read of it, and what is no settings file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats import autoconfig_file
from proxyd.formats.autoconfig_file import Published

FILE = """<?xml version="1.0"?>
<clientConfig version="1.1"><emailProvider id="example.com"><domain>example.com</domain>
<incomingServer type="imap"><hostname>imap.%EMAILDOMAIN%</hostname><port>993</port><socketType>SSL</socketType>
<authentication>OAuth2</authentication><authentication>password-cleartext</authentication>
<username>%EMAILLOCALPART%</username></incomingServer>
<incomingServer type="pop3"><hostname>pop.example.com</hostname><port>995</port><socketType>SSL</socketType>
</incomingServer>
<incomingServer type="exchange"><hostname>x</hostname><port>443</port><socketType>SSL</socketType></incomingServer>
<outgoingServer type="smtp"><hostname> smtp.example.com </hostname><port>587</port><socketType>STARTTLS</socketType>
<username>%EMAILADDRESS%</username></outgoingServer>
<outgoingServer type="smtp"><hostname>smtp.example.com</hostname><port>70000</port><socketType>SSL</socketType>
</outgoingServer>
</emailProvider></clientConfig>"""


def test_what_is_read() -> None:
    assert autoconfig_file.read(FILE.encode(), "ada@example.com") == (
        Published("imap", "imap.example.com", 993, "implicit", "ada", True),
        Published("pop3", "pop.example.com", 995, "implicit", "", False),
        Published("smtp", "smtp.example.com", 587, "starttls", "ada@example.com", False),
    )


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html><body>not found</body></html>",
        b"<clientConfig",
        b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + FILE.encode(),
        FILE.encode() + b" " * autoconfig_file.LIMIT,
        FILE.replace("imap.%EMAILDOMAIN%", "im ap").replace("995", "x").replace("587", "").encode(),
    ],
)
def test_what_is_no_settings_file(octets: bytes) -> None:
    assert autoconfig_file.read(octets, "ada@example.com") == ()


@given(st.binary() | st.text().map(lambda text: FILE.replace("993", text).encode("utf-8", "replace")))
def test_no_octets_break_it(octets: bytes) -> None:
    autoconfig_file.read(octets, "ada@example.com")
