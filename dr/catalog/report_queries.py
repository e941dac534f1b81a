"""What a report asks of many runs: sums, made by SQL over what lies open and what was folded, and the newest few."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import field
from datetime import datetime
from operator import itemgetter
from sqlite3 import Connection

from dr.catalog import reading
from dr.catalog.values import micros, moment
from dr.evidence.seal import Stored, text_of
from dr.late_dataclass import dataclass

_RUNS = """
    select e.system, r.outcome, count(*) as number, min(r.started) as tried
    from evidence e join runs r on r.run_id = e.ref
    where e.kind = :kind and e.system in (select value from json_each(:systems)) and e.at >= :since
    group by e.system, r.outcome"""
_USABLE = """
    select system, count(*) as number from points p
    where finished >= :finished and system in (select value from json_each(:systems))
        and exists (select 1 from copies c where c.run_id = p.run_id and c.complete = 1 and c.damaged = 0
            and c.missing = 0)
    group by system"""
#: Of points that are on a target, those that can be used; and those that no target holds any more, which were.
_SPANS = """
    select system, consistency, finished from points p
    where system in (select value from json_each(:systems))
        and (exists (select 1 from copies c where c.run_id = p.run_id and c.complete = 1 and c.damaged = 0
                and c.missing = 0)
            or complete = 1 and not exists (select 1 from copies c where c.run_id = p.run_id))
    order by system, finished"""
_FROM = """
    select seq from (
        select seq from evidence where kind in (select value from json_each(:kinds))
            and system in (select value from json_each(:systems)) and at >= :since
        union all select seq from folded where kind in (select value from json_each(:kinds))
            and system in (select value from json_each(:systems)) and finished >= :finished)
    order by seq desc limit 1 offset :left"""
_FAULTY = """
    select e.ref from evidence e join runs r on r.run_id = e.ref
    where e.kind = 'backup' and r.outcome not in ('ok', 'skipped') and e.at >= :since
        and e.system in (select value from json_each(:systems))
    order by e.seq desc limit :number"""
_WORKED = """
    select (select e.ref from evidence e join runs r on r.run_id = e.ref where e.system = value and e.kind = 'backup'
        and r.outcome in ('ok', 'degraded') order by e.seq desc limit 1) as ref from json_each(:systems)"""


@dataclass
class Tally:
    """One system's runs of a kind over a time: how many by outcome, and when the first was begun."""

    outcomes: dict[str, int] = field(default_factory=dict)
    tried: datetime | None = None

    def add(self, outcome: str, number: int, tried: datetime) -> None:
        """Count some more."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + number
        self.tried = min(tried, self.tried) if self.tried else tried


@dataclass(frozen=True)
class Span:
    """A complete point as far as exposure needs it."""

    consistency_time: datetime
    finished: datetime
    complete: bool = True


def _given(systems: Sequence[str], since: datetime | None) -> dict[str, object]:
    return {
        "systems": json.dumps(list(systems)),
        "since": text_of(since) if since else "",
        "finished": micros(since) if since else -(2**62),
    }


def tallies(db: Connection, kind: str, systems: Sequence[str], since: datetime | None) -> dict[str, Tally]:
    """Return how the runs of a kind ended that finished since a time, by system; of those that had any."""
    found: defaultdict[str, Tally] = defaultdict(Tally)
    for row in db.execute(_RUNS, {**_given(systems, since), "kind": kind}):
        found[row["system"]].add(row["outcome"], row["number"], moment(row["tried"]))
    for system, number in reading.counted(db, systems, kind, since=micros(since) if since else -(2**62)).items():
        found[system].outcomes["ok"] = found[system].outcomes.get("ok", 0) + number
    return dict(found)


def usable(db: Connection, systems: Sequence[str], since: datetime | None) -> dict[str, int]:
    """Return how many points that finished since a time can be used today, by system."""
    return {str(row["system"]): int(row["number"]) for row in db.execute(_USABLE, _given(systems, since))}


def spans(db: Connection, systems: Sequence[str], *, since: datetime | None) -> Iterator[tuple[str, Iterator[Span]]]:
    """Yield each system with its complete points: those of which exposure since a time can depend."""
    bound = micros(since) if since else -(2**62)
    here: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for row in db.execute(_SPANS, _given(systems, None)):
        here[row["system"]].append((row["consistency"], row["finished"]))
    for system in systems:
        gone = (each[1:] for each in reading.exposed(db, [system], since=bound))
        both = sorted(itertools.chain(here.pop(system, ()), gone), key=itemgetter(1))
        yield system, (Span(moment(consistency), moment(finished)) for consistency, finished in both)


def newest(
    db: Connection, kinds: Sequence[str], systems: Sequence[str], *, since: datetime | None, number: int
) -> Iterator[Stored]:
    """Yield the newest so many records of some kinds that finished since a time, the oldest of them first."""
    given = {**_given(systems, since), "kinds": json.dumps(list(kinds)), "left": number - 1}
    row = db.execute(_FROM, given).fetchone()
    after = int(row["seq"]) - 1 if row else None
    yield from reading.select(db, kinds, systems=systems, since=str(given["since"]) or None, after=after)


def faulty(db: Connection, systems: Sequence[str], *, since: datetime | None, number: int) -> Iterator[Stored]:
    """Yield the newest so many backups that were not ok, the oldest of them first."""
    refs = [row["ref"] for row in db.execute(_FAULTY, {**_given(systems, since), "number": number})]
    for ref in reversed(refs):
        yield from reading.select(db, ("backup",), ref=ref)


def last_that_worked(db: Connection, systems: Sequence[str]) -> Iterator[Stored]:
    """Yield of each system the last backup that worked."""
    for row in db.execute(_WORKED, _given(systems, None)).fetchall():
        if row["ref"]:
            yield from reading.select(db, ("backup",), ref=row["ref"])
