"""Secrets that proxyd makes and keeps in files: enciphered (AES-GCM) under a key that comes of the store's (HKDF).

Such a file is one line of JSON. It opens for what it was written for alone: `what` (`the tokens of ada@example.com`) is
authenticated with it. One that is not enciphered yet is read as it is, and enciphered when `tidy` is asked for.

Why not every secret in a file: `password: {file: FILE}` is the person's own. They, their backup or whatever manages
their machines fill and read it, and a mail program's password opens nothing but this daemon.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxyd.config.private_files import sweep
from proxyd.config.problems import shown
from proxyd.config.secrets import read_secret, write_secret
from proxyd.config.sources import SecretFile, Source
from proxyd.errors import ConfigError

VERSION = 1
PURPOSE = b"proxyd: secrets in files, 1"
NONCE = 12  # octets


class SealedElsewhere(ConfigError):
    """It is enciphered, and the store's key is nowhere that this process may look."""


@dataclass(frozen=True)
class Seal:
    """`keys` gives the store's keys that a file may be enciphered under, the one to encipher with first. It is asked
    once, when a key is needed; it may block, and raise ConfigError. No key at all: nothing is enciphered here."""

    keys: Callable[[], Sequence[bytes]]

    @cached_property
    def _ciphers(self) -> list[AESGCM]:
        return [AESGCM(HKDF(SHA256(), 32, None, PURPOSE).derive(key)) for key in self.keys()]

    @property
    def works(self) -> bool:
        """Whether there is a key. Raises ConfigError."""
        return bool(self._ciphers)

    def closed(self, text: str, what: str) -> str:
        """One line of JSON. Raises ConfigError."""
        if not self.works:
            return text
        nonce = secrets.token_bytes(NONCE)
        sealed = self._ciphers[0].encrypt(nonce, text.encode("utf-8", "surrogatepass"), _bound_to(what))
        return json.dumps({"sealed": VERSION, "what": what, "octets": base64.b64encode(nonce + sealed).decode()})

    def opened(self, line: str, what: str) -> tuple[str, bool]:
        """(the text, whether it was enciphered with the first key). Raises ConfigError."""
        octets = _octets(line)
        if octets is None:
            return line, False
        for n, cipher in enumerate(self._ciphers):
            with suppress(InvalidTag, ValueError):
                text = cipher.decrypt(octets[:NONCE], octets[NONCE:], _bound_to(what))
                return text.decode("utf-8", "surrogatepass"), n == 0
        if not self._ciphers:
            raise SealedElsewhere(f"{what}: enciphered with the store's key, which systemd hands to the daemon alone")
        raise ConfigError(f"{what}: enciphered with another store's key, or for somebody else")


def of_keys(keys: Sequence[bytes]) -> Seal:
    return Seal(lambda: keys)


NO_SEAL = of_keys(())


def read_sealed(source: Source, what: str, seal: Seal, *, tidy: bool = False) -> str:
    """`tidy`: a file that lies open, or under an older key, is enciphered anew; where that cannot be it is read all the
    same. Blocks. Raises ConfigError."""
    line = read_secret(source, what)
    if not isinstance(source, SecretFile):
        return line
    text, current = seal.opened(line, what)
    if tidy and not current:
        with suppress(ConfigError), _one_writer(source.file):
            if seal.works and read_secret(source, what) == line:  # else somebody has put something newer there
                write_secret(source, seal.closed(text, what), what)
                sweep(source.file)
    return text


def write_sealed(source: Source, text: str, what: str, seal: Seal) -> None:
    """In the place of an older one; durable. Blocks. Raises ConfigError."""
    if not isinstance(source, SecretFile):
        write_secret(source, text, what)
        return
    closed = seal.closed(text, what)
    with _one_writer(source.file):
        write_secret(source, closed, what)


def seal_anew(paths: Iterable[Path], seal: Seal) -> None:
    """Whatever of these files is enciphered under one of the other keys is so under the first from now on. A file that
    is gone, lies open or opens by no key is left as it is. Raises ConfigError where one cannot be read or written."""
    for path in paths:
        source = SecretFile(file=path)
        with _one_writer(path):
            if not os.path.lexists(path):
                continue
            sweep(path)
            line = read_secret(source, f"the file {shown(str(path), 200)}")
            if not (what := _what(line)):
                continue
            try:
                text, current = seal.opened(line, what)
            except ConfigError:
                continue
            if not current:
                write_secret(source, seal.closed(text, what), what)


def _octets(line: str) -> bytes | None:
    """Nonce and ciphertext, None where the line is not enciphered."""
    try:
        read = json.loads(line)
        return base64.b64decode(read["octets"], validate=True) if read["sealed"] == VERSION else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _what(line: str) -> str:
    """What an enciphered line says that it holds; "" where it is not enciphered."""
    return "" if _octets(line) is None else str(json.loads(line).get("what", ""))


def _bound_to(what: str) -> bytes:
    return PURPOSE + b"\0" + what.encode("utf-8", "surrogatepass")


@contextmanager
def _one_writer(path: Path) -> Iterator[None]:
    """Of the files in this folder, among all processes, so that nothing newer is overwritten by what was read before
    it. Where a file system has no such locks it goes without."""
    descriptor = None
    with suppress(OSError):
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
