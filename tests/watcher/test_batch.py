"""A batch of new messages: what is asked for together, and what is read of it."""

from __future__ import annotations

import pytest

from proxyd.provider.imap_values import uid_set
from proxyd.watcher import batch
from proxyd.watcher.batch import Batch, portions

ANSWER = b"Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n\r\n"
ODD = b"Message-ID: 3@x\r\nReferences: <1@x>, <2@x>\r\nTo: a@b.example\r\n\r\n"
NAMELESS = b"\r\n"


@pytest.mark.parametrize(
    ("uids", "sizes"),
    [
        pytest.param([], [], id="none"),
        pytest.param([7], [1], id="one"),
        pytest.param(range(1, 5), [4], id="just as many"),
        pytest.param(range(1, 6), [4, 1], id="one more"),
        pytest.param([1, 3, 5, 7], [3, 1], id="too many runs"),
        pytest.param([1, 3, 5, 6, 7], [4, 1], id="a run that ends with the portion"),
    ],
)
def test_portions(monkeypatch: pytest.MonkeyPatch, uids: list[int], sizes: list[int]) -> None:
    monkeypatch.setattr(batch, "SIZE", 4)
    monkeypatch.setattr(batch, "RUNS", 3)
    found = [list(each) for each in portions(uids)]
    assert [len(each) for each in found] == sizes
    assert [uid for each in found for uid in each] == list(uids)


def test_a_command_for_scattered_uids_stays_short() -> None:
    scattered = range(4_000_000_000, 4_000_020_000, 2)
    assert max(len(uid_set(each)) for each in portions(scattered)) < 8000


def test_what_is_named_and_what_is_read() -> None:
    read = Batch({9: NAMELESS, 4: ODD, 2: ANSWER})
    assert read.uids == [2, 4, 9]
    assert read.named([2, 4]) == {"1@x", "2@x", "3@x"}
    assert read.named([9]) == set()
    assert read.heading(2).in_reply_to == ("1@x",)
    assert list(read.newest(9, 5)) == [4, 2]
    assert list(read.newest(4, 5)) == [2]
    assert read.joined({}) is read
    assert read.joined({3: ANSWER}).uids == [2, 3, 4, 9]
