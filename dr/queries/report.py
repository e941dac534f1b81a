"""The report on one drill, on some systems, or on all."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from dr.catalog.report_queries import Tally
from dr.catalog.store import Catalog
from dr.errors import UsageError
from dr.evidence.record import BackupRun, Point, Proof
from dr.evidence.seal import Sealed, Stored
from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.queries.forecast import KINDS as SIZES
from dr.queries.forecast import of_records
from dr.queries.status import board, site_problems
from dr.report.acts import KINDS as ACTS
from dr.report.figures import LISTED, LISTED_RUNS, Material, Numbers, Report, build
from dr.report.growth import HISTORY
from dr.report.kept import Ran, exposure_seconds
from dr.session import Session

T = TypeVar("T")
#: Acts that come by a cadence, not by a person.
_BY_ITSELF = ("expire", "prune")


def report(
    session: Session,
    items: Sequence[Loaded],
    *,
    drill: str | None = None,
    since: datetime | None = None,
) -> Report:
    """Return the report on one drill, on some systems, or on all. Raises `UsageError` for an unknown drill."""
    catalog, now = session.catalog, session.clock()
    names = [loaded.plan.system for loaded in items]
    if drill:
        found = [record for record in catalog.facts(("drill", "recovery"), ref=drill) if record.fault() is None]
        if not found:
            raise UsageError(f"there is no drill {drill!r}", "--drill", hint="`dr report --format json` lists them")
        names = [found[0].system]
    audit = catalog.audit()
    plans = {loaded.plan.system: loaded.plan for loaded in items if loaded.plan.system in names}
    asked = _Asked(catalog, names, since, now, whole=audit.first_bad is None)
    return build(
        Material(
            title=_title(plans.values() if len(plans) == 1 else (), names, drill),
            organisation=session.declarations.site.organisation,
            generated=now,
            site=() if drill or len(plans) < len(session.declarations.plans) else tuple(site_problems(session)),
            since=since,
            plans=plans,
            records=asked.records(("drill", "recovery")),
            rows=[entry.row for entry in board(session, [x for x in items if x.plan.system in names])],
            head=catalog.head(),
            focus=drill,
            backups=asked.newest(BackupRun, "backup"),
            proofs=asked.newest(Proof, "verify"),
            faulty=asked.faulty(),
            ran=asked.ran(),
            numbers=asked.numbers(),
            audit=audit.fault or "whole",
            points=asked.points(),
            versions=session.versions_here,
            acts=[] if drill else asked.acts(),
            **({} if drill else _costs(session, items, asked)),
        )
    )


def _costs(session: Session, items: Sequence[Loaded], asked: _Asked) -> dict[str, Any]:
    """Return what is known of the targets' sizes and traffic. The sums of traffic hold while the whole chain does."""
    traffic = session.catalog.traffic(asked.systems) if asked.whole else []
    here = [item for item in items if item.plan.system in asked.systems]
    found = of_records(session, here, asked.sizes(), traffic)
    return {"forecasts": found, "traffic": traffic, "targets": session.declarations.targets}


