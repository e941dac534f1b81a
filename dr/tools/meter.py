"""A meter between this program and one target: the requests that were made there, and the bytes that passed.

It counts where something passes, and nothing else: every request that went out, and the bytes in the bodies of those
that were taken, and of the answers to them; no headers, and not what a refusal says. What restic sends and fetches
passes no meter of ours. Counting costs about a microsecond a request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Literal

from dr.late_dataclass import dataclass

#: As price lists have them: what writes, what lists, what reads, what removes.
RequestClass = Literal["write", "list", "read", "delete"]


@dataclass
class Passed:
    """What passed: requests by class, bytes in their bodies and in the answers."""

    write: int = 0
    list: int = 0
    read: int = 0
    delete: int = 0
    sent: int = 0
    received: int = 0

    def __bool__(self) -> bool:
        """Whether anything did."""
        return any(vars(self).values())


_PLACE: dict[str, int] = {"write": 0, "list": 1, "read": 2, "delete": 3}


class Meter:
    """Counts what passes to and from one target. Safe for many threads."""

    def __init__(self) -> None:
        self._guard, self._counts = threading.Lock(), [0] * 6

    def request(self, kind: RequestClass, *, sent: int = 0, received: int = 0) -> None:
        """Count one request that reached the target, or may have, with the bytes of its body and of its answer."""
        with self._guard:
            counts = self._counts
            counts[_PLACE[kind]] += 1
            counts[4] += sent
            counts[5] += received

    def passed(self, *, sent: int = 0, received: int = 0) -> None:
        """Count bytes alone."""
        with self._guard:
            self._counts[4] += sent
            self._counts[5] += received

    def taking(self, blocks: Iterable[bytes], kind: RequestClass | None = None) -> Iterator[bytes]:
        """Yield what is read from the target, and count it, also where the reader stops amid it.

        With a `kind` the request that it answers is counted too.
        """
        size = 0
        try:
            for block in blocks:
                size += len(block)
                yield block
        finally:
            if kind:
                self.request(kind, received=size)
            else:
                self.passed(received=size)

    def take(self) -> Passed:
        """Return what passed since this was last asked."""
        with self._guard:
            counts, self._counts = self._counts, [0] * 6
        return Passed(*counts)
