"""A mailbox on real Dovecot with the doors that the model asks for: deliver, move, renumber, restore, cut.

`boxes` is what lies in it now, as `tests.servers.unruly.UnrulyImap` has it; `bodies` are the Message-IDs of everything
of which Dovecot ever said more than header fields, by its own raw log: a message names itself in its text (`told`).
"""

from __future__ import annotations

import imaplib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.servers.dovecot import OUR_TAG, Dovecot, fetch_all
from tests.servers.swallow import Swallow

_NAMED = re.compile(rb"the text of (\S+)")
_STAMP = re.compile(rb"^\d{9,}\.\d{6} ", re.MULTILINE)


def told(id: str) -> str:
    """The text of a message by which `bodies` knows it."""
    return f"the text of {id}\r\n"


@dataclass
class Mail:
    uid: int
    octets: bytes
    flags: frozenset[str]


@dataclass
class Box:
    mails: list[Mail]


@dataclass
class _Tail:
    """How far a file of the raw log was read."""

    at: int = 0
    rest: bytes = b""  # of a line that is not whole yet
    last: str = ""  # command
    ours: bool = False  # a session for looking

    def more(self, path: Path) -> bytes:
        """What was left, and what has come since."""
        with path.open("rb") as file:
            file.seek(self.at)
            octets = file.read()
        self.at += len(octets)
        return _STAMP.sub(b"", self.rest + octets)


@dataclass
class RealMailbox:
    """Everything of `user`, who has nothing yet. Connect to `port`, in clear. Not for two users of one Dovecot at once:
    a renumbered or restored mailbox stops and starts it."""

    dovecot: Dovecot
    user: str
    now: datetime = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)  # the INTERNALDATE of what comes
    bodies: set[str] = field(default_factory=set)
    throttled: int = 0  # for the other server
    _heard: list[str] = field(default_factory=list)
    _tails: dict[Path, _Tail] = field(default_factory=dict)
    _cuts: int = 0

    def __post_init__(self) -> None:
        self._between = Swallow(self.dovecot.imap_port)
        self._stack = ExitStack()
        self._copies = 0

    @property
    def port(self) -> int:
        return self._between.port

    def start(self) -> None:
        self._between.start()
        self._sign_in()

    def stop(self) -> None:
        """Forgets the user's mail too."""
        self._stop_dovecot()
        self._between.stop()
        for file in self._rawlog.iterdir():
            file.unlink()
        for folder in (self._mail, self._backups):
            shutil.rmtree(folder, ignore_errors=True)
        self.dovecot.start()

    # --- what happens in the mailbox ----------------------------------------------------------------------

    def deliver(self, box: str, octets: bytes, *, flags: Iterable[str] = ()) -> None:
        """By APPEND, for its INTERNALDATE."""
        kind, data = self._imap.append(f'"{box}"', " ".join(flags), imaplib.Time2Internaldate(self.now), octets)
        assert kind == "OK", data

    def make(self, box: str) -> None:
        kind, data = self._imap.create(f'"{box}"')
        assert kind == "OK", data

    def move(self, uid: int, source: str, target: str) -> None:
        self._imap.select(f'"{source}"')
        kind, data = self._imap.uid("MOVE", str(uid), f'"{target}"')
        assert kind == "OK", data
        self._imap.unselect()

    def expunge(self, box: str, uid: int) -> None:
        self._imap.select(f'"{box}"')
        self._imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")
        kind, data = self._imap.uid("EXPUNGE", str(uid))
        assert kind == "OK", data
        self._imap.unselect()

    def renumber(self, box: str) -> None:
        """As a server that lost its indexes: another UIDVALIDITY, other UIDs."""
        folder = self._mail if box == "INBOX" else self._mail / f".{box}"
        with self._dovecot_stopped():
            for file in (*folder.glob("dovecot.index*"), *folder.glob("dovecot-uidlist*")):
                file.unlink()

    def backup(self) -> Path:
        self._copies += 1
        to = self._backups / str(self._copies)
        with self._dovecot_stopped():
            _copy(self._mail, to)
        return to

    def restore(self, backup: Path) -> None:
        """The same UIDVALIDITY; what came since is gone, and its UIDs are given anew."""
        with self._dovecot_stopped():
            shutil.rmtree(self._mail)
            _copy(backup, self._mail)

    @property
    def boxes(self) -> _Boxes:
        return _Boxes(self._imap)

    # --- the network --------------------------------------------------------------------------------------

    def cut_all(self) -> None:
        self._between.cut()

    @property
    def cut_literals(self) -> int:
        return 0

    @cut_literals.setter
    def cut_literals(self, times: int) -> None:
        """What the server says next ends somewhere in it."""
        if times:
            self._cuts += 1
            self._between.cut(after=1 + self._cuts * 97 % 1500)

    @property
    def refusing(self) -> str | None:
        return "no connections" if self._between.refuses else None

    @refusing.setter
    def refusing(self, why: str | None) -> None:
        self._between.refuses = why is not None

    # --- what was said ------------------------------------------------------------------------------------

    def commands(self) -> list[str]:
        """What the daemon said so far, without tags, in the order in which it came to be known."""
        self._read_on()
        return self._heard

    def idling(self) -> int:
        self._read_on()
        return sum(tail.last == "IDLE" for tail in self._tails.values())

    def _read_on(self) -> None:
        for path in self._rawlog.glob("*.in"):
            tail = self._tails.setdefault(path, _Tail())
            lines = tail.more(path).split(b"\r\n")
            tail.rest = lines.pop()
            said = [line.decode("utf-8", "replace").partition(" ") for line in lines if line]
            tail.ours = tail.ours or any(tag.startswith(OUR_TAG.decode()) for tag, _, _ in said)
            if said and not tail.ours:
                tail.last = said[-1][2]
                self._heard += [command for _, _, command in said]
        for path in self._rawlog.glob("*.out"):
            tail = self._tails.setdefault(path, _Tail())
            if not self._tails.setdefault(path.with_suffix(".in"), _Tail()).ours:
                octets = tail.more(path)
                self.bodies |= {id.decode() for id in _NAMED.findall(octets)}
                tail.rest = octets.rpartition(b"\n")[2]

    # --- Dovecot ------------------------------------------------------------------------------------------

    @property
    def _mail(self) -> Path:
        name, _, domain = self.user.partition("@")
        return self.dovecot.folder / "mail" / domain / name

    @property
    def _backups(self) -> Path:
        return self.dovecot.folder / "backups"

    @property
    def _rawlog(self) -> Path:
        return self.dovecot.folder / "rawlog" / self.user

    def _sign_in(self) -> None:
        self._imap = self._stack.enter_context(self.dovecot.imap(self.user))

    def _stop_dovecot(self) -> None:
        self._between.cut()
        self._stack.close()
        self.dovecot.stop()

    @contextmanager
    def _dovecot_stopped(self) -> Iterator[None]:
        self._stop_dovecot()
        yield
        self.dovecot.start()
        self._sign_in()


@dataclass
class _Boxes:
    imap: imaplib.IMAP4_SSL

    def __getitem__(self, name: str) -> Box:
        kind, data = self.imap.select(f'"{name}"', readonly=True)
        assert kind == "OK", data
        mails = [Mail(each.uid, each.octets, each.flags) for each in fetch_all(self.imap)]
        self.imap.unselect()
        return Box(mails)


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", str(source), str(to)], check=True)
