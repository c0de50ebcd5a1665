"""What `proxyd doctor` looks at: each examination yields what it finds wrong, in one sentence, with the command that
cures it. None of them changes anything.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from proxyd.config import ConfigErrors, KeyringEntry, Listen, SecretFile, Settings, load, read_secret, store_key
from proxyd.config.sealed_files import NO_SEAL, SealedElsewhere
from proxyd.errors import ConfigError
from proxyd.places import Places
from proxyd.provider import tokens
from proxyd.relay import local_ca
from proxyd.rules import record_troubles
from proxyd.store import room
from proxyd.store.opening import seal

SOON = timedelta(days=14)  # before a certificate's end
LISTENERS = ("smtp", "smtps", "imap", "imaps", "web")
STA_UNSYNC = 0x40  # adjtimex(2)
STORE = "store.db"


@dataclass(frozen=True, slots=True)
class Finding:
    """`cure` is one command; "" where there is none. A hint (`grave` off) is no failure."""

    about: str
    what: str
    cure: str = ""
    grave: bool = True


# --- the configuration ----------------------------------------------------------------------------------------


def configuration(places: Places) -> tuple[Settings | None, list[Finding]]:
    try:
        return load(places.config), []
    except ConfigErrors as errors:
        return None, [Finding("configuration", str(problem), "proxyd reload") for problem in errors.problems]


def no_account(settings: Settings, places: Places) -> Iterator[Finding]:
    if not settings.accounts:
        yield Finding(
            "configuration", f"There is no account in {places.config / 'accounts.d'}.", "proxyd connect ADDRESS"
        )


def passwords(settings: Settings, places: Places) -> Iterator[Finding]:
    """Those that lie where this command can look too: the daemon's environment and credentials are its own."""
    try:
        sealed = seal(places.data)
    except ConfigError:  # the records cannot be opened: that is told by itself
        sealed = NO_SEAL
    for address, account in settings.accounts.items():
        if (oauth := account.sign_in.oauth) is not None:
            try:
                tokens.load(oauth, address, sealed)
            except SealedElsewhere:
                pass
            except ConfigError as error:
                yield Finding(address, f"The tokens cannot be read: {error}.", f"proxyd reconnect {address}")
            continue
        source = account.sign_in.password
        if not isinstance(source, KeyringEntry | SecretFile):
            continue
        try:
            read_secret(source, "sign_in.password")
        except ConfigError as error:
            yield Finding(address, f"The provider's password cannot be read: {error}.", f"proxyd reconnect {address}")


# --- this machine ---------------------------------------------------------------------------------------------


def folder(places: Places) -> Iterator[Finding]:
    data = places.data
    try:
        there = data.stat()
    except FileNotFoundError:
        return  # nothing was kept yet
    except OSError as error:
        yield Finding("records", f"The folder {data} cannot be looked at: {error.strerror}.", f"ls -ld {data}")
        return
    if os.geteuid() not in (0, there.st_uid):
        yield Finding(
            "records",
            f"The folder {data} belongs to the user with the number {there.st_uid}, and this command runs as "
            f"{os.geteuid()}: type it as the user that the daemon runs as.",
        )
    if there.st_mode & 0o077:
        yield Finding("records", f"Other users of this machine may look into {data}.", f"chmod 700 {data}")
    for path in (data / STORE, data / "store.key", data / "key.pem"):
        if path.exists() and path.stat().st_mode & 0o077:
            yield Finding("records", f"Other users of this machine may read {path}.", f"chmod 600 {path}")


def space(places: Places) -> Iterator[Finding]:
    if too_little := room.too_little(places.data):
        yield Finding("records", too_little, f"df -h {places.data}")


def key(places: Places) -> Iterator[Finding]:
    if not (places.data / STORE).exists():
        return
    try:
        store_key(places.data)
    except ConfigError as error:
        yield Finding("records", f"The store's key cannot be had: {error}.")


