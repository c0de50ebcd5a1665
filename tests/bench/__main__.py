"""Figures: what sending and reading cost through proxyd, as against direct. `make bench`, or
`python -m tests.bench [sending|reading|delivery|many|watching|records|start|troubles] [its arguments]`; without a word,
all in full but for the troubles, which take twenty minutes.

    sending   starts servers and the daemon, has the load made, prints the table
    delivery  how many messages a second go from the outbox into a CRM
    start     how soon the daemon is there, and what it weighs at rest
    records   a page of a timeline and of a search among 100,000 logged messages
    load      the mail clients that send: a process of its own, blocking sockets, octets made beforehand
    sink      the provider's SMTP server where nothing else is wanted: TLS, AUTH, takes everything, keeps nothing
    reading   the same for IMAP: bodies, headers, signing in, idle connections; also through nginx's mail proxy
    reader    the mail client that reads: likewise a process of its own
    many      forty accounts, three of them in trouble: whether the others notice
    troubles  what goes wrong with a provider: how soon status shows it, what clients hear, how soon the cure cures
    watching  mailboxes that wait, how soon an answer is logged, catching up
    parked    a process that holds mailboxes
    nginx     nginx's mail proxy, and the server that it asks for the way

Nothing is asserted: a machine that is busy with something else tells nothing about the program.
"""

import sys

from tests.bench import delivery, many, reading, records, sending, start, troubles, watching

PARTS = {
    "delivery": delivery.main,
    "sending": sending.main,
    "reading": reading.main,
    "many": many.main,
    "watching": watching.main,
    "records": records.main,
    "start": start.main,
    "troubles": troubles.main,
}

if len(sys.argv) > 1 and sys.argv[1] in PARTS:
    PARTS[sys.argv.pop(1)]()
elif len(sys.argv) > 1 and sys.argv[1] not in ("-h", "--help"):
    sys.exit(f"python -m tests.bench [{'|'.join(PARTS)}] [arguments]: {sys.argv[1]!r} is none of them")
else:
    for name, part in PARTS.items():
        if name != "troubles":
            part()
