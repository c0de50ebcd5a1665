"""Finds the servers of an address: asks DNS and the domain itself, and tries what answers.

Why nobody else is asked: a lookup at a third party would tell it whose mailbox is about to be connected.
`rules.discovery` says in which order what was found counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin

import dns.asyncresolver
import dns.exception
import httpx

from proxyd.config import Server, preset
from proxyd.errors import ProxydError
from proxyd.formats import autoconfig_file
from proxyd.provider.imap import Connection
from proxyd.provider.smtp_door import Door, NotReady
from proxyd.provider.smtp_session import Limits
from proxyd.provider.tls import client_context
from proxyd.rules import discovery as rules
from proxyd.rules.discovery import Found, Place, Srv
from proxyd.workers import Workers

DNS_LIMIT = 5.0  # seconds for one question, with every server and repetition
WEB_LIMIT = 5.0  # seconds for one step of fetching a settings file
PROBE_LIMIT = 12.0  # seconds for one server to greet
REDIRECTS = 3
POP_PORT = 995

AUTOCONFIG = (
    "https://autoconfig.{domain}/mail/config-v1.1.xml?emailaddress={address}",
    "https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress={address}",
)


class NothingFound(ProxydError):
    """No server that can be used: the sentence says what was tried."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One server that answers, and why it was taken. `ask`: a person has to agree to it first."""

    place: Place
    because: str
    ask: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """Either a preset's name with its because, or a server for each protocol."""

    preset: str = ""
    because: str = ""
    imap: Choice | None = None
    smtp: Choice | None = None


