"""The signature below a message's text: what stands under a line of two hyphens and a space (RFC 3676 section 4.3), or
a last line by which a telephone says who it is."""

from __future__ import annotations

import re

LONGEST = 30  # lines; what is longer is no signature, whatever its first line says

_DELIMITER = re.compile(r"--\u00a0?[ \t]*")  # many programs lose the space
_SENT_FROM = re.compile(
    r"(?i)(sent from my|get outlook for|von meinem .{1,40} gesendet|gesendet von|gesendet mit|envoyé de mon|"
    r"envoyé depuis|enviado desde mi|enviado do meu|inviato da|verzonden vanaf mijn|skickat från min|sendt fra min|"
    r"отправлено с|outlook für (ios|android)).{0,80}"
)


def signature(new_text: str) -> str:
    """The signature in a text without its history; "" where none is marked. The text itself is not changed by it."""
    lines = new_text.rstrip().split("\n")
    for index in range(len(lines) - 1, max(-1, len(lines) - 2 - LONGEST), -1):
        if _DELIMITER.fullmatch(lines[index]):
            return "\n".join(lines[index + 1 :]).strip("\n")
    last = lines[-1].strip()
    return last if len(lines) > 1 and len(last) <= 200 and _SENT_FROM.fullmatch(last) else ""
