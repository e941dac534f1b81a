"""`dr points`: the recovery points there are; and the way back when the catalog is lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import field, replace
from datetime import UTC, datetime

from dr.catalog.values import AdoptedPoint
from dr.errors import CatalogError, DrError, InterruptedRunError, code_of, worst
from dr.evidence.gathered import Gathered
from dr.evidence.look import NOTHING, Look
from dr.evidence.record import Point, Rebuild, TargetState
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.operations.lifecycle import put_on_record
from dr.operations.makers import makers_of
from dr.plan.declarations import Loaded
from dr.run.points.discover import points_in
from dr.run.points.presence import require_repository, strangers_in_words
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Place, is_detached
from dr.session import Session, new_id

#: A look that tells of the repository alone.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RebuildDone:
    """The fact; where something could not be read, and why; and how many records found belong to no chain kept."""

    fact: Rebuild
    problems: tuple[tuple[str, DrError], ...]
    strangers: int
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # what another installation made, in words, place by place

    @property
    def exit_code(self) -> int:
        """Degraded when something was read; else the worst of what stood in the way."""
        if self.fact.outcome == "failed":
            return worst([error.exit_code for _, error in self.problems])
        return code_of(self.fact.outcome)


def rebuild(
    session: Session, items: list[Loaded], *, at: datetime | None = None, adopt: Sequence[str] = ()
) -> RebuildDone:
    """Make the catalog again from the targets: evidence first, then points from the snapshots' tags.

    What another installation made is not taken over, unless its id is in `adopt`: see `dr.operations.makers`.
    With `at` from the targets as they were then, where they keep versions; what is known of later points stays.

    May be called twice. A damaged catalog is moved aside, never deleted. A target that cannot be read, or a
    secret that is not there, makes the outcome degraded, and what is known of it is left as it is. A rebuild in part
    is told, not recorded: the record would take a number that belongs to one which the next rebuild finds.
    """
    started, read = session.clock(), _Read()
    _move_damaged_aside(session, started)
    known = session.catalog.known_runs() if session.catalog.points(limit=1) else set()
    for loaded in items:
        system = loaded.plan.system
        try:
            toolbox = session.toolbox(loaded)
            places = [place for place in toolbox.everywhere if not is_detached(place)]
        except DrError as error:
            read.problems += [(f"{system}@{name}", error) for name in loaded.plan.places]
            continue
        with closing(Travel(at, toolbox.state, session.clock, say=read.notes.append)) as travel:
            for place in places:
                _read_place(system, place, read, travel)
    taken = session.catalog.adopt(read.records)
    _require_what_is_on_record(session, read)
    chain = {record.digest for record in session.catalog.records()}
    strangers = [digest for digest in read.records.digests() if digest not in chain]
    makers = makers_of(
        session,
        [point for *_, points, _ in read.found for point in points],
        known=known,
        beside={read.records.whole(digest).ref for digest in strangers},
        adopt=adopt,
    )
    others = []
    for system, place, points, seen in read.found:
        own = [adopted(point) for point in points if makers.is_own(point)]
        met = makers.met(points)
        session.catalog.adopt_points(system, place.name, own, at=started, whole=at is None)
        session.catalog.looked(system, [seen] if seen and at is None else [])
        session.catalog.met(system, place.name, met)
        others += [text for text in [strangers_in_words(system, place.name, met, own=session.installation)] if text]
    fact = _record(session, started, read, taken)
    return RebuildDone(fact, tuple(read.problems), len(strangers), tuple(read.notes), tuple(others))


@dataclass
class _Read:
    """What the targets hold, and where something could not be read."""

    records: Gathered = field(default_factory=Gathered)
    found: list[tuple[str, Place, list[Point], Look | None]] = field(default_factory=list)
    problems: list[tuple[str, DrError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _read_place(system: str, place: Place, read: _Read, travel: Travel) -> None:
    try:
        place.reach()
        place = travel.seen(place, evidence=True) if travel.at else place
        read.records.join(_evidence(place))
        read.found.append((system, place, points_in(place, system), _identity(place)))
    except InterruptedRunError:
        raise
    except DrError as error:
        read.problems.append((f"{system}@{place.name}", error))


def _identity(place: Place) -> Look | None:
    """Return which repository is there; None where none is."""
    if not place.store.exists("config"):
        return None
    known = require_repository(replace(place, known=NOTHING))
    return Look(target=place.name, at=EPOCH, whole=False, repository=known.id, config=known.config) if known else None


def _require_what_is_on_record(session: Session, read: _Read) -> None:
    """Leave as it is known what lies on a target that should hold points, and is empty: its disk may be away."""
    for each in list(read.found):
        system, place, points, seen = each
        known = session.catalog.repositories(system).get(place.name, NOTHING)
        try:
            if (seen is None and not points) or (seen and known.id and seen.repository and known.id != seen.repository):
                require_repository(replace(place, known=known))
        except DrError as error:
            read.found.remove(each)
            read.problems.append((f"{system}@{place.name}", error))


def _record(session: Session, started: datetime, read: _Read, adopted: int) -> Rebuild:
    failed = [
        TargetState(target=where, outcome="failed", error=str(error), error_hint=error.hint)
        for where, error in read.problems
    ]
    whole = [TargetState(target=f"{system}@{place.name}", outcome="ok") for system, place, *_ in read.found]
    fact = Rebuild(
        run_id=new_id("rebuild-", started),
        started=started,
        finished=session.clock(),
        outcome="ok" if not failed else "degraded" if whole else "failed",
        points=len({point.run_id for _, _, points, _ in read.found for point in points}),
        records=adopted,
        targets=(*whole, *failed),
        error="; ".join(f"{state.target}: {state.error}" for state in failed) or None,
    )
    if fact.outcome == "ok":
        put_on_record(session, fact)
    return fact


def _move_damaged_aside(session: Session, now: datetime) -> None:
    try:
        session.catalog.quick_check()
    except CatalogError:
        for path in session.state.catalog_files():
            if path.exists():
                path.rename(path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%SZ}"))
        session.__dict__.pop("catalog", None)


def _evidence(place: Place) -> Gathered:
    """Return the records beside a repository. One that cannot be understood is left out: the chain shows the gap."""
    found = Gathered()
    for stored in place.evidence.list():
        text = place.evidence.get(stored.name)
        sealed = Sealed.from_json(text)
        if sealed is not None:
            found.add(sealed, text)
    return found


def adopted(point: Point) -> AdoptedPoint:
    """Return a point recognised on one target as the catalog takes it."""
    copy = point.copies[0]
    return AdoptedPoint(
        run_id=point.run_id,
        consistency_time=point.consistency_time,
        finished=point.finished,
        complete=copy.complete,
        kinds=point.kinds,
        snapshots=copy.snapshots,
        manifests=copy.manifests,
        bytes=point.bytes,
    )