@dataclass(slots=True)
class Finder:
    """`resolver` answers for DNS, `web` fetches settings files, `ca` is a private authority to trust at the servers."""

    resolver: dns.asyncresolver.Resolver
    web: httpx.AsyncClient
    workers: Workers
    ca: Path | None = None
    told: Callable[[str], None] = lambda line: None
    _failed: list[str] = field(default_factory=list)
    _pop: list[str] = field(default_factory=list)

    async def find(self, address: str, *, imap: bool = True, smtp: bool = True) -> Settled:
        """The first servers that answer; `imap` and `smtp` say which is wanted. Raises NothingFound with what was
        tried, or why POP3 will not do."""
        domain = rules.domain_of(address)
        by_imap: Choice | None = None
        by_smtp: Choice | None = None
        async for found in self._found(address, domain):
            if found.preset:
                return Settled(found.preset, found.because)
            self._pop += found.pop
            if imap and by_imap is None:
                by_imap = await self._first(found, found.imap, self._greets_by_imap, domain)
            if smtp and by_smtp is None:
                by_smtp = await self._first(found, found.smtp, self._greets_by_smtp, domain)
            if (by_imap is not None or not imap) and (by_smtp is not None or not smtp):
                return Settled(imap=by_imap, smtp=by_smtp)
        if imap and by_imap is None and (self._pop or await self._speaks_pop(domain)):
            raise NothingFound(rules.pop_only(domain, self._pop))
        wanted = [("IMAP", imap and by_imap is None), ("SMTP", smtp and by_smtp is None)]
        missing = " and ".join(name for name, missing in wanted if missing)
        tried = "; ".join(self._failed) or "DNS and the domain itself say nothing"
        raise NothingFound(
            f"no server for {missing} was found for {domain}; your provider's help names it: --imap HOST --smtp HOST. "
            f"Tried: {tried}"
        )

    async def _found(self, address: str, domain: str) -> AsyncIterator[Found]:
        """What each way of looking gives, in the order of `rules.discovery`."""
        known = preset.presets()
        name = rules.provider_of_domain(domain, {each: known[each].domains for each in known})
        if name is not None:
            yield Found(f"{domain} is one of its domains", preset=name)
            return
        self.told(f"Asking DNS and {domain} for its mail servers")
        srv, published, mx = await asyncio.gather(self._srv(domain), self._published(address, domain), self._mx(domain))
        yield srv
        yield published
        name = rules.provider_of_mx(mx, {each: known[each].mx for each in known})
        if name is not None:
            yield Found(f"the MX hosts of {domain} are its own ({mx[0]})", preset=name)
        self.told(f"Trying the usual names: imap.{domain}, smtp.{domain}, mail.{domain}")
        yield rules.guesses(domain)

    # --- DNS ---------------------------------------------------------------------------------------------

    async def _srv(self, domain: str) -> Found:
        answers = await asyncio.gather(*(self._ask(f"{service}.{domain}", "SRV") for service in rules.SERVICES))
        records = {
            service: [Srv(each.priority, each.weight, each.port, each.target.to_text()) for each in answer]
            for service, answer in zip(rules.SERVICES, answers, strict=True)
        }
        return rules.of_srv(records)

    async def _mx(self, domain: str) -> list[str]:
        answer = await self._ask(domain, "MX")
        return [each.exchange.to_text().rstrip(".") for each in sorted(answer, key=lambda each: each.preference)]

    async def _ask(self, name: str, kind: str) -> list[Any]:
        try:
            return list(await self.resolver.resolve(f"{name}.", kind, lifetime=DNS_LIMIT))
        except dns.exception.Timeout:
            self._note("DNS does not answer")
        except (dns.exception.DNSException, OSError, ValueError):
            pass  # there is none, or nobody says so
        return []

    # --- the domain's settings file ------------------------------------------------------------------------

    async def _published(self, address: str, domain: str) -> Found:
        urls = [each.format(domain=domain, address=quote(address)) for each in AUTOCONFIG]
        for octets in await asyncio.gather(*(self._fetch(url) for url in urls)):
            servers = autoconfig_file.read(octets, address)
            if servers:
                places = {
                    kind: tuple(
                        Place(each.host, each.port, "implicit" if each.tls == "implicit" else "starttls", each.user)
                        for each in servers
                        if each.kind == kind and each.tls != "none"
                    )
                    for kind in ("imap", "smtp")
                }
                pop = tuple(each.host for each in servers if each.kind == "pop3")
                return Found(f"{domain} says so (autoconfig)", places["imap"], places["smtp"], pop)
        return Found("")

    async def _fetch(self, url: str) -> bytes:
        """What lies there; nothing where it cannot be had over https all the way."""
        for _ in range(REDIRECTS + 1):
            if not url.startswith("https://"):
                return b""
            try:
                async with (
                    asyncio.timeout(2 * WEB_LIMIT),
                    self.web.stream("GET", url, follow_redirects=False) as answer,
                ):
                    if answer.is_redirect:
                        url = urljoin(url, answer.headers["location"])
                        continue
                    if not answer.is_success:
                        return b""
                    octets = bytearray()
                    async for chunk in answer.aiter_bytes(16 * 1024):
                        octets += chunk
                        if len(octets) > autoconfig_file.LIMIT:
                            return b""
                    return bytes(octets)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError):
                return b""
        return b""

    # --- who answers ---------------------------------------------------------------------------------------

    async def _first(
        self, found: Found, places: Sequence[Place], greets: Callable[[Place], Any], domain: str
    ) -> Choice | None:
        """All are tried at once; the first in their order that greets is taken."""
        answers = await asyncio.gather(*(greets(place) for place in places))
        for place, well in zip(places, answers, strict=True):
            if well:
                return Choice(place, found.because, rules.must_be_asked(found, place, domain))
        return None

    async def _greets_by_imap(self, place: Place) -> bool:
        def greet() -> None:
            Connection.open(place.host, place.port, place.tls, self._context("imap")).close()

        try:
            async with asyncio.timeout(PROBE_LIMIT):
                await self.workers.run(greet)
        except ProxydError as error:
            self._note(str(error))
            return False
        except TimeoutError:
            self._note(f"{place}: no answer in time")
            return False
        return True

    async def _greets_by_smtp(self, place: Place) -> bool:
        async def nothing() -> str:
            raise AssertionError("nobody signs in here")

        limits = Limits(connect=PROBE_LIMIT, reply=PROBE_LIMIT)
        server = Server(host=place.host, port=place.port, tls=place.tls)
        try:
            await Door(server, "", nothing, self._context("smtp"), "[127.0.0.1]", limits).look()
        except NotReady as error:
            self._note(error.why)
            return False
        return True

    async def _speaks_pop(self, domain: str) -> bool:
        hosts = (f"pop.{domain}", f"pop3.{domain}", f"mail.{domain}")
        answers = await asyncio.gather(*(self._greets_by_pop(host) for host in hosts))
        self._pop += [host for host, well in zip(hosts, answers, strict=True) if well]
        return any(answers)

    async def _greets_by_pop(self, host: str) -> bool:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(PROBE_LIMIT):
                reader, writer = await asyncio.open_connection(host, POP_PORT, ssl=self._context("pop"))
                try:
                    return (await reader.readuntil(b"\n")).startswith(b"+OK")
                finally:
                    writer.close()
        return False

    def _context(self, role: str) -> ssl.SSLContext:
        return client_context(role, self.ca)

    def _note(self, why: str) -> None:
        if why not in self._failed:
            self._failed.append(why)


def finder(
    workers: Workers, ca: Path | None, nameserver: tuple[str, int] | None, told: Callable[[str], None]
) -> Finder:
    """As commands use it. `nameserver` is asked in the place of this machine's."""
    try:
        resolver = dns.asyncresolver.Resolver(configure=nameserver is None)
    except dns.exception.DNSException:
        resolver = dns.asyncresolver.Resolver(configure=False)  # no /etc/resolv.conf: every question goes unanswered
    if nameserver is not None:
        resolver.nameservers, resolver.port = [nameserver[0]], nameserver[1]
    web = httpx.AsyncClient(verify=client_context("web", ca), timeout=WEB_LIMIT)
    return Finder(resolver, web, workers, ca, told)
