"""Ports for throw-away servers: each one's own for as long as this process lives, also while its server is down.

What the system hands out by itself, to whoever asks for any port or connects, lies elsewhere; and a mark that ends
with its process keeps the others who ask here from a port that is given already.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

_HOST = "127.0.0.1"
_LOWEST, _HIGHEST = 10_000, 60_000
_marks: list[socket.socket] = []


def own_ports(count: int) -> list[int]:
    """Return so many ports of 127.0.0.1 on which nobody listens, and which nobody else is given."""
    where = _places()
    found: list[int] = []
    while len(found) < count:
        port = random.choice(where)
        if _marked(port) and _free(port):
            found.append(port)
    return found


def _places() -> range:
    try:
        handed_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        handed_out = 0
    return range(_LOWEST, handed_out if handed_out > 2 * _LOWEST else _HIGHEST)


def _marked(port: int) -> bool:
    """Mark a port as ours; False when somebody has. A name that begins with a zero byte is in no directory."""
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0dr-throw-away-port-{port}")
    except OSError:
        mark.close()
        return False
    _marks.append(mark)
    return True


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True
