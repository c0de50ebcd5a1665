"""Real mail clients from Debian, each doing its usual job: once at the provider itself, once through proxyd.

place        where a client is pointed at, and `command`, which runs one
conftest     the fixture `place`: a test that asks for it runs at both kinds of place, with one set of expectations
thunderbird  Thunderbird, driven from outside; started by `make test-clients` alone
"""
