"""A structured field body with parameters (RFC 2045 section 5.1), and the file name in it (RFC 2183, 2231, 2047).

Best reading of what may be badly formed, in one pass, never raising; parameters and their sections are capped.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from proxyd.formats.charsets import text_of
from proxyd.formats.words import decode_words, raw_text

MOST = 100  # parameters of one field, sections of one RFC 2231 value counted each
_LONGEST = 65_536  # octets of a field that are read
LONGEST_NAME = 200  # characters of a file name

_PARAMETER = re.compile(
    r"""[\s;]*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"?|([^;"]*+))[^;]*+""",
    re.DOTALL,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SECTION = re.compile(r"(.+?)\*(\d{1,3})?(\*)?")
# Control characters, and those that turn a name around so that "exe.pdf" is read where "fdp.exe" stands.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]+")
_RISKY = re.compile(r'[<>:"|?*]')
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def parse(body: bytes) -> tuple[str, dict[str, str]]:
    """(the value before the first semicolon in lower case, parameters by lower-case name, RFC 2231 applied)."""
    text = raw_text(body[:_LONGEST])
    value, _, rest = text.partition(";")
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[bool, str]]] = {}
    position, count = 0, 0
    while count < MOST and (found := _PARAMETER.match(rest, position)):
        position = found.end()
        count += 1
        name = found[1].lower()
        said = _ESCAPED.sub(r"\1", found[2]) if found[2] is not None else (found[3] or "").strip()
        section = _SECTION.fullmatch(name) if "*" in name else None
        if section is None:
            plain.setdefault(name, said)
        else:
            coded = section[3] is not None or section[2] is None
            sections.setdefault(section[1], {}).setdefault(int(section[2] or 0), (coded, said))
    for name, numbered in sections.items():
        plain[name] = _joined(numbered)
    return value.strip().lower(), plain


def _joined(numbered: Mapping[int, tuple[bool, str]]) -> str:
    """The sections of an RFC 2231 value in their order, percent-decoded, read in the charset that the first names."""
    charset = ""
    octets: list[bytes] = []
    for index, (_, (coded, said)) in enumerate(sorted(numbered.items())):
        if coded and index == 0 and said.count("'") >= 2:
            charset, _, said = said.split("'", 2)
        octets.append(unquote_to_bytes(said) if coded else said.encode("utf-8", "replace"))
    return text_of(b"".join(octets), charset)


def file_name(disposition: Mapping[str, str], content_type: Mapping[str, str]) -> str:
    """The name that a part gives itself, safe to show and to save under; empty where it gives none."""
    said = disposition.get("filename") or content_type.get("name") or ""
    return safe_name(decode_words(_UNSEEN.sub("", said)))


def safe_name(said: str) -> str:
    """`said` as the name of one file on any system: no path, nothing unseen, not too long. May be empty."""
    name = unicodedata.normalize("NFC", _UNSEEN.sub("", said).replace("\\", "/")).rpartition("/")[2]
    name = _RISKY.sub("_", name).strip(" .")
    if _DEVICES.match(name):
        name = "_" + name
    if len(name) > LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        kept = dot + suffix if stem and len(suffix) <= 16 else ""
        name = name[: LONGEST_NAME - len(kept)].rstrip(" .") + kept
    return name
