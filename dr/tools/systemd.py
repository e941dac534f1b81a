"""What a service tells systemd of itself (sd_notify(3)): one datagram to the socket that NOTIFY_SOCKET names.

Where there is no such socket nothing is told, and nothing is wrong: the program was not started by systemd.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from dr.errors import DrError

#: systemd reads at once; who does not is not waited for.
_PATIENCE_SECONDS = 10.0


class Notifier:
    """Tells systemd how the service is. Safe for several threads."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self._address = env.get("NOTIFY_SOCKET", "")
        #: How often systemd wants to hear that all is well, in seconds; None where it does not.
        self.watchdog = _watchdog(env)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, *states: str) -> None:
        """Send states such as "READY=1". Raises `DrError` where the socket that is named takes none."""
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
                there.settimeout(_PATIENCE_SECONDS)
                there.connect(address)
                there.sendall("\n".join(states).encode())
        except OSError as error:
            hint = "start it by `systemctl start`, or unset NOTIFY_SOCKET"
            raise DrError("systemd cannot be told", self._address, error.strerror or "", hint=hint) from error

    def watch(self, is_well: Callable[[], bool]) -> None:
        """Send WATCHDOG=1 twice in each interval from now on, as long as `is_well`: else systemd starts it again."""
        if self.watchdog is None or not self._address:
            return

        def beat(every: float) -> None:
            while not self._stop.wait(every):
                if is_well():
                    with suppress(DrError):  # what does not arrive is missed: systemd acts on that
                        self.tell("WATCHDOG=1")

        self._thread = threading.Thread(target=beat, args=(self.watchdog / 2,), daemon=True)
        self._thread.start()

    def stop(self, *states: str) -> None:
        """Tell the last, and end the watchdog. May be called twice."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self.tell(*states)


def _watchdog(env: Mapping[str, str]) -> float | None:
    """Return the interval that systemd asks for, unless it asks another process."""
    given, whom = env.get("WATCHDOG_USEC", ""), env.get("WATCHDOG_PID", "")
    if not given.isdecimal() or int(given) == 0 or (whom and whom != str(os.getpid())):
        return None
    return int(given) / 1e6
