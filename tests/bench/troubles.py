"""`python -m tests.bench troubles [WORD…]`: what goes wrong between a person and their provider, against the clock.

Each trouble is brought about twice on real servers, with the settings that everybody has: once while every connection
stands (then clients come: one to read, one to send), once with the connections ending at that moment and nobody there.
Measured from the moment of the trouble until `status` shows it, and from the command of the cure until all is well.
Mail is sent before, during and after; each mail is counted where it went. `WORD`: only troubles whose name has it.
"""

from __future__ import annotations

import argparse
import contextlib
import imaplib
import logging
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from time import monotonic
from typing import Any

from tests.scenarios.rig import CLIENT_PASSWORD, PATIENCE, Rig, letter, message_id
from tests.servers.mailprovider import COLLEAGUE, CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.oauth_server import OAuthServer, by_oauth, passdb
from tests.servers.processes import open_folder
from tests.servers.resolver import Resolver
from tests.servers.slumber import Slumber
from tests.servers.tls import HERE, ThrowAwayCa
from tests.servers.waiting import eventually

LISTEN = 'listen: {smtp: off, smtps: "127.0.0.1:0", imap: off, imaps: "127.0.0.1:0", web: off}\n'
HOST = "mail.example.test"
SHOWN = 240.0  # seconds that a state is waited for
WELL = 420.0  # seconds until all is well again: some things are looked at every five minutes only
CLIENTS_COME = 20.0  # seconds between two visits of a mail client
CERTIFICATE_LASTS = 30.0  # seconds, for one that ends while connections stand
DAY = 86400
LET_IN = "taken: the connection to the provider stands"
NEW_PASSWORD = "a new one, from the provider's page"


class Machine(Rig):
    """Whose commands ask the same name server as the daemon."""

    def run(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        words = [*self.before, sys.executable, "-m", "proxyd", *arguments]
        limit = 4 * PATIENCE
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, timeout=limit, input=input or ""
        )


@dataclass
class Place:
    """Ada, who has a password; Charles, who signs in by OAuth2; their provider, and their machine."""

    rig: Machine
    resolver: Resolver
    clock: Slumber
    server: OAuthServer
    passwords: list[str] = field(default_factory=lambda: [NEW_PASSWORD, PASSWORD])

    def cut(self) -> None:
        """The provider ends every session."""
        self.rig.provider.stop()
        self.rig.provider.start()

    def state(self, who: str) -> dict[str, Any]:
        found: dict[str, Any] = next(each for each in self.rig.status()["accounts"] if each["address"] == who)
        return found

    # --- what happens

    def certificate(self, ends: timedelta | None = None) -> None:
        """The provider shows another one, from a restart on."""
        valid = {"ends": ends} if ends else {}
        self.rig.provider.dovecot.leaf = self.rig.provider.ca.issue("shown", (*HERE, HOST), **valid)
        self.cut()

    def certificate_ends(self) -> None:
        """It was shown to the connections that stand, and is over now."""
        threading.Event().wait(max(0.0, self.ends_at - monotonic()))

    def certificate_that_will_end(self) -> None:
        self.ends_at = monotonic() + CERTIFICATE_LASTS
        self.certificate(timedelta(seconds=CERTIFICATE_LASTS))

    def password_changes(self) -> None:
        self.rig.provider.dovecot.set_password(PERSON, self.passwords[0])

    def clock_is_wrong(self, days: int) -> None:
        eventually(lambda: self.clock_was_set() % 2 == 0, "the right clock to be seen")
        self.clock.set_clock(days * DAY)

    def clock_was_set(self) -> int:
        """How often the daemon has seen it."""
        return self.rig.log.read_text().count("the clock was set")

    def sign_in_server_hangs(self) -> None:
        """And the access token has just ended."""
        self.server.may_answer.clear()
        for token in self.server.tokens:
            token.expires_at = 0.0

    def sign_in_server_is_unwell(self) -> None:
        self.server.answers_with = 500, "{}"
        for token in self.server.tokens:
            token.expires_at = 0.0

    def provider_hangs(self, by: signal.Signals = signal.SIGSTOP) -> None:
        """It takes connections, and says nothing."""
        for server in (self.rig.provider.dovecot, self.rig.provider.postfix):
            server.process.signal_group(by)

    # --- and what cures it

    def nothing(self) -> None:
        pass

    def clock_is_right(self) -> None:
        """The clock is looked at every five seconds: one that was wrong for less was never wrong."""
        eventually(lambda: self.clock_was_set() % 2, "the wrong clock to be seen")
        self.clock.set_clock(0)

    def name_server_is_back(self) -> None:
        self.resolver.stop()
        self.resolver.start()


