"""The local certificate: what it vouches for, what it cannot, and when it is made anew."""

from __future__ import annotations

import asyncio
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from proxyd.errors import ConfigError
from proxyd.relay.local_ca import LocalCa, ensure, server_context
from tests.looping import on_the_loop

NOW = datetime.now(UTC)


async def talk(context: ssl.SSLContext, host: str, name: str, ca: Path) -> None:
    """A TLS handshake with a server on `host`, whose certificate must be good for `name`."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    trust = ssl.create_default_context(cafile=str(ca))
    try:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(host, port, ssl=trust, server_hostname=name)
        await reader.read()
        writer.close()
    finally:
        server.close()


@on_the_loop
async def test_a_client_that_trusts_it_is_satisfied(tmp_path: Path) -> None:
    made = ensure(tmp_path, NOW)
    context = server_context(made.chain, made.key)
    for name in ("localhost", "127.0.0.1", "::1"):
        await talk(context, "127.0.0.1", name, made.ca)
    with pytest.raises(ssl.SSLCertVerificationError):
        await talk(context, "127.0.0.1", "example.com", made.ca)


def test_the_authority_leaves_no_key_and_vouches_for_this_computer_only(tmp_path: Path) -> None:
    made = ensure(tmp_path, NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.pem", "chain.pem", "key.pem"]
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    authority = x509.load_pem_x509_certificate(made.ca.read_bytes())
    key = x509.load_pem_x509_certificates(made.chain.read_bytes())[0].public_key()
    assert authority.public_key() != key
    names = authority.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert [str(each.value) for each in names.value.permitted_subtrees or []] == [
        "localhost",
        "127.0.0.1/32",
        "::1/128",
    ]
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    assert authority.not_valid_after_utc - authority.not_valid_before_utc <= timedelta(days=397)


def test_kept_until_a_month_before_its_end_then_made_anew(tmp_path: Path) -> None:
    first = ensure(tmp_path, NOW)
    assert ensure(tmp_path, NOW + timedelta(days=300)) == first
    later = ensure(tmp_path, NOW + timedelta(days=370))
    assert later.fingerprint != first.fingerprint
    assert later.ends > first.ends


@pytest.mark.parametrize("name", ["ca.pem", "chain.pem", "key.pem"])
@pytest.mark.parametrize("damage", ["missing", "empty", "another's"])
def test_what_is_not_whole_is_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    first, other = ensure(here, NOW), ensure(there, NOW)
    match damage:
        case "missing":
            (here / name).unlink()
        case "empty":
            (here / name).write_bytes(b"")
        case _:
            (here / name).write_bytes((there / name).read_bytes())
    again = ensure(here, NOW)
    assert again.fingerprint not in (first.fingerprint, other.fingerprint)
    server_context(again.chain, again.key)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="local certificate cannot be written"):
        ensure(tmp_path / "file" / "folder", NOW)


def test_a_certificate_without_its_key_is_said(tmp_path: Path) -> None:
    one, two = ensure(tmp_path / "one", NOW), ensure(tmp_path / "two", NOW)
    with pytest.raises(ConfigError, match="cannot be used"):
        server_context(one.chain, two.key)
    assert isinstance(one, LocalCa)
