"""The chain of evidence in the catalog: what is put onto it, what is adopted from targets, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from sqlite3 import Connection
from typing import TYPE_CHECKING

from dr.catalog import attempts, reading
from dr.catalog.values import micros
from dr.evidence.canonical import canonical
from dr.evidence.fact import Fact
from dr.evidence.seal import GENESIS, ChainResult, Sealed, is_readable, one_chain, verify_chain

if TYPE_CHECKING:
    from dr.evidence.gathered import Gathered


def head(db: Connection) -> tuple[int, str]:
    """Return the number and digest of the last record; 0 and zeros when there is none."""
    return int(_meta(db, "head_seq", "0")), _meta(db, "head_digest", GENESIS)


def put(db: Connection, record: Sealed) -> None:
    """Put a record in its place; one with the greatest number becomes the head."""
    body = canonical(record.body)  # what was hashed, so that an audit need not parse it
    db.execute(
        "insert into evidence (seq, kind, ref, system, at, prev, digest, body) values (?, ?, ?, ?, ?, ?, ?, ?)",
        (record.seq, record.kind, record.ref, record.system, record.at, record.prev, record.digest, body),
    )
    if record.seq > head(db)[0]:
        _set_meta(db, "head_seq", str(record.seq))
        _set_meta(db, "head_digest", record.digest)


def close_run(db: Connection, record: Sealed, fact: Fact) -> None:
    """Note in the index of runs how the run that a record is of has ended. `fact` is what the record holds."""
    db.execute(
        "insert into runs (run_id, verb, system, scenario, started, finished, outcome, process, plan_digest, seq)"
        " values (?, ?, ?, ?, ?, ?, ?, '', '', ?) on conflict (run_id) do update set"
        " finished = excluded.finished, outcome = excluded.outcome, seq = excluded.seq",
        (
            record.ref,
            record.kind,
            record.system,
            getattr(fact, "scenario", ""),
            micros(fact.started),
            micros(fact.finished),
            fact.outcome,
            record.seq,
        ),
    )
    row = db.execute("select system, verb, scenario from runs where run_id = ?", (record.ref,)).fetchone()
    attempts.note(db, **row)


def adopt(db: Connection, records: Gathered) -> int:
    """Take records found on targets; return how many were taken.

    Into a catalog without any, those of one chain; else those that link to what is there: in its gaps, before its
    first and after its last, so that a rebuild in part can be completed. What is not as it was sealed, or of another
    chain, is left out. Numbers that are missing are remembered as gaps, so that `audit` tells a known gap from a new.
    """
    from dr.catalog import derive, traffic

    good = [replace(record, body={}) for record in records if is_readable(record)]
    links = reading.links(db)
    new = _fitting(good, links) if links else one_chain(good)
    for record in (records.whole(each.digest) for each in new):
        put(db, record)
        close_run(db, record, record.fact)
        traffic.add_fact(db, record.fact)
    if new:
        _note_gaps(db, sorted({*links, *(record.seq for record in new)}))
        since = min(record.seq for record in new)
        for stored in list(reading.every(db, since=since)):
            if is_readable(record := stored.sealed()):
                derive.apply(db, record.fact)  # later records have the last word
    return len(new)


def _fitting(found: Sequence[Sealed], links: Mapping[int, tuple[str, str]]) -> list[Sealed]:
    """Return the records that link to what is there, first downwards from each gap's end, then upwards."""
    known, taken = dict(links), []
    for falling in (True, False):
        for record in sorted(found, key=lambda item: item.seq, reverse=falling):
            after, before = known.get(record.seq + 1), known.get(record.seq - 1)
            if record.seq in known or not (after or before):
                continue
            if (after is None or after[0] == record.digest) and (before is None or before[1] == record.prev):
                known[record.seq] = (record.prev, record.digest)
                taken.append(record)
    return taken


def _note_gaps(db: Connection, there: Sequence[int]) -> None:
    _set_meta(db, "first", str(there[0]))
    _set_meta(db, "gaps", json.dumps(sorted(set(range(there[0], there[-1] + 1)) - set(there))))


def audit(db: Connection) -> ChainResult:
    """Read the whole chain in its stored order, one record at a time; name the first that is not as it was."""
    gaps: list[int] = json.loads(_meta(db, "gaps", "[]"))
    return verify_chain(reading.every(db), head=head(db), first=int(_meta(db, "first", "1")), gaps=frozenset(gaps))


def _meta(db: Connection, key: str, default: str) -> str:
    row = db.execute("select value from meta where key = ?", (key,)).fetchone()
    return str(row[0]) if row else default


def _set_meta(db: Connection, key: str, value: str) -> None:
    db.execute("insert or replace into meta values (?, ?)", (key, value))
