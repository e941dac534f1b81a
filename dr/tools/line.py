"""The line to the targets: so many bytes a second that this process may send and fetch, shared by all its threads.

restic keeps to a rate by itself (`Throttle`); what this program moves by itself, to prove and to replicate, passes
here. Which work is held to a rate is known by a context variable: what brings data back never is.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from typing import TYPE_CHECKING

from dr.late_dataclass import dataclass
from dr.tools import command

if TYPE_CHECKING:
    from http.client import HTTPResponse

#: A pause is taken in pieces, so that a Ctrl-C is heard; seconds.
_PIECE = 0.2
#: So many pieces of what is read pass in a second, so that no connection of many waits long for its next one.
_PIECES = 32
_SMALLEST = 4096


@dataclass
class Pace:
    """A rate in bytes a second. What passes waits until what passed before would have come through at that rate."""

    rate: int
    _free_at: float = 0.0
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def pass_on(self, size: int) -> None:
        """Return when `size` bytes more may have passed. Raises an interruption when the work is to stop."""
        with self._guard:
            until = self._free_at = max(self._free_at, time.monotonic()) + size / self.rate
        while (left := until - time.monotonic()) > 0:
            command.raise_if_stopping()
            time.sleep(min(left, _PIECE))


@dataclass(frozen=True)
class _Line:
    up: Pace | None = None
    down: Pace | None = None


_ALL_THERE_IS = _Line()
_line: contextvars.ContextVar[_Line] = contextvars.ContextVar("line", default=_ALL_THERE_IS)
#: One for each rate and direction: it is the same line for all systems at work.
_paces: dict[tuple[int, str], Pace] = {}


@contextlib.contextmanager
def held_to(*, upload: int | None, download: int | None) -> Iterator[None]:
    """Do what follows at these rates at most (bytes a second; None for all there is), in carried threads too."""
    token = _line.set(_Line(_pace(upload, "up"), _pace(download, "down")))
    try:
        yield
    finally:
        _line.reset(token)


def _pace(rate: int | None, way: str) -> Pace | None:
    return _paces.setdefault((rate, way), Pace(rate)) if rate else None


def sending(size: int) -> None:
    """Wait until so many bytes may be sent."""
    if pace := _line.get().up:
        pace.pass_on(size)


def fetched(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what is fetched, no faster than it may come: who sends it is held back by the connection."""
    pace = _line.get().down
    for block in blocks:
        if pace:
            pace.pass_on(len(block))
        yield block


def pieces(read: Callable[[int], bytes], most: int) -> Iterator[bytes]:
    """Yield what `read`, which is asked for so many bytes, returns until nothing comes, no faster than it may."""
    return fetched(iter(lambda: read(piece(most)), b""))


def body(response: HTTPResponse, most: int) -> Iterator[bytes]:
    """Yield an answer's body, no faster than it may come. Raises `IncompleteRead` where it breaks off.

    Nobody else says so where a body is read part by part, and half an object would be taken for a damaged one.
    """
    yield from pieces(response.read, most)
    if response.length:
        from http.client import IncompleteRead

        raise IncompleteRead(b"", response.length)


def piece(most: int) -> int:
    """Return how many bytes to read at once: `most`, or less where they come slowly."""
    pace = _line.get().down
    return min(most, max(pace.rate // _PIECES, _SMALLEST)) if pace else most
