"""A notification on the person's desktop, by D-Bus (Desktop Notifications Specification 1.2).

Why not notify-send: what is told would stand in the process list for everybody on the machine.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, new_method_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import unwrap_msg

from proxyd.errors import TryLater

LIMIT = 5.0  # seconds
_CRITICAL, _NORMAL = b"\x02", b"\x01"
_NAME = "org.freedesktop.Notifications"
_address: Any = DBusAddress  # the library has no types
_call: Any = new_method_call
_PLACE = _address("/org/freedesktop/Notifications", bus_name=_NAME, interface=_NAME)


def notify(title: str, text: str, *, urgent: bool) -> None:
    """Blocks. Raises TryLater where nobody sits at a desktop of this user's."""
    address = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or _usual_place()
    if not address:
        raise TryLater("there is no desktop session of this user's")
    hints = {"urgency": ("y", (_CRITICAL if urgent else _NORMAL)[0]), "desktop-entry": ("s", "proxyd")}
    # The text may be shown with markup, and part of it is a stranger's.
    body: tuple[Any, ...] = ("proxyd", 0, "mail-unread", title, escape(text, quote=False), [], hints, -1)
    try:
        with open_dbus_connection(address) as bus:
            said = bus.send_and_get_reply(_call(_PLACE, "Notify", "susssasa{sv}i", body), timeout=LIMIT)
            unwrap_msg(said)
    except Exception as error:  # the library's own, the system's: all of them mean that nobody saw it
        raise TryLater(f"the desktop took no notification ({type(error).__name__})") from None


def _usual_place() -> str:
    path = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere")) / "bus"
    return f"unix:path={path}" if path.exists() else ""
