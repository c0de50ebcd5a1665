"""Dovecot 2.3 on loopback: IMAP (implicit TLS and STARTTLS), LMTP, and the socket by which Postfix asks for sign-ins.

Passwords lie in a `dict` file, which Dovecot looks at on every sign-in (a `passwd-file` is re-read once a second at
most). With `rawlog` every octet of every IMAP session after its sign-in is kept; our own looks by `imap()` are marked
by their tags and left out of `sessions()`.
"""

from __future__ import annotations

import contextlib
import imaplib
import json
import os
import re
import shutil
import smtplib
import ssl
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.servers.processes import (
    Server,
    ServerFailed,
    ServerProcess,
    check_open,
    free_port,
    listens,
    need_program,
    need_root,
    wait_until_free,
)
from tests.servers.tls import Leaf, ThrowAwayCa

MAIL_USER = 8  # Debian's user and group "mail": whose the Maildirs are
OUR_TAG = b"LOOK"

# What Dovecot 2.3.19 of Debian 12 offers after sign-in, written out so that parts of it can be hidden.
CAPABILITY = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS "
    "THREAD=ORDEREDSUBJECT MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED "
    "I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE "
    "SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in a mailbox: `flags` and `internaldate` as the server writes them, `octets` the whole message.

    `\\Recent` is left out: it belongs to a session.
    """

    uid: int
    flags: frozenset[str]
    internaldate: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Session:
    """One IMAP session behind its sign-in: what the client sent and what it got."""

    user: str
    sent: bytes
    received: bytes

    @property
    def commands(self) -> tuple[str, ...]:
        """The client's lines without their tags, e.g. `UID FETCH 1:* (FLAGS)`; octets of literals are among them."""
        lines = self.sent.decode("utf-8", "replace").splitlines()
        return tuple(line.partition(" ")[2] or line for line in lines)


