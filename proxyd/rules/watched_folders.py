"""Where is looked for answers? Each folder's answer carries its reason; the first is the one to stay in.

1. A person's list of folders: those, and no other. Names are compared as the server writes them, then without case,
   then with any hierarchy delimiter and without a leading INBOX.
2. A server with labels (Gmail's X-GM-EXT-1): All Mail once, which every label is only another view of, and Junk, which
   it does not hold.
3. Else every folder that a rule at the server may file into: INBOX, and all but what is no mailbox, Trash, Drafts, the
   outbox and templates (by attribute, RFC 6154; by name where no folder has the attribute), what lies below them, views
   of other folders (\\All, \\Flagged, \\Important), and other people's folders (NAMESPACE). Junk is looked at: lost
   replies and bounces lie there.
4. "CRM/Log" by any of these, where marking by a folder is on: what lies there was put there to be logged.

Sent has its own role: whatever else is looked at, its copies are settled.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from proxyd.model import Folder

INBOX = "INBOX"


class Role(StrEnum):
    """What a folder is looked at for."""

    INCOMING = "incoming"
    JUNK = "junk"
    SENT = "sent"
    MARKED = "marked"


@dataclass(frozen=True, slots=True)
class WatchedFolder:
    name: str
    role: Role
    because: str


_NO_MAILBOX = frozenset({"\\noselect", "\\nonexistent"})
_JUNK = frozenset({"\\junk", "\\spam"})
_VIEWS = frozenset({"\\all", "\\allmail", "\\flagged", "\\starred", "\\important"})
_ALL = frozenset({"\\all", "\\allmail"})
_MARKED = ("crm", "log")
_LOST = "lost replies and bounces lie there"

_CALLED = {
    "\\trash": """Trash | Deleted | Deleted Items | Deleted Messages | Bin | Papierkorb | Gelöschte Objekte
        Gelöschte Elemente | Gelöscht | Corbeille | Éléments supprimés | Prullenbak | Verwijderde items | Cestino
        Posta eliminata | Papelera | Elementos eliminados | Lixeira | Itens excluídos | Papperskorg | Papperskorgen
        Borttaget | Papirkurv | Slettet post | Slettede elementer | Roskakori | Kosz | Elementy usunięte | Koš
        Odstraněná pošta | Lomtár | Törölt elemek | Корзина | Удаленные | Удалённые | Кошик | Çöp Kutusu | Κάδος
        已删除 | 已删除邮件 | 垃圾桶 | ゴミ箱 | 削除済みアイテム | 휴지통""",
    "\\drafts": """Drafts | Draft | Entwürfe | Brouillons | Concepten | Bozze | Borradores | Rascunhos | Utkast
        Kladder | Luonnokset | Wersje robocze | Koncepty | Rozepsané | Piszkozatok | Черновики | Чернетки | Taslaklar
        Πρόχειρα | 草稿 | 草稿箱 | 下書き | 임시보관함""",
    "\\outbox": """Outbox | Unsent Messages | Postausgang | Boîte d'envoi | Postvak UIT | Posta in uscita
        Bandeja de salida | Caixa de saída | Utkorg | Udbakke | Utboks | Lähtevät | Skrzynka nadawcza | Исходящие
        发件箱 | 送信トレイ""",
    "\\junk": """Junk | Spam | Junk E-Mail | Junk-E-Mail | Junk Email | Junk Mail | Bulk Mail | Bulk | Spamverdacht
        Unerwünscht | Courrier indésirable | Indésirables | Ongewenste e-mail | Posta indesiderata | Correo no deseado
        Lixo eletrônico | Skräppost | Roskaposti | Спам | 垃圾邮件 | 迷惑メール""",
    "\\templates": "Templates | Vorlagen | Modèles | Sjablonen | Modelli | Plantillas | Modelos | Mallar | Szablony",
}


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split())


_CALLED_SO = {
    use: frozenset(_plain(name) for line in names.splitlines() for name in line.split("|"))
    for use, names in _CALLED.items()
}


def watched_folders(
    folders: Sequence[Folder],
    wanted: Literal["auto"] | Sequence[str],
    sent: str,
    *,
    labels: bool = False,
    marked: bool = False,
    others: Sequence[str] = (),
) -> tuple[WatchedFolder, ...]:
    """`folders` as LIST gave them; `wanted` is the setting `watch.folders`; `sent` the Sent folder's name; `labels`:
    the server shows a message under each of its labels; `marked`: what lies in CRM/Log is logged; `others`: what the
    names of other people's folders begin with. The Sent folder is among the answer only where it exists."""
    there = [each for each in folders if not _attributes(each) & _NO_MAILBOX]
    own = [each for each in there if not each.name.startswith(tuple(others))] if others else there
    if wanted != "auto":
        found = _listed(there, wanted, sent)
    elif labels and any(_attributes(each) & _ALL for each in own):
        found = [
            WatchedFolder(each.name, Role.INCOMING, "all labels in one") for each in own if _attributes(each) & _ALL
        ]
        found += [WatchedFolder(each.name, Role.JUNK, "Junk") for each in own if _attributes(each) & _JUNK]
    else:
        found = _everywhere(own, folders, sent)
    if marked:
        logs = {each.name for each in own if _path(each)[-2:] == _MARKED and len(_path(each)) == 2}
        found = [each for each in found if each.name not in logs]
        found += [WatchedFolder(name, Role.MARKED, "what lies there is to be logged") for name in sorted(logs)]
    if any(each.name == sent for each in there):
        found.append(WatchedFolder(sent, Role.SENT, "the Sent folder"))
    return tuple(found)


