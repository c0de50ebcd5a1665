"""The certificate that mail clients see on loopback, from a certificate authority of our own.

Why this way: a client should have one thing to trust, and that thing must be of no use to a thief. The authority's key
is made in memory, signs one certificate and is gone; the authority may vouch for localhost, 127.0.0.1 and ::1 only; it
ends when its one certificate ends. A renewal is therefore a new authority, which the person is asked to trust again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proxyd.errors import ConfigError

LIFETIME = timedelta(days=397)  # what clients accept at most (CA/Browser Forum, Apple)
RENEW_BEFORE = timedelta(days=30)
_SKEW = timedelta(hours=1)  # of a clock that is a little behind ours
_HOSTS = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class LocalCa:
    """`ca` is what a client is told to trust, `chain` and `key` are what the listeners use.

    `fingerprint` is the authority's SHA-256, as clients show it: `AB:CD:…`. `ends` is when all of it ends.
    """

    ca: Path
    chain: Path
    key: Path
    fingerprint: str
    ends: datetime


def ensure(folder: Path, now: datetime | None = None) -> LocalCa:
    """The authority and certificate in `folder`, made anew where they are missing, damaged, or end within 30 days.

    Raises ConfigError where the folder cannot be written.
    """
    now = now or datetime.now(UTC)
    there = read(folder)
    if there is not None and now < there.ends - RENEW_BEFORE:
        return there
    try:
        _make(folder, now)
    except OSError as error:
        raise ConfigError(f"the local certificate cannot be written to {folder}: {error.strerror}") from None
    made = read(folder)
    if made is None:
        raise ConfigError(f"the local certificate in {folder} was written, and is not what is read back")
    return made


def read(folder: Path) -> LocalCa | None:
    """What lies in `folder`, None where it is not whole: a crash in the middle of a renewal, a file edited by hand."""
    ca, chain, key = folder / "ca.pem", folder / "chain.pem", folder / "key.pem"
    try:
        authority = x509.load_pem_x509_certificate(ca.read_bytes())
        leaf = x509.load_pem_x509_certificates(chain.read_bytes())[0]
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        leaf.verify_directly_issued_by(authority)
    except (OSError, ValueError, TypeError, IndexError, InvalidSignature):
        return None
    if private.public_key() != leaf.public_key():
        return None
    return LocalCa(ca, chain, key, authority.fingerprint(hashes.SHA256()).hex(":").upper(), leaf.not_valid_after_utc)


def server_context(chain: Path, key: Path) -> ssl.SSLContext:
    """The one context of all listeners. Raises ConfigError where the files are no certificate with its key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 1  # each resumption brings the next; a second one costs every new connection
    load(context, chain, key)
    return context


def load(context: ssl.SSLContext, chain: Path, key: Path) -> None:
    """Use these files for the connections that are opened from now on: how a renewal reaches a running daemon."""
    try:
        context.load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"certificate: {chain} with the key {key} cannot be used: {error}") from None


def _make(folder: Path, now: datetime) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority_key = ec.generate_private_key(ec.SECP256R1())  # never leaves this function
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key, now)
    leaf = _leaf(authority, authority_key, leaf_key.public_key(), now)
    private = leaf_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    _write(folder / "key.pem", private)
    _write(folder / "chain.pem", leaf.public_bytes(pem) + authority.public_bytes(pem))
    _write(folder / "ca.pem", authority.public_bytes(pem), mode=0o644)


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    # The date in the name tells a renewed authority from its predecessor in a client's list.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"proxyd on this computer, {now:%Y-%m-%d}")])
    names = x509.NameConstraints(
        permitted_subtrees=[
            x509.DNSName("localhost"),
            *(x509.IPAddress(ipaddress.ip_network(host)) for host in _HOSTS),
        ],
        excluded_subtrees=None,
    )
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _begun(name, name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(names, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    hosts = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(host)) for host in _HOSTS)]
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        _begun(name, authority.subject, key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .sign(authority_key, hashes.SHA256())
    )


def _begun(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now - _SKEW + LIFETIME)
    )


def _write(path: Path, octets: bytes, mode: int = 0o600) -> None:
    """Whole or not at all, also where the power fails."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # noqa: PTH101
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
