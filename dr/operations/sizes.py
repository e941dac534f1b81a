"""Keeping how large repositories are, and how they grow, on targets whose files declare a bound.

Done once a listing is on record, so that the board can tell how much room is left without reading a year of records.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from dr.catalog.values import SIZE
from dr.evidence.fact import Fact
from dr.evidence.size import Growth, KnownSize, Observation
from dr.queries.rooms import WHOLE, room_of
from dr.report.bounds import BOUNDS, Rated
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.target import Target

#: Growth is of weeks: a year of records is read no more often than this.
_AGAIN = timedelta(hours=20)


def keep_size(session: Session, record: Fact, system: str) -> None:
    """Keep what the last listing of a record's target showed, if the target declares a bound, and what follows."""
    name = str(getattr(record, "target", ""))
    target = session.declarations.targets.get(name)
    if target is None or not (target.capacity or target.budget):
        return
    from dr.queries.forecast import seen_in

    if (seen := seen_in(record)) is None:
        return
    before = KnownSize.of(session.catalog.memory(system, name + SIZE) or "")
    if before and before.reckoned and timedelta() <= seen.at - before.reckoned < _AGAIN:
        kept = KnownSize(seen=seen, growth=before.growth, reckoned=before.reckoned)
    else:
        kept = KnownSize(seen=seen, growth=_growth(session, system, name), reckoned=seen.at)
    session.catalog.remember(system, name + SIZE, kept.to_json())
    _keep_whole(session, target, seen)


def _growth(session: Session, system: str, target: str) -> Growth | None:
    from dr.queries.forecast import observations
    from dr.report.growth import growth, sound

    return growth(sound(observations(session, system, target), session.clock()))


def _keep_whole(session: Session, target: Target, seen: Observation) -> None:
    """Keep what the target costs beside what it stores, and since when a bound is near."""
    if (room := room_of(session, target, target.target)) is None:
        return
    room = replace(room, rated=_rated(session, target, room.stored) if target.budget else None)
    known = room.since or {}
    kept: dict[str, object] = {name: (known.get(name) or seen.at).isoformat() for name in BOUNDS if room.near(name)}
    kept["rated"] = asdict(room.rated) if room.rated else None
    session.catalog.remember(WHOLE, target.target, json.dumps(kept))


def _rated(session: Session, target: Target, stored: int) -> Rated | None:
    from dr.queries.forecast import monthly_cost

    found = monthly_cost(session, target, stored)
    if found is None or target.prices is None:
        return None
    return Rated(of_a_byte=target.prices.of_storage(1), beside=found.now - found.storage, currency=found.currency)
