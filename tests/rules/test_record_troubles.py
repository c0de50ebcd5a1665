"""What the records know of trouble, in sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from proxyd.rules.record_troubles import SETTLING, RecordTrouble, Unknown, crm, given_up, unknown

NOW = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


def mail(minutes: float, id: str) -> Unknown:
    return Unknown(id, NOW - timedelta(minutes=minutes), "the connection broke.")


def test_a_mail_of_unknown_outcome_is_told_when_it_did_not_settle() -> None:
    assert unknown([], NOW) is None
    assert unknown([mail(9, "<new@x>")], NOW) is None
    found = unknown([mail(60, "<old@x>"), mail(11, "<newer@x>"), mail(1, "<new@x>")], NOW)
    assert found == RecordTrouble(
        "unknown",
        "<newer@x>",
        "It is unknown whether a mail was sent (the connection broke). Ask its recipient before you send it again. "
        "(and of 1 more)",
        "proxyd settle '<newer@x>'",
    )
    assert timedelta(minutes=10) == SETTLING


def test_what_was_given_up() -> None:
    one = given_up("dropbox", "ada@example.test", 1, "550 no such user.")
    assert one.sentence == "The CRM's address did not take 1 copy in the last 7 days; the last time: 550 no such user."
    assert one.cure == "proxyd copies retry --account ada@example.test"
    missing = given_up("sent_copies", "a@x", 1, "sent_copy_missing").sentence
    assert missing.endswith("the last time: the provider files what it sends, and its copy did not come.")
    assert given_up("sent_copies", "a@x", 2, "").sentence == "2 Sent copies could not be filed in the last 7 days."


def test_only_what_a_person_can_help_with_is_told_of_a_crm() -> None:
    assert crm([("3 messages wait for the CRM odoo", "")]) is None
    found = crm([("the CRM odoo refused 1 message: no", "proxyd crm retry --crm odoo --account a@x"), ("b", "")])
    assert found is not None
    assert (found.sentence, found.cure) == (
        "The CRM odoo refused 1 message: no.",
        "proxyd crm retry --crm odoo --account a@x",
    )
