"""What a server tells by itself: other folders (NOTIFY), marks, and that it lost count; in IDLE and beside answers."""

from __future__ import annotations

import select
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from proxyd.provider.imap import Connection, Status
from proxyd.provider.imap_told import bears_mark
from tests.provider.scripted_imap import EXAMINE, GREETING, ScriptedImap

SIGN_IN = (
    "C: CAPABILITY\nS: * CAPABILITY IMAP4rev1 IDLE AUTH=PLAIN SASL-IR\nS: %T OK done\n"
    "C: AUTHENTICATE PLAIN\nS: %T OK [CAPABILITY IMAP4rev1 IDLE NOTIFY LIST-STATUS SPECIAL-USE NAMESPACE] in\n"
)
NOTIFY = "C: NOTIFY SET (SELECTED-DELAYED (\nS: %T OK done\n"
IDLE = "C: IDLE\nS: + idling\npause\n"
DONE = "C: DONE\nS: %T OK done"


@contextmanager
def told(script: str) -> Iterator[tuple[ScriptedImap, Connection]]:
    with ScriptedImap(GREETING + SIGN_IN + script) as server:
        connection = Connection.open("127.0.0.1", server.port, "none", ssl.create_default_context())
        connection.sign_in("a", "b")
        yield server, connection
        connection.close()


def heard(connection: Connection) -> bool:
    """Whether what comes next wakes."""
    assert select.select([connection.fileno()], [], [], 10)[0]
    return connection.parked_news()


ROWS = [
    ("mail elsewhere", "S: * STATUS Customers (MESSAGES 3 UIDNEXT 9)", True, {"Customers": Status(0, 9, 3)}),
    ("as a quoted string", 'S: * STATUS "Cust&AOQ-" (UIDNEXT 9)', True, {"Custä": Status(0, 9, 0)}),
    ("as a literal", 'S: * STATUS {4}\nS: a"\\b (UIDNEXT 9)', True, {'a"\\b': Status(0, 9, 0)}),
    ("flags elsewhere", "S: * STATUS Customers (HIGHESTMODSEQ 7)", True, {"Customers": Status(0, 0, 0, 7)}),
    ("a folder that we do not heed", "S: * STATUS Trash (MESSAGES 3 UIDNEXT 9)", False, {"Trash": Status(0, 9, 3)}),
    (
        "two of one folder",
        "S: * STATUS A (UIDNEXT 9)\nS: * STATUS A (HIGHESTMODSEQ 7)",
        True,
        {"A": Status(0, 9, 0, 7)},
    ),
]


@pytest.mark.parametrize(("line", "wakes", "folders"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_other_folders_in_idle(line: str, wakes: bool, folders: dict[str, Status]) -> None:
    with told(EXAMINE + NOTIFY + IDLE + line + "\n" + DONE) as (server, connection):
        connection.examine("INBOX")
        assert connection.notify(None, flags=True)
        connection.heeds = frozenset({"Customers", "Custä", 'a"\\b', "A"})
        assert not connection.idle()
        server.go()
        assert heard(connection) is wakes
        connection.idle_done()
        assert not connection.take_news(), "the open folder has not grown"
        assert connection.take_told().folders == folders
        assert not connection.take_told()


@pytest.mark.parametrize(
    "line",
    [
        'S: * LIST () "/" New',
        "S: * OK [NOTIFICATIONOVERFLOW] too much",
        "S: * STATUS odd (UIDNEXT)",
    ],
)
def test_where_it_loses_count_everything_is_looked_at(line: str) -> None:
    with told(EXAMINE + NOTIFY + IDLE + line + "\n" + DONE) as (server, connection):
        connection.examine("INBOX")
        connection.notify(None, flags=False)
        assert not connection.idle()
        server.go()
        assert heard(connection)
        connection.idle_done()
        assert connection.take_told().listed
        assert connection.notifying is ("OVERFLOW" not in line)


def test_a_mark_in_the_open_folder() -> None:
    script = EXAMINE + IDLE + "S: * 2 FETCH (FLAGS (\\Seen))\npause\nS: * 2 FETCH (FLAGS (\\Seen $crmlog))\n" + DONE
    with told(script) as (server, connection):
        connection.examine("INBOX")
        assert not connection.idle()
        server.go()
        assert not heard(connection), "somebody has read it: that wakes nobody"
        server.go()
        assert heard(connection)
        connection.idle_done()
        assert connection.take_told().marked


def test_what_is_told_beside_an_answer_is_not_taken_for_it() -> None:
    status = (
        "C: STATUS\nS: * STATUS Other (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3)\n"
        "S: * STATUS INBOX (MESSAGES 4 UIDNEXT 5 UIDVALIDITY 6)\nS: * STATUS Third (UIDNEXT 7)\nS: %T OK done\n"
    )
    with told(EXAMINE + NOTIFY + status) as (_, connection):
        connection.examine("INBOX")
        connection.notify(None, flags=False)
        assert connection.status("INBOX") == Status(6, 5, 4)
        assert set(connection.take_told().folders) == {"Other", "Third"}


def test_a_server_that_does_not_want_to() -> None:
    with told(EXAMINE + "C: NOTIFY\nS: %T NO not by this storage\n") as (_, connection):
        connection.examine("INBOX")
        assert not connection.notify(["A b"], flags=False)
        assert not connection.notifying


def test_other_peoples_folders_are_known_by_their_prefix() -> None:
    answer = 'C: NAMESPACE\nS: * NAMESPACE (("" "/")) (("user/" "/")) (("#shared." ".")("" "/"))\nS: %T OK done\n'
    with told(answer) as (_, connection):
        assert connection.others_prefixes() == ("user/", "#shared.")


def test_fields_in_every_form_that_the_grammar_allows() -> None:
    lines = EXAMINE + (
        'C: UID FETCH 1:3,9\nS: * 1 FETCH (UID 1 BODY[HEADER.FIELDS (MESSAGE-ID)] "A: b")\n'
        "S: * 2 FETCH (BODY[HEADER.FIELDS (MESSAGE-ID)] {8}\nS: A: c\nS: \nS:  UID 2)\nS: %T OK done\n"
    )
    with told(lines) as (_, connection):
        connection.examine("INBOX")
        found = connection.fields([1, 2, 3, 9], ["MESSAGE-ID"])
        assert found == {1: b"A: b", 2: b"A: c\r\n\r\n"}


def test_bears_mark() -> None:
    assert bears_mark(b"* 1 FETCH (FLAGS ($CRMLog))")
    assert not bears_mark(b"* 1 FETCH (FLAGS ($CRMLog $CRMLogged))")
    assert not bears_mark(b"* 1 FETCH (FLAGS (CRMLog))")
    assert not bears_mark(b"* 1 FETCH (UID 3)")
