"""The recovery points on record, and what else was met in the same places."""

from __future__ import annotations

from collections.abc import Sequence

from dr.evidence.record import Point
from dr.plan.declarations import Loaded
from dr.queries.expired import expired_now, still_there
from dr.report.points import ListedPoint, MetThere
from dr.session import Session


def listed(session: Session, items: Sequence[Loaded]) -> list[ListedPoint]:
    """Return the points of systems, newest first."""
    now = session.clock()
    holds = [hold for hold in session.catalog.holds() if hold.holds(now)]
    spent = {run_id for loaded in items for run_id in expired_now(session, loaded.plan)}

    def held(point: Point) -> tuple[str, ...]:
        return tuple(x.hold_id for x in holds if x.system == point.system and x.point in (None, point.run_id))

    return [ListedPoint(point, held(point), point.run_id in spent) for point in still_there(session, items)]


def strangers(session: Session, items: Sequence[Loaded]) -> list[MetThere]:
    """Return what another installation stores in the same places, each once: never used unless a person names it."""
    catalog = session.catalog
    found = [
        MetThere(loaded.plan.system, target, each)
        for loaded in items
        for target in loaded.plan.places
        for each in catalog.strangers(loaded.plan.system, target)
        if each.run_id and not catalog.is_known(each.run_id)
    ]
    unique = {(each.system, each.target, each.stranger.run_id, each.stranger.installation, each.stranger.machine): each
              for each in reversed(found)}  # fmt: skip
    return list(reversed(unique.values()))
