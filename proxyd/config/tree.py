"""YAML's octets to a tree in which every key and value knows its place.

Why this way: PyYAML's own constructor takes the last of two equal keys, follows anchors and tags, and reads `no` as
false, `22:30` as 1350 and `0600` as 384 without a word. Here its parser's events are composed into a tree of our own;
what a person cannot have meant is a problem at its place, and what YAML would reinterpret keeps its text and its kind,
so that the setting that gets it can say what it wanted.

A message never quotes a tag, an anchor, an alias or PyYAML's own text: `password: *hunter2` is an alias to YAML.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import yaml
from yaml.constructor import SafeConstructor

from proxyd.config.problems import START, Mark, shown

FILE_LIMIT = 256 * 1024  # octets; a longer file is a mistake
DEPTH_LIMIT = 12  # the deepest setting lies at 4


class Kind(StrEnum):
    """What YAML makes of a scalar."""

    TEXT = "text"
    YES_NO = "yes or no"
    WHOLE = "a whole number"
    NUMBER = "a number"  # in any spelling that is not plain decimal: 0600, 0x1f, 22:30, 1_000, 1.5
    DATE = "a date"
    EMPTY = "nothing"
    OTHER = "a special word of YAML"


class _AnyMark(Protocol):
    """A mark of PyYAML's own scanner or of libyaml's; counts from 0."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    text: str
    kind: Kind
    mark: Mark


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[Node, ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    mark: Mark
    value: Node


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; keys are unique."""

    entries: tuple[Entry, ...]
    mark: Mark

    def entry(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == key), None)


@dataclass(frozen=True, slots=True)
class Broken:
    """Where something stood that a problem was already written about."""

    mark: Mark


Node = Scalar | Listing | Table | Broken


@dataclass(slots=True)
class Reading:
    """What a file's octets came to. `root` is None where there is nothing to go on with."""

    root: Node | None = None
    problems: list[tuple[Mark, str]] = field(default_factory=list)
    no_settings: bool = False  # no document: an empty file, or somebody commented everything out


class _Stop(Exception):
    """Nothing after this place can be read."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark = mark
        self.message = message


def read_tree(octets: bytes, silent: Collection[str] = ()) -> Reading:
    """Read one YAML document; never raises. Below the top keys named in `silent` no key is quoted in a problem."""
    reading = Reading()
    try:
        text = _decoded(octets)
        if text.strip():
            _Composer(text, reading, silent).compose()
        else:
            reading.no_settings = True
    except _Stop as stop:
        reading.problems.append((stop.mark, stop.message))
        if not isinstance(reading.root, Table):
            reading.root = None
    return reading


# --- octets to text ----------------------------------------------------------------------------------------


def _decoded(octets: bytes) -> str:
    if len(octets) > FILE_LIMIT:
        raise _Stop(START, f"the file is larger than {FILE_LIMIT // 1024} KiB")
    if octets.startswith(b"\xef\xbb\xbf"):
        raise _Stop(START, "the file begins with a byte order mark; accepted: UTF-8 without one")
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Stop(START, "the file is UTF-16; accepted: UTF-8")
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        mark = _mark_of(octets[: error.start].decode("utf-8", "replace"))
        raise _Stop(mark, "these octets are not UTF-8; accepted: a file saved as UTF-8") from None
    if bad := yaml.reader.Reader.NON_PRINTABLE.search(text):
        raise _Stop(_mark_of(text[: bad.start()]), f"the control character U+{ord(bad.group()):04X} has no place here")
    return text


def _mark_of(before: str) -> Mark:
    """The place just behind `before`, by YAML's idea of a line end."""
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", before)
    return Mark(len(lines), len(lines[-1]) + 1)


# --- text to tree ------------------------------------------------------------------------------------------


class _Composer:
    def __init__(self, text: str, reading: Reading, silent: Collection[str]) -> None:
        self._silent = silent
        self._top = ""  # the key at depth 0 that we are below
        self._lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", text)
        self._loader = yaml.SafeLoader(text)
        self._reading = reading

    def compose(self) -> None:
        self._next()  # StreamStart
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            self._reading.no_settings = True
            return
        if isinstance(event, yaml.DocumentStartEvent) and (event.version or event.tags):
            self._problem(_mark(event.start_mark), "a directive (%) has no place here; accepted: plain settings")
        self._reading.root = self._node(self._next(), depth=0)
        self._next()  # DocumentEnd
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Stop(_mark(event.start_mark), "a second document begins here; accepted: one document a file")

    def _problem(self, mark: Mark, message: str) -> None:
        self._reading.problems.append((mark, message))

    def _next(self) -> yaml.Event:
        try:
            event: yaml.Event = self._loader.get_event()  # type: ignore[no-untyped-call]
            return event
        except yaml.MarkedYAMLError as error:
            mark = _where(error)
            line = self._lines[mark.line - 1] if mark.line <= len(self._lines) else ""
            raise _Stop(mark, _syntax(error, line)) from None
        except (yaml.YAMLError, ValueError, OverflowError):  # e.g. the escape "\UFFFFFFFF"
            raise _Stop(_mark(self._loader.get_mark()), "this is not YAML that can be read") from None

    def _node(self, event: yaml.Event, depth: int) -> Node:
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self._problem(
                mark, 'an alias (*) is not taken; text that begins with * must stand in quotes: "*@example.com"'
            )
            return Broken(mark)
        refused = self._refused(event, mark)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, mark)
        elif depth >= DEPTH_LIMIT:
            raise _Stop(mark, f"lists and mappings lie in each other more than {DEPTH_LIMIT} deep")
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Listing(tuple(self._items(depth)), mark)
        else:
            node = Table(tuple(self._entries(depth)), mark)
        return Broken(mark) if refused else node

    def _refused(self, event: yaml.Event, mark: Mark) -> bool:
        if getattr(event, "anchor", None) is not None:
            self._problem(mark, "an anchor (&) is not taken; text that begins with & must stand in quotes")
            return True
        if getattr(event, "tag", None) is not None:
            self._problem(mark, "a tag (!) is not taken; text that begins with ! must stand in quotes")
            return True
        return False

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _entries(self, depth: int) -> Iterator[Entry]:
        seen: dict[str, Mark] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            if depth == 0:
                self._top = key.text if isinstance(key, Scalar) else ""
            value = self._node(self._next(), depth + 1)
            if not isinstance(key, Scalar):
                if not isinstance(key, Broken):
                    self._problem(key.mark, "a key must be a plain word, not a list or a mapping")
                continue
            named = f"the key {shown(key.text)}" if depth == 0 or self._top not in self._silent else "this key"
            if key.kind is not Kind.TEXT:
                self._problem(key.mark, _no_key(key, named))
            elif key.text in seen:
                self._problem(key.mark, f"{named} stands here a second time; first given in line {seen[key.text].line}")
            else:
                seen[key.text] = key.mark
                yield Entry(key.text, key.mark, value)

    def _scalar(self, event: yaml.ScalarEvent, mark: Mark) -> Node:
        text: str = event.value
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
            self._problem(mark, "the text holds a line break or a control character; accepted: one line")
            return Broken(mark)
        plain = event.style is None and event.implicit[0]
        return Scalar(text, self._kind(text) if plain else Kind.TEXT, mark)

    def _kind(self, text: str) -> Kind:
        """What YAML 1.1 makes of an unquoted scalar."""
        resolved: str = self._loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        tag = resolved.rpartition(":")[2]
        if tag == "int":
            return Kind.WHOLE if re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) else Kind.NUMBER
        return _KINDS.get(tag, Kind.OTHER)


