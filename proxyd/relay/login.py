"""Which account a mail client logs in to, by the password that was made for the client; the same for SMTP and IMAP.

Why this way: on a machine that others use too, loopback is no wall, so the password decides, and whose program it is
(`allow_uids`). The password is compared in constant time, for unknown names as well. A wrong one is answered late, and
later each time; a right one is never made to wait, so that nobody can lock a person out by guessing. A user who may not
use the account is answered as if the password were wrong, and cannot tell by any of it whether it is. Where the
password cannot be read (its keyring is locked, its file is gone) nobody knows whether the client's is right: it is told
to try later, for what hears "wrong" asks its person for another.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from proxyd.config import Account, read_secret
from proxyd.config.sources import Source
from proxyd.errors import ConfigError, TryLater
from proxyd.relay.peer import Admission, Ends, known_at_once, user_at
from proxyd.workers import Clock, Workers

FIRST_DELAY = 0.5  # seconds that the first wrong password waits for its answer; doubled for each that follows
LONGEST_DELAY = 8.0
FORGIVEN_AFTER = 600.0  # seconds without a failure
REMEMBERED_FOR = 30.0  # seconds that a secret, once read, is compared with before it is read again
_UNKNOWN = ""  # all unknown names fail as one, so that guessing names does not fill the memory

log = structlog.get_logger()


@dataclass(slots=True)
class _Failures:
    count: int
    last: float  # monotonic


class Logins:
    """`accounts` gives the accounts as they are configured now, by address in lower case.

    `admission`: who of the machine's users may log in; the daemon's own, where it is not given.
    """

    def __init__(
        self,
        accounts: Callable[[], Mapping[str, Account]],
        workers: Workers,
        clock: Clock,
        read: Callable[[Source, str], str] = read_secret,
        admission: Admission | None = None,
    ) -> None:
        self._accounts = accounts
        self._workers = workers
        self._clock = clock
        self._read = read
        self._admission = admission or Admission()
        self._key = secrets.token_bytes(32)  # secrets are kept as keyed hashes, so that a memory image tells none
        self._digests: dict[str, tuple[Source, float, bytes]] = {}
        self._nobody = self._digest(secrets.token_bytes(32))
        self._failures: dict[str, _Failures] = {}

    async def check(self, user: bytes, password: bytes, ends: Ends | None) -> Account | None:
        """The account, or None; None comes after the delay that wrong passwords earned. Raises TryLater where the
        password that is right cannot be read.

        `ends`: of the client's connection; None where it has none to be known by, and the user is not known then.
        """
        name = user.decode("utf-8", "replace").strip().lower()
        account = self._accounts().get(name)
        wanted = await self._wanted(account)
        right = hmac.compare_digest(self._digest(password), wanted or self._nobody)
        if account is None:
            await self._fail(_UNKNOWN, "client login refused")
            return None
        uid, kept_out = await self._kept_out(account, ends)
        if right and not kept_out:
            self._failures.pop(account.address, None)
            return account
        if kept_out:
            event = "client login by a user who may not use this account"
            await self._fail(account.address, event, uid=uid, why=kept_out)
        elif wanted is None:
            raise TryLater("The password to log in with cannot be read at the moment (proxyd doctor)")
        else:
            await self._fail(account.address, "client login refused")
        return None

    async def _kept_out(self, account: Account, ends: Ends | None) -> tuple[int | None, str]:
        """(the user where that matters and is known, why this user may not use the account or nothing)"""
        if not self._admission.asks(account.allow_uids):
            return None, ""
        uid = known_at_once(ends) if ends is not None else None
        if uid is None and ends is not None:
            uid = await self._workers.run(user_at, ends)
        return uid, self._admission.refusal(account.allow_uids, uid)

    def _digest(self, secret: bytes) -> bytes:
        return hmac.new(self._key, secret, hashlib.sha256).digest()

    async def _wanted(self, account: Account | None) -> bytes | None:
        """The digest of the account's client password, None where that cannot be read; of something that nobody can
        know where there is no account."""
        if account is None:
            return self._nobody
        source = account.client.password
        known = self._digests.get(account.address)
        if known is not None and known[0] == source and self._clock.monotonic() < known[1]:
            return known[2]
        what = f"the client password of {account.address}"
        try:
            secret = await self._workers.run(self._read, source, what)
        except ConfigError as error:
            log.error("client password not readable", account=account.address, error=str(error))
            return None
        digest = self._digest(secret.encode())
        self._digests[account.address] = (source, self._clock.monotonic() + REMEMBERED_FOR, digest)
        return digest

    async def _fail(self, name: str, event: str, **facts: object) -> None:
        now = self._clock.monotonic()
        failures = self._failures.get(name)
        if failures is None or now - failures.last > FORGIVEN_AFTER:
            failures = self._failures[name] = _Failures(0, now)
        failures.count += 1
        failures.last = now
        self._digests.pop(name, None)  # the password may have been replaced a moment ago: the next try reads it
        log.warning(event, account=name or "unknown", failures=failures.count, **facts)
        await self._clock.sleep(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures.count - 1, 10)))