@dataclass(frozen=True)
class Trouble:
    """`state` is to show within `aim` seconds of `begin`; then comes `end`, and the command that `status` names.
    `standing`: it is played while connections stand; `ends`: and as they end; `away`: the provider's servers do not
    answer meanwhile."""

    begin: Callable[[Place], None]
    state: str
    aim: float
    end: Callable[[Place], None] = Place.nothing
    who: str = PERSON
    before: Callable[[Place], None] = Place.nothing
    standing: bool = True
    ends: bool = True
    away: bool = False


TROUBLES = {
    "the provider is down": Trouble(
        lambda place: place.rig.provider.stop(),
        "unreachable",
        30,
        lambda place: place.rig.provider.start(),
        standing=False,
        away=True,
    ),
    "the provider hangs": Trouble(
        Place.provider_hangs,
        "unreachable",
        30,
        lambda place: place.provider_hangs(signal.SIGCONT),
        ends=False,
        away=True,
    ),
    "the password was changed at the provider": Trouble(Place.password_changes, "password_refused", 180),
    "the grant was revoked": Trouble(lambda place: place.server.revoke(), "access_revoked", 60, who=COLLEAGUE),
    "the name is not known any more": Trouble(
        lambda place: place.resolver.forget(), "unreachable", 30, Place.name_server_is_back
    ),
    "the name server does not answer": Trouble(
        lambda place: place.resolver.fall_silent(), "unreachable", 30, Place.name_server_is_back
    ),
    "the certificate has expired": Trouble(
        Place.certificate_ends, "misconfigured", 30, Place.certificate, before=Place.certificate_that_will_end
    ),
    "the clock is behind": Trouble(lambda place: place.clock_is_wrong(-40), "misconfigured", 30, Place.clock_is_right),
    "the clock is ahead": Trouble(lambda place: place.clock_is_wrong(4000), "misconfigured", 30, Place.clock_is_right),
    "the sign-in server does not answer": Trouble(
        Place.sign_in_server_hangs,
        "unreachable",
        60,
        lambda place: place.server.may_answer.set(),
        who=COLLEAGUE,
    ),
    "the sign-in server is unwell": Trouble(
        Place.sign_in_server_is_unwell,
        "unreachable",
        60,
        lambda place: setattr(place.server, "answers_with", None),
        who=COLLEAGUE,
    ),
}


# --- the two mail clients ---------------------------------------------------------------------------------------


def sends(rig: Rig, who: str, mail: EmailMessage) -> str:
    """What a client hears that is refused; "" where the mail was taken."""
    try:
        rig.send(mail, sender=who, user=who)
    except smtplib.SMTPRecipientsRefused as error:
        code, text = next(iter(error.recipients.values()))
        return f"{code} {text.decode()}"
    except smtplib.SMTPResponseException as error:
        return f"{error.smtp_code} {bytes(error.smtp_error).decode()}"
    return ""


def reads(rig: Rig, who: str) -> str:
    """The same of a client that wants to read."""
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    with imaplib.IMAP4_SSL("localhost", rig.port("imaps"), ssl_context=trust, timeout=2 * PATIENCE) as client:
        try:
            client.login(who, CLIENT_PASSWORD)
        except imaplib.IMAP4.error as error:
            return bytes(error.args[0]).decode()
    return ""


# --- one trouble ------------------------------------------------------------------------------------------------


