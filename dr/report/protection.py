"""Until when recovery points are protected by locks, and from when they can lawfully be destroyed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from dr.evidence.record import Copy, Point


@dataclass(frozen=True)
class Guard:
    """The strongest lock on one point: of which mode, on which target, until when. None: no lock is known."""

    point: Point
    copy: Copy | None
    destroyable_from: datetime | None

    def in_words(self, now: datetime) -> str:
        """Say it with mode and date, or that there is none."""
        if self.copy is None or self.copy.protected_until is None:
            return "not protected by a lock"
        day = f"{self.copy.protected_until:%Y-%m-%d}"
        if self.copy.protected_until <= now:
            return f"not protected: its lock on {self.copy.target} ran out on {day}"
        return f"{self.copy.lock_mode} lock on {self.copy.target} until {day}"


def guard_of(point: Point) -> Guard:
    """Return a point's guard: of its usable copies the one whose lock runs out last."""
    locked = [copy for copy in point.usable if copy.protected_until]
    best = max(locked, key=lambda copy: copy.protected_until or point.finished, default=None)
    return Guard(point, best, destroyable_from(point))


def destroyable_from(point: Point) -> datetime | None:
    """Return the earliest moment at which its last copy can be destroyed whole, as locked now.

    Each backup moves it on for what its points share. None: no copy has a lock, and it can be destroyed at any time.
    """
    return max((copy.locked_until for copy in point.copies if copy.locked_until), default=None)


def guards(points: Iterable[Point]) -> Sequence[Guard]:
    """Return the guards of complete points, newest first."""
    whole = [point for point in points if point.complete]
    return [guard_of(point) for point in sorted(whole, key=lambda point: point.consistency_time, reverse=True)]
