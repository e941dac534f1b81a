"""`dr points`: the recovery points there are; and the way back when the catalog is lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from dr.catalog.values import AdoptedPoint
from dr.errors import CatalogError, DrError
from dr.evidence.record import Rebuild, TargetState
from dr.evidence.seal import Sealed
from dr.orchestrator.session import Session, new_id
from dr.plan.load import Loaded
from dr.run.toolbox import Place
from dr.tools.restic_events import Snapshot


def rebuild(session: Session, items: list[Loaded]) -> Rebuild:
    """Make the catalog again from the targets: evidence first, then points from the snapshots' tags.

    May be called twice. A damaged catalog is moved aside, never deleted. A target that cannot be read
    makes the outcome degraded, and what is known of it is left as it is.
    """
    started = session.clock()
    _move_damaged_aside(session, started)
    places = [(loaded.plan.system, place) for loaded in items for place in session.toolbox(loaded).places]
    states: list[TargetState] = []
    records: dict[str, Sealed] = {}
    found: list[tuple[str, Place, list[AdoptedPoint]]] = []
    for system, place in places:
        try:
            place.store.reachable()
            records |= {sealed.digest: sealed for sealed in _evidence(place)}
            there = place.store.exists("config")
            snapshots = place.repository.snapshots((f"dr-system={system}",)) if there else []
            found.append((system, place, points_from(snapshots)))
            states.append(TargetState(target=f"{system}@{place.name}", outcome="ok"))
        except DrError as error:
            states.append(TargetState(target=f"{system}@{place.name}", outcome="failed", error=str(error)))
    adopted = session.catalog.adopt(sorted(records.values(), key=lambda sealed: sealed.seq))
    for system, place, points in found:
        session.catalog.adopt_points(system, place.name, points)
    return _record(session, started, states, {p.run_id for _, _, ps in found for p in ps}, adopted)


def _record(
    session: Session, started: datetime, states: list[TargetState], points: Iterable[str], adopted: int
) -> Rebuild:
    failed = [state for state in states if state.outcome != "ok"]
    fact = Rebuild(
        run_id=new_id("rebuild-", started),
        started=started,
        finished=session.clock(),
        outcome="ok" if not failed else "failed" if len(failed) == len(states) else "degraded",
        points=len(set(points)),
        records=adopted,
        targets=tuple(states),
        error="; ".join(f"{state.target}: {state.error}" for state in failed) or None,
    )
    session.catalog.record(fact)
    return fact


def _move_damaged_aside(session: Session, now: datetime) -> None:
    try:
        session.catalog.quick_check()
    except CatalogError:
        for name in ("catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"):
            path = session.state / name
            if path.exists():
                path.rename(path.with_name(f"{name}.damaged-{now:%Y%m%dT%H%M%SZ}"))
        session.__dict__.pop("catalog", None)


def _evidence(place: Place) -> Iterable[Sealed]:
    """The records beside a repository. One that cannot be understood is left out: the chain shows the gap."""
    for stored in place.evidence.list():
        sealed = Sealed.from_json(place.evidence.get(stored.name))
        if sealed is not None:
            yield sealed


def points_from(snapshots: Iterable[Snapshot]) -> list[AdoptedPoint]:
    """Recognise recovery points by the tags of their snapshots alone, newest first."""
    runs: dict[str, list[Snapshot]] = {}
    for snapshot in snapshots:
        if {"run", "source", "part"} <= set(snapshot.tags):
            runs.setdefault(snapshot.tags["run"], []).append(snapshot)
    points = [_point(run_id, parts) for run_id, parts in runs.items()]
    return sorted(points, key=lambda point: point.consistency_time, reverse=True)


def _point(run_id: str, parts: list[Snapshot]) -> AdoptedPoint:
    data = {s.tags["source"]: s for s in parts if s.tags["part"] == "data"}
    apart = {s.tags["source"]: s.id for s in parts if s.tags["part"] in ("manifest", "amend")}
    tags = parts[0].tags
    sources = int(tags.get("sources", "0") or 0)
    # What has its manifest apart and lacks it, or a tree that was not read whole, makes no point complete.
    listed_apart = {name for name, s in data.items() if _listed_apart(s.tags)}
    whole = not any(s.tags.get("whole") == "no" for s in parts) and listed_apart <= set(apart)
    return AdoptedPoint(
        run_id=run_id,
        consistency_time=_consistency(tags, parts),
        finished=max(s.time for s in parts).astimezone(UTC),
        complete=whole and sources > 0 and len(data) == sources,
        kinds={name: s.tags.get("kind", "files") for name, s in data.items()},
        snapshots={name: s.id for name, s in data.items()},
        manifests=apart,
        bytes=sum(s.bytes for s in data.values()),
    )


def _listed_apart(tags: dict[str, str]) -> bool:
    """Whether a source's manifest is a snapshot of its own. What 0.1 made tells it by its kind."""
    return tags.get("form") in ("agent", "stream") or tags.get("kind") == "command"


def _consistency(tags: dict[str, str], parts: list[Snapshot]) -> datetime:
    try:
        return datetime.strptime(tags["consistency"], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return min(s.time for s in parts).astimezone(UTC)
