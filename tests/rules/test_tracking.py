"""Which mail is logged: CONTRACT "What marks a message as tracked", line by line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.model import Heading, MailAddress, NotTracked, ThreadMatch, Tracked
from proxyd.rules.tracking import LOG_ADDRESS, TrackingSettings, decide, incoming, only_for_log

ADA = TrackingSettings("ada@example.com", aliases=("sales@example.org",), dropbox="4711@bcc.crm.example")
GRACE = "grace@customer.example"
EVE = "eve@stranger.example"
ANN = "ann@example.com"
CONTACTS = frozenset({GRACE})
FROM_ADA = Heading(from_=(MailAddress("Ada", "ada@example.com"),))
YES = replace(FROM_ADA, crm_log=True)
NO = replace(FROM_ADA, crm_log=False)

A_CONTACT = Tracked(f"recipient {GRACE} is a contact")
NOBODY = NotTracked("no recipient is a known contact")
NEVER = NotTracked("an address on never_log")
MARKED = Tracked("X-CRM-Log: yes")
ANSWERS = Tracked("answers 01J")
LOG = Tracked(f"recipient {LOG_ADDRESS} marks it")
DROPBOX = Tracked("the dropbox among the recipients marks it")


@pytest.mark.parametrize(
    ("settings", "heading", "recipients", "answers", "verdict"),
    [
        pytest.param({}, FROM_ADA, [GRACE], None, A_CONTACT, id="a contact"),
        pytest.param({}, FROM_ADA, [EVE, GRACE], None, A_CONTACT, id="a contact among others"),
        pytest.param({}, FROM_ADA, [EVE], None, NOBODY, id="a stranger"),
        pytest.param({}, FROM_ADA, [EVE], "01J", ANSWERS, id="a stranger, in a tracked thread"),
        pytest.param({}, YES, [EVE], None, MARKED, id="X-CRM-Log: yes"),
        pytest.param({}, NO, [GRACE], "01J", NotTracked("X-CRM-Log: no"), id="no wins over contact and thread"),
        pytest.param({}, NO, [GRACE, LOG_ADDRESS], None, NotTracked("X-CRM-Log: no"), id="no wins over log@"),
        pytest.param({}, FROM_ADA, [EVE, "LOG@CRM.localhost"], None, LOG, id="log@crm.localhost"),
        pytest.param({}, FROM_ADA, [EVE, "4711@BCC.crm.example"], None, DROPBOX, id="the dropbox typed"),
        pytest.param({"dropbox": None}, FROM_ADA, [EVE], None, NOBODY, id="no dropbox is set"),
        # never_log
        pytest.param({"never_log": (EVE,)}, FROM_ADA, [GRACE, EVE], None, NEVER, id="one recipient on never_log"),
        pytest.param({"never_log": ("*@stranger.example",)}, FROM_ADA, [GRACE, EVE], None, NEVER, id="by pattern"),
        pytest.param({"never_log": ("STRANGER.example",)}, FROM_ADA, [GRACE, EVE], None, NEVER, id="a bare domain"),
        pytest.param({"never_log": ("*stranger*",)}, FROM_ADA, [GRACE, EVE], None, NEVER, id="stars on both sides"),
        pytest.param({"never_log": (EVE,)}, FROM_ADA, [EVE, LOG_ADDRESS], None, NEVER, id="wins over log@"),
        pytest.param(
            {"never_log": (EVE,)}, FROM_ADA, [EVE, "4711@bcc.crm.example"], None, NEVER, id="over the dropbox"
        ),
        pytest.param({"never_log": (EVE,)}, FROM_ADA, [EVE], "01J", NEVER, id="wins over a tracked thread"),
        pytest.param({"never_log": (EVE,)}, YES, [EVE], None, MARKED, id="an explicit yes wins over never_log"),
        pytest.param(
            {"never_log": ("*@stranger.example",)},
            replace(FROM_ADA, cc=(MailAddress("", EVE),)),
            [GRACE],
            None,
            NEVER,
            id="named in the header only",
        ),
        pytest.param({"never_log": ("*@example.com",)}, FROM_ADA, [GRACE, ANN], None, NEVER, id="a colleague"),
        pytest.param(
            {"never_log": ("*@example.com",)}, FROM_ADA, [GRACE], None, A_CONTACT, id="a pattern is not about oneself"
        ),
        pytest.param({"never_log": ("ada@example.com",)}, FROM_ADA, [GRACE], None, NEVER, id="oneself, in full"),
        pytest.param({"never_log": ("eve@*.example.net",)}, FROM_ADA, [GRACE], None, A_CONTACT, id="no match"),
        # track
        pytest.param({"track": "marked"}, FROM_ADA, [GRACE], "01J", ANSWERS, id="marked: in a tracked thread"),
        pytest.param(
            {"track": "marked"}, FROM_ADA, [GRACE], None, NotTracked("track: marked, and nothing marks it"), id="marked"
        ),
        pytest.param({"track": "marked"}, FROM_ADA, [GRACE, LOG_ADDRESS], None, LOG, id="marked: log@"),
        pytest.param({"track": "nothing"}, FROM_ADA, [GRACE], "01J", NotTracked("track: nothing"), id="nothing"),
        pytest.param(
            {"track": "nothing"}, FROM_ADA, [LOG_ADDRESS], None, NotTracked("track: nothing"), id="nothing: log@"
        ),
        pytest.param({"track": "nothing"}, YES, [GRACE], None, MARKED, id="nothing: but an explicit yes"),
        pytest.param({"track": "everything"}, FROM_ADA, [EVE], None, Tracked("track: everything"), id="everything"),
        pytest.param({"track": "everything"}, FROM_ADA, [ANN], None, NotTracked("internal mail"), id="internal mail"),
        pytest.param(
            {"track": "everything"}, FROM_ADA, [ANN, "Sales@example.org"], None, NotTracked("internal mail"), id="alias"
        ),
        pytest.param(
            {"track": "everything"}, FROM_ADA, ["bob@example.org"], None, Tracked("track: everything"), id="its domain"
        ),
        pytest.param(
            {"track": "everything"}, FROM_ADA, [ANN, EVE], None, Tracked("track: everything"), id="one outside"
        ),
        pytest.param({"track": "everything"}, YES, [ANN], None, MARKED, id="internal, marked yes"),
        pytest.param({"track": "everything"}, FROM_ADA, [ANN, LOG_ADDRESS], None, LOG, id="internal, marked by log@"),
    ],
)
def test_outgoing(
    settings: dict[str, object],
    heading: Heading,
    recipients: list[str],
    answers: str | None,
    verdict: Tracked | NotTracked,
) -> None:
    account = replace(ADA, **settings)  # type: ignore[arg-type]
    assert decide(account, heading, recipients, contacts=CONTACTS, answers=answers) == verdict


def test_a_contact_is_known_by_any_spelling() -> None:
    verdict = decide(ADA, FROM_ADA, ["Grace@Customer.EXAMPLE"], contacts=CONTACTS, answers=None)
    assert verdict == Tracked("recipient Grace@Customer.EXAMPLE is a contact")


FROM_GRACE = Heading(from_=(MailAddress("Grace", GRACE),), to=(MailAddress("", "ada@example.com"),))
MATCH = ThreadMatch("01J", "01J", "In-Reply-To names <1@example.com>")


@pytest.mark.parametrize(
    ("settings", "heading", "match", "verdict"),
    [
        pytest.param({}, FROM_GRACE, MATCH, Tracked(MATCH.because), id="a reply"),
        pytest.param({}, FROM_GRACE, None, NotTracked("answers no tracked message"), id="new mail, replies only"),
        pytest.param(
            {"incoming": "contacts"}, FROM_GRACE, None, Tracked(f"sender {GRACE} is a contact"), id="new mail, contacts"
        ),
        pytest.param(
            {"incoming": "contacts"},
            replace(FROM_GRACE, from_=(MailAddress("", EVE),)),
            None,
            NotTracked("answers no tracked message, and no author is a known contact"),
            id="new mail of a stranger",
        ),
        pytest.param({"incoming": "nothing"}, FROM_GRACE, MATCH, NotTracked("incoming: nothing"), id="nothing"),
        pytest.param({"never_log": ("*@customer.example",)}, FROM_GRACE, MATCH, NEVER, id="never_log"),
        pytest.param({"never_log": ("*@example.com",)}, FROM_GRACE, MATCH, Tracked(MATCH.because), id="to oneself"),
        pytest.param({}, replace(FROM_GRACE, crm_log=False), MATCH, Tracked(MATCH.because), id="their no is not ours"),
        pytest.param(
            {},
            replace(FROM_GRACE, crm_log=True),
            None,
            NotTracked("answers no tracked message"),
            id="nobody else can make us log",
        ),
    ],
)
def test_incoming(
    settings: dict[str, object], heading: Heading, match: ThreadMatch | None, verdict: Tracked | NotTracked
) -> None:
    account = replace(ADA, **settings)  # type: ignore[arg-type]
    assert incoming(account, heading, contacts=CONTACTS, match=match) == verdict


@pytest.mark.parametrize(
    ("recipients", "only"),
    [
        pytest.param([LOG_ADDRESS], True, id="alone"),
        pytest.param(["Log@CRM.LocalHost", LOG_ADDRESS], True, id="twice, any case"),
        pytest.param([LOG_ADDRESS, GRACE], False, id="with somebody"),
        pytest.param([GRACE], False, id="somebody else"),
        pytest.param([], False, id="nobody"),
    ],
)
def test_only_for_log(recipients: list[str], only: bool) -> None:
    assert only_for_log(recipients) is only


ADDRESSES = st.lists(st.sampled_from([GRACE, EVE, ANN, LOG_ADDRESS, "4711@bcc.crm.example"]), min_size=1, max_size=4)
SETTINGS = st.builds(
    TrackingSettings,
    address=st.just("ada@example.com"),
    track=st.sampled_from(["everything", "contacts", "marked", "nothing"]),
    never_log=st.lists(st.sampled_from([EVE, "*@example.com", "*"]), max_size=2).map(tuple),
    dropbox=st.sampled_from([None, "4711@bcc.crm.example"]),
    incoming=st.sampled_from(["replies", "contacts", "nothing"]),
)


@given(SETTINGS, ADDRESSES, st.sampled_from([None, True, False]), st.sampled_from([None, "01J"]))
def test_no_always_wins_and_no_reason_for_not_logging_names_anybody(
    account: TrackingSettings, recipients: list[str], mark: bool | None, answers: str | None
) -> None:
    verdict = decide(account, replace(FROM_ADA, crm_log=mark), recipients, contacts=CONTACTS, answers=answers)
    if mark is False:
        assert isinstance(verdict, NotTracked)
    elif mark is True:
        assert isinstance(verdict, Tracked)
    elif account.track == "nothing" or "*" in account.never_log or (EVE in account.never_log and EVE in recipients):
        assert isinstance(verdict, NotTracked)
    if isinstance(verdict, NotTracked):
        assert "@" not in verdict.because
