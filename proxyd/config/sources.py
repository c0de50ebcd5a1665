"""Where a secret can lie: never in the configuration itself.

And `Section`, which every mapping of the configuration is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from proxyd.config.fields import WORD_TAG, CredentialName, FilePath, Word


class Section(BaseModel):
    """A mapping of the configuration: frozen, no unknown key, nothing converted in silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class Env(Section):
    """A secret in an environment variable of the daemon."""

    env: Word = Field(description="The variable's name.")


class SecretFile(Section):
    """A secret that is the one line of a file, which nobody but the daemon's user may read (mode 0600)."""

    file: FilePath = Field(description="The file; a relative path is meant from the configuration's folder.")


class Command(Section):
    """A secret that is the first line a program prints."""

    command: tuple[Word, ...] = Field(
        min_length=1, description="The program and its arguments, as a list; no shell is involved."
    )


class Credential(Section):
    """A secret that systemd hands over (LoadCredential=, LoadCredentialEncrypted=)."""

    credential: CredentialName = Field(description="The credential's name.")


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """A secret in the desktop's keyring, e.g. user `ada@example.com/mail`."""

    user: str
    service: str = "proxyd"


Source = KeyringEntry | Env | SecretFile | Command | Credential

SOURCES = "keyring, {env: NAME}, {file: FILE}, {command: [PROGRAM, ARGUMENT]} or {credential: NAME}"
_SOURCE_KEYS = ("env", "file", "command", "credential")


def _source_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return WORD_TAG
    if isinstance(value, dict):
        return next((f"\0{key}" for key in _SOURCE_KEYS if key in value), None)
    return next((f"\0{key}" for key in _SOURCE_KEYS if hasattr(value, key)), None)


SourceSetting = Annotated[
    Annotated[Literal["keyring"], Tag(WORD_TAG)]
    | Annotated[Env, Tag("\0env")]
    | Annotated[SecretFile, Tag("\0file")]
    | Annotated[Command, Tag("\0command")]
    | Annotated[Credential, Tag("\0credential")],
    Discriminator(
        _source_kind,
        custom_error_type="shape",
        custom_error_message="{accepted}",
        custom_error_context={"accepted": SOURCES},
    ),
]
