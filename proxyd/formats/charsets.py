"""Octets to text, whatever the sender called them.

Never raises, and the codec is looked up only among those that Python names: an unknown name would stay in Python's own
cache of failed look-ups for ever, and some codecs that it knows (punycode, unicode_escape) are none that mail is in.
"""

from __future__ import annotations

from encodings.aliases import aliases

_NOT_FOR_MAIL = frozenset(
    ("punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem")
) | frozenset(("base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec"))
_KNOWN = (frozenset(aliases) | frozenset(aliases.values()) | {"utf_8_sig", "koi8_r", "koi8_u"}) - _NOT_FOR_MAIL

# What senders mean where they name the smaller set.
_MEANT = {
    "us_ascii": "utf_8",
    "ascii": "utf_8",
    "iso_8859_1": "cp1252",
    "latin_1": "cp1252",
    "iso8859_1": "cp1252",
    "latin1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601_1987": "cp949",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "sjis": "cp932",
    "x_sjis": "cp932",
    "iso_8859_8_i": "iso8859_8",
    "x_mac_roman": "mac_roman",
    "unicode_1_1_utf_7": "utf_7",
    "x_utf_8": "utf_8",
}


def text_of(octets: bytes, charset: str = "") -> str:
    """`octets` read as `charset`; where that fails or is not known, as UTF-8, else as Windows-1252."""
    codec = _codec(charset)
    if codec is not None:
        try:
            return octets.decode(codec)
        except (UnicodeError, ValueError):
            if codec != "utf_8" and not octets.isascii():
                read = octets.decode(codec, "replace")
                # A cut or damaged character or two: still that charset. More: the name is wrong.
                if read.count("\ufffd") <= 1 + len(read) // 50:
                    return read
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        if codec == "utf_8" and _mostly_utf_8(octets, error):
            return octets.decode("utf-8", "replace")
    try:
        return octets.decode("cp1252")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _codec(charset: str) -> str | None:
    name = charset.strip().strip("\"'").lower().replace("-", "_").replace(" ", "_").replace(".", "_")
    name = _MEANT.get(name, name)
    return name if name in _KNOWN else None


def _mostly_utf_8(octets: bytes, error: UnicodeDecodeError) -> bool:
    """Is this UTF-8 that was cut off or hurt in a place or two, and not another charset under that name?"""
    if error.end >= len(octets) - 3 and error.start > 0:
        return not octets[: error.start].isascii()
    read = octets.decode("utf-8", "replace")
    hurt = read.count("\ufffd")
    whole = sum(1 for character in read[:20_000] if character > "\x7f" and character != "\ufffd")
    return whole > hurt