def certificate(settings: Settings, places: Places, now: datetime) -> Iterator[Finding]:
    """What the mail clients are shown. Our own is renewed by the daemon; somebody else's is not."""
    chosen = settings.daemon.certificate
    if chosen == "auto":
        ours = local_ca.read(places.data)
        if ours is not None and ours.ends < now:
            yield Finding(
                "certificate", f"The local certificate ended on {ours.ends:%Y-%m-%d}.", "proxyd trust install"
            )
        return
    try:
        ends = x509.load_pem_x509_certificates(chosen.chain.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError, IndexError):
        yield Finding("certificate", f"{chosen.chain} is no certificate that can be read.", "proxyd check")
        return
    if ends < now + SOON:
        verb = "ended" if ends < now else "ends"
        words = f"The certificate in {chosen.chain} {verb} on {ends:%Y-%m-%d}; put the new one there."
        yield Finding("certificate", words, "proxyd reload", grave=ends < now)


def clock() -> Iterator[Finding]:
    """Certificates and sign-ins go by the time. The kernel knows whether anybody keeps its clock (adjtimex(2))."""
    if _unsynchronised():
        yield Finding(
            "clock",
            "Nothing keeps this machine's clock right (NTP); where it is wrong, certificates and sign-ins fail.",
            "timedatectl set-ntp true",
            grave=False,
        )


def _unsynchronised() -> bool:
    buffer = ctypes.create_string_buffer(512)  # struct timex; its first int is `modes`: 0 only asks
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):  # another system than Linux
        return False
    status = int.from_bytes(buffer.raw[40:44], "little")
    return state >= 0 and ctypes.sizeof(ctypes.c_long) == 8 and bool(status & STA_UNSYNC)


def ports(listen: Listen) -> Iterator[Finding]:
    """While no daemon runs: could it listen?"""
    for name in LISTENERS:
        endpoint = getattr(listen, name)
        if endpoint is None or not endpoint.port:
            continue
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((endpoint.host, endpoint.port))
            except OSError as error:
                words = f"listen.{name}: {endpoint} cannot be had: {error.strerror}."
                yield Finding("ports", words, f"ss -tlnp sport = :{endpoint.port}")


# --- the running daemon -----------------------------------------------------------------------------------------


def daemon(status: dict[str, Any], settings: Settings | None) -> Iterator[Finding]:
    if problem := status["daemon"].get("config_problem"):
        yield Finding("configuration", f"{problem}".rstrip(".") + ".", "proxyd check")
    if settings is not None:
        for name in LISTENERS:
            endpoint = getattr(settings.daemon.listen, name)
            if endpoint is None or name in status["daemon"]["listening"]:
                continue
            if why := status["daemon"].get("not_listening", {}).get(name):
                yield Finding("ports", f"{why}; it is tried again.", f"ss -tlnp sport = :{endpoint.port}")
            else:
                yield Finding("ports", f"listen.{name}: {endpoint} is not open.", "proxyd reload")
    for account in status["accounts"]:
        if account["state"] not in ("connected", "connecting") or account["evidence"]:
            grave = account["state"] not in ("connected", "connecting")
            yield Finding(account["address"], account["sentence"], account.get("cure") or "", grave)


def records(troubles: dict[str, Any]) -> Iterator[Finding]:
    for each in troubles["failed"]:
        yield Finding(each["account"], each["sentence"], each["cure"])
    for each in troubles["crm"]:
        if each["because"]:
            cure = each["cure"] or f"proxyd crm --crm {each['name']}"
            yield Finding(each["account"], f"{each['sentence']}.", cure, grave=bool(each["cure"]))
    for each in troubles["unknown"]:
        sentence, cure = record_troubles.unknown_sentence(each["why"]), record_troubles.cure_of(each["message_id"])
        yield Finding(each["account"], sentence, cure)
    for each in troubles["capabilities"]:
        words = f"Its IMAP server can do what this version has never heard of ({', '.join(each['words'])}); it passes."
        yield Finding(each["account"], words, grave=False)


def now() -> datetime:
    return datetime.now(UTC)


def store_there(data: Path) -> bool:
    return (data / STORE).exists()
