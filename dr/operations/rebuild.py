"""`dr points`: the recovery points there are; and the way back when the catalog is lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import field, replace
from datetime import UTC, datetime

from dr.catalog.gathered import Gathered
from dr.catalog.store import Catalog
from dr.catalog.values import AdoptedPoint
from dr.errors import CatalogError, DrError, InterruptedRunError, code_of, worst
from dr.evidence.look import NOTHING, Look
from dr.evidence.record import Point, Rebuild, TargetState
from dr.late_dataclass import dataclass
from dr.operations.gather_evidence import OddEvidence, gather
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
    missing: tuple[tuple[int, int], ...] = ()  # numbers of records that nobody found
    odd: tuple[OddEvidence, ...] = ()  # evidence that is not as it was put there, place by place

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
    started = session.clock()
    _move_damaged_aside(session, started)
    with Gathered(session.state.work) as records:
        read = _Read(records, session.catalog)
        _read_all(session, items, at, read)
        return _taken(session, read, started=started, whole=at is None, adopt=adopt)


def _read_all(session: Session, items: list[Loaded], at: datetime | None, read: _Read) -> None:
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


def _taken(session: Session, read: _Read, *, started: datetime, whole: bool, adopt: Sequence[str]) -> RebuildDone:
    """Take what was read into the catalog: records first, then points."""
    catalog, points = session.catalog, read.points
    runs = {point.run_id for point in points}
    known = catalog.known_of(runs) if catalog.points(limit=1) else None
    taken = catalog.adopt(read.records)
    _require_what_is_on_record(session, read)
    makers = makers_of(session, read.points, known=known, beside=read.records.strange(runs), adopt=adopt)
    others = []
    for system, place, points, seen in read.found:
        own = [adopted(point) for point in points if makers.is_own(point)]
        met = makers.met(points)
        catalog.adopt_points(system, place.name, own, at=started, whole=whole)
        catalog.looked(system, [seen] if seen and whole else [])
        catalog.met(system, place.name, met)
        others += [text for text in [strangers_in_words(system, place.name, met, own=session.installation)] if text]
    fact = _record(session, started, read, taken)
    strangers, missing = read.records.strangers(), tuple(catalog.missing())
    return RebuildDone(
        fact, tuple(read.problems), strangers, tuple(read.notes), tuple(others), missing, tuple(read.odd)
    )


@dataclass
class _Read:
    """What the targets hold, and where something could not be read. `catalog` is as it was before."""

    records: Gathered
    catalog: Catalog
    found: list[tuple[str, Place, list[Point], Look | None]] = field(default_factory=list)
    problems: list[tuple[str, DrError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    odd: list[OddEvidence] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """The points of all places."""
        return [point for *_, points, _ in self.found for point in points]


def _read_place(system: str, place: Place, read: _Read, travel: Travel) -> None:
    try:
        place.reach()
        place = travel.seen(place, evidence=True) if travel.at else place
        odd = gather(system, place, read.records, read.catalog, whole=travel.at is None)
        read.odd += [odd] if odd else []
        read.found.append((system, place, points_in(place, system), _identity(place)))
    except (InterruptedRunError, CatalogError):
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
        points=len({point.run_id for point in read.points}),
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
