"""What a person types where proxyd cannot do it itself: a certificate authority trusted, and no longer trusted."""

from __future__ import annotations

import shlex

KEYCHAIN = "~/Library/Keychains/login.keychain-db"  # the person's own: no administrator is asked


def windows_install(file: str) -> str:
    return f'certutil -addstore -user Root "{file}"'


def windows_remove(sha1: str) -> str:
    return f"certutil -delstore -user Root {sha1}"


def macos_install(file: str) -> str:
    return f"security add-trusted-cert -r trustRoot -k {KEYCHAIN} {shlex.quote(file)}"


def macos_remove(sha1: str) -> str:
    return f"security delete-certificate -Z {sha1} -t {KEYCHAIN}"
