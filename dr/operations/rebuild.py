"""`dr points`: the recovery points there are; and the way back when the catalog is lost."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dr.catalog.gathered import Gathered
from dr.errors import CatalogError, DrError, InterruptedRunError, code_of, worst
from dr.evidence.acts import Rebuild
from dr.evidence.look import NOTHING, Look
from dr.evidence.record import Point, TargetState
from dr.late_dataclass import dataclass
from dr.operations.gather_evidence import OddEvidence, gather, odd_of
from dr.operations.lifecycle import put_on_record
from dr.operations.makers import adopted, makers_of
from dr.plan.declarations import Loaded
from dr.run.points.discover import points_in
from dr.run.points.presence import require_repository, strangers_in_words
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Place, is_detached
from dr.session import Session, new_id

if TYPE_CHECKING:
    from dr.catalog.adopting import Adopted

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
    altered: Path | None = None  # the file with what the catalog held of records that were not as they were sealed

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

    May be called twice. A damaged catalog is moved aside, never deleted, and so is a record of it that is not as it
    was sealed, where a target holds it whole, or every target was read and none does. A target that cannot be read, or
    a secret that is not there, makes the outcome degraded, and what is known of it is left as it is. A rebuild in part
    is told, not recorded, unless such a record was put back: the record would take a number that belongs to one which
    the next rebuild finds.
    """
    started = session.clock()
    _move_damaged_aside(session, started)
    with Gathered(session.state.work) as records:
        read = _Read(records, whole=_is_all(session, items))
        _read_all(session, items, at, read)
        read.whole &= at is None and not read.problems
        return _taken(session, read, started=started, whole=at is None, adopt=adopt)


def _read_all(session: Session, items: list[Loaded], at: datetime | None, read: _Read) -> None:
    for loaded in items:
        system = loaded.plan.system
        try:
            toolbox = session.toolbox(loaded)
            places = [place for place in toolbox.everywhere if not is_detached(place)]
            read.whole &= len(places) == len(toolbox.everywhere)
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
    kept: list[Path] = []
    taken = catalog.adopt(
        read.records,
        whole=read.whole,
        aside=lambda lines: kept.append(session.state.keep_altered(lines, now=started)),
    )
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
    catalog.put_index_right()
    fact = _record(session, started, read, taken)
    return RebuildDone(
        fact,
        tuple(read.problems),
        read.records.strangers(),
        tuple(read.notes),
        tuple(others),
        tuple(catalog.missing()),
        tuple(odd_of(read.evidence, read.records, catalog, whole=whole)),
        next(iter(kept), None),
    )


@dataclass
class _Read:
    """What the targets hold, and where something could not be read.

    `whole`: every target of every system was read, as it is now. `evidence`: of which places the records were gathered,
    with the names of those that are not as they were sealed.
    """

    records: Gathered
    whole: bool
    found: list[tuple[str, Place, list[Point], Look | None]] = field(default_factory=list)
    problems: list[tuple[str, DrError]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    evidence: list[tuple[str, str, list[str]]] = field(default_factory=list)

    @property
    def points(self) -> list[Point]:
        """The points of all places."""
        return [point for *_, points, _ in self.found for point in points]


def _read_place(system: str, place: Place, read: _Read, travel: Travel) -> None:
    try:
        place.reach()
        place = travel.seen(place, evidence=True) if travel.at else place
        read.evidence.append((system, place.name, gather(system, place, read.records)))
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


def _is_all(session: Session, items: list[Loaded]) -> bool:
    known = session.declarations
    return len(items) == len(known.plans) and not known.stopping(()) and not known.unread


def _record(session: Session, started: datetime, read: _Read, taken: Adopted) -> Rebuild:
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
        records=taken.records,
        targets=(*whole, *failed),
        error="; ".join(f"{state.target}: {state.error}" for state in failed) or None,
        put_back=taken.put_back,
        set_aside=taken.set_aside,
    )
    if fact.outcome == "ok" or fact.put_back or fact.set_aside:
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
