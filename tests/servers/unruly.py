"""An IMAP server in memory that does on demand what real ones will not: a whole mailbox, and every kind of trouble.

    with UnrulyImap() as server:
        server.deliver("INBOX", octets)          # whoever waits in IDLE hears of it at once
        server.withhold("INBOX", uid, times=2)   # announced, and twice not delivered
        server.restore(server.backup())          # the same UIDVALIDITY, lower UIDs
        server.cut_literals = 1                  # the next literal ends in its middle, and so does the connection

What lies in it is the truth that tests compare the log with; `heard` is every line that clients said. It runs on a loop
and a thread of its own, so that the blocking commands of the daemon's workers find it answering.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from proxyd.provider.tls import abort
from tests.servers.own_loop import OwnLoopServer
from tests.servers.processes import free_port

CAPABILITY = "IMAP4rev1 IDLE AUTH=PLAIN SASL-IR SPECIAL-USE LITERAL+ UIDPLUS"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TOKEN = re.compile(rb'"(?:\\.|[^"\\])*"|[()]|[^\s()]+')


@dataclass
class Mail:
    uid: int
    octets: bytes
    internaldate: datetime
    flags: set[str] = field(default_factory=set)
    withheld: int = 0  # how often a FETCH does not deliver it


@dataclass
class Box:
    uidvalidity: int
    uidnext: int = 1
    mails: list[Mail] = field(default_factory=list)
    attributes: str = "\\HasNoChildren"

    def add(self, octets: bytes, at: datetime, flags: Iterable[str] = ()) -> Mail:
        mail = Mail(self.uidnext, octets, at, set(flags))
        self.uidnext += 1
        self.mails.append(mail)
        return mail


class UnrulyImap(OwnLoopServer):
    """On `port` of 127.0.0.1, in clear. Everybody signs in with any password."""

    def __init__(self, capability: str = CAPABILITY, *, sent: str = "Sent") -> None:
        super().__init__()
        self.port = free_port()
        self.capability = capability
        self.boxes = {"INBOX": Box(7), sent: Box(7, attributes="\\HasNoChildren \\Sent"), "Archive": Box(7)}
        self.now = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)  # the INTERNALDATE of what comes
        self.heard: list[tuple[int, str]] = []  # connection, command without its tag
        self.bodies: list[str] = []  # the Message-ID of every message of which more than fields was asked for
        self.cut_literals = 0
        self.throttled = 0  # so many commands after the sign-in are answered NO [LIMIT]
        self.refusing: str | None = None  # what every sign-in is answered, e.g. `NO [LIMIT] too many`
        self.deaf = False  # half-open: connections are taken, nothing is ever answered
        self.searches = True  # knows SEARCH FROM, TO and CC
        self.silent = False  # IDLE never says a word
        self.keywords = True  # keeps those that a client makes up
        self.lock = threading.RLock()
        self.open: set[Conversation] = set()
        self.connections = 0

    # --- running ------------------------------------------------------------------------------------------

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accepted, "127.0.0.1", self.port, limit=1 << 24)

    def _cut(self) -> None:
        for each in list(self.open):
            each.cut()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        conversation = Conversation(self, self.connections, reader, writer)
        self.open.add(conversation)
        try:
            await conversation.run()
        except (ConnectionError, asyncio.IncompleteReadError, Cut):
            pass
        finally:
            self.open.discard(conversation)
            conversation.cut()

    # --- what happens in the mailbox ----------------------------------------------------------------------

    def deliver(self, box: str, octets: bytes, *, flags: Iterable[str] = (), at: datetime | None = None) -> int:
        """A message that arrives, or is uploaded; its UID."""
        with self.lock:
            uid = self.boxes[box].add(octets, at or self.now, flags).uid
        self._tell()
        return uid

    def make(self, box: str) -> None:
        with self.lock:
            self.boxes.setdefault(box, Box(7))

    def move(self, uid: int, source: str, target: str) -> int:
        with self.lock:
            mail = self.find(source, uid)
            self.boxes[source].mails.remove(mail)
            moved = self.boxes[target].add(mail.octets, mail.internaldate, mail.flags)
        self._tell()
        return moved.uid

    def expunge(self, box: str, uid: int) -> None:
        with self.lock:
            self.boxes[box].mails.remove(self.find(box, uid))
        self._tell()

    def withhold(self, box: str, uid: int, times: int) -> None:
        with self.lock:
            self.find(box, uid).withheld = times

    def renumber(self, box: str) -> None:
        """Another UIDVALIDITY, other UIDs; the connections end."""
        with self.lock:
            there = self.boxes[box]
            there.uidvalidity += 1
            for uid, mail in enumerate(there.mails, 1):
                mail.uid = uid
            there.uidnext = len(there.mails) + 1
        self.cut_all()

    def backup(self) -> Mapping[str, Box]:
        with self.lock:
            return copy.deepcopy(self.boxes)

    def restore(self, backup: Mapping[str, Box], *, cut: bool = True) -> None:
        """As a server that comes back from its backup: what came since is gone, and its UIDs are given anew. Without
        `cut` there is something before it that keeps the connections."""
        with self.lock:
            self.boxes = dict(copy.deepcopy(backup))
        if cut:
            self.cut_all()

    def find(self, box: str, uid: int) -> Mail:
        return next(mail for mail in self.boxes[box].mails if mail.uid == uid)

    def cut_all(self) -> None:
        def cut() -> None:
            for each in list(self.open):
                each.cut()

        self._call(cut)

    def idling(self) -> int:
        return sum(each.idle for each in list(self.open))

    def commands(self) -> list[str]:
        return [line for _, line in self.heard]

    def _tell(self) -> None:
        def tell() -> None:
            for each in list(self.open):
                if each.idle and not self.deaf and not self.silent:
                    each.sync()

        self._call(tell)

    def _call(self, what: object) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(what)  # type: ignore[arg-type]


class Cut(Exception):
    """The connection ends here."""


class Conversation:
    def __init__(
        self, server: UnrulyImap, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server = server
        self.idle = False
        self._number = number
        self._reader = reader
        self._writer = writer
        self._box: Box | None = None
        self._view: list[int] = []  # the UIDs that the client knows of, by sequence number

    def cut(self) -> None:
        abort(self._writer.transport)

    def say(self, line: str | bytes) -> None:
        self._writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")

    async def run(self) -> None:
        while self.server.deaf:
            await self._reader.readuntil(b"\n")
        self.say(f"* OK [CAPABILITY {self.server.capability}] unruly")
        while line := await self._reader.readline():
            octets = await self._with_literals(line.rstrip(b"\r\n"))
            while self.server.deaf:
                await self._reader.readuntil(b"\n")
            tag, _, command = octets.partition(b" ")
            self.server.heard.append((self._number, command.decode("utf-8", "replace")))
            with self.server.lock:
                answer = self._answer(tag.decode(), list(_tokens(command)))
            if answer is None:
                await self._idle(tag.decode())
                continue
            self.say(f"{tag.decode()} {answer}")
            await self._writer.drain()
            if answer.startswith("OK bye"):
                return

    async def _with_literals(self, line: bytes) -> bytes:
        while found := re.search(rb"\{(\d+)(\+?)\}$", line):
            if not found[2]:
                self.say("+ go on")
            literal = await self._reader.readexactly(int(found[1]))
            rest = (await self._reader.readline()).rstrip(b"\r\n")
            quoted = base64.b64encode(literal)
            line = line[: found.start()] + b"\x01" + quoted + rest
        return line

    # --- commands -----------------------------------------------------------------------------------------

    def _answer(self, tag: str, words: list[bytes]) -> str | None:
        name = words[0].decode().upper()
        if name == "UID":
            words = words[1:]
            name = f"UID {words[0].decode().upper()}"
        if name in ("AUTHENTICATE", "LOGIN"):
            return self.server.refusing or f"OK [CAPABILITY {self.server.capability}] in"
        if self.server.throttled and name not in ("CAPABILITY", "LOGOUT", "IDLE", "ID"):
            self.server.throttled -= 1
            return "NO [LIMIT] slow down"
        known = {
            "CAPABILITY": self._capability,
            "ID": lambda words: "OK done",
            "NOOP": lambda words: "OK done",
            "LOGOUT": lambda words: "OK bye",
            "LIST": self._list,
            "STATUS": self._status,
            "EXAMINE": self._select,
            "SELECT": self._select,
            "CREATE": self._create,
            "SUBSCRIBE": lambda words: "OK done",
            "APPEND": self._append,
            "UID SEARCH": self._search,
            "UID FETCH": self._fetch,
            "UID STORE": self._store,
            "UID EXPUNGE": self._expunge,
        }
        if name == "IDLE":
            return None
        if name not in known:
            return "BAD not known here"
        answer = known[name](words[1:])
        if name not in ("EXAMINE", "SELECT") and not self.server.silent:
            self.sync()
        return answer

    async def _idle(self, tag: str) -> None:
        self.say("+ idling")
        with self.server.lock:
            self.sync()
            self.idle = True
        try:
            await self._reader.readuntil(b"DONE\r\n")
            while self.server.deaf:
                await self._reader.readuntil(b"\n")
        finally:
            self.idle = False
        with self.server.lock:
            self.sync()
        self.say(f"{tag} OK done")

    def sync(self) -> None:
        """Tell of what came and what went in the open folder."""
        if self._box is None:
            return
        with self.server.lock:
            there = [mail.uid for mail in self._box.mails]
        gone = [at for at, uid in enumerate(self._view, 1) if uid not in there]
        for at in reversed(gone):
            self.say(f"* {at} EXPUNGE")
            del self._view[at - 1]
        if len(there) != len(self._view):
            self._view = there
            self.say(f"* {len(there)} EXISTS")

    def _capability(self, words: list[bytes]) -> str:
        self.say(f"* CAPABILITY {self.server.capability}")
        return "OK done"

    def _list(self, words: list[bytes]) -> str:
        for name, box in self.server.boxes.items():
            self.say(f'* LIST ({box.attributes}) "/" "{name}"')
        return "OK done"

    def _named(self, word: bytes) -> Box | None:
        name = _text(word)
        return self.server.boxes.get("INBOX" if name.upper() == "INBOX" else name)

    def _status(self, words: list[bytes]) -> str:
        box = self._named(words[0])
        if box is None:
            return "NO [NONEXISTENT] no such folder"
        numbers = f"UIDVALIDITY {box.uidvalidity} UIDNEXT {box.uidnext} MESSAGES {len(box.mails)}"
        self.say(f'* STATUS "{_text(words[0])}" ({numbers})')
        return "OK done"

    def _select(self, words: list[bytes]) -> str:
        self._box = self._named(words[0])
        if self._box is None:
            return "NO [NONEXISTENT] no such folder"
        self._view = [mail.uid for mail in self._box.mails]
        self.say(f"* {len(self._view)} EXISTS")
        self.say("* FLAGS (\\Seen \\Deleted \\Answered)")
        own = " \\*" if self.server.keywords else ""
        self.say(f"* OK [PERMANENTFLAGS (\\Seen \\Deleted \\Answered{own})] ok")
        self.say(f"* OK [UIDVALIDITY {self._box.uidvalidity}] ok")
        self.say(f"* OK [UIDNEXT {self._box.uidnext}] ok")
        return "OK done"

    def _create(self, words: list[bytes]) -> str:
        self.server.make(_text(words[0]))
        return "OK done"

    def _append(self, words: list[bytes]) -> str:
        box = self._named(words[0])
        if box is None:
            return "NO [TRYCREATE] no such folder"
        flags = [_text(word) for word in words[1:-1] if word.startswith((b"\\", b"$"))]
        if not self.server.keywords and any(each.startswith("$") for each in flags):
            return "NO [CANNOT] no keywords here"
        mail = box.add(_octets(words[-1]), self.server.now, flags)
        return f"OK [APPENDUID {box.uidvalidity} {mail.uid}] done" if "UIDPLUS" in self.server.capability else "OK done"

    def _open(self) -> Box:
        if self._box is None:
            raise Cut
        return self._box

    def _search(self, words: list[bytes]) -> str:
        keys = list(words)
        if not self.server.searches and any(key.upper() in (b"FROM", b"TO", b"CC") for key in keys):
            return "NO [CANNOT] not here"
        found = list(self._open().mails)
        while keys:
            wanted = self._key(keys)
            found = [mail for mail in found if mail.uid in wanted]
        self.say(f"* SEARCH {' '.join(str(mail.uid) for mail in found)}".rstrip())
        return "OK done"

    def _key(self, keys: list[bytes]) -> set[int]:
        """The UIDs that the first search key of `keys` finds; it is taken away."""
        mails, key = self._open().mails, keys.pop(0).upper()
        if key == b"(":
            found = {mail.uid for mail in mails}
            while keys[0] != b")":
                found &= self._key(keys)
            keys.pop(0)
            return found
        if key == b"OR":
            return self._key(keys) | self._key(keys)
        if key == b"ALL":
            return {mail.uid for mail in mails}
        if key == b"DELETED":
            return {mail.uid for mail in mails if "\\Deleted" in mail.flags}
        if key in (b"KEYWORD", b"UNKEYWORD"):
            flag = _text(keys.pop(0))
            return {mail.uid for mail in mails if (flag in mail.flags) == (key == b"KEYWORD")}
        if key == b"UID":
            wanted = _set(keys.pop(0), max((mail.uid for mail in mails), default=0))
            return {mail.uid for mail in mails if mail.uid in wanted}
        if key in (b"SINCE", b"BEFORE"):
            day = _day(_text(keys.pop(0)))
            late = key == b"SINCE"
            return {mail.uid for mail in mails if (mail.internaldate.date() >= day) == late}
        name = keys.pop(0) if key == b"HEADER" else key
        words = _text(keys.pop(0)).encode().lower()
        return {mail.uid for mail in mails if words in _fields(mail.octets, [_text(name).upper()]).lower()}

    def _fetch(self, words: list[bytes]) -> str:
        box = self._open()
        wanted = _set(words[0], max((mail.uid for mail in box.mails), default=0))
        items = b" ".join(words[1:]).decode()
        for mail in box.mails:
            if mail.uid not in wanted or mail.uid not in self._view:
                continue
            if mail.withheld:
                mail.withheld -= 1
                continue
            self._deliver(self._view.index(mail.uid) + 1, mail, items)
        return "OK done"

    def _deliver(self, number: int, mail: Mail, items: str) -> None:
        said: list[bytes] = [f"UID {mail.uid}".encode()]
        if "RFC822.SIZE" in items:
            said.append(f"RFC822.SIZE {len(mail.octets)}".encode())
        if "INTERNALDATE" in items:
            at = mail.internaldate
            said.append(f'INTERNALDATE "{at.day:2}-{MONTHS[at.month - 1]}-{at:%Y %H:%M:%S} +0000"'.encode())
        if "FLAGS" in items:
            said.append(f"FLAGS ({' '.join(sorted(mail.flags))})".encode())
        if found := re.search(r"BODY(?:\.PEEK)?\[HEADER\.FIELDS \( ?([^)]*?) ?\) ?\]", items):
            names = found[1].split()
            said.append(self._literal(f"BODY[HEADER.FIELDS ({' '.join(names)})]", _fields(mail.octets, names)))
        if found := re.search(r"BODY(?:\.PEEK)?\[\]<(\d+)\.(\d+)>", items):
            start, size = int(found[1]), int(found[2])
            named = re.search(rb"(?im)^message-id:\s*<([^>]*)>", mail.octets)
            self.server.bodies.append(named[1].decode("utf-8", "replace") if named else "")
            said.append(self._literal(f"BODY[]<{start}>", mail.octets[start : start + size]))
        if re.search(r"BODY\[", items) and "PEEK" not in items:
            mail.flags.add("\\Seen")
        self.say(f"* {number} FETCH (".encode() + b" ".join(said) + b")")

    def _literal(self, name: str, octets: bytes) -> bytes:
        if self.server.cut_literals:
            self.server.cut_literals -= 1
            half = octets[: len(octets) // 2]
            self._writer.write(f"* 1 FETCH ({name} {{{len(octets)}}}\r\n".encode() + half)
            self._writer.close()
            raise Cut
        return f"{name} {{{len(octets)}}}\r\n".encode() + octets

    def _store(self, words: list[bytes]) -> str:
        for mail in self._open().mails:
            if mail.uid in _set(words[0], mail.uid):
                flags = {_text(word) for word in words[2:] if word not in (b"(", b")")}
                mail.flags = mail.flags - flags if words[1].startswith(b"-") else mail.flags | flags
        return "OK done"

    def _expunge(self, words: list[bytes]) -> str:
        box = self._open()
        gone = {mail.uid for mail in box.mails if "\\Deleted" in mail.flags and mail.uid in _set(words[0], mail.uid)}
        box.mails = [mail for mail in box.mails if mail.uid not in gone]
        return "OK done"


# --- reading what a client says ----------------------------------------------------------------------------


def _tokens(command: bytes) -> Iterator[bytes]:
    for found in _TOKEN.finditer(command):
        yield found[0]


def _octets(word: bytes) -> bytes:
    return base64.b64decode(word[1:]) if word.startswith(b"\x01") else word


def _text(word: bytes) -> str:
    text = _octets(word).decode("utf-8", "replace")
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _set(word: bytes, last: int) -> range | set[int]:
    wanted: set[int] = set()
    for part in word.decode().split(","):
        first, _, end = part.partition(":")
        low, high = (last if each == "*" else int(each) for each in (first, end or first))
        wanted.update(range(min(low, high), max(low, high) + 1))
    return wanted


def _day(text: str) -> date:
    day, month, year = text.split("-")
    return date(int(year), MONTHS.index(month.capitalize()) + 1, int(day))


def _fields(octets: bytes, names: Iterable[str]) -> bytes:
    """The fields called `names`, as they stand, and the blank line."""
    header = octets.partition(b"\r\n\r\n")[0]
    fields = re.findall(rb"(?:[^\r\n]+(?:\r\n[ \t][^\r\n]*)*)", header)
    wanted = {name.upper().encode() for name in names}
    return b"".join(each + b"\r\n" for each in fields if each.partition(b":")[0].strip().upper() in wanted) + b"\r\n"
