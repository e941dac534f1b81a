"""The live place of files, on whichever host it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, Self

from dr.evidence.manifest import Entry
from dr.plan.host import SshHost
from dr.run.recovery.place.live import Judged, LivePlace


class LiveFiles(Protocol):
    """The place of one source, by the paths that its plan declares: on this host or another; a context.

    `uid` is the number of the user that we are there.
    """

    uid: int

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """Close what is open."""

    def leave(self) -> None:
        """Close what is open; it may be used again."""

    def judged(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Judged]]:
        """Yield what lies where each entry was, by its kind, content and rights. Raises `DrError` of another host."""


def place_of(bases: Iterable[str], declared: SshHost | None, *, attributes: bool = True) -> LiveFiles:
    """Return the live place of a source. Raises `DrError` where another host does not answer, or runs no programs."""
    if declared is None:
        return LivePlace(bases, attributes=attributes)
    from dr.run.recovery.place.live_there import LivePlaceThere

    return LivePlaceThere(declared, bases, attributes=attributes)
