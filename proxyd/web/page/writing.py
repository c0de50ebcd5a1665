"""What somebody writes on the page: the form as it is first shown, as it is posted, and as a draft that is kept.

Why drafts lie in our store and not in the browser's: what is written to a customer is encrypted here, follows its
author to another browser, and is not left on a machine that several people use.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from io import BytesIO
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from proxyd.config import Account
from proxyd.formats.addresses import read_addresses
from proxyd.formats.compose import File
from proxyd.model import mailbox_key
from proxyd.web.documents import SendMessage
from proxyd.web.page import story, words
from proxyd.web.problems import Problem, Request

Document = Mapping[str, Any]

MOST_PARTS = 200
MOST_TEXT = 4 * 1024 * 1024  # octets of the fields that are no files
DRAFTS_KEPT = timedelta(days=60)
MOST_KEPT = 25 * 1024 * 1024  # octets of the files of one draft: what providers take in one mail
KEPT_FIELDS = ("author", "to", "cc", "bcc", "subject", "text")


@dataclass(frozen=True, slots=True)
class Letter:
    """What stands in the form's fields, each as it was typed. `reply` is the id of the message that is answered, `key`
    what tells a second press of the button from a second letter, `about` what its draft is found by."""

    author: str = ""
    to: str = ""
    cc: str = ""
    bcc: str = ""
    subject: str = ""
    text: str = ""
    reply: str = ""
    about: str = ""
    key: str = ""

    @property
    def document(self) -> SendMessage:
        said = {name: [value] if (value := getattr(self, name).strip()) else [] for name in ("to", "cc", "bcc")}
        return SendMessage.model_validate(
            {
                **said,
                "from": self.author or None,
                "subject": self.subject.strip(),
                "text": self.text.replace("\r\n", "\n"),
                "reply_to_message": self.reply or None,
            }
        )

    def with_draft(self, kept: Document | None) -> Letter:
        if kept is None:
            return self
        return replace(self, **{name: str(kept[name]) for name in KEPT_FIELDS if name in kept})

    @property
    def draft(self) -> dict[str, str]:
        """What is kept of it."""
        return {name: getattr(self, name) for name in KEPT_FIELDS}

    @property
    def empty(self) -> bool:
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class Posted:
    """The form as it came: `files` are new, `kept` the ids of those that its draft has."""

    letter: Letter
    files: tuple[File, ...] = ()
    kept: tuple[str, ...] = ()


def authors(accounts: Iterable[Account]) -> list[str]:
    """The addresses that somebody may write from, by the accounts that they speak for."""
    return [address for each in accounts for address in (each.address, *each.aliases)]


def new_key() -> str:
    return secrets.token_urlsafe(16)


def first(to: str, own: list[str]) -> Letter:
    """An empty form, to somebody."""
    return Letter(author=own[0], to=to, about=f"to {mailbox_key(to)}", key=new_key())


def answer(message: Document, own: list[str]) -> Letter:
    """The form that answers a message: to whom it is to go, what it is about, and what it answers, quoted."""
    mine = {mailbox_key(each) for each in own}
    others = [each for each in story.others(message) if mailbox_key(each["address"]) not in mine]
    at = words.exact(message["date"])
    who = message["from"]["name"] or message["from"]["address"]
    quoted = "\n".join(f"> {line}".rstrip() for line in story.folded(message)[0].splitlines())
    subject = message["subject"]
    return Letter(
        author=message["account"] if mailbox_key(message["account"]) in mine else own[0],
        to=", ".join(_person(each) for each in others),
        subject=subject if subject[:3].lower() == "re:" else f"Re: {subject}",
        text=f"\n\nOn {at}, {who} wrote:\n{quoted}\n",
        reply=message["id"],
        about=f"reply {message['id']}",
        key=new_key(),
    )


def recipient(letter: Letter) -> str:
    """The first to whom it goes: whose page is shown next."""
    found = read_addresses(f"{letter.to}, {letter.cc}, {letter.bcc}".encode("utf-8", "replace"))
    return found[0].address if found else ""


def _person(address: Document) -> str:
    name = address["name"].replace("\\", "").replace('"', "")
    return f'"{name}" <{address["address"]}>' if name else str(address["address"])


def read(request: Request) -> Posted:
    """The form as it was posted, with its files; all of it in memory. Raises Problem for what no browser sends."""
    said = (request.getHeader(b"content-type") or b"").decode("latin-1")
    mimetype, options = parse_options_header(said)
    request.content.seek(0)
    parser = FormDataParser(
        stream_factory=_in_memory, max_form_memory_size=MOST_TEXT, max_form_parts=MOST_PARTS, silent=False
    )
    try:
        _, fields, posted = parser.parse(request.content, mimetype, None, options)
    except (HTTPException, ValueError):
        raise Problem(HTTPStatus.BAD_REQUEST, "this form cannot be read; write less, or attach fewer files") from None
    letter = Letter(**{name: fields.get(name, "") for name in asdict(Letter())})
    files = tuple(
        File(each.filename or "unnamed", each.mimetype or "application/octet-stream", each.stream.read())
        for each in posted.getlist("files")
        if each.filename
    )
    return Posted(letter, files, tuple(fields.getlist("kept")))


def room(kept: Iterable[int], more: Iterable[File]) -> None:
    """Raises Problem where a draft's files, whose sizes are `kept`, and these are more than are kept together."""
    if sum(kept) + sum(len(each.octets) for each in more) > MOST_KEPT:
        detail = f"at most {MOST_KEPT >> 20} MB of files are kept with a letter"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)


def _in_memory(*_about: object, **_more: object) -> BytesIO:
    """What is attached to a letter is not written to the disk in the clear."""
    return BytesIO()


def stale(now: datetime) -> datetime:
    """Drafts from before then are forgotten."""
    return now - DRAFTS_KEPT
