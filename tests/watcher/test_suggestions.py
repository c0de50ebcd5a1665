"""Mail that names nothing, from somebody in a live conversation: listed, fetched on consent alone, forgotten else."""

from __future__ import annotations

from typing import Any

from proxyd.store import tables
from proxyd.web import answers_suggestions
from tests.looping import on_the_loop
from tests.rigged import message
from tests.servers.mailprovider import CUSTOMER, OTHER_CUSTOMER, PERSON, Provider
from tests.watcher.watched import Watched, commands, from_stranger, reply, until, watched


def edited(n: int = 1, *, sender: str = CUSTOMER, subject: str = "Another subject", more: str = "") -> bytes:
    """As Outlook sends an answer whose subject was edited: without In-Reply-To and References."""
    return message(
        f"{subject} {n}", id=f"e{n}@customer.test", sender=sender, to=PERSON, more=more, body="Private words.\r\n"
    )


def listed(w: Watched) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answers_suggestions.listed(w.database)["suggestions"]
    return found


async def suggested(w: Watched, count: int = 1) -> list[dict[str, Any]]:
    return await until(lambda: found if len(found := listed(w)) >= count else None, f"{count} suggested")


def whole(w: Watched) -> set[str]:
    return {each.split()[2] for each in commands(w.provider) if "BODY.PEEK[]" in each}


async def in_conversation(w: Watched) -> str:
    await w.add_contact(CUSTOMER)
    return await w.sent(message(subject="Offer"))


@on_the_loop
async def test_accepted_it_is_fetched_and_logged_into_the_conversation(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        id = await in_conversation(w)
        provider.dovecot.deliver(PERSON, from_stranger())
        provider.dovecot.deliver(PERSON, edited())
        (one,) = await suggested(w)
        assert (one["from"]["address"], one["subject"], one["thread"]) == (CUSTOMER, "Another subject 1", id)
        assert one["because"].startswith(f"{CUSTOMER} is in this conversation")
        assert len(w.timeline()) == 1
        assert not whole(w)
        assert answers_suggestions.accept(w.database, one["id"]) is not None
        w.journal.suggestions.tell(PERSON)
        await until(lambda: len(w.timeline()) == 2 or None, "it is logged")
        (logged,) = (each for each in w.timeline() if each["direction"] == "incoming")
        assert (logged["thread"], logged["source"], logged["message_id"]) == (id, "reply", "<e1@customer.test>")
        assert logged["because"].startswith("accepted by hand: ")
        assert whole(w) == {"2"}
        await until(lambda: not w.rows(tables.suggestions) or None, "it waits no more")
        await until(lambda: any(each["uid"] == 2 for each in w.rows(tables.marks)) or None, "a flag to be set")
        provider.dovecot.deliver(PERSON, reply(5, to="e1@customer.test"))
        await until(lambda: len(w.timeline()) == 3 or None, "what answers it")


@on_the_loop
async def test_refused_nothing_is_fetched_and_it_is_forgotten_for_ever(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await in_conversation(w)
        provider.dovecot.deliver(PERSON, edited())
        (one,) = await suggested(w)
        assert answers_suggestions.refuse(w.database, one["id"], w.clock.now()) is not None
        assert answers_suggestions.accept(w.database, one["id"]) is None
        provider.dovecot.deliver(PERSON, edited())
        provider.dovecot.deliver(PERSON, edited(2))
        await suggested(w)
        assert [each["subject"] for each in listed(w)] == ["Another subject 2"]
        everything = repr([w.rows(table) for table in tables.metadata.sorted_tables])
        assert "subject 1" not in everything
        assert "e1@customer.test" not in everything
        assert not whole(w)


@on_the_loop
async def test_accepted_while_no_daemon_ran_and_moved_meanwhile(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await in_conversation(w)
        provider.dovecot.deliver(PERSON, edited(1))
        provider.dovecot.deliver(PERSON, edited(2))
        for one in await suggested(w, 2):
            answers_suggestions.accept(w.database, one["id"])
    with provider.dovecot.imap(PERSON) as imap:  # one is gone by the time it is fetched
        imap.select("INBOX")
        imap.store("1", "+FLAGS", "\\Deleted")
        imap.expunge()
    async with watched(tmp_path, provider) as w:
        await until(lambda: len(w.timeline()) == 2 or None, "the one that is there")
        await until(lambda: not w.rows(tables.suggestions) or None, "nothing waits")
        assert {each["subject"] for each in w.timeline()} == {"Offer", "Another subject 2"}


@on_the_loop
async def test_who_is_not_suggested(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, f"never_log: [{OTHER_CUSTOMER}]\n") as w:
        await w.add_contact(CUSTOMER, OTHER_CUSTOMER)
        await w.sent(message(to=f"{CUSTOMER}, {OTHER_CUSTOMER}", more="X-CRM-Log: yes\r\n"), CUSTOMER, OTHER_CUSTOMER)
    provider.dovecot.deliver(PERSON, from_stranger())
    provider.dovecot.deliver(PERSON, edited(1, sender=OTHER_CUSTOMER))  # on never_log
    provider.dovecot.deliver(PERSON, edited(2, sender="x" + CUSTOMER))  # the server's search finds a part of it
    provider.dovecot.deliver(PERSON, edited(3, more="In-Reply-To: <private@example.test>\r\n"))  # another conversation
    provider.dovecot.deliver(PERSON, edited(4, sender=PERSON))
    provider.dovecot.deliver(PERSON, edited(5))
    async with watched(tmp_path, provider, f"never_log: [{OTHER_CUSTOMER}]\n") as w:
        await suggested(w)
        assert [each["subject"] for each in listed(w)] == ["Another subject 5"]


@on_the_loop
async def test_in_junk_an_author_proves_nothing(tmp_path, provider: Provider):
    async with watched(tmp_path, provider) as w:
        await in_conversation(w)
    with provider.dovecot.imap(PERSON) as imap:
        imap.create("Junk")
        imap.append("Junk", "", "", edited(1))
        imap.append("Junk", "", "", reply(1))
    provider.dovecot.deliver(PERSON, edited(2))
    async with watched(tmp_path, provider) as w:
        await until(lambda: len(w.timeline()) == 2 or None, "the reply that lay in Junk")
        await suggested(w)
        assert [each["subject"] for each in listed(w)] == ["Another subject 2"]


@on_the_loop
async def test_switched_off_nobody_is_looked_for(tmp_path, provider: Provider):
    async with watched(tmp_path, provider, "suggestions: false\n") as w:
        await in_conversation(w)
        provider.dovecot.deliver(PERSON, edited())
        provider.dovecot.deliver(PERSON, reply())
        await until(lambda: len(w.timeline()) == 2 or None, "the reply")
        assert not any(" FROM " in each for each in commands(provider) if "SEARCH" in each and CUSTOMER in each)
        assert not any("SUBJECT" in each for each in commands(provider))
        assert not w.rows(tables.suggestions)
