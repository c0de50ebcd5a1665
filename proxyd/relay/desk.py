"""What all SMTP connections have in common: who may sign in, where messages go, how many connections there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from proxyd.config import Account
from proxyd.formats.smtp_client import Offer
from proxyd.journal import Journal
from proxyd.relay.login import Logins
from proxyd.relay.submission import Provider, Submissions
from proxyd.workers import Clock, Workers

CONNECTIONS = 100  # at a time, all listeners together


class Connection(Protocol):
    def dismiss(self) -> None: ...


class Desk:
    """`accounts`: as configured now, by address in lower case; `providers`: an account's Submitter by that address."""

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        journal: Journal,
        providers: Callable[[str], Provider],
        logins: Logins,
        clock: Clock,
    ) -> None:
        self.accounts = accounts
        self.journal = journal
        self.logins = logins
        self.clock = clock
        self.workers = Workers(1)  # for header sections of unusual size; its thread starts with the first of them
        self.submissions = Submissions(journal, providers, clock)
        self._providers = providers
        self._connections: set[Connection] = set()
        self._busy: set[Connection] = set()

    def came(self, connection: Connection) -> None:
        self._connections.add(connection)

    def went(self, connection: Connection) -> None:
        self._connections.discard(connection)

    @property
    def is_crowded(self) -> bool:
        return len(self._connections) > CONNECTIONS

    @contextmanager
    def busy(self, connection: Connection) -> Iterator[None]:
        """While a message is on its way, `dismiss` leaves the connection alone."""
        self._busy.add(connection)
        try:
            yield
        finally:
            self._busy.discard(connection)

    def is_busy(self, connection: Connection) -> bool:
        return connection in self._busy

    def offers(self, address: str) -> list[Offer | None]:
        """What the account's provider offers; before anybody signed in, what each of them does."""
        accounts = self.accounts()
        return [self._providers(name).offer for name in accounts if not address or name == address]

    def warm_up(self, address: str = "") -> None:
        """Have the provider's connection opened while the client still talks. Before it signed in we know who it is
        where there is one account only."""
        names = [address] if address else list(self.accounts())
        if len(names) == 1:
            self._providers(names[0]).warm()

    def dismiss_all(self) -> None:
        for connection in list(self._connections):
            connection.dismiss()
