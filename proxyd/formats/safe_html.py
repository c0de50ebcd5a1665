"""A stranger's HTML made safe to show: no script, no form, nothing that loads from elsewhere unless it is asked for.

Why two readings: nh3 (ammonia, html5ever) is the judge of what is safe, for it reads as a browser does. But its time
grows with the square of the depth: 200,000 nested elements took it seven minutes. So the document is first written anew
by one linear pass, with the tags and attributes that mail needs, no deeper than 100; what nh3 then reads is small, flat
and well formed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import nh3

from proxyd.formats.html import LONG_NUMBER, tokens

DEEPEST = 100  # elements within elements; what is deeper is shown at that depth
MOST_SOURCE = 1024 * 1024  # characters that are read
MOST_SHOWN = 8 * 1024 * 1024  # characters of pictures that stand in the document itself
_MOST_ATTRIBUTES = 30
_TEXT_PIECE = 1000  # characters
_LONGEST_VALUE = 2000  # characters; pictures in the document apart
_LONGEST_ATTRIBUTES = 1024 * 1024

_VOID = frozenset({"br", "hr", "img", "col", "wbr"})
_BLOCKS = (
    "address article aside blockquote caption center dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header li"
    " main nav ol p pre section table tbody td tfoot th thead tr ul colgroup"
)
_INLINE = "a abbr b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span strike strong sub sup tt u"
_TAGS = frozenset(f"{_BLOCKS} {_INLINE}".split()) | _VOID
_RENAMED = {"body": "div"}  # its colours are the mail's own

# None of these can name a file to load.
_SIDES = "{0} {0}-top {0}-right {0}-bottom {0}-left"
_STYLES = frozenset(
    " ".join(
        (
            "color background-color font-family font-size font-style font-weight line-height letter-spacing text-align",
            "text-decoration text-indent text-transform vertical-align white-space word-break overflow-wrap direction",
            "width max-width min-width height max-height min-height display border-color border-style border-width",
            "border-radius border-collapse border-spacing",
            *(_SIDES.format(each) for each in ("margin", "padding", "border")),
        )
    ).split()
)
_EVERYWHERE = frozenset({"style", "align", "valign", "bgcolor", "color", "dir", "lang", "title", "width", "height"})
_OF_TAG: dict[str, frozenset[str]] = {
    "a": frozenset({"href"}),
    "img": frozenset({"src", "alt", "border"}),
    "font": frozenset({"face", "size"}),
    "table": frozenset({"border", "cellpadding", "cellspacing"}),
    "td": frozenset({"colspan", "rowspan", "nowrap"}),
    "th": frozenset({"colspan", "rowspan", "nowrap"}),
    "ol": frozenset({"start", "type"}),
    "li": frozenset({"value"}),
    "col": frozenset({"span"}),
}
_ATTRIBUTE = re.compile(r"""([a-zA-Z][a-zA-Z0-9-]{0,40})(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?""")
_LOADS = re.compile(r"(?i)url|expression|import|javascript|\\|@|<|/\*")
_PICTURE = re.compile(r"(?i)data:image/(?:png|jpe?g|gif|webp);base64,[A-Za-z0-9+/=\s]*+")
_LINK = re.compile(r"(?i)(?:https?://|mailto:|tel:)")


@dataclass(frozen=True, slots=True)
class SafeHtml:
    """`blocked`: how many pictures from elsewhere were left out."""

    html: str
    blocked: int


def safe_html(source: str, pictures: Mapping[str, str], *, remote: bool = False) -> SafeHtml:
    """`pictures` maps Content-IDs to `data:` URLs; `remote`: pictures may be loaded from elsewhere. Never raises."""
    writer = _Writer(pictures, remote)
    anew = writer.write(source[:MOST_SOURCE])
    attributes = {tag: set(_EVERYWHERE | _OF_TAG.get(tag, frozenset())) for tag in _TAGS}
    clean = nh3.clean(
        anew,
        tags=set(_TAGS),
        attributes=attributes,
        attribute_filter=_judged,
        filter_style_properties=set(_STYLES),
        url_schemes={"http", "https", "mailto", "tel", "data"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        strip_comments=True,
    )
    return SafeHtml(clean, writer.blocked)


def _judged(tag: str, name: str, value: str) -> str | None:
    """nh3 asks of each attribute that it would keep."""
    if name == "href":
        return value if _LINK.match(value) else None
    if name == "src":
        return (
            value if tag == "img" and (_PICTURE.fullmatch(value) or value.startswith(("https://", "http://"))) else None
        )
    if name == "style" and _LOADS.search(value):
        return None
    return value


class _Writer:
    """Writes a document anew, tag by tag; what is open is known, so that nothing is deeper than it may be."""

    def __init__(self, pictures: Mapping[str, str], remote: bool) -> None:
        self.blocked = 0
        self._pictures = pictures
        self._remote = remote
        self._room = MOST_SHOWN
        self._open: list[str] = []

    def write(self, source: str) -> str:
        return "".join(self._pieces(source))

    def _pieces(self, source: str) -> Iterator[str]:
        for kind, said, rest in tokens(source):
            if kind == "text":
                yield from self._text(rest)
                continue
            name = _RENAMED.get(said, said)
            if name not in _TAGS:
                continue
            yield from self._closed(name) if kind == "close" else self._opened(name, rest)
        yield "".join(f"</{name}>" for name in reversed(self._open))

    @staticmethod
    def _text(source: str) -> Iterator[str]:
        """In pieces with comments between, which nh3 takes out: html5ever copies a text anew for each `&` in it."""
        text = html.unescape(LONG_NUMBER.sub("", source)) if "&" in source else source
        for start in range(0, len(text), _TEXT_PIECE):
            yield html.escape(text[start : start + _TEXT_PIECE], quote=False)
            if start + _TEXT_PIECE < len(text):
                yield "<!---->"

    def _opened(self, name: str, attributes: str) -> Iterator[str]:
        if name not in _VOID:
            if len(self._open) >= DEEPEST:
                return
            self._open.append(name)
        kept = "".join(f' {key}="{html.escape(value)}"' for key, value in self._kept(name, attributes))
        yield f"<{name}{kept}>"

    def _closed(self, name: str) -> Iterator[str]:
        if name in self._open:
            while (last := self._open.pop()) != name:
                yield f"</{last}>"
            yield f"</{name}>"

    def _kept(self, tag: str, attributes: str) -> Iterator[tuple[str, str]]:
        allowed = _EVERYWHERE | _OF_TAG.get(tag, frozenset())
        seen: set[str] = set()
        for found in _ATTRIBUTE.finditer(attributes[:_LONGEST_ATTRIBUTES]):
            name = found[1].lower()
            if name not in allowed or name in seen:
                continue
            seen.add(name)
            value = html.unescape(LONG_NUMBER.sub("", found[2] or found[3] or found[4] or ""))
            if name == "src":
                value = self._picture(value.strip())
            elif len(value) > _LONGEST_VALUE or (name == "style" and not self._harmless(value)):
                continue
            if value or name != "src":
                yield name, value
            if len(seen) >= _MOST_ATTRIBUTES:
                return

    @staticmethod
    def _harmless(style: str) -> bool:
        """Could a property that is kept load something? Then the whole style is left out."""
        kept = (each for each in style.split(";") if each.partition(":")[0].strip().lower() in _STYLES)
        return not any(_LOADS.search(each) for each in kept)

    def _picture(self, source: str) -> str:
        """Where the picture is loaded from; "" for nowhere."""
        if source[:4].lower() == "cid:":
            return self._within(self._pictures.get(source[4:], ""))
        if source[:5].lower() == "data:":
            return self._within(source) if _PICTURE.fullmatch(source) else ""
        if source.startswith("//"):
            source = f"https:{source}"
        if not re.match(r"(?i)https?://", source) or len(source) > _LONGEST_VALUE:
            return ""
        if not self._remote:
            self.blocked += 1
            return ""
        scheme, _, rest = source.partition(":")
        return f"{scheme.lower()}:{rest}"

    def _within(self, url: str) -> str:
        if len(url) > self._room:
            return ""
        self._room -= len(url)
        return url
