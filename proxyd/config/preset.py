"""The providers we know: presets/NAME.yaml, each as a person would spell it out."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType

from proxyd.config.settings import Preset, Provider, ProviderSetting, Server, ServerSetting
from proxyd.config.tree import read_tree, values

FOLDER = Path(__file__).parent / "presets"


@cache
def presets() -> MappingProxyType[str, Preset]:
    """Every preset by its name (the file's)."""
    return MappingProxyType(
        {
            path.name.removesuffix(".yaml"): Preset.model_validate(_plain(path))
            for path in sorted(FOLDER.glob("*.yaml"), key=lambda path: path.stem)
        }
    )


def _plain(path: Path) -> object:
    reading = read_tree(path.read_bytes())
    if reading.root is None or reading.problems:
        raise ValueError(f"{path} is not a preset: {reading.problems}")
    return values(reading.root)


def find(name: str) -> tuple[str, Preset] | None:
    """The preset of that name or by-name, without regard to case."""
    wanted = name.lower()
    for own, preset in presets().items():
        if wanted == own or wanted in preset.also:
            return own, preset
    return None


def names() -> tuple[str, ...]:
    """What `provider:` takes, own names first."""
    known = presets()
    return (*known, *(also for preset in known.values() for also in preset.also))


def resolved(setting: ProviderSetting, name: str = "") -> Provider:
    """The servers with every default worked out."""
    return Provider(
        imap=_server(setting.imap, implicit=993, otherwise=143),
        smtp=_server(setting.smtp, implicit=465, otherwise=587),
        ca=setting.ca,
        files_sent=setting.files_sent,
        connections=setting.connections,
        idle=setting.idle,
        name=name,
    )


def _server(setting: ServerSetting, implicit: int, otherwise: int) -> Server:
    port = setting.port or (implicit if setting.tls == "implicit" else otherwise)
    return Server(host=setting.host, port=port, tls=setting.tls)
