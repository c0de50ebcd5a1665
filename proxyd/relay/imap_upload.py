"""The client's own upload to Sent and the Sent copy that we see to become one.

What is uploaded is recognised by its Message-ID, a message without one by what it says. The rules
(`proxyd.rules.sent_copy.upload`) say whether it passes, and then settles the copy as soon as the provider has taken it;
or whether it is answered here, because the provider files what it sends and one crossing of the uplink is enough. What
is answered is owed: that is on record before the client hears it, and the watcher sees to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import structlog

from proxyd.config import Account
from proxyd.formats.message import copy_fingerprint
from proxyd.formats.message import heading as read_heading
from proxyd.journal import Journal
from proxyd.journal.finding import DueCopy
from proxyd.journal.uploads import LookNow, Uploading
from proxyd.model import CopyPresent, CopyPromised, CopyState, FiledBy, Found
from proxyd.relay.imap_uploads import AppendUid, PassOn, Swallow
from proxyd.rules import sent_copy as rules
from proxyd.rules.sent_folder import called_sent
from proxyd.workers import Clock, start

PATIENCE = 10.0  # seconds that an upload's answer waits for the provider's copy
MOST_FLAGS = 50

_FLAG = re.compile(r"\\?[^\x00-\x20\x7f-\uffff(){%*\"\\\]]{1,100}")
_NOT_KEPT = frozenset({r"\recent", r"\deleted"})  # not the client's to set on a copy that another has filed

log = structlog.get_logger()


class SentUploads:
    """One client connection's (`imap_uploads.Uploads`)."""

    def __init__(self, account: Account, journal: Journal, clock: Clock) -> None:
        self._account = account
        self._address = account.address
        self._journal = journal
        self._clock = clock
        self._hidden = [account.dropbox] if account.dropbox else []

    def concerns(self, mailbox: str) -> bool:
        """Is it the account's Sent folder? Until the watcher has found that, a folder that is called so."""
        sent = self._journal.known(self._address, "sent_folder")
        return called_sent(mailbox) if sent is None else _same(mailbox, sent)

    async def arriving(
        self, mailbox: str, flags: tuple[str, ...], internaldate: str | None, size: int, header: bytes
    ) -> PassOn | Swallow:
        copy = await self._copy_of(header)
        if copy is None:
            return PassOn()
        verdict = rules.upload(await self._facts(copy))
        if isinstance(verdict, rules.HoldBack):
            copy, verdict = await self._held_back(copy)
        log.info("upload to sent", account=self._address, id=copy.id, because=verdict.because)
        if isinstance(verdict, rules.LetPass):
            return self._passing(copy, mailbox) if verdict.settles else PassOn()
        if verdict.once_seen and not await self._is_still_there(copy.id):
            return PassOn()
        await self._journal.record(CopyPromised(copy.id, _to_be_kept(flags), self._clock.now()))
        return Swallow(start(self._promised(copy.id, mailbox), f"upload of {copy.id}"))

    async def _copy_of(self, header: bytes) -> DueCopy | None:
        message_id = read_heading(header).message_id
        if message_id:
            return (await self._journal.copies.owned(self._address, [message_id])).get(message_id)
        fingerprint = copy_fingerprint(header, hidden=self._hidden)
        return await self._journal.copies.alike(self._address, fingerprint)

    async def _held_back(self, copy: DueCopy) -> tuple[DueCopy, rules.LetPass | rules.AnswerInstead]:
        """The provider's copy may be on its way. Where it does not come, that is remembered."""
        held = self._journal.uploads.begin(copy.id, self._clock.now(), held=True)
        try:
            with self._journal.uploads.listening(copy.id) as seen:
                self._journal.wakes.copies(self._address).set()
                copy = await self._journal.copies.of(copy.id) or copy
                if copy.state is CopyState.WAITING:
                    await self._journal.uploads.within(seen, rules.UPLOAD_HELD)
        finally:
            self._journal.uploads.end(held)
        copy = await self._journal.copies.of(copy.id) or copy
        facts = await self._facts(copy)
        verdict = rules.upload(replace(facts, alone=rules.ALONE))
        assert not isinstance(verdict, rules.HoldBack)
        if copy.state is CopyState.WAITING:
            await self._journal.learn(self._address, "uploads_alone", str(facts.alone + 1))
        return copy, verdict

    async def _facts(self, copy: DueCopy) -> rules.UploadFacts:
        alone = await self._journal.learned(self._address, "uploads_alone")
        known = await self._journal.learned(self._address, "files_sent")
        return rules.UploadFacts(
            relayed=copy.relayed,
            state=copy.state,
            files_sent=rules.habit(self._account.provider.files_sent, known),
            held=copy.content is not None,
            age=(self._clock.now() - copy.accepted_at).total_seconds(),
            by=copy.by,
            appending=copy.appending_since is not None,
            alone=int(alone or 0),
            waits_here=copy.spooled,
        )

    # --- what passes -----------------------------------------------------------------------------------------

    def _passing(self, copy: DueCopy, mailbox: str) -> PassOn:
        upload = self._journal.uploads.begin(copy.id, self._clock.now())

        async def done(uid: AppendUid | None) -> None:
            await self._uploaded(upload, None if uid is None else Found(mailbox, uid.uidvalidity, uid.uid))

        def lost() -> None:
            """Or not, where only the answer was lost: the watcher looks."""
            self._journal.uploads.end(upload)
            self._look(LookNow(copy.id, uploaded=True))

        return PassOn(done, lost)

    async def _uploaded(self, upload: Uploading, found: Found | None) -> None:
        """The provider has it. Where it does not say where, or where there is more than this copy, the watcher looks:
        nothing is guessed."""
        present = None
        if found is not None:
            present = CopyPresent(upload.id, found, FiledBy.CLIENT, 1, self._clock.now())
        try:
            settled = present is not None and await self._journal.uploaded(present)
        finally:
            self._journal.uploads.end(upload)
        if not settled:
            self._look(LookNow(upload.id, uploaded=True, found=found))

    def _look(self, look: LookNow) -> None:
        self._journal.uploads.want(self._address, look)
        self._journal.wakes.copies(self._address).set()

    # --- what is answered here -------------------------------------------------------------------------------

    async def _is_still_there(self, id: str) -> bool:
        """The copy that we know of: the person may have deleted it, and want it back."""
        look = LookNow(id)
        self._look(look)
        try:
            await self._journal.uploads.within(look.answer, PATIENCE)
        finally:
            self._journal.uploads.looked(self._address, look)
        return look.answer.result()

    async def _promised(self, id: str, mailbox: str) -> AppendUid | None:
        """Where the provider's copy lies, once it carries what the client said; None where it has not come by now."""
        self._journal.wakes.copies(self._address).set()
        end = self._clock.monotonic() + PATIENCE
        while True:
            with self._journal.uploads.listening(id) as seen:
                copy = await self._journal.copies.of(id)
                left = end - self._clock.monotonic()
                if copy is None or copy.promised is None or copy.spooled or left <= 0:
                    break
                await self._journal.uploads.within(seen, left)
        if copy is None or copy.state is not CopyState.PRESENT or not copy.uid or not _same(copy.folder, mailbox):
            return None
        return AppendUid(copy.uidvalidity, copy.uid)


def _to_be_kept(flags: Sequence[str]) -> frozenset[str]:
    """The client's flags, as far as they are words of RFC 3501 and make sense on a copy that another has filed."""
    words = (each for each in flags[:MOST_FLAGS] if _FLAG.fullmatch(each))
    return frozenset(each for each in words if each.lower() not in _NOT_KEPT)


def _same(one: str, other: str) -> bool:
    """The same mailbox (RFC 3501 section 5.1): INBOX in any case, all else to the letter."""
    if one[:5].upper() == "INBOX" == other[:5].upper():
        one, other = one[5:], other[5:]
    return one == other
