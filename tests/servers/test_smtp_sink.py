"""smtp-sink takes what it is given."""

from __future__ import annotations

import smtplib
from pathlib import Path

import pytest

from tests.servers.smtp_sink import SmtpSink


@pytest.mark.servers
def test_it_takes_a_message(server_folder: Path) -> None:
    with SmtpSink(server_folder) as sink, smtplib.SMTP("127.0.0.1", sink.port, timeout=60) as smtp:
        assert smtp.sendmail("a@b.test", ["c@d.test"], b"Subject: hi\r\n\r\nhi\r\n") == {}
