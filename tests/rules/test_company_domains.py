"""Which domain tells a company, and how a person may write one."""

from __future__ import annotations

import pytest

from proxyd.config import preset
from proxyd.rules.company_domains import ANYBODYS, candidates, domain_of, written_domain


@pytest.mark.parametrize(
    ("key", "domain"),
    [
        ("grace@customer.example", "customer.example"),
        ("grace@eu.customer.example", "eu.customer.example"),
        ("grace@gmail.com", None),
        ("grace@t-online.de", None),
        ("grace@[192.0.2.1]", None),
        ("grace@localhost", None),
        ("grace", None),
        ("", None),
    ],
)
def test_a_domain_is_a_companys_where_not_anybody_may_have_an_address(key: str, domain: str | None) -> None:
    assert domain_of(key) == domain


def test_the_providers_that_are_known_by_name_are_nobodys_company() -> None:
    known = {
        "gmail": "gmail.com",
        "icloud": "icloud.com",
        "yahoo": "yahoo.com",
        "web.de": "web.de",
        "posteo": "posteo.de",
    }
    assert known.keys() <= set(preset.names())
    assert set(known.values()) <= ANYBODYS
    assert all(each == each.lower().strip(".") and "." in each for each in ANYBODYS)


def test_a_company_is_looked_for_by_its_domain_then_by_those_it_lies_below() -> None:
    assert candidates("a.b.customer.example") == ["a.b.customer.example", "b.customer.example", "customer.example"]
    assert candidates("") == []


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("customer.example", "customer.example"),
        (" @Customer.Example. ", "customer.example"),
        ("https://www.customer.example/about", "customer.example"),
        ("grace@customer.example", "customer.example"),
        ("größe.example", "xn--gre-6ka8i.example"),
        ("gmail.com", None),
        ("customer", None),
        ("a b.example", None),
        ("", None),
    ],
)
def test_a_domain_as_a_person_writes_it(text: str, domain: str | None) -> None:
    assert written_domain(text) == domain
