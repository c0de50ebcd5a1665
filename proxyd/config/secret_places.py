"""Where new secrets go where nobody names a place."""

from __future__ import annotations

from proxyd.config import desktop_keyring


def keyring_works() -> bool:
    """Whether this machine has a keyring. Raises KeyringSilent where it has one that does not answer: what went into a
    file then would be looked for in the keyring by nobody. Blocks up to 5 s."""
    try:
        desktop_keyring.read("proxyd", "a look whether there is a keyring", "the keyring")
    except desktop_keyring.NoKeyring:
        return False
    return True
