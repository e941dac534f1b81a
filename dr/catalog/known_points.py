"""The recovery points that the catalog knows, and what was seen, locked, missing or of others at their targets."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from sqlite3 import Row
from typing import TYPE_CHECKING

from dr.catalog import suspicion
from dr.catalog.records import Records
from dr.catalog.status_queries import known_repositories
from dr.catalog.values import UNKNOWN, AdoptedPoint, moment
from dr.evidence.record import Copy, Point
from dr.evidence.suspicion import frozen, held_against

if TYPE_CHECKING:
    from dr.catalog.adopting import Adopted
    from dr.catalog.gathered import Gathered
    from dr.catalog.stored_objects import Changes, StoredRows
    from dr.catalog.values import Locked
    from dr.evidence.forgetting import Absence
    from dr.evidence.look import Known, Look, Stranger
    from dr.evidence.stored_object import KnownObjects


class KnownPoints(Records):
    """The part of a catalog that holds recovery points, and what was seen at targets."""

    def points(
        self, systems: Sequence[str] | None = None, *, limit: int = -1, run_ids: Sequence[str] | None = None
    ) -> list[Point]:
        """Return recovery points, newest first; of some systems, or of all; of all runs, or of some."""
        chosen = json.dumps(list(systems)) if systems is not None else None
        query = (
            "select * from points where (? is null or system in (select value from json_each(?)))"
            " and (? is null or run_id in (select value from json_each(?)))"
            " order by consistency desc, run_id desc limit ?"
        )
        named = json.dumps(list(run_ids)) if run_ids is not None else None
        with self._connections.reading() as db:
            rows = db.execute(query, (chosen, chosen, named, named, limit)).fetchall()
            ids = json.dumps([row["run_id"] for row in rows])
            copies = db.execute(
                "select * from copies where run_id in (select value from json_each(?))", (ids,)
            ).fetchall()
            marks = suspicion.marks(db, systems)
        grouped: dict[str, list[Copy]] = {}
        for row in copies:
            grouped.setdefault(row["run_id"], []).append(_copy(row))
        points = [_point(row, grouped.get(row["run_id"], [])) for row in rows]
        against = {p.run_id: held_against(marks.get(p.system, ()), p.run_id, p.consistency_time) for p in points}
        return [replace(point, suspect=against[point.run_id]) if against[point.run_id] else point for point in points]

    def retention_frozen(self, system: str) -> str | None:
        """Return why no recovery point of a system may be expired now; None when they may.

        Whatever removes recovery points asks this first: while a point is suspect, those before it are what is left.
        """
        with self._connections.reading() as db:
            return frozen(suspicion.marks(db, [system]).get(system, ()))

    def held_points(self) -> dict[str, int]:
        """Return how many points can be used, by system; of any system, whether or not it has a plan."""
        query = (
            "select system, count(*) as number from points where run_id in"
            " (select run_id from copies where complete = 1 and missing = 0 and destroyed = 0) group by system"
        )
        with self._connections.reading() as db:
            return {str(row["system"]): int(row["number"]) for row in db.execute(query)}

    def missing_on(self, system: str, target: str) -> list[Point]:
        """Return the complete points that a target lacks, newest first.

        Not those that it had and lost, or that are damaged there: a person looks first, and says `dr target begin`.
        """
        return [
            point
            for point in self.points([system])
            if point.complete
            and target not in {copy.target for copy in point.usable}
            and not any(copy.target == target and (copy.damaged or copy.missing) for copy in point.copies)
        ]

    def adopt(
        self, records: Gathered, *, whole: bool = False, aside: Callable[[Iterable[str]], None] = lambda _: None
    ) -> Adopted:
        """Take records found on targets; see `dr.catalog.adopting.adopt`."""
        from dr.catalog.adopting import adopt

        with self._connections.writing() as db, self._connections.odd_text(db):
            return adopt(db, records, whole=whole, aside=aside)

    def adopt_points(
        self, system: str, target: str, points: Sequence[AdoptedPoint], *, at: datetime, whole: bool = True
    ) -> None:
        """Make what the catalog knows of a target what the target holds. May be called twice.

        Unless the points are the `whole` of what it holds, what is known beside them stays.
        """
        from dr.catalog import derive

        with self._connections.writing() as db:
            there = json.dumps([point.run_id for point in points])
            db.execute(
                "delete from copies where ? and target = ? and run_id in (select run_id from points where system = ?)"
                " and run_id not in (select value from json_each(?))",
                (whole, target, system, there),
            )
            for point in points:
                derive.adopt_point(db, system, target, point, seen=at)

    # -- targets ------------------------------------------------------------------------------------

    def protect(self, system: str, locked: Iterable[Locked]) -> None:
        """Note until when a system's points are locked on targets. A record has it noted with itself: see `record`."""
        from dr.catalog import derive

        with self._connections.writing() as db:
            derive.protect(db, system, locked)

    def repositories(self, system: str) -> dict[str, Known]:
        """Return by target what is on record of a system's repository there."""
        with self._connections.reading() as db:
            return known_repositories(db, system)

    def installation(self) -> str:
        """Return the id of this installation: all that it stores bears it."""
        from dr.catalog import strangers

        with self._connections.writing() as db:
            return strangers.installation(db)

    def take_over(self, made_by: str) -> None:
        """Go on as the installation that made what a rebuild found."""
        from dr.catalog import strangers

        with self._connections.writing() as db:
            strangers.take_over(db, made_by)

    def is_known(self, run_id: str) -> bool:
        """Whether a run is on record here."""
        return bool(self.known_of((run_id,)))

    def known_of(self, run_ids: Iterable[str]) -> set[str]:
        """Return which of some runs are on record here."""
        from dr.catalog import strangers

        with self._connections.reading() as db:
            return {run_id for run_id in run_ids if strangers.is_known(db, run_id)}

    def strangers(self, system: str, target: str) -> list[Stranger]:
        """Return what was met on a target and belongs to no point on record there."""
        from dr.catalog import strangers

        with self._connections.reading() as db:
            return strangers.read(db, system, target)

    def met(self, system: str, target: str, found: Iterable[Stranger]) -> None:
        """Keep what was met on a target and is of no point on record."""
        from dr.catalog import strangers

        with self._connections.writing() as db:
            strangers.keep(db, system, target, found)

    def looked(self, system: str, looks: Iterable[Look]) -> None:
        """Note what was seen on targets, before the fact of the run that looked."""
        from dr.catalog import derive

        with self._connections.writing() as db:
            derive.looked(db, system, looks)

    def absences(self, system: str, target: str) -> list[Absence]:
        """Return what a replica was seen to hold that its primary no longer had."""
        from dr.catalog import pending_deletions as absences

        with self._connections.reading() as db:
            return absences.read(db, system, target)

    def keep_absences(self, system: str, target: str, rows: Iterable[Absence]) -> None:
        """Put these in the place of all that is known of a replica's absences."""
        from dr.catalog import pending_deletions as absences

        with self._connections.writing() as db:
            absences.keep(db, system, target, rows)

    def memory(self, system: str, target: str) -> str | None:
        """Return what is kept of a repository for the next run."""
        with self._connections.reading() as db:
            row = db.execute("select text from memory where system = ? and target = ?", (system, target)).fetchone()
        return str(row[0]) if row else None

    def remember(self, system: str, target: str, text: str) -> None:
        """Keep what the next run wants to know of a repository."""
        with self._connections.writing() as db:
            db.execute("insert or replace into memory values (?, ?, ?)", (system, target, text))

    def stored_objects(self, system: str, target: str) -> StoredRows:
        """Return what proofs last saw of a repository, by object: read when it is asked for."""
        from dr.catalog.stored_objects import StoredRows

        return StoredRows(self._connections.reading, system, target)

    def keep_stored_objects(self, system: str, target: str, after: KnownObjects) -> int:
        """Keep what is known now in the place of that; return how many rows changed."""
        return self.change_stored_objects(system, target, self.stored_objects(system, target).changes_to(after))

    def change_stored_objects(self, system: str, target: str, changes: Changes) -> int:
        """Keep what changed of that: by name, in order; None for what is not known any more. Return how many did."""
        from dr.catalog import stored_objects

        with self._connections.writing() as db:
            return stored_objects.write(db, system, target, changes)

    def forget_stored_objects(self, system: str, target: str, names: Collection[str]) -> None:
        """Drop objects that are taken away on record: they are not missing."""
        self.change_stored_objects(system, target, ((name, None) for name in names))


def _point(row: Row, copies: Iterable[Copy]) -> Point:
    return Point(
        run_id=row["run_id"],
        system=row["system"],
        consistency_time=moment(row["consistency"]),
        finished=moment(row["finished"]),
        outcome=row["outcome"],
        kinds=json.loads(row["kinds"]),
        bytes=None if row["bytes"] == UNKNOWN else row["bytes"],
        copies=tuple(copies),
    )


def _copy(row: Row) -> Copy:
    return Copy(
        target=row["target"],
        complete=bool(row["complete"]),
        snapshots=json.loads(row["snapshots"]),
        manifests=json.loads(row["manifests"]),
        proof_level=row["proof_level"],
        proven_at=moment(row["proven_at"]) if row["proven_at"] else None,
        damaged=bool(row["damaged"]),
        doubtful=bool(row["doubtful"]),
        destroyed=bool(row["destroyed"]),
        missing=bool(row["missing"]),
        seen=moment(row["seen"]) if row["seen"] else None,
        lock_mode=row["lock_mode"],
        protected_until=moment(row["protected_until"]) if row["protected_until"] else None,
        locked_until=moment(row["locked_until"]) if row["locked_until"] else None,
        more=tuple(json.loads(row["more"])),
    )
