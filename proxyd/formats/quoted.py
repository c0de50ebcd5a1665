"""The new part of a message's text: without the history that mail programs put below or around it.

Three signs of history: lines that begin with `>` and the line that says who wrote them; a line "-----Original
Message-----"; Outlook's block of From, Sent, To, Subject. Whatever stands between quotes is new and is kept. A message
forwarded is what the person sends, and is kept. One pass over the lines: linear, whatever the text.
"""

from __future__ import annotations

import re

_LOOKED_AT = 400  # characters of a line
_BLOCK_LINES = 12  # lines in which a header block shows itself
_ATTRIBUTION_LINES = 3  # lines that one attribution is wrapped to at most

# "-----Original Message-----" as mail programs write it; "Forwarded" is not history.
_SEPARATOR = re.compile(
    r"[-_*= ]{3,40}\s?("
    r"original message|original appointment|ursprüngliche nachricht|originalnachricht|ursprünglicher termin|"
    r"message d'origine|message original|message initial|mensaje original|mensagem original|messaggio originale|"
    r"oorspronkelijk bericht|originalt? ?meddelande|oprindelig meddelelse|opprinnelig melding|alkuperäinen viesti|"
    r"oryginalna wiadomość|wiadomość oryginalna|původní zpráva|pôvodná správa|eredeti üzenet|mesaj original|"
    r"исходное сообщение|оригинальное сообщение|originalbericht|"
    r"原始邮件|原始郵件|邮件原件|原郵件|元のメッセージ|オリジナルメッセージ|원본 메시지|원본메시지"
    r")\s?[-_*= ]{3,40}",
    re.IGNORECASE,
)

# The fields of the block, in the words of mail programs; each name is one word.
_FIELD_NAMES = (
    "from von de van da od från fra lähettäjä feladó expéditeur remitente mittente от 发件人 寄件者 差出人 보낸사람",
    "sent date gesendet datum envoyé enviado inviato data verzonden skickat sendt lähetetty wysłano dato päiväys fecha "
    "отправлено дата odesláno elküldve dátum 发送时间 日期 寄件日期 送信日時 日付 보낸날짜",
    "to an à para aan a do till til vastaanottaja címzett pour destinataire destinatario кому komu "
    "收件人 宛先 받는사람",
    "subject betreff objet asunto onderwerp oggetto assunto ämne emne aihe temat тема předmět tárgy "
    "主题 主旨 件名 제목",
)
_LABELS = {name: index for index, names in enumerate(_FIELD_NAMES) for name in names.split()}
_LABEL = re.compile(r"[\s>*]{0,8}([^\W\d_][\w'’ -]{0,20}?)[ \u00a0]?\*{0,2}\s?[:：]\s?\*{0,2}(.*)")

_WROTE = re.compile(
    r"\b(wrote|writes|schrieb|schreibt|a écrit|a ecrit|escribió|escribio|ha scritto|scrisse|schreef|geschreven|"
    r"escreveu|skrev|kirjoitti|napisał|napisala|napsal|napísal|írta|a scris|пишет|написал|написав|yazdı|έγραψε|"
    r"kirjutas|rakstīja|rašė)\b|写道|寫道|のメッセージ|さんは書きました|님이 작성",
    re.IGNORECASE,
)
_OPENS = re.compile(
    r"(on|am|le|el|il|op|em|den|w dniu|dne|dňa|dana|at|mon|tue|wed|thu|fri|sat|sun|"
    r"man|tir|tor|ons|fre|lør|søn|mån|tis|lör|sön|pon|\d{1,4}[-./年])\b",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")


def new_text(text: str) -> str:
    """`text` without its quoted history; `text` itself where nothing else would be left."""
    lines = text.replace("\r\n", "\n").split("\n")
    end = _history_begins(lines)
    kept: list[str] = []
    quoted = False
    for line in lines[:end]:
        if line.lstrip(" \t")[:1] == ">":
            if not quoted:
                _drop_attribution(kept)
            quoted = True
            continue
        if quoted and kept and kept[-1] and line.strip():
            kept.append("")
        quoted = quoted and not line.strip()
        kept.append(line)
    if end < len(lines):
        _drop_rule(kept)
    new = "\n".join(kept).strip("\n")
    return new if new.strip() else text


def _history_begins(lines: list[str]) -> int:
    """The index of the line from which on all is history; the number of lines where none is."""
    last_quote = max((index for index, line in enumerate(lines) if line.lstrip(" \t")[:1] == ">"), default=-1)
    for index, line in enumerate(lines):
        start = line[:_LOOKED_AT].strip()
        if not start or start[0] == ">":
            continue
        if start[0] in "-_*=" and _SEPARATOR.fullmatch(start):
            return index
        if label_of(start) == 0 and is_header_block(lines, index):
            return index
        if index > last_quote and start.endswith(":") and _OPENS.match(start) and _names_and_dates(start):
            return index  # the history below is not marked line by line
    return len(lines)


def label_of(line: str) -> int | None:
    """0 From, 1 Sent, 2 To, 3 Subject, in any of the languages; None where the line is no such field."""
    found = _LABEL.match(line[:_LOOKED_AT])
    return _LABELS.get(found[1].lower().strip()) if found else None


def value_of(line: str) -> str:
    """What stands behind the label."""
    found = _LABEL.match(line)
    return found[2].strip() if found else ""


def is_header_block(lines: list[str], index: int) -> bool:
    """Do at least three different fields of a header stand in the lines from `index` on?"""
    seen: set[int] = set()
    for line in lines[index : index + _BLOCK_LINES]:
        label = label_of(line)
        if label is not None:
            seen.add(label)
    return len(seen) >= 3


def _drop_attribution(kept: list[str]) -> None:
    """Take the lines off the end that say who wrote the quote below, and the empty ones around them."""
    _drop_empty(kept)
    wrapped = ""
    for count, line in enumerate(reversed(kept[-_ATTRIBUTION_LINES:]), start=1):
        if not line.strip():
            return
        wrapped = f"{line[:_LOOKED_AT].strip()} {wrapped}".strip()
        if _says_who_wrote(wrapped) and (_OPENS.match(wrapped) or (count == 1 and "@" in wrapped)):
            del kept[-count:]
            _drop_empty(kept)
            return
    if kept and _says_who_wrote(kept[-1][:_LOOKED_AT]):
        del kept[-1]
        _drop_empty(kept)


def _says_who_wrote(line: str) -> bool:
    """Ends with a colon, and says "wrote" in some language, or gives an address and a time."""
    said = line.rstrip(" \u00a0*>").removesuffix("<")
    if not said.endswith((":", "：")):
        return False
    return bool(_WROTE.search(said)) or _names_and_dates(said)


def _names_and_dates(line: str) -> bool:
    return "@" in line and len(_DIGIT.findall(line)) >= 4


def _drop_rule(kept: list[str]) -> None:
    """The line drawn above Outlook's block."""
    _drop_empty(kept)
    if kept and len(kept[-1].strip()) >= 5 and not kept[-1].strip().strip("_-*="):
        del kept[-1]
        _drop_empty(kept)


def _drop_empty(kept: list[str]) -> None:
    while kept and not kept[-1].strip():
        del kept[-1]