_KINDS = {
    "str": Kind.TEXT,
    "bool": Kind.YES_NO,
    "float": Kind.NUMBER,
    "timestamp": Kind.DATE,
    "null": Kind.EMPTY,
}


def _mark(mark: _AnyMark | None) -> Mark:
    if mark is None:
        return START
    return Mark(mark.line + 1, mark.column + 1)


def _no_key(key: Scalar, named: str) -> str:
    if key.text == "<<":
        return "a merge key (<<) is not taken; accepted: each setting written out"
    if key.kind is Kind.EMPTY:
        return "a key is missing before the colon"
    return f"YAML reads {named} as {key.kind}; a key is a plain word"


# What PyYAML says, and what we say; the first part that its text holds counts. Its text is never passed on.
_SYNTAX = (
    ("while scanning an alias", 'text that begins with * must stand in quotes: "*@example.com"'),
    ("while scanning an anchor", "text that begins with & must stand in quotes"),
    ("while scanning a tag", "text that begins with ! must stand in quotes"),
    ("while parsing a node", "text that begins with ! must stand in quotes"),
    ("'\\t'", "a tab has no place here; accepted: spaces"),
    ("'@'", "text that begins with @ must stand in quotes"),
    ("'`'", "text that begins with a backtick must stand in quotes"),
    ("'%'", "text that begins with % must stand in quotes"),
    ("mapping values are not allowed", "a colon and a space in unquoted text; put the text in quotes"),
    ("while scanning a quoted scalar", "a quoted text is not closed, or holds a backslash that means nothing to YAML"),
    ("found unknown escape", "a backslash in double quotes means nothing here; use single quotes"),
    ("expected escape sequence", "a backslash in double quotes means nothing here; use single quotes"),
    ("while parsing a flow sequence", "a list [a, b] is not closed, or a comma is missing"),
    ("while parsing a flow mapping", "a mapping {a: b} is not closed, or a comma is missing"),
    (
        "while scanning a simple key",
        "this is neither 'key: value' nor a list entry '- value'; is a colon missing?",
    ),
    ("while scanning a directive", "a line may not begin with %"),
    ("while parsing a block collection", "this does not fit the list above: check the indentation"),
    ("while parsing a block mapping", "this does not fit the keys above: check the indentation"),
    ("mapping keys are not allowed", "a ? and a space begin no text; put the text in quotes"),
    ("sequence entries are not allowed", "a list entry '- value' cannot begin here"),
    ("expected '<document start>'", "nothing fits behind the end of the settings: check the indentation"),
    ("while scanning a block scalar", "a block of text is not taken; accepted: one line"),
)


