"""How the page says things: instants, sizes, and what became of a message, as plain words. Pure."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

Document = dict[str, Any]

HUES = 8  # of avatars, as the style sheet has them

FILED_BY = {"client": "your mail program", "provider": "your provider", "proxyd": "proxyd"}
SOURCES = {
    "smtp": "sent through proxyd",
    "sent_folder": "sent from another device",
    "reply": "received as an answer",
    "contact": "received from a contact",
    "forwarded": "forwarded for the record",
    "marked": "marked by hand",
    "backfill": "found in earlier mail",
    "api": "written here",
}
PATIENCE = {
    "connecting": "Nothing to do: proxyd is signing in.",
    "unreachable": "Is this computer online? proxyd tries again by itself, and nothing is lost meanwhile.",
    "throttled": "Nothing to do: proxyd waits as long as the provider asks, then goes on.",
}
INVITATIONS = {"REQUEST": "Invitation", "CANCEL": "Called off", "REPLY": "Answer to an invitation"}
HEALTH = {
    "connected": "Connected",
    "connecting": "Connecting",
    "unreachable": "Provider unreachable",
    "throttled": "Provider asks to wait",
    "password_refused": "Password refused",
    "access_revoked": "Access withdrawn",
    "misconfigured": "Settings do not work",
}
HEALTH_TONES = {"connected": "good", "connecting": "calm", "unreachable": "warn", "throttled": "warn"}


@dataclass(frozen=True, slots=True)
class Said:
    """A few words in a tone: good, calm, warn or bad."""

    tone: str
    text: str


@dataclass(frozen=True, slots=True)
class When:
    """An instant: for a machine, in words, and exactly."""

    iso: str
    words: str
    exact: str


NOTICES = {
    "delivery_failed": Said("bad", "Bounced"),
    "delivery_delayed": Said("warn", "Delayed, still being tried"),
    "delivered": Said("good", "Delivery report"),
    "read": Said("good", "Read receipt"),
    "deleted_unread": Said("warn", "Deleted unread"),
    "automatic_answer": Said("warn", "Out of office"),
}
KINDS = {"bounce": "delivery_failed", "auto_reply": "automatic_answer"}  # of what says no more than that


def when(iso: str, now: datetime, zone: tzinfo | None = None) -> When:
    """`iso` as a document of CONTRACT section 3 has it; shown in `zone` (None: this machine's)."""
    at, here = datetime.fromisoformat(iso).astimezone(zone), now.astimezone(zone)
    return When(iso, _words(at, here), f"{at:%A}, {at.day} {at:%B %Y, %H:%M:%S}")


def exact(iso: str, zone: tzinfo | None = None) -> str:
    """As one says in a letter when another was written."""
    at = datetime.fromisoformat(iso).astimezone(zone)
    return f"{at.day} {at:%B %Y at %H:%M}"


def _words(at: datetime, now: datetime) -> str:
    ago = now - at
    if timedelta(0) <= ago < timedelta(minutes=1):
        return "just now"
    if timedelta(0) <= ago < timedelta(hours=1):
        minutes = int(ago.total_seconds() // 60)
        return f"{minutes} min ago"
    days = (now.date() - at.date()).days
    if days == 0:
        return f"{at:%H:%M}"
    if days == 1:
        return f"yesterday, {at:%H:%M}"
    if 1 < days < 7:
        return f"{at:%A}, {at:%H:%M}"
    return f"{at.day} {at:%b}, {at:%H:%M}" if at.year == now.year else f"{at.day} {at:%b %Y}"


def size(octets: int) -> str:
    if octets < 1000:
        return f"{octets} B"
    return f"{octets / 1000:.0f} kB" if octets < 1_000_000 else f"{octets / 1_000_000:.1f} MB"


def initials(name: str, address: str) -> str:
    words = re.findall(r"[^\W\d_]+", name) or re.findall(r"[^\W_]+", address.partition("@")[0])
    picked = [words[0], words[-1]] if len(words) > 1 else words
    return "".join(each[0] for each in picked).upper() or "?"


def hue(address: str) -> int:
    """The same person has the same colour, today and tomorrow."""
    return zlib.crc32(address.lower().encode("utf-8", "replace")) % HUES


def state(message: Document) -> Said:
    """What became of a message, in a word or two; of a machine's message, what it says."""
    if message["kind"] != "message":
        return NOTICES.get(message["notice"] or "", NOTICES[KINDS[message["kind"]]])
    match message["state"]:
        case "sent":
            return Said("good", "Sent")
        case "received":
            return Said("calm", "Received")
        case "submitting":
            return Said("calm", "Not sent yet")
        case "refused":
            return Said("bad", "Refused: not sent")
        case "bounced":
            return Said("bad", "Bounced")
        case _:
            return Said("warn", "Unclear whether sent")


def concerns(message: Document) -> list[Said]:
    """What else of a message is to be seen at once: what waits, and what went wrong."""
    said = []
    copy, dropbox = message["sent_copy"], message["dropbox"]
    if message["participant"] == "unknown":
        said.append(Said("warn", "New in this conversation"))
    delivery = {each["state"] for each in message["delivery"]}
    if "delayed" in delivery:
        said.append(Said("warn", "Delayed, still being tried"))
    if "read" in delivery:
        said.append(Said("good", "Read"))
    if copy is not None and copy["state"] == "failed":
        said.append(Said("warn", "No copy in Sent"))
    if dropbox is not None and dropbox["state"] != "sent":
        said.append(Said("warn", "CRM copy failed") if dropbox["state"] == "failed" else Said("calm", "CRM copy waits"))
    states = {each["state"] for each in message["crm"]}
    if "failed" in states:
        said.append(Said("bad", "Not in the CRM"))
    elif "waiting" in states:
        said.append(Said("calm", "Waiting for the CRM"))
    return said


def sent_copy(copy: Document) -> str:
    """One sentence on the copy in the Sent folder."""
    match copy["state"]:
        case "present":
            by = FILED_BY.get(copy["by"], copy["by"])
            count = "One copy" if copy["copies"] == 1 else f"{copy['copies']} copies"
            return f"{count} in {copy['folder']}, filed by {by}."
        case "waiting":
            return "Waiting to see who files the copy in Sent."
        case "not_wanted":
            return "No copy in Sent is wanted."
        case _:
            return f"No copy in Sent: {copy.get('error') or 'it could not be filed'}"


def appointment(start: str, end: str, zone: tzinfo | None = None) -> str:
    """When an invitation is for: in `zone` (None: this machine's) where its sender named one, else as it stands."""
    begins, ends = _moment(start, zone), _moment(end, zone)
    if begins is None:
        return start
    day = f"{begins:%A}, {begins.day} {begins:%B %Y}"
    if len(start) <= len("2026-12-01"):
        return day
    if ends is None or ends <= begins:
        return f"{day}, {begins:%H:%M}"
    until = f"{ends:%H:%M}" if ends.date() == begins.date() else f"{ends.day} {ends:%B, %H:%M}"
    return f"{day}, {begins:%H:%M} to {until}"


def _moment(iso: str, zone: tzinfo | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(iso)
    except ValueError:
        return None
    return at.astimezone(zone).replace(tzinfo=None) if at.tzinfo is not None else at


def outcome(sent: Document) -> str:
    """What came of a letter that was written here, as `POST messages` tells it."""
    if sent["state"] in ("sent", "bounced"):
        what = "Sent"
    elif sent.get("spooled"):
        what = "Kept here; it goes out as soon as the provider takes it"
    else:
        what = "On its way; whether the provider took it is being found out"
    logged = "" if sent["logged"] else f" Not logged: {sent['because']}." if sent["because"] else " Not logged."
    return f"{what}.{logged}"


def waiting(counts: Document) -> str:
    """What of an account waits, and for whom."""
    whom = {"spool": "to be sent", "sent_copies": "for the Sent folder", "crm": "for the CRM"}
    return ", ".join(f"{counts[each]} {words}" for each, words in whom.items() if counts[each]) or "nothing"


def delivery(report: Document) -> str:
    """What a report said of one recipient."""
    said = " ".join(each for each in (report["status"], report["detail"]) if each)
    return f"{report['address']}: {report['state']}" + (f" ({said})" if said else "")


def health(account: Document) -> Said:
    named = account["state"]
    return Said(HEALTH_TONES.get(named, "bad"), HEALTH.get(named, named.replace("_", " ").capitalize()))


def patience(account: Document) -> str:
    """What is to be said where time heals, "" where a person must act, may have to soon, or all is well."""
    return "" if account["state"] == "connecting" and account["evidence"] else PATIENCE.get(account["state"], "")
