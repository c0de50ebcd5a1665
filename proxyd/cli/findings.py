"""What `proxyd doctor` looks at: each examination yields what it finds wrong, in one sentence, with the command that
cures it. None of them changes anything.

Where a person has to do something first that no command of ours does, the sentence says what, and the command is for
afterwards, or shows what is in the way. tests/scenarios/test_cures.py walks every kind's cure.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from cryptography import x509

from proxyd.config import (
    ConfigErrors,
    KeyringEntry,
    Listen,
    Problem,
    SecretFile,
    Settings,
    account_of,
    load,
    read_secret,
    store_key,
)
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


Kind = Literal[
    "configuration",
    "configuration not in force",
    "no account",
    "tokens",
    "password",
    "folder out of reach",
    "folder of another user",
    "folder open to others",
    "file open to others",
    "room",
    "key",
    "local certificate ended",
    "certificate unreadable",
    "certificate ends",
    "clock",
    "port taken",
    "port not open",
    "daemon",
    "account",
    "records",
    "copies given up",
    "crm",
    "unknown outcome",
    "not delivered",
    "mail waits",
    "capabilities",
]


@dataclass(frozen=True, slots=True)
class Finding:
    """`cure` is one command; "" where there is none. A hint (`grave` off) is no failure."""

    kind: Kind
    about: str
    what: str
    cure: str = ""
    grave: bool = True


# --- the configuration ----------------------------------------------------------------------------------------


def configuration(places: Places, *, running: bool) -> tuple[Settings | None, list[Finding]]:
    """`running`: there is a daemon, which is to take what is corrected."""
    try:
        return load(places.config), []
    except ConfigErrors as errors:
        return None, [_in_a_file(problem, running=running) for problem in errors.problems]


def _in_a_file(problem: Problem, *, running: bool) -> Finding:
    words = str(problem).rstrip(".")
    if problem.message.startswith("sign_in.password.file: ") and problem.message.endswith(" is missing"):
        with contextlib.suppress(ConfigError, OSError, UnicodeError):
            address = account_of(problem.file.read_text(), problem.file).address
            return Finding("password", address, f"{words}.", f"proxyd reconnect {address}")
    cure = "proxyd reload" if running else "proxyd check"
    return Finding("configuration", "configuration", f"{words}. Correct it first.", cure)


def no_account(settings: Settings, places: Places) -> Iterator[Finding]:
    if not settings.accounts:
        yield Finding(
            "no account",
            "configuration",
            f"There is no account in {places.config / 'accounts.d'}.",
            "proxyd connect ADDRESS",
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
                yield Finding("tokens", address, f"The tokens cannot be read: {error}.", f"proxyd reconnect {address}")
            continue
        source = account.sign_in.password
        if not isinstance(source, KeyringEntry | SecretFile):
            continue
        try:
            read_secret(source, "sign_in.password")
        except ConfigError as error:
            words = f"The provider's password cannot be read: {error}."
            yield Finding("password", address, words, f"proxyd reconnect {address}")


# --- this machine ---------------------------------------------------------------------------------------------


def folder(places: Places) -> Iterator[Finding]:
    data = places.data
    try:
        there = data.stat()
    except FileNotFoundError:
        return  # nothing was kept yet
    except OSError as error:
        words = f"The folder {data} cannot be looked at ({error.strerror}): type this as the daemon's user."
        yield Finding("folder out of reach", "records", words)
        return
    if os.geteuid() not in (0, there.st_uid):
        yield Finding(
            "folder of another user",
            "records",
            f"The folder {data} belongs to the user with the number {there.st_uid}, and this command runs as "
            f"{os.geteuid()}: type it as the user that the daemon runs as.",
        )
    if there.st_mode & 0o077:
        words = f"Other users of this machine may look into {data}."
        yield Finding("folder open to others", "records", words, f"chmod 700 {quote(str(data))}")
    for path in (data / STORE, data / "store.key", data / "key.pem"):
        if path.exists() and path.stat().st_mode & 0o077:
            words = f"Other users of this machine may read {path}."
            yield Finding("file open to others", "records", words, f"chmod 600 {quote(str(path))}")


def space(places: Places) -> Iterator[Finding]:
    if too_little := room.too_little(places.data):
        yield Finding("room", "records", f"{too_little} Make room there.", f"df -h {quote(str(places.data))}")


def key(places: Places) -> Iterator[Finding]:
    if not (places.data / STORE).exists():
        return
    try:
        store_key(places.data)
    except ConfigError as error:
        yield Finding("key", "records", f"The store's key cannot be had: {error}.")


def certificate(settings: Settings, places: Places, now: datetime, *, running: bool) -> Iterator[Finding]:
    """What the mail clients are shown. Our own is renewed by the daemon; somebody else's is not."""
    chosen = settings.daemon.certificate
    if chosen == "auto":
        ours = local_ca.read(places.data)
        if ours is not None and ours.ends < now:
            words = f"The local certificate ended on {ours.ends:%Y-%m-%d}; mail clients are to trust a new one then."
            cure = "proxyd reload" if running else "proxyd run"
            yield Finding("local certificate ended", "certificate", words, cure)
        return
    try:
        ends = x509.load_pem_x509_certificates(chosen.chain.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError, IndexError):
        words = f"{chosen.chain} is no certificate that can be read; put the right one there first."
        yield Finding("certificate unreadable", "certificate", words, "proxyd reload")
        return
    if ends < now + SOON:
        verb = "ended" if ends < now else "ends"
        words = f"The certificate in {chosen.chain} {verb} on {ends:%Y-%m-%d}; put the new one there first."
        yield Finding("certificate ends", "certificate", words, "proxyd reload", grave=ends < now)


