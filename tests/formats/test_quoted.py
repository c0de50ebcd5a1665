"""The new part of a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.formats.quoted import new_text

OLD = "> We offer 7.\n> Ada\n"


@pytest.mark.parametrize(
    ("text", "new"),
    [
        pytest.param("Yes.\n", "Yes.", id="nothing quoted"),
        pytest.param(f"Yes.\n\nOn Mon, 23 Nov 2026 at 10:02, Ada <ada@x.example> wrote:\n{OLD}", "Yes.", id="Gmail"),
        pytest.param(
            f"Yes.\n\nOn Mon, 23 Nov 2026 at 10:02, Ada Lovelace\n<ada@x.example>\nwrote:\n\n{OLD}",
            "Yes.",
            id="wrapped",
        ),
        pytest.param(f"Yes.\n\nOn 23.11.26 10:02, Ada wrote:\n{OLD}", "Yes.", id="Thunderbird"),
        pytest.param(f"Ja.\n\nAm 23.11.2026 um 10:02 schrieb Ada:\n\n{OLD}", "Ja.", id="German"),
        pytest.param(f"Oui.\n\nLe lun. 23 nov. 2026 à 10:02, Ada <a@x> a écrit :\n{OLD}", "Oui.", id="French"),
        pytest.param(f"Sí.\n\nEl lun, 23 nov 2026 a las 10:02, Ada (<a@x>) escribió:\n{OLD}", "Sí.", id="Spanish"),
        pytest.param(
            f"Sì.\n\nIl giorno lun 23 nov 2026 alle ore 10:02 Ada <a@x> ha scritto:\n{OLD}", "Sì.", id="Italian"
        ),
        pytest.param(f"Ja.\n\nOp ma 23 nov 2026 om 10:02 schreef Ada <a@x>:\n{OLD}", "Ja.", id="Dutch"),
        pytest.param(f"Tak.\n\nW dniu 23.11.2026 o 10:02, Ada napisał(a):\n{OLD}", "Tak.", id="Polish"),
        pytest.param(
            f"Да.\n\nпн, 23 нояб. 2026 г. в 10:02, Ada <a@x.example>:\n{OLD}", "Да.", id="Russian: address and date"
        ),
        pytest.param(f"是\n\n在 2026年11月23日,10:02,Ada <a@x> 写道:\n{OLD}", "是", id="Chinese"),
        pytest.param(f"Yes.\n{OLD}", "Yes.", id="no line of attribution"),
        pytest.param(f"Note:\n{OLD}", "Note:", id="a line with a colon is not one"),
        pytest.param(f"{OLD}\nYes, below.", "Yes, below.", id="the answer below"),
        pytest.param(
            "On 23 Nov 2026, Ada wrote:\n> Seven?\nYes.\n> Eight?\n\nNo.\n\n> Ada\n", "Yes.\n\nNo.", id="inline answers"
        ),
        pytest.param("Yes.\n\n-----Original Message-----\nFrom: Ada\n\nold", "Yes.", id="Outlook, old"),
        pytest.param("Ja.\n\n-----Ursprüngliche Nachricht-----\nVon: Ada\n\nold", "Ja.", id="Outlook, old, German"),
        pytest.param(
            "Yes.\n\n________________________________\nFrom: Ada <a@x>\nSent: Monday\nTo: Grace\nSubject: Offer\n\nold",
            "Yes.",
            id="Outlook, new",
        ),
        pytest.param("Ja.\n\nVon: Ada\nGesendet: Montag\nAn: Grace\nBetreff: X\n\nold", "Ja.", id="Outlook, German"),
        pytest.param(
            "Oui.\n\nDe : Ada\nEnvoyé : lundi\nÀ : Grace\nObjet : X\n\nold", "Oui.", id="Outlook, French, with spaces"
        ),
        pytest.param("Yes.\n\n*From:* Ada\n*Date:* Monday\n*To:* Grace\n*Subject:* X\n\nold", "Yes.", id="in bold"),
        pytest.param("Yes.\n\n发件人: Ada\n发送时间: x\n收件人: G\n主题: X\n\nold", "Yes.", id="Outlook, Chinese"),
        pytest.param(
            "Yes.\n\nOn Monday, November 23, 2026 at 10:02:11 AM, Ada <ada@x.example> wrote:\n\n We offer 7.\n",
            "Yes.",
            id="history that is not marked line by line",
        ),
        pytest.param(
            "It is far.\nFrom: here\nTo: there", "It is far.\nFrom: here\nTo: there", id="two labels are no block"
        ),
        pytest.param("He wrote:\nyes", "He wrote:\nyes", id="a person who wrote something"),
        pytest.param(
            "FYI\n\n---------- Forwarded message ---------\nFrom: Ada\nhello",
            "FYI\n\n---------- Forwarded message ---------\nFrom: Ada\nhello",
            id="forwarded is sent, not history",
        ),
        pytest.param(OLD, OLD, id="all quoted: never empty"),
        pytest.param("-----Original Message-----\nx", "-----Original Message-----\nx", id="all history: never empty"),
        pytest.param(" >  indented\nYes", "Yes", id="an indented quote"),
        pytest.param("Yes\r\n> old\r\n", "Yes", id="CRLF"),
        pytest.param("a\n\n-- \nAda", "a\n\n-- \nAda", id="a signature is no history"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_new_text(text: str, new: str) -> None:
    assert new_text(text) == new


LINES = st.sampled_from(
    ["> old", ">> older", "", "new", "On 1.1.2026 a@b wrote:", "From: x", "Sent: y", "To: z", "____", ">"]
)


@given(st.one_of(st.text(), st.lists(LINES).map("\n".join)))
def test_never_raises_and_is_never_empty_when_the_text_is_not(text: str) -> None:
    assert bool(new_text(text).strip()) == bool(text.strip())


@given(st.lists(st.sampled_from(["> old", "", "new one", "and new two"])))
def test_keeps_every_new_line_between_quotes(lines: list[str]) -> None:
    new = [line for line in lines if line.strip() and not line.startswith(">")]
    if new:
        assert [line for line in new_text("\n".join(lines)).split("\n") if line.strip()] == new


@pytest.mark.parametrize(
    "piece",
    [
        ">",
        ">\n",
        "\n",
        "From:\n",
        "-",
        "- ",
        "a:\n",
        "On a@b 1111 wrote:\n",
        "On 1111\n>\n",
        " ",
        "\n>x\n",
        "x\n\n\n>\n",
    ],
)
def test_a_hostile_megabyte_is_read_to_its_end(piece: str) -> None:
    new_text(piece * (1_000_000 // len(piece)))