def _listed(there: Sequence[Folder], wanted: Sequence[str], sent: str) -> list[WatchedFolder]:
    names = dict.fromkeys(_as_there(name, there) for name in wanted)
    names = {name: None for name in names if name != sent} or {INBOX: None}
    because = "watch.folders names it"
    return [WatchedFolder(name, Role.INCOMING, because) for name in sorted(names, key=lambda name: name != INBOX)]


def _as_there(name: str, there: Sequence[Folder]) -> str:
    """As the server writes it; as the person does, where it has no such folder."""
    if name.upper() == INBOX:
        return INBOX
    alike = (
        lambda each: each.name == name,
        lambda each: _plain(each.name) == _plain(name),
        lambda each: _path(each) == _parts(name, "/.\\"),
    )
    return next((each.name for same in alike for each in there if same(each)), name)


def _everywhere(own: Sequence[Folder], folders: Sequence[Folder], sent: str) -> list[WatchedFolder]:
    given = frozenset(attribute for each in folders for attribute in _attributes(each))
    shut = [each for each in folders if _use(each, given) is not None]
    found = [WatchedFolder(INBOX, Role.INCOMING, "new mail arrives there")]
    for each in own:
        if each.name.upper() == INBOX or each.name == sent:
            continue
        if each in shut or _attributes(each) & _VIEWS or any(_below(each, other) for other in shut):
            continue
        junk = bool(_attributes(each) & _JUNK) or (given.isdisjoint(_JUNK) and _path(each)[-1] in _CALLED_SO["\\junk"])
        because = _LOST if junk else "a rule at the server may file into it"
        found.append(WatchedFolder(each.name, Role.JUNK if junk else Role.INCOMING, because))
    return found


def _use(folder: Folder, given: frozenset[str]) -> str | None:
    """Trash, Drafts, outbox or templates; by name only where the server marks no folder so."""
    if folder.name.upper() == INBOX:
        return None
    for use, names in _CALLED_SO.items():
        if use in _JUNK:
            continue
        if use in _attributes(folder) or (use not in given and _path(folder)[-1] in names):
            return use
    return None


def _below(folder: Folder, other: Folder) -> bool:
    return bool(other.delimiter) and folder.name.startswith(other.name + other.delimiter)


def _attributes(folder: Folder) -> frozenset[str]:
    return frozenset(attribute.lower() for attribute in folder.attributes)


def _path(folder: Folder) -> tuple[str, ...]:
    """Its parts, to compare, without a leading INBOX."""
    return _parts(folder.name, folder.delimiter)


def _parts(name: str, delimiters: str) -> tuple[str, ...]:
    parts = re.split(f"[{re.escape(delimiters)}]", name) if delimiters else [name]
    plain = [_plain(part) for part in parts]
    return tuple(plain[1:] if len(plain) > 1 and plain[0] == "inbox" else plain)


def first_of(watched: Iterable[WatchedFolder]) -> str:
    """The folder to stay in."""
    return next(each.name for each in watched if each.role in (Role.INCOMING, Role.JUNK))
