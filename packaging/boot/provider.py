"""The demo's mail provider as a process of its own, for people named on the command line: ADDRESS=PASSWORD...

Prints the account files' `provider:` line for it, then serves until it is ended.
"""

import sys
import threading

from proxyd.cli.demo_provider import HOST, DemoProvider, Person

people = [Person(address, "", password) for address, _, password in (each.partition("=") for each in sys.argv[1:])]
provider = DemoProvider(tuple(people))
provider.start()
servers = {"imap": provider.imap_port, "smtp": provider.smtp_port}
said = ", ".join(f"{name}: {{host: {HOST}, port: {port}, tls: none}}" for name, port in servers.items())
sys.stdout.write(f"provider: {{{said}}}\n")
sys.stdout.flush()
threading.Event().wait()
