"""`proxyd test`: the real round trip, and what it says where a leg fails."""

from __future__ import annotations

from tests.scenarios.rig import CLIENT_PASSWORD, Rig
from tests.servers.mailprovider import PERSON

EVERYTHING = (
    'listen: {smtp: "127.0.0.1:0", smtps: "127.0.0.1:0", imap: "127.0.0.1:0", imaps: "127.0.0.1:0", web: off}\n'
)


def test_every_leg_is_seen_and_nothing_is_deleted(make_rig) -> None:
    rig: Rig = make_rig(start=False)
    (rig.config / "proxyd.yaml").write_text(EVERYTHING)
    rig.start()
    rig.connected()
    document = rig.json("test", PERSON, "--send")
    assert document["ok"] is True
    assert [leg["name"] for leg in document["legs"]] == [
        "log in to send",
        "hand in",
        "arrive in INBOX",
        "be recorded",
        "Sent copy",
    ]
    assert all(leg["seconds"] is not None for leg in document["legs"])
    id = document["message_id"]
    (arrived,) = rig.inbox_of(PERSON, id)
    assert "\\Seen" not in str(arrived.flags)
    assert len(rig.sent(id)) == 1
    assert [each["message_id"] for each in rig.timeline()] == [id]
    done = rig.run("test", PERSON)
    assert done.returncode == 0, done.stderr
    assert "log in to read" in done.stdout
    assert rig.run("test", "nobody@example.test").returncode == 1
    unlogged = rig.json("test", PERSON, "--send", "--no-log")
    assert [leg["name"] for leg in unlogged["legs"]][-2:] == ["arrive in INBOX", "Sent copy"]
    assert len(rig.timeline()) == 1
    rig.provider.postfix.stop()
    failed = rig.json("test", PERSON, "--send", codes=(1,))
    assert [leg["ok"] for leg in failed["legs"]] == [True, False]
    assert CLIENT_PASSWORD not in rig.log.read_text()
    rig.stop()
    assert rig.run("test", PERSON).returncode == 69
