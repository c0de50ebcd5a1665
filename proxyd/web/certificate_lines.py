"""What a person types where proxyd cannot do it itself: a certificate authority trusted, and no longer trusted."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

KEYCHAIN = "~/Library/Keychains/login.keychain-db"  # the person's own: no administrator is asked


def windows_install(file: str) -> str:
    return f'certutil -addstore -user Root "{file}"'


def windows_remove(sha1: str) -> str:
    return f"certutil -delstore -user Root {sha1}"


def macos_install(file: str) -> str:
    return f"security add-trusted-cert -r trustRoot -k {KEYCHAIN} {shlex.quote(file)}"


def macos_remove(sha1: str) -> str:
    return f"security delete-certificate -Z {sha1} -t {KEYCHAIN}"


def debian_install(file: Path, target: Path, older: Sequence[Path], update: str) -> str:
    """`update` is the whole update-ca-certificates command; `older` are ours that `target` takes the place of."""
    removed = [shlex.join(["sudo", "rm", "-f", *map(str, older)])] if older else []
    copied = shlex.join(["sudo", "install", "-D", "-m", "644", str(file), str(target)])
    return " && ".join([*removed, copied, f"sudo {update}"])


def debian_remove(ours: Sequence[Path], update: str) -> str:
    return f"{shlex.join(['sudo', 'rm', '-f', *map(str, ours)])} && sudo {update}"


def p11_install(file: Path) -> str:
    """Fedora, Arch, openSUSE and whatever else has p11-kit."""
    return f"sudo trust anchor --store {shlex.quote(str(file))}"


def p11_remove(file: Path) -> str:
    return f"sudo trust anchor --remove {shlex.quote(str(file))}"


def nss_install(folder: Path, nickname: str, file: Path) -> str:
    return shlex.join(["certutil", "-A", "-d", f"sql:{folder}", "-n", nickname, "-t", "C,,", "-i", str(file)])
