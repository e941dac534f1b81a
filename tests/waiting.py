"""Waiting for an event, with the one limit that holds on a very busy machine; no test waits in another way."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Seconds. Whatever takes longer hangs.
LIMIT = 600.0


def soon(condition: Callable[[], object]) -> bool:
    """Whether it comes true before the limit."""
    deadline = time.monotonic() + LIMIT
    while (began := time.monotonic()) < deadline:
        if condition():
            return True
        asked = time.monotonic() - began
        time.sleep(min(max(0.02, 2 * asked), 0.2))  # what it takes to ask is taken from those who are waited for
    return bool(condition())
