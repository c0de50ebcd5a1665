"""The presets: each is readable, says why it is as it is, and never signs in without TLS."""

from __future__ import annotations

import pytest

from proxyd.config import preset

NAMES = tuple(preset.presets())
FILES_SENT = {"gmail", "microsoft365", "outlook.com"}
CONNECTIONS = {"gmail": 15, "yahoo": 5, "aol": 5}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset(name: str) -> None:
    provider = preset.resolved(preset.presets()[name], name)
    assert provider.imap.tls == "implicit"
    assert provider.imap.port == 993
    assert (provider.smtp.port, provider.smtp.tls) in {(465, "implicit"), (587, "starttls")}
    assert provider.files_sent == ("yes" if name in FILES_SENT else "unknown")
    assert provider.connections == CONNECTIONS.get(name, 10)
    assert provider.name == name
    text = (preset.FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 130


@pytest.mark.parametrize("name", ["gmail", "microsoft365", "icloud", "yahoo", "fastmail", "zoho", "outlook.com", "aol"])
def test_the_big_ones_are_there(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize(
    ("asked", "name"),
    [("gmail", "gmail"), ("GMail", "gmail"), ("hotmail", "outlook.com"), ("office365", "microsoft365")],
)
def test_found_by_other_names(asked: str, name: str) -> None:
    found = preset.find(asked)
    assert found is not None
    assert found[0] == name


def test_no_name_is_two_presets() -> None:
    assert len(set(preset.names())) == len(preset.names())
    assert preset.find("no-such-provider") is None