def _where(error: yaml.MarkedYAMLError) -> Mark:
    """Where the person must look: what is never closed goes wrong on a later line than the one it begins in."""
    mark = _mark(error.problem_mark or error.context_mark)
    began = _mark(error.context_mark or error.problem_mark)
    unclosed = any(part in (error.context or "") for part in ("quoted scalar", "flow sequence", "flow mapping"))
    return began if unclosed and began.line < mark.line else mark


def _syntax(error: yaml.MarkedYAMLError, line: str) -> str:
    if re.search(r":\s+\[[0-9A-Fa-f:.]+\]:", line):
        return 'an IPv6 address with its port must stand in quotes: "[::1]:1587"'
    said = f"{error.context or ''} {error.problem or ''}"
    for part, sentence in _SYNTAX:
        if part in said:
            return sentence
    return "this is not YAML that can be read"


# --- tree to values ----------------------------------------------------------------------------------------


class Unreadable:
    """Stands for what no setting takes: a number in a strange spelling, a date, something broken."""


UNREADABLE = Unreadable()


def values(node: Node) -> object:
    """Plain values: str, int, bool, None, tuple, dict; `UNREADABLE` for everything else."""
    match node:
        case Scalar(text, Kind.TEXT, _):
            return text
        case Scalar(text, Kind.WHOLE, _):
            return int(text)
        case Scalar(text, Kind.YES_NO, _):
            return text.lower() in ("yes", "true", "on")
        case Scalar(_, Kind.EMPTY, _):
            return None
        case Listing(items, _):
            return tuple(values(item) for item in items)
        case Table(entries, _):
            return {entry.key: values(entry.value) for entry in entries}
    return UNREADABLE


def described(node: Node) -> str:
    """What stands there, as the first half of a sentence: `YAML reads 22:30 as the number 1350`."""
    match node:
        case Scalar(text, Kind.TEXT, _):
            return f"{shown(text)} is not accepted"
        case Scalar(text, Kind.YES_NO, _):
            meaning = "true" if values(node) else "false"
            return f"{text} is not accepted" if text.lower() == meaning else f"YAML reads {text} as {meaning}"
        case Scalar(text, Kind.NUMBER, _):
            return f"YAML reads {shown(text)[1:-1]} as {_number(text)}"
        case Scalar(text, Kind.DATE, _):
            return f"YAML reads {shown(text)[1:-1]} as a date"
        case Scalar(text, Kind.WHOLE, _):
            return f"{text} is a number"
        case Scalar(_, Kind.EMPTY, _):
            return "there is no value"
        case Listing(items, _):
            return "a list stands here" if items else "an empty list stands here"
        case Table():
            return "a mapping (key: value) stands here"
    return f"{shown(node.text) if isinstance(node, Scalar) else 'this'} is not accepted"


def _number(text: str) -> str:
    if len(text) > 20:
        return "a number"
    try:
        tag = "int" if re.fullmatch(r"[-+0-9a-fA-Fx_:]*", text) else "float"
        node = yaml.ScalarNode(f"tag:yaml.org,2002:{tag}", text)
        constructor = SafeConstructor()
        number = constructor.construct_yaml_int(node) if tag == "int" else constructor.construct_yaml_float(node)
    except (ValueError, OverflowError):
        return "a number"
    return f"the number {number}"
