"""Where the configuration, the data and the control socket lie.

| what    | user service, or run by hand                           | system service       |
|---------|--------------------------------------------------------|----------------------|
| config  | $XDG_CONFIG_HOME/proxyd (~/.config/proxyd)             | /etc/proxyd          |
| data    | $XDG_DATA_HOME/proxyd (~/.local/share/proxyd)          | $STATE_DIRECTORY     |
| runtime | $XDG_RUNTIME_DIR/proxyd, else the data folder          | $RUNTIME_DIRECTORY   |

systemd sets $STATE_DIRECTORY for the system service. A command that its user or root types finds the service's folders
too, unless they have a configuration of their own. An argument wins over PROXYD_CONFIG and PROXYD_DATA, and they over
the table; where the data folder is named, the control socket lies in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proxyd.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Places:
    """Three folders, absolute; none of them needs to exist yet."""

    config: Path
    data: Path
    runtime: Path

    @property
    def control_socket(self) -> Path:
        return self.runtime / "control.sock"

    def make_data(self) -> None:
        """The data folder, closed to others. Raises ConfigError where it cannot be made or written."""
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the data folder {self.data} cannot be made: {error.strerror}") from None
        if not os.access(self.data, os.W_OK | os.X_OK):
            raise ConfigError(f"the data folder {self.data} cannot be written by this user")


SERVICE = Places(Path("/etc/proxyd"), Path("/var/lib/proxyd"), Path("/run/proxyd"))


def find_places(
    config: Path | None = None, data: Path | None = None, *, env: Mapping[str, str] | None = None
) -> Places:
    """The folders by the table above. Raises ConfigError where a named configuration is missing, or no home."""
    environment = os.environ if env is None else env
    named_config = config or _named(environment, "PROXYD_CONFIG")
    named_data = data or _named(environment, "PROXYD_DATA")
    if named_config is not None and not named_config.is_dir():
        raise ConfigError(f"the configuration's folder {str(named_config)!r} is missing")
    usual = _system(environment) or _of_service(environment) or _user(environment, bool(named_config and named_data))
    return Places(
        config=(named_config or usual.config).absolute(),
        data=(named_data or usual.data).absolute(),
        runtime=(named_data or usual.runtime).absolute(),
    )


def is_system_service(env: Mapping[str, str] | None = None) -> bool:
    """Whether proxyd runs for everybody on the machine, as the table's last column has it."""
    return _system(os.environ if env is None else env) is not None


def _named(env: Mapping[str, str], name: str) -> Path | None:
    return Path(env[name]) if env.get(name) else None


def _system(env: Mapping[str, str]) -> Places | None:
    state = _first(env, "STATE_DIRECTORY")
    if state is None:
        return None
    return Places(SERVICE.config, state, _first(env, "RUNTIME_DIRECTORY") or state)


def _of_service(env: Mapping[str, str]) -> Places | None:
    """For whoever administers the system service: root, or the user that it runs as."""
    try:
        owner = SERVICE.data.stat().st_uid
    except OSError:
        return None
    if os.geteuid() not in (0, owner) or not SERVICE.config.is_dir():
        return None
    try:
        own = _user(env, needless=False)
    except ConfigError:
        return SERVICE
    return None if own.config.is_dir() else SERVICE


def _first(env: Mapping[str, str], name: str) -> Path | None:
    """systemd joins several folders by colons; ours is the first."""
    first = env.get(name, "").partition(":")[0]
    return Path(first) if first else None


def _user(env: Mapping[str, str], needless: bool) -> Places:
    config = _xdg(env, "XDG_CONFIG_HOME")
    data = _xdg(env, "XDG_DATA_HOME")
    runtime = _xdg(env, "XDG_RUNTIME_DIR")
    home = Path("/") if needless or (config and data) else _home(env)
    data_folder = (data or home / ".local/share") / "proxyd"
    return Places(
        config=(config or home / ".config") / "proxyd",
        data=data_folder,
        runtime=runtime / "proxyd" if runtime else data_folder,
    )


def _xdg(env: Mapping[str, str], name: str) -> Path | None:
    """The XDG Base Directory Specification: a path that is not absolute is to be ignored."""
    path = Path(env.get(name) or ".")
    return path if path.is_absolute() else None


def _home(env: Mapping[str, str]) -> Path:
    if env.get("HOME"):
        return Path(env["HOME"])
    try:
        return Path.home()
    except RuntimeError:
        raise ConfigError("no home folder is known; name the folders by --config and --data") from None
