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
from dr.plan.retention import Retention

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
    return set(rules(plan, points))


def rules(plan: Plan, points: Iterable[Point]) -> dict[str, tuple[str, ...]]:
    """Return by run id which rules of the plan's retention keep a point: "last", "daily", "weekly" and so on.

    As `kept`: only what is kept is named.
    """
    known, found = list(points), dict[str, tuple[str, ...]]()
    for whole in ((p for p in known if p.complete), (p for p in known if p.complete or p.lost)):
        times = [(point.run_id, point.consistency_time) for point in whole]
        for run_id, names in rules_of(plan.keeps, times, plan.cadence.timezone).items():
            found[run_id] = tuple(dict.fromkeys((*found.get(run_id, ()), *names)))
    return found


def rules_of(wanted: Retention, points: Iterable[tuple[str, datetime]], timezone: str) -> dict[str, tuple[str, ...]]:
    """Return by name which rules keep each of some points, given by name and consistency time; not the others."""
    zone, found = ZoneInfo(timezone), dict[str, tuple[str, ...]]()
    newest_first = sorted(points, key=lambda pair: (pair[1], pair[0]), reverse=True)
    local = [(name, at.astimezone(zone)) for name, at in newest_first]
    for name, _ in local[: wanted.last]:
        found[name] = ("last",)
    for rule, period in _PERIODS.items():
        newest: dict[tuple[int, ...], str] = {}
        for name, at in local:
            newest.setdefault(period(at), name)
        for name in list(newest.values())[: getattr(wanted, rule)]:
            found[name] = (*found.get(name, ()), rule)
    return found


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
