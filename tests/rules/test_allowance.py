"""Who may have how many connections: tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from proxyd.rules.allowance import BELIEVED, Learned, learn, learned_of, limit, says_too_many

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
WORDS = "[LIMIT] Too many simultaneous connections"


@pytest.mark.parametrize(
    ("cap", "learned", "clients", "takes", "watcher", "told"),
    [
        pytest.param(15, None, 0, True, 2, "all the time", id="nobody else"),
        pytest.param(15, None, 11, True, 2, "all the time", id="room for all"),
        pytest.param(15, None, 12, True, 1, "by one connection: 12 client connections", id="one gives way"),
        pytest.param(15, None, 13, False, 0, "paused, but for a look every few minutes: 13 client connections", id="2"),
        pytest.param(15, None, 14, False, 0, "paused, but for a look every few minutes: 14 client connections", id="3"),
        pytest.param(5, None, 2, True, 1, "by one connection: 2 client connections", id="a small cap"),
        pytest.param(3, None, 0, True, 1, "by one connection: 0 client connections", id="one place for all"),
        pytest.param(1, None, 0, True, 1, "by one connection: 0 client connections", id="a cap that leaves none free"),
        pytest.param(1, None, 1, False, 0, "paused, but for a look every few minutes: 1 client connection", id="taken"),
        pytest.param(
            15,
            Learned(4, SOON, WORDS),
            3,
            True,
            1,
            f"by one connection: 3 client connections, the provider allows 4 for now: {WORDS}",
            id="learned: nothing more is kept free",
        ),
        pytest.param(15, Learned(4, SOON, WORDS), 1, True, 2, "all the time", id="learned, and enough for all"),
        pytest.param(15, Learned(4, NOW, WORDS), 11, True, 2, "all the time", id="learned, and forgotten"),
        pytest.param(5, Learned(4, SOON, WORDS), 2, True, 1, "by one connection: 2 client connections", id="no news"),
    ],
)
def test_who_gets_them(cap: int, learned: Learned | None, clients: int, takes: bool, watcher: int, told: str) -> None:
    holds = limit(cap, learned, NOW)
    assert (holds.takes_client(clients), holds.watcher(clients), holds.told(clients)) == (takes, watcher, told)


@pytest.mark.parametrize("cap", range(1, 30))
def test_never_more_than_the_cap_and_clients_first(cap: int) -> None:
    holds = limit(cap, None, NOW)
    assert holds.takes_client(0)
    for clients in range(holds.ours + 1):
        assert clients + holds.watcher(clients) <= max(cap - 2, 1)
        assert holds.takes_client(clients) is (clients < holds.ours)


@pytest.mark.parametrize(
    ("said", "too_many"),
    [
        ("[ALERT] Too many simultaneous connections. (Failure)", True),
        ("[UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=1)", True),
        ("Maximum connection limit reached from IP", True),
        ("[LIMIT] no", True),
        ("[INUSE] try again", True),
        ("421 4.7.0 too busy", True),
        ("Too many open IMAP sessions", True),
        ("[AUTHENTICATIONFAILED] Too many login failures", False),
        ("Too many bad auth attempts", False),
        ("[THROTTLED] Slow down", False),
        ("localhost:421: the connection was refused", False),
        ("", False),
    ],
)
def test_what_a_server_says(said: str, too_many: bool) -> None:
    assert says_too_many(said) is too_many


@pytest.mark.parametrize(("standing", "allowed"), [(0, 1), (1, 1), (7, 7)])
def test_learned_and_remembered(standing: int, allowed: int) -> None:
    learned = learn(standing, NOW, WORDS)
    assert learned == Learned(allowed, NOW + BELIEVED, WORDS)
    assert learned_of(learned.fact) == learned


@pytest.mark.parametrize("fact", [None, "", "4", "four 2026", "4 tomorrow words"])
def test_what_cannot_be_read_was_not_learned(fact: str | None) -> None:
    assert learned_of(fact) is None
