"""Until when recovery points are protected by locks, and from when they can lawfully be destroyed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from dr.evidence.posture import TargetPosture
from dr.evidence.record import Copy, Point
from dr.late_dataclass import dataclass
from dr.report.phrases import counted, day


@dataclass(frozen=True)
class Guard:
    """The strongest lock on one point: of which mode, on which target, until when. None: no lock is known."""

    point: Point
    copy: Copy | None
    destroyable_from: datetime | None

    def in_words(self, now: datetime) -> str:
        """Say it with mode and date, or that there is none."""
        if self.copy is None or self.copy.protected_until is None:
            return "not protected by a known lock"
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


@dataclass(frozen=True)
class GuardRow:
    """One point as the report tells of it."""

    at: datetime
    system: str
    protected: str
    destroyable: str


def guard_rows(points: Iterable[Point], now: datetime) -> tuple[GuardRow, ...]:
    """Return a row for each complete point, newest first; none when no point ever had a lock."""
    found = guards(points)
    if not any(guard.copy for guard in found):
        return ()
    return tuple(
        GuardRow(guard.point.consistency_time, guard.point.system, guard.in_words(now), _free(guard, now))
        for guard in found
    )


def _free(guard: Guard, now: datetime) -> str:
    free = guard.destroyable_from
    return f"from {day(free)}" if free and free > now else "at any time"


def posture_in_words(posture: TargetPosture | None) -> tuple[str, ...]:
    """Say how the target of a drill was kept: first a summary, then each grave finding."""
    if posture is None:
        return ("not looked at",)
    if posture.error:
        way_on = f"; {posture.error_hint}" if posture.error_hint else ""
        return (f"{posture.target} could not be looked at: {posture.error}{way_on}",)
    tries = posture.probe.attempts if posture.probe else ()
    found = [(f.severity, f"{f.what}: {f.observed}") for f in posture.findings]
    found += [(a.severity, f"could {a.what}: {a.observed}") for a in tries if a.outcome == "allowed"]
    found += [(a.severity, f"{a.what}: not tried: {a.observed}") for a in tries if a.outcome == "not tried"]
    grave = [f"{level}: {text}" for wanted in ("high", "medium") for level, text in found if level == wanted]
    said = f"{posture.target}: {counted(len(grave), 'grave finding') if grave else 'no grave finding'}"
    if posture.probe:
        held = sum(attempt.outcome == "refused" for attempt in tries)
        said += (
            f"; its keys were tried on {day(posture.probe.tried)}: {held} of {counted(len(tries), 'attempt')} refused"
        )
    return (said, *grave)
