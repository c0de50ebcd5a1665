"""Figures: what sending costs through proxyd, as against direct. `make bench`, or `python -m tests.bench.sending`.

    sending   starts servers and the daemon, has the load made, prints the table
    load      the mail clients: a process of its own, blocking sockets, octets made beforehand
    sink      the provider's SMTP server where nothing else is wanted: TLS, AUTH, takes everything, keeps nothing

Nothing is asserted: a machine that is busy with something else tells nothing about the program.
"""