@dataclass
class Mails:
    """What `who` sends, and what a customer answers meanwhile."""

    place: Place
    who: str
    taken: list[EmailMessage] = field(default_factory=list)
    refused: list[EmailMessage] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    def send(self) -> str:
        mail = letter(sender=self.who)
        heard = sends(self.place.rig, self.who, mail)
        (self.refused if heard else self.taken).append(mail)
        return heard

    def answer(self) -> None:
        answer = letter("Re: Offer", sender=CUSTOMER, to=self.who)
        answer["In-Reply-To"] = message_id(self.taken[0])
        self.place.rig.provider.dovecot.deliver(self.who, answer.as_bytes(), CUSTOMER)
        self.answers.append(message_id(answer))

    def send_again(self) -> None:
        """What a mail client does with what stayed in its outbox."""
        for mail in self.refused:
            heard = sends(self.place.rig, self.who, mail)
            assert not heard, f"all is well, and the client hears: {heard}"

    def counted(self) -> str:
        """Each at the customer's, in Sent and in the log: once."""
        rig, dovecot = self.place.rig, self.place.rig.provider.dovecot
        every = [message_id(each) for each in (*self.taken, *self.refused)]

        def counts() -> dict[str, list[int]]:
            inbox = [each.octets for each in dovecot.messages(CUSTOMER)]
            sent = [each.octets for each in dovecot.messages(self.who, "Sent")]
            logged = [each["message_id"] for each in rig.timeline()]
            found = {
                id: [sum(id.encode() in octets for octets in where) for where in (inbox, sent)] + [logged.count(id)]
                for id in every
            }
            return found | {id: [1, 1, logged.count(id)] for id in self.answers}

        with contextlib.suppress(AssertionError):
            eventually(lambda: all(each == [1, 1, 1] for each in counts().values()), within=90, every=2)
        now = counts().values()
        places = ("at the customer's", "in Sent", "in the log")
        lost, doubled = (sum(wrong(n) for each in now for n in each) for wrong in (lambda n: n < 1, lambda n: n > 1))
        wrong = [n for n in range(3) if any(each[n] != 1 for each in now)]
        where = "; ".join(f"{places[n]}: {[each[n] for each in now]}" for n in wrong)
        again = f"{len(self.refused)} of them refused first" if self.refused else "all taken at once"
        return (
            f"{len(every)} sent ({again}), {len(self.answers)} received; "
            f"at the customer's, in Sent, in the log: lost {lost}, doubled {doubled} {where}"
        )


def shown(place: Place, trouble: Trouble, mails: Mails, since: float, standing: bool) -> tuple[dict[str, Any], float]:
    """What `status` said in the end, and after how many seconds; with clients that come meanwhile, or nobody."""
    over = threading.Event()

    def clients() -> None:
        while not over.is_set():
            reads(place.rig, trouble.who)
            mails.send()
            over.wait(CLIENTS_COME)

    coming = threading.Thread(target=clients) if standing else None
    if coming is not None:
        coming.start()
    try:
        said = eventually(
            lambda: (now := place.state(trouble.who))["state"] == trouble.state and now, within=SHOWN, every=0.1
        )
        return said, monotonic() - since
    except AssertionError:
        return place.state(trouble.who), SHOWN
    finally:
        over.set()
        if coming is not None:
            coming.join()


