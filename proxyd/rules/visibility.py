"""Who sees which conversations on the record that colleagues share."""

from __future__ import annotations

from collections.abc import Mapping


def accounts_seen_by(person: str, visible_to: Mapping[str, str]) -> frozenset[str]:
    """The accounts whose conversations `person`, an account's address, sees: their own, and those of colleagues that
    are visible to the team.

    `visible_to` gives each configured account's setting. An account that is configured no longer is nobody's but the
    daemon's owner's: what its setting said is not known any more, and showing too much cannot be undone.
    """
    own = person.lower()
    return frozenset(address for address, audience in visible_to.items() if address == own or audience == "team")