class Dovecot(Server):
    """An IMAP server whose `users` sign in with their address and password."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str],
        ca: ThrowAwayCa | None = None,
        leaf: Leaf | None = None,
        special_use: bool = True,
        sent_name: str | None = "Sent",
        hide: Sequence[str] = (),
        rawlog: bool = True,
        connections_per_user: int = 100,
        settings: str = "",
    ) -> None:
        """`special_use=False` hides SPECIAL-USE and gives no folder an attribute; `sent_name` is the Sent folder that
        every user has (None: no such folder); `hide` are capabilities to hide; `settings` go to the end of its
        configuration as they are."""
        self.folder = folder
        self.ca = ca or ThrowAwayCa(folder / "ca")
        self.leaf = leaf or self.ca.leaf
        self.users = dict(users)
        self.special_use = special_use
        self.sent_name = sent_name
        self.hide = frozenset(hide) | (frozenset() if special_use else {"SPECIAL-USE"})
        self.keeps_rawlog = rawlog
        self.connections_per_user = connections_per_user
        self.settings = settings
        self.imaps_port, self.imap_port, self.lmtp_port = free_port(), free_port(), free_port()
        self.auth_socket = folder / "run" / "sign-in"
        self._process: ServerProcess | None = None

    # --- running ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when it answers; a second start after a stop uses the same ports and the same mail."""
        need_root("Dovecot")
        program = need_program("/usr/sbin/dovecot", "dovecot-imapd dovecot-lmtpd dovecot-sieve")
        self.folder.mkdir(parents=True, exist_ok=True)
        check_open(self.folder)
        for name in ("mail", "run", "rawlog", "sieve"):
            (self.folder / name).mkdir(mode=0o755, exist_ok=True)
        for name in ("mail", "sieve"):  # LMTP keeps its compiled script beside the script
            os.chown(self.folder / name, MAIL_USER, MAIL_USER)
        self._write_users()
        config = self.folder / "dovecot.conf"
        config.write_text(self._configuration())
        self._process = ServerProcess([program, "-F", "-c", str(config)], log=self.folder / "dovecot.out", grace=0.2)
        self._process.wait_until(self._greets, "Dovecot")

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.stop()
        self._process = None
        wait_until_free(self.imaps_port, self.imap_port, self.lmtp_port)
        shutil.rmtree(self.folder / "run", ignore_errors=True)  # who still dies may hold its sockets

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None, "Dovecot is not running"
        return self._process

    def _greets(self) -> bool:
        if not all(listens(port) for port in (self.imaps_port, self.imap_port, self.lmtp_port)):
            return False
        if fatal := re.search(r"auth: Fatal: .*", self.log()):
            raise ServerFailed(f"Dovecot: {fatal[0]}")  # its clients wait for a greeting while it tries again
        try:
            self._connect(timeout=5).logout()
        except (OSError, imaplib.IMAP4.error):
            return False
        return True

    # --- people -------------------------------------------------------------------------------------------

    def set_password(self, user: str, password: str) -> None:
        """For the next sign-in; sessions that stand go on. A new `user` is added."""
        self.users[user] = password
        self._write_users()

    def _write_users(self) -> None:
        lines = []
        for user, password in self.users.items():
            lines += [f"shared/passdb/{user}", json.dumps({"password": "{PLAIN}" + password})]
            rawlog = self.folder / "rawlog" / user
            if not rawlog.exists():
                rawlog.mkdir()
                os.chown(rawlog, MAIL_USER, MAIL_USER)
        fresh = self.folder / "users.new"
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(self.folder / "users.dict")

    # --- mail ---------------------------------------------------------------------------------------------

    def deliver(self, user: str, octets: bytes, sender: str = "somebody@elsewhere.test") -> None:
        """By LMTP into the user's INBOX; Dovecot puts Return-Path, Delivered-To and Received on top."""
        with smtplib.LMTP("127.0.0.1", self.lmtp_port) as lmtp:
            refused = lmtp.sendmail(sender, [user], octets)
        assert not refused, refused

    @contextlib.contextmanager
    def imap(self, user: str) -> Iterator[imaplib.IMAP4_SSL]:
        """A signed-in connection for looking; its tags keep it out of `sessions()`."""
        connection = self._connect()
        try:
            connection.login(user, self.users[user])
            tag = re.compile(rb"(?P<tag>" + OUR_TAG + rb"\d+) (?P<type>[A-Z]+) (?P<data>.*)", re.ASCII)
            vars(connection).update(tagpre=OUR_TAG, tagre=tag)
            connection.noop()
            yield connection
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                connection.logout()

    def folders(self, user: str) -> list[str]:
        """The lines of LIST, e.g. `(\\HasNoChildren \\Sent) "/" Sent`."""
        with self.imap(user) as imap:
            return [line.decode() for line in imap.list()[1] if isinstance(line, bytes)]

    def messages(self, user: str, folder: str = "INBOX") -> list[Stored]:
        """What lies in a folder, in order of UID, read without changing anything; no such folder is an empty one."""
        with self.imap(user) as imap:
            if imap.select(f'"{folder}"', readonly=True)[0] != "OK":
                return []
            return fetch_all(imap)

    def append(self, user: str, folder: str, octets: bytes, flags: str = "\\Seen") -> int:
        """File a message as a client does; the UID it got (UIDPLUS)."""
        with self.imap(user) as imap:
            kind, data = imap.append(f'"{folder}"', flags, "", octets)
            assert kind == "OK", data
            found = re.search(rb"APPENDUID \d+ (\d+)", data[0])
            assert found is not None, data
            return int(found[1])

    def _connect(self, timeout: float = 60) -> imaplib.IMAP4_SSL:
        context = ssl.create_default_context(cafile=str(self.ca.ca))
        context.check_hostname = False  # the leaf may be a bad one on purpose
        context.verify_mode = ssl.CERT_NONE
        return imaplib.IMAP4_SSL("127.0.0.1", self.imaps_port, ssl_context=context, timeout=timeout)

    # --- what was said ------------------------------------------------------------------------------------

    def sessions(self, user: str | None = None) -> list[Session]:
        """Every IMAP session so far but our own, in order of time."""
        found: list[tuple[str, Session]] = []
        for path in (self.folder / "rawlog").glob("*/*.in"):
            if user is not None and path.parent.name != user:
                continue
            sent = _plain(path.read_bytes())
            if sent.lstrip().startswith(OUR_TAG):
                continue
            answer = path.with_suffix(".out")
            received = _plain(answer.read_bytes()) if answer.exists() else b""
            found.append((path.name, Session(path.parent.name, sent, received)))
        return [session for _, session in sorted(found, key=lambda pair: pair[0])]

    def rawlog(self, user: str | None = None) -> str:
        """All sessions as one text, client's lines behind `C: `, then the server's behind `S: `."""
        parts = []
        for session in self.sessions(user):
            parts.append(f"--- {session.user}")
            parts += [f"C: {line}" for line in session.sent.decode("utf-8", "replace").splitlines()]
            parts += [f"S: {line}" for line in session.received.decode("utf-8", "replace").splitlines()]
        return "\n".join(parts)

    def log(self) -> str:
        path = self.folder / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- configuration ------------------------------------------------------------------------------------

    def _configuration(self) -> str:
        capability = "imap_capability = " + " ".join(word for word in CAPABILITY.split() if word not in self.hide)
        folder = self.folder
        (folder / "dict.conf").write_text(
            textwrap.dedent(
                f"""\
                uri = file:{folder}/users.dict
                key passdb {{
                  key = passdb/%u
                  format = json
                }}
                passdb_objects = passdb
                """
            )
        )
        return TEMPLATE.format(
            folder=folder,
            imap_port=self.imap_port,
            imaps_port=self.imaps_port,
            lmtp_port=self.lmtp_port,
            chain=self.leaf.chain,
            key=self.leaf.key,
            connections=self.connections_per_user,
            capability=capability if self.hide else "",
            uid=MAIL_USER,
            rawlog=f"rawlog_dir = {folder}/rawlog/%u" if self.keeps_rawlog else "",
            mailboxes=self._mailboxes(),
            auth_socket=self.auth_socket,
            sieve=self._sieve(),
            settings=self.settings,
        )

    def _mailboxes(self) -> str:
        names = {"Drafts": "\\Drafts", "Trash": "\\Trash"}
        if self.sent_name is not None:
            names[self.sent_name] = "\\Sent"
        return "\n".join(
            f'  mailbox "{name}" {{\n    auto = subscribe\n'
            + (f"    special_use = {attribute}\n" if self.special_use else "")
            + "  }"
            for name, attribute in names.items()
        )

    def _sieve(self) -> Path:
        """What comes for `user+filed@…` is the provider's own copy of what the user submitted."""
        script = self.folder / "sieve" / "filed.sieve"
        script.write_text(
            'require ["envelope", "subaddress", "fileinto", "imap4flags", "mailbox"];\n'
            'if envelope :detail "to" "filed" {\n'
            '  setflag "\\\\Seen";\n'
            f'  fileinto :create "{self.sent_name or "Sent"}";\n'
            "  stop;\n"
            "}\n"
        )
        return script


