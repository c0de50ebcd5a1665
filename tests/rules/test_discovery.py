"""Which servers may an address's mail be on: the order, and what is asked before a password goes there."""

from __future__ import annotations

import pytest

from proxyd.config import preset
from proxyd.rules import discovery
from proxyd.rules.discovery import Found, Place, Srv

DOMAINS = {name: each.domains for name, each in preset.presets().items()}
MX = {name: each.mx for name, each in preset.presets().items()}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("ada@gmail.com", "gmail"),
        ("ada@GoogleMail.com", "gmail"),
        ("ada@hotmail.co.uk", "outlook.com"),
        ("ada@gmx.at", "gmx"),
        ("ada@me.com", "icloud"),
        ("ada@example.com", None),
        ("ada@notgmail.com", None),
    ],
)
def test_the_provider_whose_own_addresses_these_are(address: str, name: str | None) -> None:
    assert discovery.provider_of_domain(discovery.domain_of(address), DOMAINS) == name


@pytest.mark.parametrize(
    ("hosts", "name"),
    [
        (["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "gmail"),
        (["smtp.google.com."], "gmail"),
        (["example-com.mail.protection.outlook.com"], "microsoft365"),
        (["example-com.p-v1.mx.microsoft"], "microsoft365"),
        (["outlook-com.olc.protection.outlook.com"], "outlook.com"),
        (["mx-aol.mail.gm0.yahoodns.net"], "aol"),
        (["mta5.am0.yahoodns.net"], "yahoo"),
        (["in1-smtp.messagingengine.com"], "fastmail"),
        (["mx01.mail.icloud.com"], "icloud"),
        (["mx.example.com"], None),
        (["aspmx.l.google.com.evil.example"], None),
        ([], None),
    ],
)
def test_the_provider_whose_mx_hosts_these_are(hosts: list[str], name: str | None) -> None:
    assert discovery.provider_of_mx(hosts, MX) == name


def test_no_domain_and_no_mx_ending_belongs_to_two() -> None:
    for each in (DOMAINS, MX):
        every = [word for words in each.values() for word in words]
        assert len(every) == len(set(every))
        assert all(word == word.lower() for word in every)


def test_srv_records_in_their_order() -> None:
    """TLS from the first byte before STARTTLS; then the lower priority, then the greater weight."""
    found = discovery.of_srv(
        {
            "_imap._tcp": [Srv(0, 0, 143, "plain.example.com.")],
            "_imaps._tcp": [
                Srv(20, 0, 993, "b.example.com."),
                Srv(10, 1, 993, "c.example.com."),
                Srv(10, 5, 994, "a.example.com."),
            ],
            "_submission._tcp": [Srv(0, 0, 587, "smtp.example.com.")],
        }
    )
    assert [str(each) for each in found.imap] == [
        "a.example.com:994", "c.example.com:993", "b.example.com:993", "plain.example.com:143"
    ]  # fmt: skip
    assert [each.tls for each in found.imap] == ["implicit"] * 3 + ["starttls"]
    assert found.smtp == (Place("smtp.example.com", 587, "starttls"),)
    assert not found.sure


def test_a_dot_says_that_there_is_no_such_service() -> None:
    found = discovery.of_srv({"_imaps._tcp": [Srv(0, 0, 0, ".")], "_pop3s._tcp": [Srv(0, 0, 995, "pop.example.com.")]})
    assert found.imap == ()
    assert found.pop == ("pop.example.com",)


@pytest.mark.parametrize(
    ("found", "host", "asked"),
    [
        (Found("dns", sure=False), "imap.example.com", False),
        (Found("dns", sure=False), "example.com", False),
        (Found("dns", sure=False), "imap.hoster.example", True),
        (Found("dns", sure=False), "imap.notexample.com", True),
        (Found("the domain says so over https"), "imap.hoster.example", False),
    ],
)
def test_a_host_outside_the_domain_is_asked_about(found: Found, host: str, asked: bool) -> None:
    assert discovery.must_be_asked(found, Place(host, 993, "implicit"), "example.com") is asked


def test_guesses_try_tls_first() -> None:
    found = discovery.guesses("example.com")
    assert [str(each) for each in found.imap[:3]] == ["imap.example.com:993", "mail.example.com:993", "example.com:993"]
    assert [each.port for each in found.smtp] == [465] * 3 + [587] * 3


def test_pop3_alone_is_told_why_and_what_to_do() -> None:
    said = discovery.pop_only("example.com", ["pop.example.com", "pop.example.com"])
    assert "(pop.example.com)" in said
    assert "IMAP" in said
    assert "--imap HOST --smtp HOST" in said