def play(place: Place, name: str, trouble: Trouble, *, standing: bool) -> tuple[str, str]:
    """Prints what was seen; returns the line for the table."""
    rig, who = place.rig, trouble.who
    well(place, who)
    trouble.before(place)
    well(place, who)
    mails = Mails(place, who)
    assert not mails.send()
    mails.answer()
    how = "connections stand" if standing else "connections end"
    print(f"\n== {name}; {how} ({who})", flush=True)
    trouble.begin(place)
    since = monotonic()
    if not standing and not trouble.away:
        place.cut()
    said, seconds = shown(place, trouble, mails, since, standing)
    if not trouble.away:
        mails.answer()
    by_imap, by_smtp = reads(rig, who), mails.send()
    now = place.state(who)
    print(f"   shown   {said['state']} after {seconds:.1f} s (aim: {trouble.aim:g} s)")
    print(f"   status  {now['sentence']}")
    for what, heard in (("SMTP", by_smtp), ("IMAP", by_imap)):
        print(f"   {what}    {heard.replace(now['sentence'], '(the sentence of status)') or LET_IN}")
    cured, healed = cure(place, trouble, now["cure"])
    print(f"   cure    {cured}: connected after {healed:.1f} s")
    mails.send_again()
    counted = mails.counted()
    print(f"   mail    {counted}", flush=True)
    told = all(now["sentence"] in heard or (standing and not heard) for heard in (by_smtp, by_imap))
    verdict = f"{seconds:7.1f} s  {'' if seconds <= trouble.aim and said['state'] == trouble.state else 'LATE'}"
    verdict += "" if told else " WORDS"
    verdict += "" if "lost 0, doubled 0" in counted else " MAIL"
    return f"{name}; {how}", f"{said['state']:<18}{verdict:<18}{healed:7.1f} s  {cured}"


def well(place: Place, who: str) -> None:
    eventually(lambda: place.state(who)["state"] == "connected", f"{who} to be connected", within=WELL, every=0.2)


def cure(place: Place, trouble: Trouble, command: str | None) -> tuple[str, float]:
    """End it, type the command that `status` names, and wait: which command, and seconds from there."""
    trouble.end(place)
    begun = monotonic()
    words = (command or "").split()
    if words[:1] == ["proxyd"]:
        input = place.passwords[0] + "\n" if words[1] == "reconnect" and trouble.who == PERSON else None
        done = place.rig.run(*words[1:], *(["--password-stdin"] if input else []), input=input)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if input:
            place.passwords.reverse()
    well(place, trouble.who)
    return command or "(time)", monotonic() - begun


@contextlib.contextmanager
def a_place(folder: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as running:
        for_servers = running.enter_context(open_folder())
        server = running.enter_context(OAuthServer(ThrowAwayCa(folder / "ca"), rotate=False, user=COLLEAGUE))
        provider = Provider(for_servers, dovecot=passdb(server, for_servers))
        provider.ca.ca.write_bytes(server.ca.ca.read_bytes() + provider.ca.ca.read_bytes())
        rig = Machine(folder / "rig", provider)
        text = provider.account_yaml(host=HOST, client_password=rig.client_password)
        rig.write_account(text)
        other = provider.account_yaml(COLLEAGUE, name="Charles", host=HOST, client_password=rig.client_password)
        rig.write_account(by_oauth(other, server, folder), "charles")
        (rig.config / "proxyd.yaml").write_text(LISTEN)
        browser = folder / "browser"
        browser.write_text(f'#!/bin/sh\nexec curl -sS --cacert {server.ca.ca} -L -d answer=yes -o {folder}/page "$1"\n')
        browser.chmod(0o755)
        resolver = Resolver(folder / "dns", hosts=[HOST])
        place = Place(rig, resolver, Slumber(folder), server)
        rig.before = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"')
        rig.before += (str(resolver.for_the_system()),)
        rig.more_environment = place.clock.environment | {"BROWSER": f"{browser} %s"}
        provider.dovecot.leaf = provider.ca.issue("shown", (*HERE, HOST))
        running.enter_context(resolver)
        running.enter_context(provider)
        rig.start()
        running.callback(rig.stop)
        rig.add_contact()
        yield place


def main() -> None:
    parser = argparse.ArgumentParser(description="how soon a trouble shows, and whether its cure cures")
    parser.add_argument("words", nargs="*", help="only troubles whose name has one of these")
    given = parser.parse_args()
    chosen = {
        name: each for name, each in TROUBLES.items() if not given.words or any(word in name for word in given.words)
    }
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    rows = []
    with open_folder() as folder, a_place(folder) as place:
        for name, trouble in chosen.items():
            for standing in [True] * trouble.standing + [False] * trouble.ends:
                rows.append(play(place, name, trouble, standing=standing))
    print(f"\n{'':<62}{'status shows':<18}{'after':<18}{'well after':<11}by")
    for name, row in rows:
        print(f"{name:<62}{row}")


if __name__ == "__main__":
    main()
