"""Which servers may an address's mail be on? What was found, in the order in which it is to be tried.

1. The address's domain is one of a known provider's.
2. DNS names the servers: SRV records (RFC 6186), TLS from the first byte before STARTTLS (RFC 8314).
3. The domain publishes a settings file in Mozilla's format.
4. The domain's MX hosts are a known provider's.
5. The names that providers like: `imap.`, `mail.` and `smtp.` before the domain, then the domain itself.

IMAP and SMTP are settled each for itself by the first of these that names a server that answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Tls = Literal["implicit", "starttls"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server may be. `user` is the sign-in name where somebody says it, else ""."""

    host: str
    port: int
    tls: Tls
    user: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Found:
    """What one way of looking gave. `pop` are POP3 servers, which cannot be used. `sure`: nobody but the provider or
    the domain's owner can have said so; else a host outside the domain is asked about before it gets a password."""

    because: str
    imap: tuple[Place, ...] = ()
    smtp: tuple[Place, ...] = ()
    pop: tuple[str, ...] = ()
    preset: str = ""
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Srv:
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


IMAP_SERVICES: tuple[tuple[str, Tls], ...] = (("_imaps._tcp", "implicit"), ("_imap._tcp", "starttls"))
SMTP_SERVICES: tuple[tuple[str, Tls], ...] = (("_submissions._tcp", "implicit"), ("_submission._tcp", "starttls"))
POP_SERVICES = ("_pop3s._tcp", "_pop3._tcp")
SERVICES = (*(name for name, _ in (*IMAP_SERVICES, *SMTP_SERVICES)), *POP_SERVICES)


def domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower().rstrip(".")


def provider_of_domain(domain: str, domains: Mapping[str, Sequence[str]]) -> str | None:
    """The preset whose own addresses are in `domain`; `domains` of each preset."""
    return next((name for name, own in domains.items() if domain in own), None)


def provider_of_mx(hosts: Iterable[str], endings: Mapping[str, Sequence[str]]) -> str | None:
    """The preset that these MX hosts belong to, the best host first; of several endings that fit, the longest."""
    for host in hosts:
        fitting = [
            (len(ending), name)
            for name, each in endings.items()
            for ending in each
            if is_below(host.lower().rstrip("."), ending)
        ]
        if fitting:
            return max(fitting)[1]
    return None


def is_below(host: str, domain: str) -> bool:
    """Whether `host` is the domain, or a name in it."""
    host, domain = host.lower().rstrip("."), domain.lower().rstrip(".")
    return host == domain or host.endswith(f".{domain}")


def of_srv(records: Mapping[str, Sequence[Srv]]) -> Found:
    """`records` by service. A target of "." says that there is no such service (RFC 6186 section 3.4)."""

    def places(services: Iterable[tuple[str, Tls]]) -> tuple[Place, ...]:
        return tuple(
            Place(target, record.port, tls)
            for service, tls in services
            for record in sorted(records.get(service, ()), key=lambda each: (each.priority, -each.weight))
            if (target := record.target.rstrip("."))
        )

    pop = tuple(
        record.target.rstrip(".")
        for service in POP_SERVICES
        for record in records.get(service, ())
        if record.target != "."
    )
    return Found("DNS names it (SRV)", places(IMAP_SERVICES), places(SMTP_SERVICES), pop, sure=False)


def guesses(domain: str) -> Found:
    """What is worth a try where nobody says anything."""
    imap_hosts = [f"imap.{domain}", f"mail.{domain}", domain]
    smtp_hosts = [f"smtp.{domain}", f"mail.{domain}", domain]
    return Found(
        "a guess that answers",
        tuple(Place(host, port, tls) for port, tls in _IMAP_PORTS for host in imap_hosts),
        tuple(Place(host, port, tls) for port, tls in _SMTP_PORTS for host in smtp_hosts),
    )


_IMAP_PORTS: tuple[tuple[int, Tls], ...] = ((993, "implicit"), (143, "starttls"))
_SMTP_PORTS: tuple[tuple[int, Tls], ...] = ((465, "implicit"), (587, "starttls"))


def must_be_asked(found: Found, place: Place, domain: str) -> bool:
    """Whether a person has to agree before this host gets the password (RFC 6186 section 6): DNS can be forged."""
    return not found.sure and not is_below(place.host, domain)


def pop_only(domain: str, pop: Sequence[str]) -> str:
    """The sentence for a mailbox that is offered by POP3 alone."""
    where = f" ({', '.join(dict.fromkeys(pop))})" if pop else ""
    return (
        f"{domain} offers this mailbox by POP3 only{where}, as far as can be seen. proxyd needs IMAP: POP3 knows no "
        "folders, so neither the Sent copy nor a reply could be looked after. Most providers have IMAP too: switch it "
        "on in the settings of the web mail, find the names in the provider's help, and type: --imap HOST --smtp HOST"
    )
