"""The HTML of a message goes where the CRM takes it, as safe as on the page."""

from __future__ import annotations

import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from proxyd.crm.salesforce import Salesforce
from tests.crm import test_hubspot, test_odoo, test_pipedrive, test_salesforce
from tests.crm.delivering import letter, scene
from tests.crm.fake_hubspot import FakeHubspot
from tests.crm.fake_odoo import FakeOdoo
from tests.crm.fake_pipedrive import FakePipedrive
from tests.crm.fake_salesforce import FakeSalesforce
from tests.looping import on_the_loop

BOLD = "<p>Dear <b>Grace</b>, "
NASTY = '<script>alert(1)</script><img src="https://spy.example/1.gif"><a href="javascript:x()">here</a></p>'


def designed(html: str) -> EmailMessage:
    made = letter(1, body="Dear Grace,\n")
    made.add_alternative(html, subtype="html")
    return made


CRMS: dict[str, tuple[Any, Any, Any]] = {
    "hubspot": (FakeHubspot, test_hubspot, lambda crm: next(iter(crm.emails.values()))["hs_email_html"]),
    "odoo": (FakeOdoo, test_odoo, lambda crm: crm.rows("mail.message")[0]["body"]),
    "pipedrive": (FakePipedrive, test_pipedrive, lambda crm: next(iter(crm.activities.values()))["note"]),
    "salesforce": (FakeSalesforce, test_salesforce, lambda crm: crm.rows("EmailMessage")[0]["HtmlBody"]),
}


@pytest.mark.parametrize("name", CRMS)
@on_the_loop
async def test_it_is_there_and_does_no_harm(tmp_path: Path, name: str) -> None:
    fake, tests, written = CRMS[name]
    with fake() as crm:
        async with scene(tmp_path, tests.entry(tmp_path, crm)) as s:
            await s.log(designed(BOLD + NASTY))
            await s.drained()
        html = written(crm)
    assert BOLD in html
    for word in ("script", "spy.example", "javascript"):
        assert word not in html


@on_the_loop
async def test_a_program_gets_it_too(tmp_path: Path) -> None:
    async with scene(tmp_path, f"jsonl: {{file: {tmp_path}/crm.jsonl}}") as s:
        await s.log(designed(BOLD + NASTY))
        await s.log(letter(2))
        await s.drained()
    first, second = (json.loads(line) for line in (tmp_path / "crm.jsonl").read_text().splitlines())
    assert first["html"].startswith(BOLD)
    assert "script" not in first["html"]
    assert (first["text"], second["html"]) == ("Dear Grace,", None)


@on_the_loop
async def test_one_that_is_too_long_is_left_out_and_the_text_is_there(tmp_path: Path) -> None:
    with FakeSalesforce() as crm:
        async with scene(tmp_path, test_salesforce.entry(tmp_path, crm)) as s:
            await s.log(designed(f"<p>{'long ' * 10_000}</p>"))
            await s.drained()
        (email,) = crm.rows("EmailMessage")
    assert "HtmlBody" not in email
    assert email["TextBody"] == "Dear Grace,"


@on_the_loop
async def test_what_was_not_copied_is_said_in_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(Salesforce, "limits", replace(Salesforce.limits, attachment=10))
    message = designed(BOLD)
    message.add_attachment(b"%PDF offer, large", "application", "pdf", filename="offer & terms.pdf")
    with FakeSalesforce() as crm:
        async with scene(tmp_path, test_salesforce.entry(tmp_path, crm)) as s:
            await s.log(message)
            await s.drained()
        (email,) = crm.rows("EmailMessage")
    assert "[Not copied by proxyd" in email["HtmlBody"]
    assert "offer &amp; terms.pdf" in email["HtmlBody"]
