"""`dr points`: the recovery points there are; and the way back when the catalog is lost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from dr.catalog.values import AdoptedPoint
from dr.errors import DEGRADED, OK, CatalogError, DrError, InterruptedRunError, worst
from dr.evidence.record import Rebuild, TargetState
from dr.evidence.seal import Sealed
from dr.orchestrator.session import Session, new_id
from dr.plan.load import Loaded
from dr.run.toolbox import Place, is_away
from dr.tools.restic_events import Snapshot


@dataclass(frozen=True)
class RebuildDone:
    """The fact; where something could not be read, and why; and how many records found belong to no chain kept."""

    fact: Rebuild
    problems: tuple[tuple[str, DrError], ...]
    strangers: int

    @property
    def exit_code(self) -> int:
        """Degraded when something was read; else the worst of what stood in the way."""
        if self.fact.outcome == "failed":
            return worst([error.exit_code for _, error in self.problems])
        return {"ok": OK}.get(self.fact.outcome, DEGRADED)


def rebuild(session: Session, items: list[Loaded]) -> RebuildDone:
    """Make the catalog again from the targets: evidence first, then points from the snapshots' tags.

    May be called twice. A damaged catalog is moved aside, never deleted. A target that cannot be read, or a
    secret that is not there, makes the outcome degraded, and what is known of it is left as it is. A rebuild in part
    is told, not recorded: the record would take a number that belongs to one which the next rebuild finds.
    """
    started, read = session.clock(), _Read()
    _move_damaged_aside(session, started)
    for loaded in items:
        system = loaded.plan.system
        try:
            places = [place for place in session.toolbox(loaded).everywhere if not is_away(place)]
        except DrError as error:
            read.problems += [(f"{system}@{name}", error) for name in loaded.plan.places]
            continue
        for place in places:
            _read_place(system, place, read)
    adopted = session.catalog.adopt(list(read.records.values()))
    for system, place, points in read.found:
        session.catalog.adopt_points(system, place.name, points)
    strangers = len(read.records.keys() - {record.digest for record in session.catalog.records()})
    return RebuildDone(_record(session, started, read, adopted), tuple(read.problems), strangers)


@dataclass
class _Read:
    """What the targets hold, and where something could not be read."""

    records: dict[str, Sealed] = field(default_factory=dict)
    found: list[tuple[str, Place, list[AdoptedPoint]]] = field(default_factory=list)
    problems: list[tuple[str, DrError]] = field(default_factory=list)


def _read_place(system: str, place: Place, read: _Read) -> None:
    try:
        place.store.reachable()
        read.records |= {sealed.digest: sealed for sealed in _evidence(place)}
        there = place.store.exists("config")
        snapshots = place.repository.snapshots((f"dr-system={system}",)) if there else []
        read.found.append((system, place, points_from(snapshots)))
    except InterruptedRunError:
        raise
    except DrError as error:
        read.problems.append((f"{system}@{place.name}", error))


def _record(session: Session, started: datetime, read: _Read, adopted: int) -> Rebuild:
    failed = [TargetState(target=where, outcome="failed", error=str(error)) for where, error in read.problems]
    whole = [TargetState(target=f"{system}@{place.name}", outcome="ok") for system, place, _ in read.found]
    fact = Rebuild(
        run_id=new_id("rebuild-", started),
        started=started,
        finished=session.clock(),
        outcome="ok" if not failed else "degraded" if whole else "failed",
        points=len({point.run_id for _, _, points in read.found for point in points}),
        records=adopted,
        targets=(*whole, *failed),
        error="; ".join(f"{state.target}: {state.error}" for state in failed) or None,
    )
    if fact.outcome == "ok":
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
