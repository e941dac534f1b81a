"""Which recovery points a system's retention has no use for now."""

from __future__ import annotations

from dr.plan.plan import Plan
from dr.run.points.retention import expired
from dr.session import Session


def expired_now(session: Session, plan: Plan) -> set[str]:
    """Return the run ids of the points that may go by the plan's retention; none while it is frozen, or on hold."""
    catalog, system, now = session.catalog, plan.system, session.clock()
    holds = [hold for hold in catalog.holds(system) if hold.holds(now)]
    if catalog.retention_frozen(system) or any(hold.point is None for hold in holds):
        return set()
    return expired(plan, catalog.points([system])) - {hold.point for hold in holds if hold.point}
