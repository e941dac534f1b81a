"""What retention keeps and what goes, day by day for the next year: as if each backup came in time. Pure.

Nothing is foreseen of failed backups, suspect points and holds that end: `rules` decides on the day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.plan import cadence
from dr.plan.plan import Plan
from dr.run.points.retention import rules_of

DAYS = 365


@dataclass(frozen=True)
class Leaves:
    """A point that goes: its run id, "" of one still to be made; the rules that kept it until then."""

    run_id: str
    consistency_time: datetime
    rules: tuple[str, ...]

    @property
    def why(self) -> str:
        """Why it goes, in words."""
        return f"no longer kept as {', '.join(self.rules)}" if self.rules else "later ones are kept"


@dataclass(frozen=True)
class Day:
    """One day of the plan's calendar: how many points are made, what goes at its end, and how many stay."""

    day: date
    made: int
    goes: tuple[Leaves, ...]
    stay: int


def calendar(
    plan: Plan,
    points: Sequence[Point],
    *,
    now: datetime,
    held: Collection[str] = (),
    all_held: datetime | None = None,
    days: int = DAYS,
) -> Iterator[Day]:
    """Yield the coming days, today first. `points` are the whole ones at a target, `held` those that stay.

    Until `all_held` nothing goes: the system is on hold.
    """
    zone = ZoneInfo(plan.cadence.timezone)
    there = {point.run_id: point.consistency_time for point in points}
    coming, before = _coming(plan, max(there.values(), default=None), now), dict[str, tuple[str, ...]]()
    upcoming, number = next(coming, None), 0
    for ahead in range(days):
        day = now.astimezone(zone).date() + timedelta(days=ahead)
        end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
        made = 0
        while upcoming is not None and upcoming < end:
            there[f"\0{number:07}"] = upcoming
            upcoming, number, made = next(coming, None), number + 1, made + 1
        kept = rules_of(plan.keeps, there.items(), plan.cadence.timezone)
        may_go = all_held is None or end > all_held
        gone = sorted((at, name) for name, at in there.items() if may_go and name not in kept and name not in held)
        goes = tuple(Leaves("" if name[0] == "\0" else name, at, before.get(name, ())) for at, name in gone)
        for _, name in gone:
            del there[name]
        before = kept
        yield Day(day, made, goes, len(there))


def _coming(plan: Plan, last: datetime | None, now: datetime) -> Iterator[datetime]:
    """Yield when backups are due from now on."""
    if plan.backup_cadence == "never":
        return
    rule = cadence.parse(plan.backup_cadence, plan.cadence.timezone)
    moment = max(now, rule.due(last, now)) if last else now
    while True:
        yield moment
        moment = rule.due(moment, moment)
