"""HTML mail as text: what a person reads, with quotes marked as in plain mail (`> `).

Why our own: text needs no tree, so one pass over the tags does, in time linear in the input whatever the sender wrote
(the standard library's parser goes quadratic on unclosed tags and comments; html2text is under the GPL; the others
build a tree of a hostile document for the sake of its text).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_TAG = re.compile(r"""<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,30})((?:[^>"']++|"[^"]*+"|'[^']*+')*+)>""")
_LOOSE_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:-]{0,30})([^>]*+)>")
_TAG_OPENS = re.compile(r"</?[a-zA-Z]")
LONG_NUMBER = re.compile(r"&#[xX]?[0-9a-fA-F]{8,}+;?")
_SPACES = re.compile(r"[ \t\n\r\f\v]+")
_REFERENCE = re.compile(r"""(?i)\bcid:([^"'\s<>)]{1,998})""")
_PATIENCE = 3  # tags never closed, after which quotes in tags are no longer understood

_UNREAD = frozenset({"script", "style", "title", "template", "noframes", "object", "applet"})
_PARAGRAPH = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "blockquote", "pre", "table", "hr"})
_LINE = frozenset(
    {
        "div",
        "tr",
        "li",
        "dt",
        "dd",
        "section",
        "article",
        "header",
        "footer",
        "form",
        "center",
        "address",
        "body",
        "nav",
    }
)
_DEEPEST = 20  # levels of quotes that are marked


def references(source: str) -> frozenset[str]:
    """The Content-IDs that the document shows (RFC 2392), without brackets."""
    return frozenset(html.unescape(found) for found in _REFERENCE.findall(source))


def html_to_text(source: str) -> str:
    """The document's text; paragraphs are parted by empty lines, quoted parts begin with `> `. Never raises."""
    lines = _Lines()
    for kind, name, rest in tokens(source):
        if kind == "text":
            lines.text(rest)
        elif kind == "open":
            _open(lines, name, rest)
        else:
            _close(lines, name)
    return lines.finish()


def _open(lines: _Lines, name: str, attributes: str) -> None:
    if name == "br":
        lines.newline()
    elif name == "blockquote":
        lines.block(1)
        lines.quote(_marks_a_quote(attributes))
    elif name in _PARAGRAPH:
        lines.block(2)
        lines.preformatted += name == "pre"
    elif name in _LINE:
        lines.block(1)
        if name == "li":
            lines.text("* ")
    elif name in ("td", "th"):
        lines.cell()


def _close(lines: _Lines, name: str) -> None:
    if name == "blockquote":
        lines.block(2)
        lines.unquote()
    elif name in _PARAGRAPH:
        lines.block(2)
        lines.preformatted = max(0, lines.preformatted - (name == "pre"))
    elif name in _LINE:
        lines.block(1)


def _marks_a_quote(attributes: str) -> bool:
    """A block without its border is how some programs indent what the person writes."""
    said = attributes.lower().replace(" ", "")
    return "border:none" not in said and "border:0" not in said


def tokens(source: str) -> Iterator[tuple[str, str, str]]:
    """("text", "", text) · ("open", name, attributes) · ("close", name, "")."""
    position = 0
    patience = _PATIENCE
    while position < len(source):
        start = source.find("<", position)
        if start < 0:
            start = len(source)
        if start > position:
            yield "text", "", source[position:start]
        if start == len(source):
            return
        if source.startswith(("<!", "<?"), start):
            position = _behind_declaration(source, start)
            continue
        tag = (_TAG if patience else _LOOSE_TAG).match(source, start)
        if tag is None and not _TAG_OPENS.match(source, start):
            yield "text", "", "<"
            position = start + 1
            continue
        if tag is None:
            patience = max(0, patience - 1)
            tag = _LOOSE_TAG.match(source, start)
        if tag is None:
            return  # no tag ends any more: the document was cut off in this one
        position = tag.end()
        name = tag[2].lower()
        if name in _UNREAD and not tag[1]:
            position = _behind_element(source, position, name)
            continue
        yield ("close" if tag[1] else "open"), name, tag[3]


def _behind_declaration(source: str, start: int) -> int:
    """Behind a comment or declaration; where it never ends, the rest of the document is in it."""
    mark = "-->" if source.startswith("<!--", start) else ">"
    end = source.find(mark, start + 2)
    return len(source) if end < 0 else end + len(mark)


def _behind_element(source: str, position: int, name: str) -> int:
    """Behind the end tag of an element whose content is not shown."""
    end = re.compile(rf"</{name}[^>]*+>", re.IGNORECASE).search(source, position)
    return len(source) if end is None else end.end()


class _Lines:
    """The text as it grows: lines with their depth of quoting."""

    def __init__(self) -> None:
        self.preformatted = 0
        self._done: list[str] = []
        self._line: list[str] = []
        self._quotes: list[bool] = []
        self._depth = 0
        self._above = 0  # the depth of the last line
        self._space = False  # white space is due before the next word of this line
        self._gap = 0  # empty lines due before the next line that has text

    def text(self, raw: str) -> None:
        text = html.unescape(LONG_NUMBER.sub("", raw)) if "&" in raw else raw
        text = text.replace("\u00ad", "").replace("\u200b", "")
        if self.preformatted:
            first, *rest = text.split("\n")
            self._words(first)
            for line in rest:
                self.newline()
                self._words(line)
            return
        words = _SPACES.sub(" ", text)
        if words.startswith(" "):
            self._space = True
            words = words[1:]
        if words:
            self._words((" " if self._space and self._line else "") + words.removesuffix(" "))
            self._space = words.endswith(" ")

    def _words(self, text: str) -> None:
        if not text:
            return
        if not self._line and self._gap and self._done:
            self._done.extend([_mark(min(self._depth, self._above)).rstrip()] * (self._gap - 1))
        self._gap = 0
        self._line.append(text)

    def newline(self) -> None:
        """A line ends here, empty or not."""
        if self._line:
            self._flush()
        elif self._gap:
            self._gap = min(self._gap + 1, 3)
        elif self._done:
            self._gap = 2
        self._space = False

    def block(self, gap: int) -> None:
        """The next text stands on a line of its own, `gap` line ends below."""
        if self._line:
            self._flush()
        self._gap = max(self._gap, gap)
        self._space = False

    def cell(self) -> None:
        if self._line:
            self._line.append("\t")
            self._space = False

    def quote(self, marked: bool) -> None:
        self._quotes.append(marked)
        self._depth += marked

    def unquote(self) -> None:
        if self._quotes:
            self._depth -= self._quotes.pop()

    def _flush(self) -> None:
        line = "".join(self._line).replace("\u00a0", " ").rstrip()
        self._line = []
        self._done.append((_mark(self._depth) + line).rstrip())
        self._above = self._depth
        self._gap = 1

    def finish(self) -> str:
        if self._line:
            self._flush()
        return "\n".join(self._done).strip("\n")


def _mark(depth: int) -> str:
    return "> " * min(depth, _DEEPEST)
