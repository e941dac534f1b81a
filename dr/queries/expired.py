"""Which recovery points a system's retention has no use for now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dr.evidence.acts import Expiration
from dr.evidence.record import Point
from dr.plan.declarations import Loaded
from dr.run.points.retention import expired
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.plan import Plan


def expired_now(session: Session, plan: Plan) -> set[str]:
    """Return the run ids of the points that may go by the plan's retention; none while it is frozen, or on hold."""
    catalog, system, now = session.catalog, plan.system, session.clock()
    holds = [hold for hold in catalog.holds(system) if hold.holds(now)]
    if catalog.retention_frozen(system) or any(hold.point is None for hold in holds):
        return set()
    return expired(plan, catalog.points([system])) - {hold.point for hold in holds if hold.point}


def unwanted(session: Session, plan: Plan) -> set[str]:
    """Return the run ids of the points that no target needs to be brought: expired, also while retention is frozen."""
    catalog, now = session.catalog, session.clock()
    held = {hold.point for hold in catalog.holds(plan.system) if hold.point and hold.holds(now)}
    return expired(plan, catalog.points([plan.system])) - held


def missed_by(session: Session, plan: Plan, target: str) -> list[Point]:
    """Return the complete points that a target lacks, newest first.

    But not those that the plan's retention has no use for: they may have been taken away there.
    """
    missing = session.catalog.missing_on(plan.system, target)
    useless = unwanted(session, plan) if missing else set()
    return [point for point in missing if point.run_id not in useless]


def still_there(session: Session, items: Sequence[Loaded]) -> list[Point]:
    """Return the points of some systems, newest first, without those that expired wherever they were."""
    points = session.points(*items)
    if all(point.copies for point in points):
        return points
    records = session.catalog.facts(("expire",), systems=[item.plan.system for item in items])
    facts = [record.fact for record in records]
    gone = {point.run_id for fact in facts if isinstance(fact, Expiration) for point in fact.expired}
    return [point for point in points if point.copies or point.run_id not in gone]
