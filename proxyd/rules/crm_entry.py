"""What of a logged message goes into a CRM's entry: who of its people, how much of its text; when to try again."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from proxyd.model import Direction, MailAddress, mailbox_key
from proxyd.rules import retry

LONGEST_WAIT = retry.LONGEST  # seconds between two tries
QUICK_FAILURES = 3  # in a row; from then on it is the CRM that fails, and not these messages
MOST_ADDRESSES = 8  # of one person
SIGN_IN_WAIT = 600.0  # seconds until refused credentials are tried again: the cure may lie in the CRM


@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody who is looked for among the CRM's contacts; `create`: and made one where nobody is found."""

    person: MailAddress
    create: bool


def people(
    direction: Direction,
    from_: MailAddress,
    recipients: Iterable[MailAddress],
    own: Collection[str],
    contacts: Collection[str],
) -> list[Wanted]:
    """Everybody of the conversation but ourselves: `own` are our addresses, `contacts` those of it who are contacts of
    ours.

    A contact of ours becomes one of the CRM's. Where nobody is one (the person marked the message by hand, or logs
    everything) the other side becomes one: the recipients of what was sent, the sender of what came. Third parties in
    copy are found, and never made.
    """
    ours = {mailbox_key(each) for each in own}
    known = {mailbox_key(each) for each in contacts}
    domains = {key.rpartition("@")[2] for key in ours}
    everybody = [from_, *recipients] if direction is Direction.INCOMING else list(recipients)
    others: dict[str, MailAddress] = {}
    for person in everybody:
        key = mailbox_key(person.address)
        if "@" in key and key not in ours:
            others.setdefault(key, person)
    outside = {key: person for key, person in others.items() if key.rpartition("@")[2] not in domains or key in known}
    if known & set(outside):
        makes = known
    elif direction is Direction.INCOMING:
        makes = {mailbox_key(from_.address)}
    else:
        makes = set(outside)
    return [Wanted(person, key in makes) for key, person in outside.items()]


def addresses(written: str, theirs: Sequence[str]) -> tuple[str, ...]:
    """Under which addresses somebody is looked for in a CRM, the likeliest first: that in the message, then all of
    `theirs`, the first one first; so many that a CRM is not asked for ever."""
    others = (each for each in theirs if mailbox_key(each) != mailbox_key(written))
    return (written, *others)[:MOST_ADDRESSES]


def owner(owners: Mapping[str, str], from_: str, to: Iterable[str], account: str) -> str | None:
    """Whose entry it is: of the address it was sent from or to, else of the account."""
    for address in (from_, *to, account):
        if (found := owners.get(address.strip().lower())) is not None:
            return found
    return None


def cut(text: str, limit: int | None, note: str = "") -> str:
    """At most `limit` characters, `note` at the end of it always; where something was cut, that is said."""
    if limit is None or len(text) + len(note) <= limit:
        return text + note
    gone = f"\n\n[Cut by proxyd: the message has {len(text):,} characters, this CRM takes {limit:,}.]"
    room = limit - len(gone) - len(note)
    return text[:room] + gone + note if room > 0 else text[: max(limit - 1, 0)] + "…"


def plain(text: str) -> str:
    """Text that every CRM can take: octets that were no text in any character set, and NUL, are replaced."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def line(text: str, limit: int | None) -> str:
    """A subject: at most `limit` characters, with an ellipsis where something was cut."""
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def left_out(names: Iterable[tuple[str, int]], limit: int) -> str:
    """Said at the end of the text: the attachments that the CRM does not take, with their sizes in octets."""
    listed = ", ".join(f"{name or 'without a name'} ({size / 1_000_000:.1f} MB)" for name, size in names)
    return f"\n\n[Not copied by proxyd, for it is larger than {limit / 1_000_000:.1f} MB: {listed}]" if listed else ""


def sentence(crm: str, failed: int, waiting: int, erasures: int, because: str) -> str:
    """What a CRM lacks, and why, in the words of the newest failure."""
    said = []
    if failed:
        said.append(f"the CRM {crm} refused {failed} {'message' if failed == 1 else 'messages'}")
    if waiting:
        said.append(f"{waiting} {'message waits' if waiting == 1 else 'messages wait'} for the CRM {crm}")
    if erasures:
        verb = "contact is" if erasures == 1 else "contacts are"
        said.append(f"{erasures} {verb} to be erased in the CRM {crm} still")
    return ", ".join(said) + (f": {because.rstrip('.')}" if because else "")


def cure(account: str, crm: str, failed: int, not_erased: int, refused: bool) -> str:
    """The command that is typed once somebody has mended what a CRM complains of; "" where time alone is needed.

    `failed` and `not_erased` count what the CRM will never take as it is; `refused`: it does not let us in.
    """
    if not (failed or not_erased or refused):
        return ""
    return f"proxyd crm retry --crm {shlex.quote(crm)} --account {account}"


def next_try(attempts: int, asked: float | None, jitter: float, at_least: float = 0.0) -> float:
    """Seconds until an entry is tried again after `attempts` tries that failed. It is never given up: a CRM that was
    down for a week gets all of it. `asked` is what the CRM asked for."""
    wait = retry.delay(max(attempts - 1, 0), jitter)
    return max(wait, asked or 0.0, at_least)


def pause(failures: int, asked: float | None, jitter: float) -> float:
    """Seconds in which nothing is asked of a CRM after `failures` tries in a row, of whatever messages, that failed."""
    if asked is not None:
        return asked
    return 0.0 if failures < QUICK_FAILURES else retry.delay(failures - QUICK_FAILURES, jitter)
