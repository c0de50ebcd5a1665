"""A throw-away certificate authority and certificates as tests need them: good, expired, for another host."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server's certificate with its key, as PEM files. `both` holds key and chain in one file (for Postfix)."""

    chain: Path
    key: Path
    both: Path


class ThrowAwayCa:
    """A CA in a folder; `ca` is its certificate. Leaves are for localhost, 127.0.0.1 and ::1 unless said otherwise."""

    def __init__(self, folder: Path, name: str = "proxyd test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca = folder / "ca.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._subject)
            .issuer_name(self._subject)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=False,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=True,
                    crl_sign=True,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.leaf = self.issue("leaf")

    def issue(
        self,
        file: str,
        names: tuple[str, ...] = HERE,
        *,
        starts: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=20),
    ) -> Leaf:
        """A certificate for `names` (host names or IP addresses), valid from `starts` to `ends` counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        leaf = Leaf(self.folder / f"{file}.pem", self.folder / f"{file}.key", self.folder / f"{file}.both")
        chain = certificate.public_bytes(serialization.Encoding.PEM) + self.ca.read_bytes()
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        leaf.chain.write_bytes(chain)
        for path, octets in ((leaf.key, secret), (leaf.both, secret + chain)):
            path.touch(mode=0o600)
            path.write_bytes(octets)
        return leaf

    def expired_leaf(self) -> Leaf:
        return self.issue("expired", starts=timedelta(days=-20), ends=timedelta(days=-1))

    def foreign_leaf(self) -> Leaf:
        """Valid, but for another host."""
        return self.issue("foreign", ("mail.elsewhere.test",))

    def client_context(self) -> ssl.SSLContext:
        """Trusts this CA and no other."""
        return ssl.create_default_context(cafile=str(self.ca))


def server_context(leaf: Leaf) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.chain, leaf.key)
    return context


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
