"""Servers as no real one here is: labels as Gmail has them, an IDLE that never speaks."""

from __future__ import annotations

from proxyd.watcher.mailbox import CHECK
from tests.looping import on_the_loop
from tests.rigged import ADA, GRACE, message
from tests.servers.unruly import CAPABILITY, UnrulyImap
from tests.watcher.unruled import unruled

SENT = "[Gmail]/Sent Mail"


def answer(n: int) -> bytes:
    more = "In-Reply-To: <m1@example.test>\r\n"
    return message(f"Re: Offer {n}", id=f"r{n}@customer.test", sender=GRACE, to=ADA, more=more)


@on_the_loop
async def test_labels_are_views_and_all_mail_is_read_once(tmp_path):
    with UnrulyImap(CAPABILITY + " X-GM-EXT-1", sent=SENT) as server:
        for name, attributes in (("[Gmail]/All Mail", "\\All"), ("[Gmail]/Spam", "\\Junk"), ("Customers", "")):
            server.make(name)
            server.boxes[name].attributes = attributes
        async with unruled(tmp_path, server) as w:
            await w.add_contact(GRACE)
            await w.sent(message())
            for name in ("INBOX", "Customers", "[Gmail]/All Mail"):  # one message, three times to be seen
                server.deliver(name, answer(1))
            await w.turn(lambda: len(w.timeline()) == 2, "the reply")
            server.deliver("[Gmail]/Spam", answer(2))
            await w.turn(lambda: len(w.timeline()) == 3, "the reply that was taken for spam", step=30)
            opened = {line.split(" ", 1)[1].strip('"') for line in server.commands() if line.startswith("EXAMINE")}
            assert opened <= {"[Gmail]/All Mail", "[Gmail]/Spam", SENT}
            bodies = [line for line in server.commands() if "BODY.PEEK[]" in line]
            assert len(bodies) == 2


@on_the_loop
async def test_an_idle_that_never_speaks(tmp_path):
    with UnrulyImap() as server:
        async with unruled(tmp_path, server) as w:
            await w.add_contact(GRACE)
            await w.sent(message())
            with server.lock:
                server.boxes["INBOX"].add(answer(1), server.now)  # and nobody is told
                server.boxes["Archive"].add(answer(2), server.now)
            begun = w.clock.monotonic()
            await w.turn(lambda: len(w.timeline()) == 3, "both replies", step=10)
            assert w.clock.monotonic() - begun < 2 * CHECK
