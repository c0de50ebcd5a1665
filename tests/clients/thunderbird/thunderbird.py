"""A Thunderbird with one account and an empty profile, and what a person does with it.

The account is made as its own assistant makes one, the passwords lie in its own store, and messages are written in its
compose window: what goes over the wire is Thunderbird's own choice.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Self

from tests.clients.place import Place
from tests.clients.thunderbird.marionette import Marionette, MarionetteError
from tests.servers.processes import ServerProcess, need_program
from tests.servers.waiting import eventually

SOCKET_TYPES = {"plain": 0, "starttls": 2, "tls": 3}
ROLES = {0x100: "trash", 0x200: "sent", 0x400: "drafts", 0x1000: "inbox"}

PREFERENCES: dict[str, Any] = {
    "marionette.port": 0,  # any; it writes down which
    # No questions and no pages of its own, nothing fetched from elsewhere.
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.spotlight.firstRunDone": True,
    "mail.shell.checkDefaultClient": False,
    "mailnews.start_page.enabled": False,
    "app.donation.eoy.version": 999,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,none",
    "mailnews.database.global.indexer.enabled": False,
    "mail.compose.add_undisclosed_recipients": False,
    "mail.identity.default.compose_html": False,
}

MODULES = """
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const pause = () => new Promise(resolve => setTimeout(resolve, 50));
async function eventually(look, what) {
  for (let n = 0; n < 600; n++) {
    const found = look();
    if (found) return found;
    await pause();
  }
  throw new Error("not within 30 s: " + what);
}
const account = () => MailServices.accounts.defaultAccount;
const root = () => account().incomingServer.rootFolder;
const inbox = () => root().getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const headers = folder => folder ? [...folder.messages] : [];
"""

MAKE_ACCOUNT = """
const [given] = arguments;
const outgoing = MailServices.outgoingServer.createServer("smtp");
const smtp = outgoing.QueryInterface(Ci.nsISmtpServer);
smtp.hostname = given.host;
smtp.port = given.smtp;
outgoing.username = given.user;
outgoing.socketType = given.socketType;
outgoing.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
const incoming = MailServices.accounts.createIncomingServer(given.user, given.host, "imap");
incoming.port = given.imap;
incoming.socketType = given.socketType;
incoming.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
incoming.doBiff = false;  // new mail is then told by IDLE or not at all
incoming.loginAtStartUp = false;
const identity = MailServices.accounts.createIdentity();
identity.fullName = "Ada Lovelace";
identity.email = given.user;
identity.composeHtml = false;
identity.smtpServerKey = outgoing.key;
const made = MailServices.accounts.createAccount();
made.addIdentity(identity);
made.incomingServer = incoming;
MailServices.accounts.defaultAccount = made;
for (const origin of ["imap://" + given.host, "smtp://" + given.host]) {
  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  login.init(origin, null, origin, given.user, given.password, "", "");
  await Services.logins.addLoginAsync(login);
}
"""

OPEN_INBOX = """
root().server.performExpand(null);
await eventually(inbox, "an inbox");
inbox().updateFolder(null);
"""

LIST_FOLDERS = "return root().descendants.map(folder => [folder.name, folder.flags])"

LIST_INBOX = "return headers(inbox()).map(header => header.mime2DecodedSubject)"

COMPOSE = """
const [given] = arguments;
const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
const parameters = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
parameters.identity = account().defaultIdentity;
parameters.format = Ci.nsIMsgCompFormat.PlainText;
parameters.composeFields = fields;
if (given.answers) {
  const header = headers(inbox()).find(each => each.mime2DecodedSubject == given.answers);
  parameters.type = Ci.nsIMsgCompType.Reply;
  parameters.originalMsgURI = inbox().getUriForMsg(header);
  parameters.origMsgHdr = header;
} else {
  parameters.type = Ci.nsIMsgCompType.New;
  fields.to = given.to;
  fields.bcc = given.bcc;
  fields.subject = given.subject;
  fields.body = given.body;
}
if (given.file) {
  const attachment = Cc["@mozilla.org/messengercompose/attachment;1"].createInstance(Ci.nsIMsgAttachment);
  const file = Cc["@mozilla.org/file/local;1"].createInstance(Ci.nsIFile);
  file.initWithPath(given.file);
  attachment.url = Services.io.newFileURI(file).spec;
  attachment.name = file.leafName;
  fields.addAttachment(attachment);
}
MailServices.compose.OpenComposeWindowWithParams(null, parameters);
const window = await eventually(() => {
  const found = Services.wm.getMostRecentWindow("msgcompose");
  return found && found.gMsgCompose && found.gWindowLocked === false && found.composeEditorReady && found;
}, "a compose window that is ready");
let result = null;
window.gMsgCompose.RegisterStateListener({
  NotifyComposeFieldsReady() {},
  NotifyComposeBodyReady() {},
  ComposeProcessDone(code) { result = { code }; },
  SaveInFolderDone(uri) {},
});
window.goDoCommand("cmd_sendNow");
await eventually(() => result, "the message to be sent");
if (result.code) throw new Error("sending ended with 0x" + (result.code >>> 0).toString(16));
await eventually(() => window.closed, "the compose window to close itself");
"""


class Thunderbird:
    """`connection` is plain, starttls or tls, for both servers."""

    def __init__(self, place: Place, connection: str) -> None:
        self.place = place
        self.connection = connection
        self.profile = place.folder / "profile"
        self._process: ServerProcess | None = None
        self._driven: Marionette | None = None

    def __enter__(self) -> Self:
        self.profile.mkdir()
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
        (self.profile / "user.js").write_text("".join(lines))
        self._trust()
        program = [need_program("thunderbird", "thunderbird"), "--headless", "--no-remote", "--marionette"]
        self._process = ServerProcess(
            [*program, "-remote-allow-system-access", "--profile", str(self.profile)],
            log=self.place.folder / "thunderbird.out",
            env=self.place.environment | {"PATH": os.environ["PATH"], "MOZ_CRASHREPORTER_DISABLE": "1"},
        )
        try:
            port = self.profile / "MarionetteActivePort"
            self._process.wait_until(lambda: port.exists() and port.read_text().strip() != "", "Thunderbird")
            self._driven = Marionette(int(port.read_text()))
            self._make_account()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._driven is not None:
            with contextlib.suppress(OSError, MarionetteError, ValueError):
                self._driven.command("Marionette:Quit", {"flags": ["eForceQuit"]})
            self._driven.close()
        if self._process is not None:
            self._process.stop()

    def _trust(self) -> None:
        database = f"sql:{self.profile}"
        certutil = need_program("certutil", "libnss3-tools")
        subprocess.run([certutil, "-N", "--empty-password", "-d", database], check=True)
        trusted = ["-n", "proxyd", "-t", "C,,", "-i", str(self.place.ca)]
        subprocess.run([certutil, "-A", *trusted, "-d", database], check=True)

    def _make_account(self) -> None:
        place = self.place
        given = {
            "host": place.host,
            "user": place.user,
            "password": place.password,
            "imap": place.imaps if self.connection == "tls" else place.imap,
            "smtp": place.smtps if self.connection == "tls" else place.smtp,
            "socketType": SOCKET_TYPES[self.connection],
        }
        self._do(MAKE_ACCOUNT, given)

    def _do(self, body: str, *arguments: Any) -> Any:
        assert self._driven is not None
        return self._driven.script(MODULES + body, *arguments)

    # --- what a person does ---------------------------------------------------------------------------------

    def open_inbox(self) -> None:
        self._do(OPEN_INBOX)

    def folders(self) -> dict[str, str]:
        """Each folder's role, "" for none."""
        found = self._do(LIST_FOLDERS)
        return {name: next((role for flag, role in ROLES.items() if flags & flag), "") for name, flags in found}

    def inbox(self) -> list[str]:
        """The subjects that it shows now; nothing is asked of the server for it."""
        return list(self._do(LIST_INBOX))

    def sees(self, subject: str) -> None:
        eventually(lambda: subject in self.inbox(), f"{subject!r} in Thunderbird's inbox", every=0.1)

    def send(self, to: str, subject: str, body: str, *, bcc: str = "", file: Path | None = None) -> None:
        """Returns when it has been sent and Thunderbird has put its copy where it wants it."""
        given = {"to": to, "subject": subject, "body": body, "bcc": bcc, "file": file and str(file)}
        self._do(COMPOSE, given)

    def reply(self, subject: str) -> None:
        """To the message of that subject in the inbox, with nothing but the quotation."""
        self._do(COMPOSE, {"answers": subject})
