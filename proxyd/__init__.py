"""proxyd: relays a person's mail to their provider and writes the conversations that matter into the CRM.

The house; imports point downwards only, and modules on one line never import each other:

    cli                                the commands a person types
    daemon                             builds every object once, starts and stops them
    relay | watcher | crm | web        they never call each other: they meet in the journal and the tables
    journal                            record(event): the one door to the records
    provider | store                   the account's real servers | our records
    workers | config                   bounded threads, bridges | YAML to frozen objects
    places                             where configuration, records and control socket lie
    rules | formats                    pure decisions | pure readings of mail and wire formats
    model | reported                   the one vocabulary; its page on what machines say about mail
    errors                             named after who must act

`pyproject.toml` holds the same picture for the machine, which checks it in every test run.
"""

__version__ = "0.1.0"
