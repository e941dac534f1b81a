"""The year ahead of a system's retention: what stays and what goes, day by day, by what a target was seen to list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dr.evidence.acts import Hold
from dr.evidence.record import Point
from dr.evidence.seal import encode
from dr.late_dataclass import dataclass
from dr.run.expiry.calendar import Day, calendar
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.plan import Plan


#: A hold without an end.
_FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Year:
    """One target's year ahead."""

    system: str
    target: str
    days: tuple[Day, ...]
    on_hold: tuple[str, ...] = ()  # the holds on all points of the system

    def document(self) -> dict[str, Any]:
        """Return it as `dr points --calendar` has it. `run_id` is null for a point that is still to be made."""
        days = [
            {
                "day": f"{each.day:%Y-%m-%d}",
                "made": each.made,
                "stay": each.stay,
                "goes": [
                    {"run_id": x.run_id or None, "consistency_time": encode(x.consistency_time), "why": x.why}
                    for x in each.goes
                ],
            }
            for each in self.days
        ]
        return {"system": self.system, "target": self.target, "days": days, "on_hold": list(self.on_hold)}


def year_of(plan: Plan, target: str, points: Sequence[Point], *, holds: Sequence[Hold], now: datetime) -> Year:
    """Return the year ahead of what is on record at one target."""
    in_force = [hold for hold in holds if hold.holds(now)]
    held = {hold.point for hold in in_force if hold.point}
    of_all = [hold.until or _FAR for hold in in_force if not hold.point]
    there = [point for point in points if any(copy.target == target for copy in point.usable)]
    days = calendar(plan, there, now=now, held=held, all_held=max(of_all, default=None))
    return Year(plan.system, target, tuple(days), tuple(hold.hold_id for hold in in_force if not hold.point))


def years(session: Session, plan: Plan) -> list[Year]:
    """Return the year ahead of every target that backups write to, by what is on record."""
    points, holds = session.catalog.points([plan.system]), session.catalog.holds(plan.system)
    now = session.clock()
    return [year_of(plan, name, points, holds=holds, now=now) for name in plan.targets]
