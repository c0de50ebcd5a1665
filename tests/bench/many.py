"""`python -m tests.bench many`: forty accounts in one daemon, three of them in trouble; do the others notice?

The same people send with and without the three beside them: one whose provider says "not now", one whose provider
never answers, one whose file is broken. A fourth, if wished, has thousands of folders. Printed as a ratio, with what
the daemon weighs.
"""

from __future__ import annotations

import argparse
import smtplib
import ssl
import threading
import time

from tests.bench.sending import Figures, Memory, cpu_seconds, line, ms
from tests.scenarios.rig import CLIENT_PASSWORD, Rig, letter
from tests.scenarios.test_many import AWAY, answering
from tests.servers.mailprovider import CUSTOMER, PASSWORD, PERSON, Provider
from tests.servers.processes import open_folder
from tests.servers.waiting import eventually

QUIET = "sent_copy: {of: nothing}\n"
WAIT = 300.0  # seconds for everybody to be connected


def sent_by(rig: Rig, people: list[str], count: int) -> Figures:
    """One after the other, each connecting, signing in, sending: how long each took."""
    trust = ssl.create_default_context(cafile=str(rig.data / "ca.pem"))
    port, times, begun = rig.port("smtps"), [], time.perf_counter()
    for n in range(count):
        who = people[n % len(people)]
        message = letter(sender=who)
        start = time.perf_counter()
        with smtplib.SMTP_SSL("localhost", port, context=trust, timeout=60) as smtp:
            smtp.login(who, CLIENT_PASSWORD)
            smtp.send_message(message, who, [CUSTOMER])
        times.append(time.perf_counter() - start)
    return Figures(times, time.perf_counter() - begun)


def connected(rig: Rig, people: list[str]) -> None:
    def look() -> bool:
        states = {each["address"]: each["state"] for each in rig.status()["accounts"]}
        return all(states.get(each) == "connected" for each in people)

    eventually(look, f"{len(people)} accounts to be connected", within=WAIT, every=1)


def make_folders(provider: Provider, count: int) -> None:
    with provider.dovecot.imap(PERSON) as imap:
        for n in range(count):
            imap.create(f"Customers/{n // 100:02d}/{n:05d}")


def main() -> None:
    parser = argparse.ArgumentParser(description="whether one person's trouble slows another down")
    parser.add_argument("--accounts", type=int, default=37, help="that are well")
    parser.add_argument("--count", type=int, default=300, help="of messages, each time")
    parser.add_argument("--folders", type=int, default=0, help="of a fourth account beside the three")
    given = parser.parse_args()
    people = [f"person{n}@example.test" for n in range(given.accounts)]
    discard = {"settings": {"virtual_transport": "discard:", "default_transport": "discard:"}}
    with (
        open_folder() as folder,
        Provider(folder, postfix=discard, more_users=dict.fromkeys(people, PASSWORD)) as provider,
        answering(b"421 4.3.2 too many connections, try again later\r\n") as busy,
        answering(b"") as silent,
    ):
        rig = Rig(folder / "rig", provider)
        (rig.config / "accounts.d/ada.yaml").unlink()
        for n, address in enumerate(people):
            text = provider.account_yaml(address, client_password=rig.client_password, more=QUIET)
            rig.write_account(text, f"person{n}")
        begun = time.perf_counter()
        rig.start()
        started = time.perf_counter() - begun
        try:
            connected(rig, people)
            all_there = time.perf_counter() - begun
            sent_by(rig, people, len(people))  # everybody's first connection
            before = sent_by(rig, people, given.count)
            more = {"password": provider.password_file(), "client": rig.client_password}
            rig.write_account(AWAY.format(address="busy@example.test", port=busy, **more), "busy")
            rig.write_account(AWAY.format(address="silent@example.test", port=silent, **more), "silent")
            rig.write_account("address: broken@example.test\nprovder: nowhere\n", "broken")
            if given.folders:
                make_folders(provider, given.folders)
                rig.write_account(provider.account_yaml(client_password=rig.client_password, more=QUIET))
            rig.run("reload")
            connected(rig, [*people, *([PERSON] if given.folders else [])])
            after = sent_by(rig, people, given.count)
            line("", "alone", "with the three", "ratio", "aim")
            for q, mark in ((0.5, "p50"), (0.95, "p95")):
                a, b = before.quantile(q), after.quantile(q)
                line(f"connect to 250, {len(people)} accounts, {mark}", ms(a), ms(b), f"{b / a:.2f}", "<= 1.2")
            spent = cpu_seconds(rig.pid)
            threading.Event().wait(10)
            idle = (cpu_seconds(rig.pid) - spent) / 10
            size = Memory(rig.pid).now() / 2**20
            line("ready / everybody connected after", f"{started:.1f} s", f"{all_there:.1f} s", "")
            line(f"the daemon at rest with {len(people) + 2} accounts", f"{size:.0f} MiB", f"{idle:.1%} CPU", "")
        finally:
            rig.stop()


if __name__ == "__main__":
    main()