def fetch_all(imap: imaplib.IMAP4_SSL) -> list[Stored]:
    _, data = imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
    stored = []
    for item in data:
        if not isinstance(item, tuple):
            continue
        line, octets = item[0].decode("utf-8", "replace"), item[1]
        uid = re.search(r"UID (\d+)", line)
        flags = re.search(r"FLAGS \(([^)]*)\)", line)
        date = re.search(r'INTERNALDATE "([^"]*)"', line)
        assert uid is not None, line
        assert flags is not None, line
        assert date is not None, line
        stored.append(Stored(int(uid[1]), frozenset(flags[1].split()) - {"\\Recent"}, date[1].strip(), octets))
    return sorted(stored, key=lambda message: message.uid)


def _plain(octets: bytes) -> bytes:
    """Rawlog without its time stamps (`1700000000.123456 ` before each line)."""
    return re.sub(rb"(?m)^\d{9,}\.\d{6} ", b"", octets)


TEMPLATE = """\
# Written by tests/servers/dovecot.py
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{chain}
ssl_key = <{key}
disable_plaintext_auth = yes
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%d/%n
mail_fsync = never
mail_max_userip_connections = {connections}
maildir_stat_dirs = no
first_valid_uid = {uid}
first_valid_gid = {uid}
{capability}
imap_idle_notify_interval = 10 s
recipient_delimiter = +
{rawlog}

passdb {{
  driver = dict
  args = {folder}/dict.conf
}}
userdb {{
  driver = static
  args = uid={uid} gid={uid} home={folder}/mail/%d/%n
}}

namespace inbox {{
  inbox = yes
  separator = /
{mailboxes}
}}

protocol lmtp {{
  postmaster_address = postmaster@localhost
  mail_plugins = sieve
}}
plugin {{
  sieve_before = {sieve}
}}

service imap-login {{
  service_count = 0
  process_min_avail = 1
  inet_listener imap {{
    address = 127.0.0.1, ::1
    port = {imap_port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1, ::1
    port = {imaps_port}
    ssl = yes
  }}
}}
service imap {{
  process_limit = 4096
}}
service lmtp {{
  process_min_avail = 1
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
service auth {{
  unix_listener {auth_socket} {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
{settings}
"""
