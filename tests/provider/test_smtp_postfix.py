"""Submitting to a real Postfix."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import SimpleNamespace

import pytest

from proxyd.model import Accepted, Envelope, HealthCause, NotAccepted, NotHandedOver, OutcomeUnknown, Recipient
from proxyd.provider.tls import client_context
from proxyd.workers import start
from tests.looping import on_the_loop
from tests.provider.submitting import Client, Octets, client
from tests.servers.mailprovider import COLLEAGUE, CUSTOMER, OTHER_CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.waiting import eventually

LETTER = b"From: ada@example.test\r\nTo: grace@customer.test\r\nMessage-ID: <1@example.test>\r\n\r\nhi\r\n"


def signs_in(
    provider: Provider, tls: str = "implicit", password: str = PASSWORD
) -> AbstractAsyncContextManager[Client]:
    port = provider.postfix.smtps_port if tls == "implicit" else provider.postfix.submission_port
    server = SimpleNamespace(host="localhost", port=port, tls=tls)
    return client(server, user=PERSON, password=lambda: password, tls=client_context("smtp", provider.ca.ca))


def to(*addresses: str, parameters: tuple[str, ...] = ()) -> Envelope:
    return Envelope(PERSON, tuple(Recipient(address) for address in addresses), parameters)


async def delivered(provider: Provider, address: str, count: int = 1) -> list[bytes]:
    """The octets of what arrived, without what the servers put in front."""

    def look() -> list[bytes]:
        found = provider.dovecot.messages(address)
        return [message.octets for message in found] if len(found) >= count else []

    return await asyncio.to_thread(functools.partial(eventually, look, f"{count} messages for {address}"))


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
@on_the_loop
async def test_to_one_in_a_single_flight_and_to_three_by_data(tls: str, provider: Provider) -> None:
    async with signs_in(provider, tls) as ada:
        for envelope in (
            to(CUSTOMER),
            to(CUSTOMER, COLLEAGUE, OTHER_CUSTOMER, parameters=("BODY=8BITMIME", "RET=HDRS")),
        ):
            outcome = await ada.submitter.submit(envelope, Octets(LETTER))
            assert isinstance(outcome, Accepted)
            assert outcome.reply.text.startswith("250 2.0.0 Ok")
        assert ada.causes == [HealthCause.SIGNED_IN]
    arrived = await delivered(provider, CUSTOMER, 2)
    assert all(octets.endswith(b"\r\n\r\nhi\r\n") for octets in arrived)
    assert len(await delivered(provider, OTHER_CUSTOMER)) == 1
    log = provider.postfix.log()
    assert "bdat=1" in log
    assert "data=1" in log


CORPUS = {
    "empty body": b"Subject: e\r\n\r\n",
    "leading dots": b"Subject: d\r\n\r\n.\r\n..\r\n.x\r\n\r\n.\r\n",
    "8-bit": b"Subject: b\r\n\r\n" + bytes(octet for octet in range(128, 256)) * 7 + b"\r\n",
    "5 MB": b"Subject: l\r\n\r\n" + b".0123456789abcdef\r\n" * 280_000,
}


@pytest.mark.parametrize("octets", CORPUS.values(), ids=CORPUS.keys())
@on_the_loop
async def test_octets_arrive_as_they_are(octets: bytes, provider: Provider) -> None:
    async with signs_in(provider) as ada:
        for envelope in (to(CUSTOMER), to(OTHER_CUSTOMER, COLLEAGUE)):
            outcome = await ada.submitter.submit(envelope, Octets(octets))
            assert isinstance(outcome, Accepted)
    for address in (CUSTOMER, OTHER_CUSTOMER):
        (arrived,) = await delivered(provider, address)
        body = arrived[-(len(octets) - octets.index(b"\r\n\r\n")) :]
        assert hashlib.sha256(body).digest() == hashlib.sha256(octets[octets.index(b"\r\n\r\n") :]).digest()


@on_the_loop
async def test_one_recipient_refused_of_three(provider: Provider) -> None:
    async with signs_in(provider) as ada:
        outcome = await ada.submitter.submit(to(CUSTOMER, "nobody@customer.test", COLLEAGUE), Octets(LETTER))
        assert isinstance(outcome, NotAccepted)
        assert outcome.reply.text.startswith("550 5.1.1 <nobody@customer.test>")
        assert [address for address, _ in outcome.about] == ["nobody@customer.test"]
        assert isinstance(await ada.submitter.submit(to(CUSTOMER), Octets(LETTER)), Accepted)
    assert len(await delivered(provider, CUSTOMER)) == 1
    assert provider.dovecot.messages(COLLEAGUE) == []


@on_the_loop
async def test_one_recipient_who_is_refused_behind_bdat(provider: Provider) -> None:
    async with signs_in(provider) as ada:
        for octets in (LETTER, CORPUS["5 MB"]):
            outcome = await ada.submitter.submit(to("nobody@customer.test"), Octets(octets))
            assert isinstance(outcome, NotAccepted)
            assert outcome.reply.text.startswith("550 5.1.1 <nobody@customer.test>")
            assert isinstance(await ada.submitter.submit(to(CUSTOMER), Octets(LETTER)), Accepted)
    assert len(await delivered(provider, CUSTOMER, 2)) == 2


@on_the_loop
async def test_too_big(make_provider: Callable[..., Provider]) -> None:
    provider = make_provider(message_size_limit=10_000)
    async with signs_in(provider) as ada:
        outcome = await ada.submitter.submit(to(CUSTOMER), Octets(b"A: b\r\n\r\n" + b"x\r\n" * 10_000))
        assert isinstance(outcome, NotAccepted)
        assert outcome.reply.text == "552 5.3.4 The message has 30008 octets, the provider takes at most 10000"


@on_the_loop
async def test_a_wrong_password(provider: Provider) -> None:
    async with signs_in(provider, password="wrong") as ada:
        outcome = await ada.submitter.submit(to(CUSTOMER), Octets(LETTER))
        assert isinstance(outcome, NotHandedOver)
        assert outcome.event.cause is HealthCause.SIGN_IN_REFUSED
        assert outcome.event.evidence.startswith("535 5.7.8 ")


@on_the_loop
async def test_forty_at_once(provider: Provider) -> None:
    async with signs_in(provider) as ada:
        sending = [start(ada.submitter.submit(to(CUSTOMER), Octets(LETTER)), "sending") for _ in range(40)]
        assert all(isinstance(outcome, Accepted) for outcome in await asyncio.gather(*sending))
        assert 1 <= len(ada.health) <= 8
    assert len(await delivered(provider, CUSTOMER, 40)) == 40


@on_the_loop
async def test_postfix_that_went_away_in_between(provider: Provider) -> None:
    async with signs_in(provider) as ada:
        assert isinstance(await ada.submitter.submit(to(CUSTOMER), Octets(LETTER)), Accepted)
        await asyncio.to_thread(provider.postfix.stop)
        outcome = await ada.submitter.submit(to(CUSTOMER), Octets(LETTER))
        if isinstance(outcome, OutcomeUnknown):  # the kept connection still stood when the whole message was written
            outcome = await ada.submitter.submit(to(CUSTOMER), Octets(LETTER))
        assert isinstance(outcome, NotHandedOver)
        assert outcome.event.cause is HealthCause.UNREACHABLE
        await asyncio.to_thread(provider.postfix.start)
        assert isinstance(await ada.submitter.submit(to(CUSTOMER), Octets(LETTER)), Accepted)
