"""Waiting for an event, with the one limit that holds on a very busy machine; no test waits in another way."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds. Whatever takes longer hangs.
LIMIT = 600.0


def soon(condition: Callable[[], object]) -> bool:
    """Whether it comes true before the limit."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
