"""How long a page of a timeline, of the contacts, of a company and of a search takes among many logged messages and
20,000 contacts.

    python -m tests.bench records [MESSAGES]      default: 100,000

The store is a real one, filled row by row as the journal does it, but in large transactions.
"""

from __future__ import annotations

import argparse
import functools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from proxyd.model import Body, Direction, Kind, MailAddress, Source, State
from proxyd.store import contacts, search, timeline
from proxyd.store.database import Database
from proxyd.web import answers, answers_companies, answers_contacts, answers_search
from proxyd.web.viewer import OWNER, May, Viewer

MESSAGES = 100_000
ACCOUNTS = 10
CONTACTS = 20_000
ROUNDS = 200
IN_ONE_COMMIT = 2_000
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
WORDS = 30_000  # of the language that the messages are written in, the n-th as frequent as 1/n


def fill(database: Database, count: int, chance: random.Random) -> tuple[list[str], list[str]]:
    """Log `count` messages; returns the contacts' addresses, the one with the most messages first, and the words, the
    most frequent first."""
    people = [f"person{n}@customer{n % 3000}.test" for n in range(CONTACTS)]
    language = [f"{chance.choice('bcdfgklmnprstvw')}{chance.choice('aeiou')}{n:x}" for n in range(WORDS)]
    weights = [1 / (n + 1) for n in range(WORDS)]
    with database.writing() as connection:
        for each in people:
            name, _, domain = each.partition("@")
            others = (f"{name}@private.{domain}",) if name.endswith("7") else ()
            contacts.add(connection, contacts.Contact(each, each, name.title(), "", others), BEGAN)
    for start in range(0, count, IN_ONE_COMMIT):
        with database.writing() as connection:
            for n in range(start, min(start + IN_ONE_COMMIT, count)):
                _log(connection, n, chance, people, chance.choices(language, weights, k=80))
    return people, language


def _log(connection: Any, n: int, chance: random.Random, people: list[str], words: list[str]) -> None:
    person = people[min(int(chance.expovariate(1 / 1000)), CONTACTS - 1)]
    account = f"ada{n % ACCOUNTS}@example.test"
    id = f"{n:026d}"
    entry = timeline.Entry(
        id=id,
        account=account,
        message_id=f"m{n}@example.test",
        direction=Direction.OUTGOING,
        kind=Kind.MESSAGE,
        state=State.SENT,
        source=Source.SMTP,
        thread=id,
        in_reply_to="",
        date=BEGAN + timedelta(minutes=n * 5, seconds=chance.random()),
        at=BEGAN,
        from_=MailAddress("Ada", account),
        to=(MailAddress("", person),),
        cc=(),
        bcc=(),
        subject=" ".join(["offer", *words[:5]]),
        contacts=(person,),
        because="a contact",
        content=id,
        people=frozenset({person}),
    )
    timeline.insert(connection, entry)
    text = " ".join(words)
    body = Body(text, text)
    timeline.set_body(connection, id, id, body)
    search.put(connection, id, body)


def measured(ask: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, float]:
    """(p50, p99) in milliseconds."""
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(took, n=100)
    return cuts[49], cuts[98]


def questions(
    database: Database, people: list[str], words: list[str], chance: random.Random
) -> Iterator[tuple[str, Callable[[], Any]]]:
    viewer = Viewer("ada0@example.test", frozenset(f"ada{n}@example.test" for n in range(ACCOUNTS // 2)), May.READ)
    yield "timeline of some contact", lambda: answers.timeline(database, chance.choice(people[:500]), None, 50)
    yield "timeline of the largest", lambda: answers.timeline(database, people[0], None, 50)
    yield "newest messages of all", lambda: answers.timeline(database, None, None, 50)
    yield "newest, as one of a team", lambda: answers.timeline(database, None, None, 50, viewer)
    yield "search: a rare word", lambda: answers_search.found(database, chance.choice(words[5000:9000]), 50)
    yield "search: in every message", lambda: answers_search.found(database, "offer", 50)
    yield "search: two beginnings", lambda: answers_search.found(database, "person1 ba", 50)
    between = "to:person7 after:2024-02 before:2024-09"
    yield "search: to, before, after", lambda: answers_search.found(database, between, 50)
    yield "search: as one of a team", lambda: answers_search.found(database, "to:person3", 50, viewer)
    newest = functools.partial(answers_contacts.listed, newest=True)
    yield "contacts: the newest", lambda: newest(database, "", OWNER, 50)
    yield "contacts: as one of a team", lambda: newest(database, "", viewer, 50)
    middle = answers_contacts.listed(database, "", OWNER, 3000, newest=True)["next"]
    yield "contacts: a page far behind", lambda: newest(database, "", OWNER, 50, middle)
    yield "contacts: by a few letters", lambda: newest(database, "person12", OWNER, 50)
    yield "contacts: by one nobody has", lambda: newest(database, "zebra", OWNER, 50)
    yield "contacts: by address", lambda: answers_contacts.listed(database, "", OWNER, 50)
    company = answers_companies.one(database, "customer7.test")
    assert company is not None
    yield "timeline of a company", lambda: answers.timeline(database, None, None, 50, company=company["id"])
    yield "companies", lambda: answers_companies.listed(database, "", OWNER, 50)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench records", description=__doc__)
    parser.add_argument("messages", nargs="?", type=int, default=MESSAGES)
    count = parser.parse_args().messages
    chance = random.Random(7)
    with tempfile.TemporaryDirectory(prefix="proxyd-bench-") as folder:
        database = Database(Path(folder), bytes(range(32)))
        began = time.perf_counter()
        people, words = fill(database, count, chance)
        size = sum(each.stat().st_size for each in Path(folder).iterdir()) / 1e6
        print(f"{count} messages logged in {time.perf_counter() - began:.0f} s, {size:.0f} MB\n")
        print(f"{'a page of 50':<28}{'p50 ms':>10}{'p99 ms':>10}")
        for name, ask in questions(database, people, words, chance):
            middle, slow = measured(ask)
            print(f"{name:<28}{middle:>10.1f}{slow:>10.1f}", flush=True)
        database.close()
