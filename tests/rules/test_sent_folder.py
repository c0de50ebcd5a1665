"""Which folder is Sent."""

from __future__ import annotations

import pytest

from proxyd.model import Folder, SentFolder
from proxyd.rules.sent_folder import called_sent, sent_folder


def folders(*lines: str, delimiter: str = "/") -> list[Folder]:
    """`name | attribute attribute`, as LIST gives them."""
    listed = []
    for line in lines:
        name, _, attributes = line.partition(" | ")
        listed.append(Folder(name, delimiter, frozenset(attributes.split())))
    return listed


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        pytest.param(folders("INBOX", "Sent", "Mail | \\sent"), "Mail", id="the mark wins over the name"),
        pytest.param(folders("INBOX", "Weg | \\Sent"), "Weg", id="the mark in any case"),
        pytest.param(folders("Weg | \\SENT \\hasnochildren", "Sent"), "Weg", id="in capitals, with others"),
        pytest.param(
            folders("[Gmail]/Sent Mail | \\sent", "[Gmail] | \\noselect", "Sent"), "[Gmail]/Sent Mail", id="Gmail"
        ),
        pytest.param(folders("Archive/Sent | \\sent", "Sent | \\sent"), "Sent", id="two marked: nearest the root"),
        pytest.param(folders("Old | \\sent \\noselect", "Sent"), "Sent", id="marked, but no mailbox"),
        pytest.param(folders("INBOX", "Gesendete Objekte", "Presentations"), "Gesendete Objekte", id="German"),
        pytest.param(folders("INBOX", "GESENDET"), "GESENDET", id="in capitals"),
        pytest.param(folders("INBOX", "Éléments envoyés"), "Éléments envoyés", id="French"),
        pytest.param(
            folders("E\u0301le\u0301ments envoye\u0301s"), "E\u0301le\u0301ments envoye\u0301s", id="decomposed"
        ),
        pytest.param(folders("Verzonden items"), "Verzonden items", id="Dutch"),
        pytest.param(folders("Posta inviata"), "Posta inviata", id="Italian"),
        pytest.param(folders("Elementos enviados"), "Elementos enviados", id="Spanish"),
        pytest.param(folders("Отправленные"), "Отправленные", id="Russian"),
        pytest.param(folders("已发送"), "已发送", id="Chinese"),
        pytest.param(folders("送信済み"), "送信済み", id="Japanese"),
        pytest.param(folders("보낸편지함"), "보낸편지함", id="Korean"),
        pytest.param(folders("Archive/2019/Sent", "Sent"), "Sent", id="by name: nearest the root"),
        pytest.param(folders("Old sent mails 2019", "Sent Items"), "Sent Items", id="a known name before a word"),
        pytest.param(folders("INBOX.Sent", "INBOX", delimiter="."), "INBOX.Sent", id="Courier"),
        pytest.param(folders("Mail I have sent", "Also sent"), "Mail I have sent", id="the word: first found"),
        pytest.param(folders("sent-mail"), "sent-mail", id="the word with a hyphen"),
        pytest.param(folders("sent_2026"), "sent_2026", id="the word with an underscore"),
        pytest.param(folders("Sent/Presentations", "Work/Sent"), "Work/Sent", id="the last path part only"),
        pytest.param(folders("Trash | \\trash", "Trash/Sent", "Mail sent"), "Mail sent", id="thrown away is not it"),
        pytest.param(folders("Sent spam | \\junk", "My sent"), "My sent", id="a folder with another use is not it"),
    ],
)
def test_found(listed: list[Folder], name: str) -> None:
    found = sent_folder(listed)
    assert found.name == name
    assert found.exists
    assert found.because


@pytest.mark.parametrize(
    ("listed", "prefix", "name"),
    [
        pytest.param(folders("INBOX", "Presentations", "Consent forms", "Essential"), None, "Sent", id="no word sent"),
        pytest.param(folders("INBOX", "Absent", "Resent", "Sentinel", "Dissent"), None, "Sent", id="nor in these"),
        pytest.param(
            folders("INBOX", "INBOX.Drafts", delimiter="."), None, "INBOX.Sent", id="all below INBOX: Courier"
        ),
        pytest.param(folders("INBOX", "Inbox/Work"), None, "Inbox/Sent", id="as the server spells it"),
        pytest.param(folders("INBOX", "INBOX.Drafts", "Shared", delimiter="."), None, "Sent", id="not all below INBOX"),
        pytest.param(folders("INBOX", delimiter="."), None, "Sent", id="INBOX alone says nothing"),
        pytest.param(folders("INBOX", delimiter="."), "INBOX.", "INBOX.Sent", id="but NAMESPACE does"),
        pytest.param([], None, "Sent", id="nothing at all"),
        pytest.param(folders("Sent | \\noselect"), None, "Sent", id="a name without a mailbox"),
        pytest.param(folders("INBOX", "Skickat | \\sent \\nonexistent"), None, "Skickat", id="marked, not made yet"),
        pytest.param([Folder("INBOX", ""), Folder("Other", "")], None, "Sent", id="no delimiter"),
    ],
)
def test_to_be_created(listed: list[Folder], prefix: str | None, name: str) -> None:
    found = sent_folder(listed, prefix=prefix)
    assert (found.name, found.exists) == (name, False)
    assert "to be created" in found.because


@pytest.mark.parametrize(
    ("wanted", "listed", "found"),
    [
        pytest.param("Out", folders("Out", "Sent | \\sent"), ("Out", True), id="wins over the mark"),
        pytest.param("out", folders("Out"), ("Out", True), id="any case where nothing else fits"),
        pytest.param("out", folders("Out", "out"), ("out", True), id="the exact name first"),
        pytest.param("Out", folders("INBOX", "INBOX.Out", delimiter="."), ("INBOX.Out", True), id="without its prefix"),
        pytest.param("Out", folders("INBOX", "Sent | \\sent"), ("Out", False), id="to be created"),
        pytest.param("Out", folders("INBOX", "INBOX.A", delimiter="."), ("INBOX.Out", False), id="created below INBOX"),
        pytest.param("INBOX.Out", folders("INBOX", "INBOX.A", delimiter="."), ("INBOX.Out", False), id="in full"),
    ],
)
def test_the_setting(wanted: str, listed: list[Folder], found: tuple[str, bool]) -> None:
    answer = sent_folder(listed, wanted)
    assert (answer.name, answer.exists) == found
    assert answer.because.startswith("sent_copy.folder names it")


def test_the_answer_says_why() -> None:
    assert sent_folder(folders("X | \\sent")) == SentFolder("X", "the server marks it \\Sent")


@pytest.mark.parametrize(
    ("name", "is_sent"),
    [
        ("Sent", True),
        ("INBOX.Sent", True),
        ("INBOX/Gesendete Objekte", True),
        ("sent items", True),
        ("INBOX", False),
        ("Drafts", False),
        ("Sent to Grace", False),
        ("", False),
    ],
)
def test_called_sent(name: str, is_sent: bool) -> None:
    assert called_sent(name) is is_sent
