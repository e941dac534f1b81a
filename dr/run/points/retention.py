"""What a plan's retention keeps, and what it has no use for any more. Pure.

Of each day, week, month and year that has a point, the newest is kept, as far back as the plan says; and the last
few in any case. Only what a recovery could use counts: a failed run pushes nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from dr.evidence.record import Point
from dr.plan.plan import Plan

_PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "daily": lambda at: (at.year, at.month, at.day),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: (at.year,),
}


def kept(plan: Plan, points: Iterable[Point]) -> set[str]:
    """Return the run ids of the points that the plan's retention keeps, by the calendar of its time zone.

    A point that a target lost is still wanted, so that its loss does not pass for retention; and it pushes out no
    other that is there.
    """
    known = list(points)
    return _kept(plan, (p for p in known if p.complete)) | _kept(plan, (p for p in known if p.complete or p.lost))


def _kept(plan: Plan, points: Iterable[Point]) -> set[str]:
    whole = sorted(points, key=lambda p: (p.consistency_time, p.run_id), reverse=True)
    wanted = {point.run_id for point in whole[: plan.retention.last]}
    zone = ZoneInfo(plan.cadence.timezone)
    for name, period in _PERIODS.items():
        newest: dict[tuple[int, ...], str] = {}
        for point in whole:
            newest.setdefault(period(point.consistency_time.astimezone(zone)), point.run_id)
        wanted |= set(list(newest.values())[: getattr(plan.retention, name)])
    return wanted


def expired(plan: Plan, points: Iterable[Point]) -> set[str]:
    """Return the run ids of the points that the plan's retention has no use for.

    One that failed is of no use once a whole one came. While no point can be used, nothing is spent.
    """
    known = list(points)
    wanted = kept(plan, known)
    newest = max((p.consistency_time for p in known if p.complete and p.run_id in wanted), default=None)
    return {
        point.run_id
        for point in known
        if point.run_id not in wanted and newest and (point.complete or point.lost or point.consistency_time < newest)
    }
