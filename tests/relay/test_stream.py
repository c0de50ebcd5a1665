"""What both protocols' connections share: who counts as local."""

from __future__ import annotations

import pytest

from proxyd.relay.stream import is_local


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        (("127.0.0.1", 4711), True),
        (("127.8.8.8", 4711), True),
        (("::1", 4711, 0, 0), True),
        (("::ffff:127.0.0.1", 4711, 0, 0), True),
        (("::ffff:192.0.2.7", 4711, 0, 0), False),
        (("fe80::1%lo", 4711, 0, 1), False),
        (("192.0.2.7", 4711), False),
        (("desk", 4711), False),
        ("", False),
        (None, False),
    ],
    ids=str,
)
def test_is_local(peer: object, local: bool) -> None:
    assert is_local(peer) is local
