"""A session bus of the tests' own, and a desktop on it that shows notifications."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jeepney import new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import unwrap_msg


@contextmanager
def session_bus() -> Iterator[str]:
    """The address of a real dbus-daemon."""
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            yield daemon.stdout.readline().strip()
        finally:
            daemon.terminate()


@contextmanager
def desktop(address: str) -> Iterator[queue.Queue[tuple[Any, ...]]]:
    """Takes notifications; what was shown comes out of the queue."""
    shown: queue.Queue[tuple[Any, ...]] = queue.Queue()
    with open_dbus_connection(address) as bus:
        unwrap_msg(bus.send_and_get_reply(message_bus.RequestName("org.freedesktop.Notifications")))

        def answer() -> None:
            while True:
                try:
                    asked = bus.receive(timeout=60)
                except (TimeoutError, OSError, ConnectionError, ValueError):
                    return
                if asked.header.message_type.name != "method_call":
                    continue
                shown.put(asked.body)
                bus.send(new_method_return(asked, "u", (7,)))
                if asked.body[3] == "goodbye":
                    return

        serving = threading.Thread(target=answer, daemon=True)
        serving.start()
        yield shown
        with open_dbus_connection(address) as other:
            from proxyd.daemon import desktop as ours

            other.send(ours._call(ours._PLACE, "Notify", "susssasa{sv}i", ("", 0, "", "goodbye", "", [], {}, -1)))
            serving.join(10)
