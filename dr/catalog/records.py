"""The records of the catalog, to be read: the chain, the facts of some kinds, and what a report sums up of many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from dr.catalog import chain, reading, suspicion
from dr.catalog.connection import Connections
from dr.evidence.seal import ChainResult, NumberSpan, Sealed, Stored, name_of, text_of

if TYPE_CHECKING:
    from sqlite3 import Connection

    from dr.catalog.report_queries import Span, Tally
    from dr.evidence.acts import Hold
    from dr.evidence.change import Past
    from dr.evidence.fact import Fact
    from dr.evidence.monthly_traffic import MonthlyTraffic
    from dr.evidence.posture import Traffic


class Records:
    """The part of a catalog that holds the evidence."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def records(self) -> Iterator[Sealed]:
        """Yield the whole chain in its stored order."""
        with self._connections.reading() as db:
            for stored in reading.every(db):
                yield stored.sealed()

    def facts(
        self,
        kinds: Sequence[str],
        *,
        systems: Sequence[str] | None = None,
        since: datetime | None = None,
        ref: str | None = None,
    ) -> list[Sealed]:
        """Return records of some kinds, oldest first; of some systems, since a time, or of one run."""
        return [stored.sealed() for stored in self.stored(kinds, systems=systems, since=since, ref=ref)]

    def stored(
        self,
        kinds: Sequence[str],
        *,
        systems: Sequence[str] | None = None,
        since: datetime | None = None,
        ref: str | None = None,
    ) -> Iterator[Stored]:
        """Yield the same records one by one, as they are stored."""
        after = text_of(since) if since else None
        with self._connections.reading() as db:
            yield from reading.select(db, kinds, systems=systems, since=after, ref=ref)

    def newest(
        self, kinds: Sequence[str], systems: Sequence[str], *, since: datetime | None, number: int
    ) -> Iterator[Stored]:
        """Yield the newest so many records of some kinds, the oldest of them first."""
        from dr.catalog import report_queries

        with self._connections.reading() as db:
            yield from report_queries.newest(db, kinds, systems, since=since, number=number)

    def faulty(self, systems: Sequence[str], *, since: datetime | None, number: int) -> Iterator[Stored]:
        """Yield the newest so many backups that were not ok, the oldest of them first."""
        from dr.catalog import report_queries

        with self._connections.reading() as db:
            yield from report_queries.faulty(db, systems, since=since, number=number)

    def last_that_worked(self, systems: Sequence[str]) -> Iterator[Stored]:
        """Yield of each system the last backup that worked."""
        from dr.catalog import report_queries

        with self._connections.reading() as db:
            yield from report_queries.last_that_worked(db, systems)

    def tallies(self, kind: str, systems: Sequence[str], *, since: datetime | None) -> dict[str, Tally]:
        """Return how the runs of a kind ended, by system; of those that had any."""
        from dr.catalog import report_queries

        with self._connections.reading() as db:
            return report_queries.tallies(db, kind, systems, since)

    def usable_points(self, systems: Sequence[str], *, since: datetime | None) -> dict[str, int]:
        """Return how many points that finished since a time can be used today, by system."""
        from dr.catalog import report_queries

        with self._connections.reading() as db:
            return report_queries.usable(db, systems, since)

    def spans(self, systems: Sequence[str], *, since: datetime | None) -> Iterator[tuple[str, Iterator[Span]]]:
        """Yield each system with its complete points, as far as exposure since a time depends on them."""
        from dr.catalog import report_queries

        with self._connections.reading() as db:
            yield from report_queries.spans(db, systems, since=since)

    def head(self) -> tuple[int, str]:
        """Return the number and digest of the last record; 0 and zeros when there is none."""
        with self._connections.reading() as db:
            return chain.head(db)

    def missing(self) -> list[NumberSpan]:
        """Return the numbers of records that nobody found when the catalog was made again, in spans."""
        with self._connections.reading() as db:
            return chain.gaps(db)

    def audit(self) -> ChainResult:
        """Read the whole chain, and what was derived from it; name the first record that is not as it was."""
        from dr.catalog.audit import audit

        with self._connections.one_moment() as db, self._connections.odd_text(db):
            return audit(db)

    def put_index_right(self) -> None:
        """Let the index of points say what the records do, where it says otherwise and they tell."""
        from dr.catalog.audit import put_right

        with self._connections.writing() as db, self._connections.odd_text(db):
            put_right(db)

    def fold(self, *, now: datetime, seconds: float = 2.0) -> int:
        """Let what is old and ordinary take less room; see `dr.catalog.folding`. Return how many records did."""
        from dr.catalog import folding

        return folding.fold(self._connections, now=now, seconds=seconds)

    def unsent(self, system: str, target: str, *, most: int = 500) -> list[Sealed]:
        """Return the first of the system's records that a target has not been given yet, oldest first.

        After a rebuild they may be hundreds of thousands.
        """
        query = "select coalesce((select seq from sent where system = ? and target = ?), 0)"
        with self._connections.reading() as db:
            (sent,) = db.execute(query, (system, target)).fetchone()
            found = reading.select(db, systems=[system], after=sent)
            return [stored.sealed() for stored in islice(found, most)]

    def has_sent(self, system: str, target: str) -> bool:
        """Whether a target was given any record of a system, as far as this catalog knows: not after a rebuild."""
        with self._connections.reading() as db:
            found = db.execute("select 1 from sent where system = ? and target = ?", (system, target)).fetchone()
        return found is not None

    def sent_names(self, system: str, target: str) -> set[str]:
        """Return the names of the records that a target was given, as they lie there."""
        asked = "select coalesce((select seq from sent where system = ? and target = ?), 0)"
        with self._connections.reading() as db:
            (sent,) = db.execute(asked, (system, target)).fetchone()
            return {name_of(seq, digest) for seq, digest in reading.digests(db, system, to=sent)}

    def record_digests(self, system: str) -> dict[str, str]:
        """Return the digests of all records of a system, by the names that they have on a target."""
        with self._connections.reading() as db:
            return {name_of(seq, digest): digest for seq, digest in reading.digests(db, system)}

    def mark_sent(self, system: str, target: str, seq: int) -> None:
        """Note that a target has all records of a system up to one."""
        with self._connections.writing() as db:
            db.execute("insert or replace into sent values (?, ?, ?)", (system, target, seq))

    @staticmethod
    def _count(db: Connection, fact: Fact) -> None:
        """Count what a new record says that its run moved."""
        if getattr(fact, "traffic", ()):
            from dr.catalog import traffic

            traffic.add_fact(db, fact)

    def moved(self, system: str, moved: Iterable[Traffic], *, at: datetime) -> None:
        """Count what was moved to and from targets after the record of a run was sealed."""
        from dr.catalog import traffic

        with self._connections.writing() as db:
            traffic.add(db, system, moved, at=at, runs=0)

    def traffic(self, systems: Sequence[str]) -> list[MonthlyTraffic]:
        """Return what was moved to and from each target, by month, the oldest first."""
        from dr.catalog import traffic

        with self._connections.reading() as db:
            return traffic.months(db, systems)

    def change_history(self, system: str, sources: Sequence[str], *, now: datetime) -> dict[str, tuple[Past, ...]]:
        """Return the ordinary changes of each source, by which the next one is judged."""
        with self._connections.reading() as db:
            return {source: suspicion.history(db, system, source, now=now) for source in sources}

    def holds(self, system: str | None = None) -> list[Hold]:
        """Return the holds on a system, or on any, oldest first; the released and those that ran out too.

        They are read from the chain itself: a row that went missing in an index could not lift a hold.
        """
        from dr.evidence.acts import HoldEvent, held

        records = self.facts(("hold",), systems=None if system is None else [system])
        return held(record.fact for record in records if isinstance(record.fact, HoldEvent))
