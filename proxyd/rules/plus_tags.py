"""An address with a tag: does `jane+news@example.com` count as `jane@example.com`?

Many servers deliver both into one mailbox (RFC 5233 calls what follows the `+` the detail). Others do not, and only the
server knows: so it is the configuration that says (`plus_tags: folded`), and what was written is what is shown and
sent to, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

PlusTags = Literal["apart", "folded"]


def untagged(key: str) -> str:
    """A `mailbox_key` without its tag; itself where it has none."""
    local, at, domain = key.rpartition("@")
    base, plus, _tag = local.partition("+")
    return f"{base}{at}{domain}" if at and plus and base and not local.startswith('"') else key


def same_mailbox(keys: Iterable[str], others: Iterable[str], plus_tags: PlusTags) -> set[str]:
    """Those of `keys` that are among `others`, tags apart or folded."""
    if plus_tags == "apart":
        return set(keys) & set(others)
    bare = {untagged(each) for each in others}
    return {each for each in keys if untagged(each) in bare}
