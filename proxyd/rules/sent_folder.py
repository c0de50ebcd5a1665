"""Which folder is Sent? The first line that finds one decides.

1. The account's setting, where it names a folder.
2. The attribute \\Sent (RFC 6154, XLIST before it), compared without case, whether the folder is empty or not.
3. A folder called as mail programs and providers call it, in some language; the one nearest the root.
4. The first folder whose last path part has the word "sent" ("Presentations" and "Consent forms" have not).
5. None: "Sent" is to be created, where this server keeps its folders.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from proxyd.model import Folder, SentFolder

_NO_MAILBOX = frozenset({"\\noselect", "\\nonexistent"})
_OTHER_USE = frozenset({"\\trash", "\\junk", "\\drafts", "\\all", "\\archive", "\\flagged", "\\spam", "\\allmail"})
_BURIED = frozenset({"\\trash", "\\junk", "\\spam"})  # folders below these were thrown away
_WORD = re.compile(r"(?<![^\W_])sent(?![^\W_])")

_NAMES = """
Sent | Sent Items | Sent Messages | Sent Mail | Sent Email | Sent Emails | Sent-Mail | SentItems
SentMail | SentMessages
Gesendet | Gesendete Objekte | Gesendete Elemente | Gesendete Nachrichten | Gesendete Mails
Envoyé | Envoyés | Éléments envoyés | Messages envoyés | Courrier envoyé | Objets envoyés | Courriers envoyés
Verzonden | Verzonden items | Verzonden berichten | Verzonden objecten
Inviata | Inviati | Posta inviata | Elementi inviati | Messaggi inviati
Enviado | Enviados | Elementos enviados | Mensajes enviados | Correo enviado | Correos enviados
Itens enviados | E-mails enviados | Mensagens enviadas | Enviadas | Correio enviado
Enviats | Elements enviats | Bidalitakoak | Bidalitako elementuak
Skickat | Skickade | Skickade objekt | Skickade meddelanden | Sendt | Sendte elementer | Sendt post | Sende elementer
Lähetetyt | Lähetetyt viestit | Sendir hlutir | Saadetud | Saadetud üksused
Wysłane | Elementy wysłane | Wiadomości wysłane | Poczta wysłana
Odeslané | Odeslaná pošta | Odeslaná | Odoslané | Odoslaná pošta | Poslané | Poslano | Poslana pošta | Poslane stavke
Elküldött | Elküldött elemek | Elküldött üzenetek | Trimise | Elemente trimise | Mesaje trimise
Отправленные | Отправленные письма | Надіслані | Відправлені | Изпратени | Изпратени писма | Послато | Адпраўленыя
Απεσταλμένα | Σταλμένα | Gönderilmiş Öğeler | Gönderilmiş | Gönderilenler | Gönderilmiş Postalar
Išsiųsta | Išsiųsti laiškai | Nosūtītie | Nosūtītās vienumi
已发送 | 已发送邮件 | 已发邮件 | 已發送 | 寄件備份 | 寄件备份 | 已傳送郵件 | 已寄出
送信済み | 送信済みアイテム | 送信済みメール | 送信済みトレイ | 보낸편지함 | 보낸 편지함 | 보낸 메일함 | 보낸 항목
الرسائل المرسلة | البريد المرسل | العناصر المرسلة | פריטים שנשלחו | דואר יוצא | נשלח | ส่งแล้ว | รายการที่ส่ง
Thư đã gửi | Đã gửi | Mục đã gửi | Terkirim | Item Terkirim | Pesan Terkirim | भेजे गए
"""


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split())


_CALLED = frozenset(_plain(name) for line in _NAMES.strip().splitlines() for name in line.split("|"))


def sent_folder(folders: Sequence[Folder], wanted: str = "auto", *, prefix: str | None = None) -> SentFolder:
    """`folders` as LIST gave them; `wanted` is the account's `sent_copy.folder`.

    `prefix` is that of the personal namespace (RFC 2342) where the server told it, else it is read off the list.
    """
    there = [folder for folder in folders if not _attributes(folder) & _NO_MAILBOX]
    if wanted != "auto":
        return _set(wanted, there, folders, prefix)
    flagged = [folder for folder in there if "\\sent" in _attributes(folder)]
    if flagged:
        return SentFolder(min(flagged, key=_depth).name, "the server marks it \\Sent")
    eligible = [folder for folder in there if not _attributes(folder) & _OTHER_USE and not _buried(folder, folders)]
    called = [folder for folder in eligible if _plain(_last_part(folder)) in _CALLED]
    if called:
        return SentFolder(min(called, key=_depth).name, "it is called so, and no folder is marked \\Sent")
    for folder in eligible:
        if _WORD.search(_plain(_last_part(folder))):
            return SentFolder(folder.name, 'its name has the word "sent", and no folder is marked \\Sent')
    return _to_create(folders, prefix)


def called_sent(name: str) -> bool:
    """Is a folder called so the Sent folder by its name alone? Whatever stands between the parts of its path."""
    return bool(name) and _plain(re.split(r"[/.\\]", name)[-1]) in _CALLED


def _set(wanted: str, there: list[Folder], folders: Sequence[Folder], prefix: str | None) -> SentFolder:
    because = "sent_copy.folder names it"
    names = (wanted, _prefix(folders, prefix) + wanted)
    for name in names:
        for same in (lambda one, other: one == other, lambda one, other: _plain(one) == _plain(other)):
            for folder in there:
                if same(folder.name, name):
                    return SentFolder(folder.name, because)
    name = wanted if wanted.startswith(names[1][: -len(wanted)]) else names[1]
    return SentFolder(name, because + "; it is to be created", exists=False)


def _to_create(folders: Iterable[Folder], prefix: str | None) -> SentFolder:
    for folder in folders:
        if "\\sent" in _attributes(folder):
            return SentFolder(folder.name, "the server marks it \\Sent; it is to be created", exists=False)
    name = _prefix(folders, prefix) + "Sent"
    return SentFolder(name, "no folder is Sent by mark or by name; it is to be created", exists=False)


def _prefix(folders: Iterable[Folder], prefix: str | None) -> str:
    """What stands before the name of a new folder: `INBOX.` where every other folder lies below INBOX (Courier)."""
    if prefix is not None:
        return prefix
    others = [folder for folder in folders if folder.name.upper() != "INBOX"]
    if others and all(folder.delimiter and _below_inbox(folder) for folder in others):
        return others[0].name[:5] + others[0].delimiter
    return ""


def _below_inbox(folder: Folder) -> bool:
    return folder.name.upper().startswith("INBOX" + folder.delimiter)


def _attributes(folder: Folder) -> frozenset[str]:
    return frozenset(attribute.lower() for attribute in folder.attributes)


def _path(folder: Folder) -> list[str]:
    parts = folder.name.split(folder.delimiter) if folder.delimiter else [folder.name]
    return parts[1:] if len(parts) > 1 and parts[0].upper() == "INBOX" else parts


def _last_part(folder: Folder) -> str:
    return _path(folder)[-1]


def _depth(folder: Folder) -> int:
    return len(_path(folder))


def _buried(folder: Folder, folders: Iterable[Folder]) -> bool:
    return any(
        each.delimiter and folder.name.startswith(each.name + each.delimiter)
        for each in folders
        if _attributes(each) & _BURIED
    )
