"""The catalog: what was begun, what came of it, and the chain of evidence. One transaction a fact."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dr.catalog import attempts, chain
from dr.catalog.connection import Connections, copy_of, quick_check
from dr.catalog.known_points import KnownPoints
from dr.catalog.status_queries import (
    notice,
    place_states,
    replication_states,
    run_counts,
    standings,
)
from dr.catalog.values import Locked, micros, moment
from dr.evidence.record import Drill
from dr.evidence.seal import Sealed, seal
from dr.tools import process

if TYPE_CHECKING:
    from dr.catalog.aborted import OpenRun
    from dr.catalog.notices import Notices
    from dr.evidence.fact import Fact
    from dr.evidence.system_status import Attempts, PlaceState, SystemStatus
    from dr.tools.state_dir import StateDir


class Catalog(KnownPoints):
    """The catalog in a state directory. Safe for several threads and processes."""

    @classmethod
    def open(cls, state: StateDir) -> Catalog:
        """Open, or make, `STATE/catalog.sqlite`. Raises `CatalogError`."""
        return cls(Connections(state.catalog))

    @staticmethod
    def copied(state: StateDir, to: StateDir) -> bool:
        """Copy the catalog of a state directory that takes nothing into that of another; False where there is none."""
        return copy_of(state, to)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connections.close()

    @functools.cached_property
    def notices(self) -> Notices:
        """Who was told of what."""
        from dr.catalog.notices import Notices

        return Notices(self._connections)

    def quick_check(self) -> None:
        """Raise `CatalogError` when the file is damaged."""
        quick_check(self._connections)
        with self._connections.reading() as db:
            chain.head(db)
            chain.gaps(db)

    def copy(self) -> bytes:
        """Return the whole file as it is at one moment, whoever writes meanwhile."""
        with self._connections.reading() as db, closing(sqlite3.connect(":memory:")) as other:
            db.backup(other)
            other.execute("pragma journal_mode = memory")
            return other.serialize()

    # -- runs ---------------------------------------------------------------------------------------

    def open_run(
        self,
        *,
        run_id: str,
        verb: str,
        system: str,
        scenario: str = "",
        started: datetime,
        plan_digest: str,
        plan_text: str,
    ) -> None:
        """Note that a run begins, before its first step."""
        with self._connections.writing() as db:
            db.execute("insert or ignore into plans values (?, ?)", (plan_digest, plan_text))
            db.execute(
                "insert into runs (run_id, verb, system, scenario, started, process, plan_digest)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                (run_id, verb, system, scenario, micros(started), process.me(), plan_digest),
            )
            attempts.note(db, system=system, verb=verb, scenario=scenario)

    def open_runs(self, system: str | None = None) -> list[OpenRun]:
        """Return the runs without an end, living or dead."""
        from dr.catalog.aborted import OpenRun

        query = "select * from runs where finished is null and (? is null or system = ?) order by started"
        with self._connections.reading() as db:
            rows = db.execute(query, (system, system)).fetchall()
        return [
            OpenRun(
                run_id=row["run_id"],
                verb=row["verb"],
                system=row["system"],
                started=moment(row["started"]),
                plan_digest=row["plan_digest"],
                process=row["process"],
                scenario=row["scenario"],
            )
            for row in rows
        ]

    def close_abandoned(self, system: str | None, *, now: datetime) -> list[OpenRun]:
        """Record as `aborted` every run whose process has died; return them."""
        from dr.catalog.aborted import aborted_fact

        dead = [run for run in self.open_runs(system) if not process.alive(run.process)]
        for run in dead:
            self.record(aborted_fact(run, now))
        return dead

    def close_own(self, *, now: datetime) -> None:
        """Record as `aborted` the runs that this process began and will not end: a person stopped it.

        But for drills and recoveries: of those it would tell what became of their place, which nobody has looked at.
        """
        from dr.catalog.aborted import aborted_fact

        for run in self.open_runs():
            if run.process == process.me() and not isinstance(fact := aborted_fact(run, now), Drill):
                self.record(fact)

    def record(self, fact: Fact, locked: Iterable[Locked] = ()) -> Sealed:
        """Seal a fact onto the chain and bring all that follows from it up to date, in one transaction.

        With it goes until when points are `locked`, as was seen when the fact came about.
        """
        from dr.catalog import derive

        with self._connections.writing() as db:
            number, digest = chain.head(db)
            sealed = seal(seq=number + 1, prev=digest, fact=fact)
            chain.put(db, sealed)
            chain.close_run(db, sealed, fact)
            derive.apply(db, fact)
            self._count(db, fact)
            derive.protect(db, sealed.system, locked)
        return sealed

    def attempts(self, systems: Sequence[str], *, now: datetime) -> dict[tuple[str, str], Attempts]:
        """Return by (system, verb) when something was last attempted; drills also as `drill:SCENARIO`."""
        with self._connections.reading() as db:
            return attempts.read(db, systems, now=micros(now))

    def newest_start(self) -> datetime | None:
        """Return the latest time that any run bears as its start."""
        with self._connections.reading() as db:
            newest = attempts.newest(db)
        return moment(newest) if newest else None

    def standings(self, systems: Sequence[str], *, now: datetime, since: datetime) -> dict[str, SystemStatus]:
        """Return what the board needs of each system."""
        return standings(self._connections, systems, now=now, since=since)

    def run_counts(self, systems: Sequence[str]) -> dict[tuple[str, str, str], int]:
        """Return how many finished runs are on record, by system, verb and outcome."""
        return run_counts(self._connections, systems)

    def plan_text(self, digest: str) -> str | None:
        """Return the text of the plan with that digest, as it was when it ran."""
        with self._connections.reading() as db:
            row = db.execute("select text from plans where digest = ?", (digest,)).fetchone()
        return str(row[0]) if row else None

    def place_states(self, systems: Sequence[str], *, now: datetime) -> dict[str, dict[str, PlaceState]]:
        """Return by system and target how its copies stand there by `now`, as recorded."""
        with self._connections.reading() as db:
            return place_states(db, systems, now=now)

    def replication_states(
        self, places: Mapping[str, Sequence[str]], *, now: datetime
    ) -> dict[str, dict[str, PlaceState]]:
        """Return, of the places of systems, what decides when they are replicated to; see `PlaceState`."""
        with self._connections.reading() as db:
            return replication_states(db, places, now=now)

    # -- what helps the next run --------------------------------------------------------------------

    def notice(self, systems: Sequence[str], *, now: datetime) -> None:
        """Note since when the plans of systems are known; see `dr.catalog.status_queries.notice`."""
        notice(self._connections, systems, now=now)

    def get(self, key: str) -> str | None:
        """Return a parsed plan kept under `PATH\\nSTAMP`; None when the stamp is another."""
        path, _, stamp = key.partition("\n")
        with self._connections.reading() as db:
            row = db.execute("select text from plan_cache where path = ? and key = ?", (path, stamp)).fetchone()
        return str(row[0]) if row else None

    def get_all(self) -> dict[str, str]:
        """Return all parsed plans kept, by `PATH\\nSTAMP`."""
        with self._connections.reading() as db:
            return {f"{row[0]}\n{row[1]}": row[2] for row in db.execute("select path, key, text from plan_cache")}

    def put_all(self, items: Mapping[str, str]) -> None:
        """Keep parsed plans; one row a path."""
        rows = [(*key.split("\n", 1), text) for key, text in items.items()]
        with self._connections.writing() as db:
            db.executemany("insert or replace into plan_cache values (?, ?, ?)", rows)
