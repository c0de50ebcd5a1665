"""A person sets up a mail client: what the running daemon serves and what the commands print is what really listens."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any
from xml.etree import ElementTree

from tests.scenarios.rig import Rig
from tests.servers.mailprovider import PERSON
from tests.servers.waiting import eventually

EVERYTHING = "listen: {" + ", ".join(f'{name}: "127.0.0.1:0"' for name in ("smtp", "smtps", "imap", "imaps", "web"))


def got(url: str) -> bytes:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=60) as response:
        octets: bytes = response.read()
    return octets


def test_the_settings_file_and_the_printed_settings_name_the_listeners_that_are_open(make_rig: Any) -> None:
    rig: Rig = make_rig(start=False)
    (rig.config / "proxyd.yaml").write_text(EVERYTHING + "}\n")
    rig.start()
    rig.connected()
    settings = rig.json("client-settings", PERSON)
    root = ElementTree.fromstring(got(settings["autoconfig"]))
    for way, names in (("incoming", ("imaps", "imap")), ("outgoing", ("smtps", "smtp"))):
        ports = [rig.port(name) for name in names]
        assert [int(each.findtext("port") or 0) for each in root.iter(f"{way}Server")] == ports
        assert [each["port"] for each in settings[way]] == ports
    assert settings["sent_folder"] == "Sent"
    web = rig.port("web")
    assert b"ok" in got(f"http://[::1]:{web}/healthz")
    (rig.config / "proxyd.yaml").write_text(EVERYTHING.replace('web: "127.0.0.1:0"', "web: off") + "}\n")
    rig.hang_up()

    def gone() -> bool:
        try:
            got(f"http://127.0.0.1:{web}/healthz")
        except urllib.error.URLError:
            return True
        return False

    eventually(gone, "the web listener to close")
    assert rig.json("client-settings", PERSON)["autoconfig"] is None