def clock() -> Iterator[Finding]:
    """Certificates and sign-ins go by the time. The kernel knows whether anybody keeps its clock (adjtimex(2))."""
    if _unsynchronised():
        yield Finding(
            "clock",
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
                yield _taken(f"listen.{name}: {endpoint} cannot be had: {error.strerror}", endpoint.port)


def _taken(why: str, port: int) -> Finding:
    words = f"{why}. End the program that has it, or choose another port."
    return Finding("port taken", "ports", words, f"ss -tlnp sport = :{port}")


# --- the running daemon -----------------------------------------------------------------------------------------


def daemon(status: dict[str, Any], settings: Settings | None) -> Iterator[Finding]:
    problem = status["daemon"].get("config_problem")
    if problem and settings is not None:  # else what lies there is wrong still, and was told
        words = f"{problem[:1].upper()}{problem[1:].rstrip('.')}. Correct it first, unless you have."
        yield Finding("configuration not in force", "configuration", words, "proxyd reload")
    if settings is not None:
        for name in LISTENERS:
            endpoint = getattr(settings.daemon.listen, name)
            if endpoint is None or name in status["daemon"]["listening"]:
                continue
            if why := status["daemon"].get("not_listening", {}).get(name):
                yield _taken(f"{why}; it is tried again", endpoint.port)
            else:
                yield Finding("port not open", "ports", f"listen.{name}: {endpoint} is not open.", "proxyd reload")
    for account in status["accounts"]:
        if account["state"] not in ("connected", "connecting") or account["evidence"]:
            grave = account["state"] not in ("connected", "connecting")
            yield Finding("account", account["address"], account["sentence"], account.get("cure") or "", grave)


def records(troubles: dict[str, Any]) -> Iterator[Finding]:
    for each in troubles["failed"]:
        yield Finding("copies given up", each["account"], each["sentence"], each["cure"])
    for each in troubles["crm"]:
        if each["because"]:
            cure = each["cure"] or f"proxyd crm --crm {each['name']}"
            yield Finding("crm", each["account"], f"{each['sentence']}.", cure, grave=bool(each["cure"]))
    for each in troubles["unknown"]:
        sentence, cure = record_troubles.unknown_sentence(each["why"]), record_troubles.cure_of(each["message_id"])
        yield Finding("unknown outcome", each["account"], sentence, cure)
    for account in dict.fromkeys(each["account"] for each in troubles["spool"]):
        ours = [each for each in troubles["spool"] if each["account"] == account]
        for found in record_troubles.spool(ours, account, now()):
            if found.kind == "not_delivered":
                yield Finding("not delivered", account, found.sentence, found.cure)
            else:
                yield Finding("mail waits", account, found.sentence, found.cure, grave=False)
    for each in troubles["capabilities"]:
        words = f"Its IMAP server can do what this version has never heard of ({', '.join(each['words'])}); it passes."
        yield Finding("capabilities", each["account"], words, grave=False)


def now() -> datetime:
    return datetime.now(UTC)


def store_there(data: Path) -> bool:
    return (data / STORE).exists()
