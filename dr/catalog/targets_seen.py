"""What the catalog keeps of targets: what was seen, locked, missing or of others there, and what proofs know."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from dr.catalog.records import Records
from dr.catalog.status_queries import known_repositories

if TYPE_CHECKING:
    from dr.catalog.stored_objects import Changes, StoredRows
    from dr.catalog.values import Locked
    from dr.evidence.forgetting import Absence
    from dr.evidence.look import Known, Look, Stranger
    from dr.evidence.stored_object import KnownObjects


class TargetsSeen(Records):
    """The part of a catalog that holds what was seen at targets."""

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
