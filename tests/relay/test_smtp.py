"""A message through the relay: octets in are octets out, and the client hears what the provider said."""

from __future__ import annotations

import asyncio
import smtplib
from pathlib import Path

import pytest

from proxyd.model import Envelope, NotAccepted, Recipient, SmtpReply
from tests.looping import on_the_loop
from tests.relay.house import MESSAGE, PASSWORD, House, account, house, plain


@on_the_loop
async def test_a_message_goes_out_as_it_came_and_the_providers_answer_comes_back(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        client = await here.signed_in()
        assert await client.send() == "250 2.0.0 OK queued as 4711"
        assert here.provider.messages == [MESSAGE]
        assert here.provider.envelopes == [Envelope("ada@example.com", (Recipient("bob@example.net"),))]
        client.close()
