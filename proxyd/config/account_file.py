"""Writes an account's file as a person would: only what differs from the defaults, each line with what it means.

Everything that comes from outside is quoted; what is written is read back by the same reader as any other file before
it takes its place (`loading.account_of`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from proxyd.config.problems import shown
from proxyd.config.settings import Server
from proxyd.config.sources import Command, Credential, Env, KeyringEntry, SecretFile, Source
from proxyd.errors import ConfigError

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.@/+-]*")
_WORDS_OF_YAML = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})


@dataclass(frozen=True, slots=True)
class Draft:
    """What `proxyd connect` has found out and was told. `because`: how the servers were found.

    `provider` is a preset's name; else `imap` and `smtp` are there. Users are "" where they are the address.
    """

    address: str
    name: str
    password: Source
    client_password: Source
    because: str
    provider: str = ""
    imap: Server | None = None
    smtp: Server | None = None
    ca: Path | None = None
    files_sent: str = "unknown"
    imap_user: str = ""
    smtp_user: str = ""
    dropbox: str | None = None
    track: str = "contacts"
    oauth: tuple[tuple[str, str], ...] = ()  # key and value of sign_in.oauth as they are written; then no password
    on: str = ""  # the day, as text


def text_of(draft: Draft) -> str:
    """The whole file. Raises ConfigError for text that no line can hold."""
    lines = [
        f"# {draft.address}: written by `proxyd connect`{f' on {draft.on}' if draft.on else ''}; yours to edit.",
        "# `proxyd check` reads it, `proxyd reload` puts it in force. docs/configuration.md explains every setting.",
        f"address: {quoted(draft.address)}",
    ]
    if draft.name:
        lines.append(f"name: {quoted(draft.name)}")
    lines += ["", f"# The provider's servers: {_comment(draft.because)}."]
    lines += _provider(draft)
    lines += ["", "# How proxyd signs in there. No secret stands in this file, only where it lies."]
    lines += ["sign_in:", *_users(draft)]
    if draft.oauth:
        lines += ["  oauth:", *(f"    {key}: {value}" for key, value in draft.oauth)]
    else:
        lines.append(f"  password: {source(draft.password)}")
    lines += ["", "# What your mail program logs in to proxyd with; `proxyd client-settings` shows it."]
    lines += ["client:", f"  password: {source(draft.client_password)}"]
    lines += ["", "# Which sent mail is logged: everything | contacts | marked | nothing.", f"track: {draft.track}"]
    if draft.dropbox:
        lines += ["", "# The CRM's address that gets a copy of each logged sent message."]
        lines.append(f"dropbox: {quoted(draft.dropbox)}")
    return "\n".join(lines) + "\n"


def _provider(draft: Draft) -> list[str]:
    if draft.provider:
        return [f"provider: {draft.provider}"]
    assert draft.imap is not None
    assert draft.smtp is not None
    lines = ["provider:"]
    for name, server in (("imap", draft.imap), ("smtp", draft.smtp)):
        lines.append(f"  {name}: {{host: {quoted(server.host)}, port: {server.port}, tls: {server.tls}}}")
    if draft.ca is not None:
        lines += [
            "  # A private authority that is trusted for these servers besides the system's.",
            f"  ca: {quoted(str(draft.ca))}",
        ]
    lines.append(
        "  # Whether the provider files sent mail in Sent by itself: yes | no | unknown = found out, then remembered."
    )
    lines.append(f"  files_sent: {draft.files_sent}")
    return lines


def _users(draft: Draft) -> list[str]:
    if draft.imap_user == draft.smtp_user:
        return [f"  user: {quoted(draft.imap_user)}"] if draft.imap_user else []
    named = (("imap_user", draft.imap_user), ("smtp_user", draft.smtp_user))
    return [f"  {name}: {quoted(user)}" for name, user in named if user]


def source(where: Source) -> str:
    """A secret's place as the file writes it."""
    match where:
        case KeyringEntry():
            return "keyring"
        case Env(env=name):
            return f"{{env: {quoted(name)}}}"
        case SecretFile(file=path):
            return f"{{file: {quoted(str(path))}}}"
        case Command(command=words):
            return f"{{command: [{', '.join(quoted(word) for word in words)}]}}"
        case Credential(credential=name):
            return f"{{credential: {quoted(name)}}}"


def quoted(text: str) -> str:
    """Text as a YAML scalar on one line: plain where nothing can be mistaken, else in single quotes."""
    if not text.isprintable():
        raise ConfigError(f"{shown(text)} does not fit on a line")
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_YAML:
        return text
    return "'" + text.replace("'", "''") + "'"


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