@dataclass(frozen=True)
class _Asked:
    """What is asked of the record, for some systems and since a time.

    A report passes on no figure that somebody may have edited. Where the whole chain was just read and is as it was
    sealed, the catalog's own sums hold; where not (`whole`), each record is looked at, and what was altered left out.
    """

    catalog: Catalog
    systems: Sequence[str]
    since: datetime | None
    now: datetime
    whole: bool

    def records(self, kinds: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[Sealed]:
        """Yield the records of some kinds, of the systems, and of what is called `also`."""
        found = self.catalog.stored(kinds, systems=[*self.systems, *also], since=self.since)
        return (each.sealed() for each in self._sound(found))

    def _sound(self, found: Iterable[Stored]) -> Iterator[Stored]:
        return (each for each in found if self.whole or each.fault() is None)

    def sizes(self) -> Iterator[Stored]:
        """Yield what tells how large repositories were, however long the report's time is."""
        return self._sound(self.catalog.stored(SIZES, systems=self.systems, since=self.now - HISTORY))

    def acts(self) -> list[Sealed]:
        """Return the records of acts, oldest first; of what retention did by itself the newest."""
        rare = self.records([kind for kind in ACTS if kind not in _BY_ITSELF], also=[""])
        often = self.catalog.newest(_BY_ITSELF, self.systems, since=self.since, number=LISTED_RUNS)
        return sorted([*rare, *(each.sealed() for each in self._sound(often))], key=lambda record: record.seq)

    def newest(self, kind: type[T], called: str) -> list[T]:
        """Return the newest facts of a kind, oldest first."""
        found = self.catalog.newest((called,), self.systems, since=self.since, number=LISTED_RUNS)
        return self._facts(found, kind)

    def faulty(self) -> list[BackupRun]:
        """Return the newest backups that were not ok, oldest first."""
        return self._facts(self.catalog.faulty(self.systems, since=self.since, number=LISTED), BackupRun)

    def _facts(self, found: Iterable[Stored], kind: type[T]) -> list[T]:
        facts = (each.sealed().fact for each in self._sound(found))
        return [fact for fact in facts if isinstance(fact, kind)]

    @functools.cached_property
    def _tallies(self) -> Mapping[str, Tally]:
        if self.whole:
            return self.catalog.tallies("backup", self.systems, since=self.since)
        found: dict[str, Tally] = {}
        for record in self.records(("backup",)):
            fact = record.fact
            found.setdefault(record.system, Tally()).add(fact.outcome, 1, fact.started)
        return found

    def ran(self) -> dict[str, Ran]:
        """Return what came of the backups of each system."""
        usable, hollow = self.catalog.usable_points(self.systems, since=self.since), self._hollow()
        begin, ran = self.since or datetime.min.replace(tzinfo=UTC), {}
        for system, spans in self.catalog.spans(self.systems, since=self.since):
            tally = self._tallies.get(system, Tally())
            ran[system] = Ran(
                outcomes=tally.outcomes,
                points=usable.get(system, 0),
                exposure_seconds=exposure_seconds(spans, since=begin, now=self.now, tried=tally.tried),
                hollow=system in hollow,
            )
        return ran

    def _hollow(self) -> set[str]:
        """Return the systems of which all points that can be used hold nothing; looked for where the last does."""
        last = self._facts(self.catalog.last_that_worked(self.systems), BackupRun)
        suspected = [run.system for run in last if run.of_nothing]
        empty = {run.run_id for run in self._facts(self.catalog.stored(("backup",), systems=suspected), BackupRun)
                 if run.of_nothing} if suspected else set()  # fmt: skip
        points = self.catalog.points(suspected) if suspected else []
        return set(suspected) - {point.system for point in points if point.complete and point.run_id not in empty}

    def numbers(self) -> Numbers:
        """Return how many there are of what is listed in part."""
        outcomes = [tally.outcomes for tally in self._tallies.values()]
        proofs, *often = (self._number(kind) for kind in ("verify", *_BY_ITSELF))
        return Numbers(
            backups=sum(sum(each.values()) for each in outcomes),
            proofs=proofs,
            acts=max(0, sum(often) - LISTED_RUNS),
            points=sum(self.catalog.usable_points(self.systems, since=None).values()),
            faulty=sum(number for each in outcomes for name, number in each.items() if name not in ("ok", "skipped")),
        )

    def _number(self, kind: str) -> int:
        found = self.catalog.tallies(kind, self.systems, since=self.since)
        return sum(sum(tally.outcomes.values()) for tally in found.values())

    def points(self) -> dict[str, Point]:
        """Return the newest points, and those that drills used which are on record still."""
        used = [str(record.body.get("run_id") or "") for record in self.records(("drill", "recovery"))]
        found = [
            *self.catalog.points(self.systems, limit=LISTED_RUNS),
            *self.catalog.points(run_ids=used[-LISTED_RUNS:]),
        ]
        return {point.run_id: point for point in found}


def _title(plans: object, names: Sequence[str], drill: str | None) -> str:
    titles = [plan.title for plan in plans if plan.title]  # type: ignore[attr-defined]
    name = titles[0] if titles else names[0] if len(names) == 1 else "All systems"
    return f"{name}: {drill}" if drill else str(name)
