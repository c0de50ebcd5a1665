"""The messages of the open folder: finding, reading a little or all of one, and writing what is ours to write."""

from __future__ import annotations

import contextlib
import imaplib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from imapclient.response_parser import parse_fetch_response

from proxyd.errors import Refused
from proxyd.provider.imap_errors import text_of, translated
from proxyd.provider.imap_lines import checked
from proxyd.provider.imap_link import Link
from proxyd.provider.imap_values import MONTHS, as_line, as_number, as_octets, as_text, aware, quoted, uid_set

PART = 1024 * 1024  # octets of a message fetched by one command

SEARCHED = 500  # UIDs named in one SEARCH: a line has to stay short

_UID = re.compile(rb"\bUID (\d+)", re.IGNORECASE)
_FIELDS = re.compile(rb"BODY\[HEADER\.FIELDS \([^)]*\)\] \{\d+\}\Z", re.IGNORECASE)
_APPENDUID = re.compile(rb"\[APPENDUID (\d+) (\d+)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the server says of a message without looking into it. `size` is its own reckoning, in octets."""

    size: int
    internaldate: datetime | None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where an appended message lies (RFC 4315); zeros where the server does not say."""

    uidvalidity: int = 0
    uid: int = 0


def _section(key: bytes) -> str:
    """`3.HEADER.FIELDS(MESSAGE-ID)` of the answer's `BODY[3.HEADER.FIELDS (MESSAGE-ID)]<0>`."""
    return as_text(key.upper().partition(b"[")[2].rpartition(b"]")[0].replace(b" ", b"").replace(b'"', b""))


class Messages(Link):
    """The commands that are about messages."""

    # --- finding and reading ---------------------------------------------------------------------------

    def uids_from(self, uid: int) -> list[int]:
        """The UIDs at or above `uid` in the open folder, ascending."""
        # `n:*` always names the last message too, even where its UID is below n.
        return sorted(found for found in self._search(b"UID", b"%d:*" % uid) if found >= uid)

    def uids_since(self, day: date) -> list[int]:
        """The UIDs of messages whose INTERNALDATE is on `day` or later, whatever the time zone of the server."""
        return sorted(self._search(b"SINCE", _day(day)))

    def uids_between(self, since: date, before: date, addresses: Sequence[str] = ()) -> list[int]:
        """The UIDs of messages whose INTERNALDATE is from the day `since` to the day before `before`, and in whose
        From, To or Cc the server finds any of `addresses` (it may find too much: a part of the field is enough).

        Raises Refused where the server does not search for people.
        """
        criteria = [b"SINCE", _day(since), b"BEFORE", _day(before)]
        keys = [f"{field} {quoted(each)}".encode("ascii") for each in addresses for field in ("FROM", "TO", "CC")]
        criteria += [b"OR"] * (len(keys) - 1) + keys
        return sorted(self._search(*criteria))

    def uids_naming(self, since: date, field: str, ids: Sequence[str]) -> list[int]:
        """Of the messages that `uids_since` gives, those in whose header field the server finds any of these ids. Some
        servers find nothing. Raises Refused."""
        keys = [as_line(f"HEADER {field} {quoted(f'<{each}>')}") for each in ids if each.isascii()]
        if not keys:
            return []
        return sorted(self._search(b"SINCE", _day(since), *[b"OR"] * (len(keys) - 1), *keys))

    def uids_of_id(self, message_id: str) -> list[int]:
        """What the server finds by SEARCH HEADER Message-ID. It may find too much (a part of the field is enough) and
        some servers find nothing: look at the fields of what it found, and look by other means too."""
        if not message_id.isascii():
            return []  # would need a charset; RFC 5322 knows no such id, and the other means find it
        with contextlib.suppress(Refused):
            return sorted(self._search(b"HEADER", b"Message-ID", quoted(f"<{message_id}>").encode()))
        return []

    def uids_marked(self, keyword: str, but: str) -> list[int]:
        """The UIDs that carry the one keyword and not the other. Raises Refused."""
        return sorted(self._search(b"KEYWORD", as_line(keyword), b"UNKEYWORD", as_line(but)))

    def uids_without(self, keyword: str, uids: Sequence[int]) -> list[int]:
        """Those of `uids` that are there and do not carry the keyword. Raises Refused."""
        found: set[int] = set()
        for start in range(0, len(uids), SEARCHED):
            some = uid_set(uids[start : start + SEARCHED])
            found.update(self._search(b"UID", some, b"UNKEYWORD", as_line(keyword)))
        return sorted(found.intersection(uids))

    def deleted(self) -> list[int]:
        """The UIDs that carry \\Deleted."""
        return sorted(self._search(b"DELETED"))

    def any_of(self, uids: Sequence[int], keys: Sequence[tuple[str, ...]]) -> list[int]:
        """Those of `uids` for which one of the search `keys` is true, ascending; the server looks, nothing is fetched.

        A key is its words, the last of which is a value: `("HEADER", "Content-Type", "multipart/report")`. Keys whose
        value is not ASCII are left out: they would need a charset. Raises Refused, UnsafeValue.
        """
        asked = [(*words, quoted(value)) for *words, value in keys if value.isascii()]
        if not uids or not asked:
            return []
        criteria = [as_line(word) for key in asked[:-1] for word in ("OR", *key)] + [
            as_line(word) for word in asked[-1]
        ]
        found: set[int] = set()
        for start in range(0, len(uids), SEARCHED):
            found.update(self._search(b"UID", uid_set(uids[start : start + SEARCHED]), *criteria))
        return sorted(found & frozenset(uids))

    def _search(self, *criteria: bytes) -> list[int]:
        with self._command("SEARCH"):
            data = self._client._raw_command_untagged(b"SEARCH", list(criteria))
        # A server may answer with several SEARCH lines, or, with nothing found, with none.
        words = b" ".join(line for line in data if line).partition(b"(")[0].split()
        return [int(word) for word in words if word.isdigit()]

    def fields(self, uids: Sequence[int], names: Sequence[str]) -> dict[int, bytes]:
        """The header fields called `names` of many messages, in one command, as the server cut them out: each field
        whole, then a blank line; in order of UID. One that the server does not deliver is missing."""
        if not uids:
            return {}
        item = f"BODY.PEEK[HEADER.FIELDS ({' '.join(names)})]"
        with self._command("FETCH"), self._wire.collecting_fields() as usual:
            kind, data = self._wire._simple_command("UID", "FETCH", uid_set(uids).decode(), f"({item})")
            self._client._checkok("FETCH", kind, data)
            answer = self._wire._untagged_response(kind, data, "FETCH")[1]
        found: dict[int, bytes] = usual
        rest = []
        for index, piece in enumerate(answer):  # nearly always the one literal, and the UID before or behind it
            if not isinstance(piece, tuple):
                continue
            said = _UID.search(piece[0]) or _UID.search(answer[index + 1] or b"")
            if said is not None and _FIELDS.search(piece[0]) is not None:
                found[int(said[1])] = bytes(piece[1])
            else:
                rest.append(piece)
        missing = frozenset(uids) - found.keys()
        return dict(sorted((found | (self._fields_otherwise(answer) if missing or rest else {})).items()))

    def _fields_otherwise(self, answer: Sequence[Any]) -> dict[int, bytes]:
        """As quoted strings, several answers in one, or whatever else the grammar allows."""
        found = {}
        with translated("FETCH"):
            parsed = parse_fetch_response(
                [piece for piece in answer if piece is not None], self._client.normalise_times
            )
        for uid, values in parsed.items():
            for key, value in values.items():
                if key.upper().startswith(b"BODY[HEADER.FIELDS"):
                    found[uid] = as_octets(value)
        return found

    def sections(self, uids: Sequence[int], names: Sequence[str]) -> dict[int, dict[str, bytes]]:
        """Sections of many messages (RFC 3501 section 6.4.5), such as `2.MIME`, `3.HEADER.FIELDS (MESSAGE-ID)` or
        `2<0.4096>`: by UID and by name. What is not there is missing or empty. Raises Refused: some servers do so where
        a message has no such part."""
        if not uids:
            return {}
        asked = []
        for name in names:
            section, less, span = name.partition("<")
            asked.append(f"BODY.PEEK[{section}]{less}{span}")
        found: dict[int, dict[str, bytes]] = {}
        for uid, values in self._fetch(uids, asked).items():
            said = {_section(key): as_octets(value) for key, value in values.items()}
            found[uid] = {name: said.get(name.partition("<")[0].replace(" ", ""), b"") for name in names}
        return found

    def facts(self, uid: int) -> Facts | None:
        """RFC822.SIZE and INTERNALDATE; None = there is no such message (any more)."""
        values = self._fetch([uid], ["RFC822.SIZE", "INTERNALDATE"]).get(uid)
        if values is None or b"RFC822.SIZE" not in values:
            return None
        when = values.get(b"INTERNALDATE")
        return Facts(as_number(values[b"RFC822.SIZE"]), aware(when) if isinstance(when, datetime) else None)

    def arrived(self, uids: Sequence[int]) -> dict[int, datetime]:
        """INTERNALDATE of each of these messages that is there."""
        found = self._fetch(uids, ["INTERNALDATE"]) if uids else {}
        dates = {uid: values.get(b"INTERNALDATE") for uid, values in found.items()}
        return {uid: aware(when) for uid, when in dates.items() if isinstance(when, datetime)}

    def flags(self, uid: int) -> frozenset[str] | None:
        """None = there is no such message (any more)."""
        values = self._fetch([uid], ["FLAGS"]).get(uid, {}).get(b"FLAGS")
        return None if values is None else frozenset(as_text(flag) for flag in values)

    def part(self, uid: int, offset: int, size: int = PART) -> bytes | None:
        """Octets `offset` to `offset + size` of the whole message, fewer at its end, none behind it; None = gone."""
        values = self._fetch([uid], [f"BODY.PEEK[]<{offset}.{size}>"]).get(uid, {})
        for key, value in values.items():
            if key.upper().startswith(b"BODY[]"):
                return as_octets(value)
        return None

    def _fetch(self, uids: Sequence[int], items: Sequence[str]) -> Mapping[int, Mapping[bytes, Any]]:
        with self._command("FETCH"):
            answer: Mapping[int, Mapping[bytes, Any]] = self._client.fetch(list(uids), list(items))
        return answer

    # --- writing: the Sent copy only -------------------------------------------------------------------

    def append_begin(self, folder: str, size: int, flags: Iterable[str], at: datetime) -> None:
        """Announce a message of `size` octets; returns when the server asks for them. Then `append_octets` until all
        have gone, then `append_end`. In parts, so that no message is held whole; octet by octet as given (imaplib's own
        APPEND rewrites line ends). Raises Refused where the server does not want it: [TRYCREATE], [OVERQUOTA]."""
        wire = self._wire
        when = at.astimezone(UTC).strftime(f'"%d-{MONTHS[at.astimezone(UTC).month - 1]}-%Y %H:%M:%S +0000"')
        with self._command("APPEND", keep=True):
            self._append_tag = wire._new_tag()
            name = as_text(self._client._normalise_folder(checked(folder)))
            line = f"APPEND {name} ({' '.join(flags)}) {when} {{{size}}}"
            wire.send(self._append_tag + b" " + as_line(line) + b"\r\n")
            while wire._get_response() is not None:
                if wire.tagged_commands[self._append_tag] is not None:
                    kind, data = wire.tagged_commands.pop(self._append_tag)
                    raise imaplib.IMAP4.error(f"{kind} {text_of(data)}")

    def append_octets(self, octets: bytes) -> None:
        with translated("APPEND"):
            self._wire.send(octets)

    def append_end(self) -> Appended:
        """The server's answer. Where this raises Unreachable, nobody knows whether the message is there: search."""
        with self._command("APPEND"):
            self._wire.send(b"\r\n")
            kind, data = self._wire._command_complete("APPEND", self._append_tag)
            if kind != "OK":
                raise imaplib.IMAP4.error(text_of(data))
        found = _APPENDUID.search(data[-1] or b"")
        return Appended(int(found[1]), int(found[2])) if found else Appended()

    def add_flags(self, uid: int, flags: Iterable[str]) -> None:
        """UID STORE +FLAGS in the folder opened by `select`; nothing is taken off. Raises Refused: some keyword."""
        with self._command("STORE"):
            self._client.add_flags([uid], [as_line(flag) for flag in flags], silent=True)

    def add_keyword(self, uids: Sequence[int], keyword: str) -> None:
        """UID STORE +FLAGS.SILENT of one keyword in the folder opened by `select`. Raises Refused."""
        for start in range(0, len(uids), SEARCHED):
            with self._command("STORE"):
                self._client.add_flags(uids[start : start + SEARCHED], [as_line(keyword)], silent=True)

    def remove(self, uid: int) -> bool:
        """Take one message out of the folder opened by `select`; False = it cannot be done without taking others too.

        UID STORE +FLAGS \\Deleted and UID EXPUNGE (RFC 4315). Without UIDPLUS, EXPUNGE takes everything that carries
        \\Deleted, so it is done only where nothing else does.
        """
        uidplus = self._client.has_capability("UIDPLUS")
        self.noop()  # what others expunged must not look as if it were there
        if not uidplus and [other for other in self.deleted() if other != uid]:
            return False
        with self._command("STORE"):
            self._client.add_flags([uid], [rb"\Deleted"], silent=True)
        if not uidplus and self.deleted() != [uid]:
            with self._command("STORE"):
                self._client.remove_flags([uid], [rb"\Deleted"], silent=True)
            return False
        with self._command("EXPUNGE"):
            self._client.expunge([uid] if uidplus else None)
        return True


def _day(day: date) -> bytes:
    return f"{day.day}-{MONTHS[day.month - 1]}-{day.year}".encode()
