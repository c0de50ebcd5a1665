"""Tokens made, listed and revoked; and who a request's token belongs to.

All are held in memory as well, by their keyed hashes: a request is then known by its header, before one octet of its
body is taken. The daemon is the only writer while it runs; a command writes without one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime

from proxyd.config import Account
from proxyd.store import tokens as rows
from proxyd.store.database import Database
from proxyd.store.timeline import timestamp
from proxyd.store.tokens import Token
from proxyd.web.answers import Document, Unacceptable
from proxyd.web.viewer import May, Viewer, viewer_of

PREFIX = "proxyd_"  # by which a token that was published somewhere is found
LONGEST = 200  # characters of what is looked up


def every(database: Database) -> Document:
    with database.reading() as connection:
        return {"tokens": [_document(each) for each in rows.every(connection)]}


def make(database: Database, name: str, person: str | None, may: str, now: datetime) -> Document:
    """`token` in the answer is told this once. Raises Unacceptable where the name is taken."""
    secret = PREFIX + secrets.token_urlsafe(32)
    made = Token(name, database.hash_id(secret), person.strip().lower() if person else None, may, now)
    with database.writing() as connection:
        if not rows.add(connection, made):
            raise Unacceptable(f"there is a token named {name!r} already; revoke it first, or take another name")
    return _document(made) | {"token": secret}


def revoke(database: Database, name: str) -> bool:
    with database.writing() as connection:
        return rows.revoke(connection, name)


def _document(token: Token) -> Document:
    return {"name": token.name, "person": token.person, "may": token.may, "made": timestamp(token.at)}


class Tokens:
    """Whom tokens belong to. `accounts` gives the accounts as they are configured now."""

    def __init__(self, database: Database, accounts: Callable[[], Mapping[str, Account]]) -> None:
        self._database = database
        self._accounts = accounts
        self._known: dict[str, Token] = {}

    def load(self) -> None:
        """Read anew. Blocks."""
        with self._database.reading() as connection:
            self._known = {each.digest: each for each in rows.every(connection)}

    def viewer(self, secret: str) -> Viewer | None:
        """None for what is no token, and for one whose person's account is configured no longer."""
        if not secret.startswith(PREFIX) or len(secret) > LONGEST:
            return None
        token = self._known.get(self._database.hash_id(secret))
        accounts = self._accounts()
        if token is None or (token.person is not None and token.person not in accounts):
            return None
        return viewer_of(token.person, May(token.may), accounts)
