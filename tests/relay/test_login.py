"""Logging in: whose password it is, how a wrong one is slowed down, and that a right one never is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxyd.config import Account
from proxyd.config.sources import Source
from proxyd.errors import ConfigError, TryLater
from proxyd.relay.login import FIRST_DELAY, FORGIVEN_AFTER, LONGEST_DELAY, REMEMBERED_FOR, Logins
from proxyd.workers import Workers
from tests.clock import ManualClock
from tests.looping import on_the_loop
from tests.relay.house import account, house, plain

ADA = account("ada@example.com")
BOB = account("bob@example.com")


@dataclass
class Secrets:
    """Where client passwords lie; counts how often each is read."""

    values: dict[str, str]
    read: list[str] = field(default_factory=list)

    def __call__(self, source: Source, what: str) -> str:
        self.read.append(what)
        name = what.rpartition(" ")[2]
        if name not in self.values:
            raise ConfigError(f"{what}: no such file")
        return self.values[name]


@dataclass
class Desk:
    clock: ManualClock = field(default_factory=ManualClock)
    secrets: Secrets = field(
        default_factory=lambda: Secrets({ADA.address: "secret of Ada", BOB.address: "Bobs Geheimnüß"})
    )
    workers: Workers = field(default_factory=lambda: Workers(1))
    accounts: dict[str, Account] = field(default_factory=lambda: {ADA.address: ADA, BOB.address: BOB})

    def __post_init__(self) -> None:
        self.logins = Logins(lambda: self.accounts, self.workers, self.clock, self.secrets)

    async def check(self, user: str, password: str) -> tuple[Account | None, float]:
        """(the account, the seconds that the answer took)"""
        began = self.clock.monotonic()
        asked = asyncio.ensure_future(self.logins.check(user.encode(), password.encode(), None))
        asleep = asyncio.ensure_future(self.clock.sleeper())
        await asyncio.wait({asked, asleep}, return_when=asyncio.FIRST_COMPLETED)
        while not asked.done():
            await self.clock.advance(0.25)
        asleep.cancel()
        return asked.result(), self.clock.monotonic() - began


@pytest.mark.parametrize(
    ("user", "password", "who"),
    [
        ("ada@example.com", "secret of Ada", ADA),
        (" Ada@Example.COM ", "secret of Ada", ADA),
        ("bob@example.com", "Bobs Geheimnüß", BOB),
        ("ada@example.com", "Bobs Geheimnüß", None),
        ("ada@example.com", "secret of Ada ", None),
        ("ada@example.com", "", None),
        ("ada", "secret of Ada", None),
        ("", "", None),
        ("eve@example.com", "secret of Ada", None),
    ],
)
@on_the_loop
async def test_whose_login_it_is(user: str, password: str, who: Account | None) -> None:
    found, took = await Desk().check(user, password)
    assert found == who
    assert took == (0.0 if who else FIRST_DELAY)


@on_the_loop
async def test_no_octets_break_it() -> None:
    desk = Desk()
    asked = asyncio.ensure_future(desk.logins.check(b"\xff\xfe\0", b"\xff" * 5000, None))
    await desk.clock.sleeper()
    await desk.clock.advance(LONGEST_DELAY)
    assert await asked is None


@on_the_loop
async def test_each_failure_waits_longer_and_the_right_password_never() -> None:
    desk = Desk()
    waited = [(await desk.check("ada@example.com", "wrong"))[1] for _ in range(7)]
    assert waited == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    assert await desk.check("bob@example.com", "wrong") == (None, 0.5)  # another's failures are not his
    assert await desk.check("ada@example.com", "secret of Ada") == (ADA, 0.0)
    assert await desk.check("ada@example.com", "wrong") == (None, 0.5)


@on_the_loop
async def test_unknown_names_count_together_and_are_forgiven_in_time() -> None:
    desk = Desk()
    assert [(await desk.check(f"x{i}@example.com", "wrong"))[1] for i in range(3)] == [0.5, 1.0, 2.0]
    await desk.clock.advance(FORGIVEN_AFTER + 1)
    assert await desk.check("x@example.com", "wrong") == (None, 0.5)


@on_the_loop
async def test_the_source_is_not_read_for_every_login_but_a_new_password_counts() -> None:
    desk = Desk()
    for _ in range(3):
        assert (await desk.check("ada@example.com", "secret of Ada"))[0] == ADA
    assert len(desk.secrets.read) == 1
    desk.secrets.values["ada@example.com"] = "a new one"
    await desk.check("ada@example.com", "a new one")  # at worst once in vain, then it is read again
    assert (await desk.check("ada@example.com", "a new one"))[0] == ADA
    await desk.clock.advance(REMEMBERED_FOR + 1)
    assert (await desk.check("ada@example.com", "secret of Ada"))[0] is None


@on_the_loop
async def test_a_password_that_cannot_be_read_lets_nobody_in() -> None:
    """And costs no mail client its password: nobody knows that it is wrong."""
    desk = Desk(secrets=Secrets({}))
    for password in ("", "secret of Ada"):
        with pytest.raises(TryLater, match="proxyd doctor"):
            await desk.check("ada@example.com", password)
    assert set(desk.secrets.read) == {"the client password of ada@example.com"}
    assert await desk.check("eve@example.com", "") == (None, 0.5)


@on_the_loop
async def test_three_wrong_passwords_end_the_connection(tmp_path: Path) -> None:
    clock = ManualClock()
    async with house(tmp_path, clock=clock) as here:
        client = await here.connect()
        await client.say("EHLO x", "250")
        for user, acts_for in (
            ("ada@example.com", ""),
            ("nobody@example.com", ""),
            ("ada@example.com", "bob@example.com"),
        ):
            password = "wrong" if not acts_for else "correct horse"
            client.writer.write(f"AUTH PLAIN {plain(user, password, acts_for)}\r\n".encode())
            await clock.sleeper()
            await clock.advance(LONGEST_DELAY)
            assert (await client.hear()).startswith("535 5.7.8 ")
        assert await client.hear() == ""
        client.close()
