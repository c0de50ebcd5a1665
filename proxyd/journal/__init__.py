"""The one door to the records: ask the rules, write everything that follows in one transaction, wake the readers."""

from proxyd.journal.door import LATE_REPORTS, UNKNOWN_CAPABILITIES, Journal
from proxyd.journal.intake import Intake, KeptContent
from proxyd.journal.sending import Begun, Joined, Logged, Submission

__all__ = [
    "LATE_REPORTS",
    "UNKNOWN_CAPABILITIES",
    "Begun",
    "Intake",
    "Joined",
    "Journal",
    "KeptContent",
    "Logged",
    "Submission",
]
