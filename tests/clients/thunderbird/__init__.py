"""Thunderbird itself, without a screen, driven from outside: `make test-clients`.

marionette     the wire protocol by which it is driven: one JSON document behind its length
thunderbird    a profile with an account, what a person does there, and what it shows
"""
