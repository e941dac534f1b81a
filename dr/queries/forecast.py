"""What targets are going to hold and to cost, from the record alone: no target is asked."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from dr.evidence.fact import Fact, identity
from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.seal import Stored
from dr.evidence.size import Observation
from dr.plan.declarations import Loaded
from dr.plan.target import Target
from dr.report.forecast import Cost, Forecast, History, forecast
from dr.report.growth import HISTORY
from dr.session import Session

#: The kinds of records that tell how large a repository was when it was listed.
KINDS = ("verify", "expire", "prune")


def forecasts(session: Session, items: Sequence[Loaded], *, target: str = "") -> list[Forecast]:
    """Return what is to be expected of each target of some systems, or of one, by name."""
    now, systems = session.clock(), [each.plan.system for each in items]
    stored = session.catalog.stored(KINDS, systems=systems, since=now - HISTORY)
    return of_records(session, items, stored, session.catalog.traffic(systems), target=target)


def of_records(
    session: Session,
    items: Sequence[Loaded],
    records: Iterable[Stored],
    traffic: Iterable[MonthlyTraffic],
    *,
    target: str = "",
) -> list[Forecast]:
    """Return the same from records, and sums of traffic, that were read already."""
    now, targets = session.clock(), session.declarations.targets
    seen, freed = _sizes(records)
    moved: defaultdict[tuple[str, str], list[MonthlyTraffic]] = defaultdict(list)
    for row in traffic:
        moved[row.system, row.target].append(row)
    asked = {item.plan.system: item.plan.places for item in items}
    names = sorted({name for places in asked.values() for name in places if target in ("", name)})
    found = []
    for name in names:
        here = [system for system, places in asked.items() if name in places]
        histories = [
            History(
                system=system,
                seen=seen.get((system, name), ()),
                freed=freed.get((system, name), ()),
                traffic=moved.get((system, name), ()),
            )
            for system in here
        ]
        found.append(forecast(targets[name], histories, now=now, others=_others(session, name, here)))
    return found


def observations(session: Session, system: str, target: str) -> Sequence[Observation]:
    """Return what the listings of one repository showed in the last year, as they were recorded."""
    records = session.catalog.stored(KINDS, systems=[system], since=session.clock() - HISTORY)
    return _sizes(records)[0].get((system, target), ())


def seen_in(record: Fact) -> Observation | None:
    """Return what one record saw of its repository's size; None where it did not look."""
    kind = identity(record)[0]
    if kind not in KINDS:
        return None
    covered = getattr(record, "coverage", None)
    body = {name: getattr(record, name, None) for name in ("level_asked", "error", "objects", "bytes", "stored_bytes")}
    size = _size(kind, {**body, "coverage": {"bytes": covered.bytes} if covered else None})
    return None if size is None else Observation(record.finished, size)


def monthly_cost(session: Session, target: Target, stored: int) -> Cost | None:
    """Return what a target that stores so much costs in a month, by its prices and the traffic of late."""
    plans = session.declarations.plans
    systems = [name for name, item in plans.items() if target.target in item.plan.places]
    moved = [row for row in session.catalog.traffic(systems) if row.target == target.target]
    one = History(system="", seen=[Observation(session.clock(), stored)], traffic=moved)
    return forecast(target, [one], now=session.clock()).cost


def _others(session: Session, target: str, but: Sequence[str]) -> list[str]:
    """Return the other systems that have copies on a target."""
    plans = session.declarations.plans
    return [name for name, item in plans.items() if target in item.plan.places and name not in but]


_Sizes = Mapping[tuple[str, str], list[Observation]]


def _sizes(records: Iterable[Stored]) -> tuple[_Sizes, _Sizes]:
    """Return by system and target what was there when it was listed, and what prunes removed, as they were recorded."""
    seen: defaultdict[tuple[str, str], list[Observation]] = defaultdict(list)
    freed: defaultdict[tuple[str, str], list[Observation]] = defaultdict(list)
    for record in records:
        body = json.loads(record.text)
        place, at = (record.system, str(body.get("target"))), datetime.fromisoformat(record.at)
        if (size := _size(record.kind, body)) is not None:
            seen[place].append(Observation(at, size))
        if record.kind == "prune" and body.get("freed_bytes"):
            freed[place].append(Observation(at, int(body["freed_bytes"])))
    return seen, freed


def _size(kind: str, body: Mapping[str, Any]) -> int | None:
    """Return the bytes that a record saw there; None where it did not look, or could not."""
    if kind != "verify":
        return body.get("stored_bytes")
    if covered := body.get("coverage"):
        return int(covered["bytes"])
    looked = body.get("level_asked", 0) >= 2 and not body.get("error") and body.get("objects")
    return int(body["bytes"]) if looked else None
