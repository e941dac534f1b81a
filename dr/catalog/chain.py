"""The chain of evidence in the catalog: what is put onto it, what is adopted from targets, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from sqlite3 import Connection, Row
from typing import Any

from dr.catalog import derive
from dr.catalog.values import micros
from dr.evidence.seal import GENESIS, ChainResult, Sealed, fault_of, is_readable, one_chain, verify_chain


def head(db: Connection) -> tuple[int, str]:
    """Return the number and digest of the last record; 0 and zeros when there is none."""
    return int(_meta(db, "head_seq", "0")), _meta(db, "head_digest", GENESIS)


def put(db: Connection, record: Sealed) -> None:
    """Put a record in its place; one with the greatest number becomes the head."""
    body = json.dumps(record.body, ensure_ascii=False, separators=(",", ":"))
    db.execute(
        "insert into evidence (seq, kind, ref, system, at, prev, digest, body) values (?, ?, ?, ?, ?, ?, ?, ?)",
        (record.seq, record.kind, record.ref, record.system, record.at, record.prev, record.digest, body),
    )
    if record.seq > head(db)[0]:
        _set_meta(db, "head_seq", str(record.seq))
        _set_meta(db, "head_digest", record.digest)


def close_run(db: Connection, record: Sealed) -> None:
    """Note in the index of runs how the run that a record is of has ended."""
    fact = record.fact
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


def sealed(row: Row) -> Sealed:
    """Return the record in a row; one whose body is no JSON any more is returned as damaged."""
    try:
        body: Any = json.loads(row["body"])
    except (ValueError, TypeError):
        body = {"damaged": str(row["body"])}
    keys = ("seq", "kind", "ref", "system", "at", "prev", "digest")
    return Sealed(**{key: row[key] for key in keys}, body=body)


def adopt(db: Connection, records: Sequence[Sealed]) -> int:
    """Take records found on targets; return how many were taken.

    Into a catalog without any, those of one chain; else those that link to what is there: in its gaps, before its
    first and after its last, so that a rebuild in part can be completed. What is not as it was sealed, or of another
    chain, is left out. Numbers that are missing are remembered as gaps, so that `audit` tells a known gap from a new.
    """
    good = [record for record in records if is_readable(record)]
    rows = db.execute("select seq, prev, digest from evidence").fetchall()
    links = {int(row["seq"]): (str(row["prev"]), str(row["digest"])) for row in rows}
    new = _fitting(good, links) if links else one_chain(good)
    for record in new:
        put(db, record)
        close_run(db, record)
    if new:
        _note_gaps(db, sorted({*links, *(record.seq for record in new)}))
        since = min(record.seq for record in new)
        for row in db.execute("select * from evidence where seq >= ? order by seq", (since,)).fetchall():
            if is_readable(record := sealed(row)):
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
    """Read the whole chain in its stored order and name the first record that is not as it was."""
    records = [sealed(row) for row in db.execute("select * from evidence order by rowid")]
    last, first = head(db), int(_meta(db, "first", "1"))
    gaps: list[int] = json.loads(_meta(db, "gaps", "[]"))
    return _with_gaps(records, gaps, last, first) if gaps else verify_chain(records, head=last, first=first)


def _with_gaps(records: list[Sealed], gaps: list[int], head: tuple[int, str], first: int) -> ChainResult:
    """Audit a chain that was rebuilt with known gaps: each part by itself, and nothing else missing."""
    expected = [n for n in range(first, head[0] + 1) if n not in set(gaps)]
    for record, number in zip(records, expected, strict=False):
        if record.seq != number or (fault := fault_of(record)):
            problem = fault if record.seq == number else "removed or reordered"
            return ChainResult(records=len(records), head=head[1], first_bad=(number, problem or ""))
    before = {record.seq: record for record in records}
    for record in records:
        if record.seq - 1 in before and record.prev != before[record.seq - 1].digest:
            return ChainResult(records=len(records), head=head[1], first_bad=(record.seq, "reordered or replaced"))
    if len(records) != len(expected) or (records and records[-1].digest != head[1]):
        bad = (records[-1].seq + 1 if records else first, "removed: the chain does not end as it should")
        return ChainResult(records=len(records), head=head[1], first_bad=bad)
    return ChainResult(records=len(records), head=head[1])


def _meta(db: Connection, key: str, default: str) -> str:
    row = db.execute("select value from meta where key = ?", (key,)).fetchone()
    return str(row[0]) if row else default


def _set_meta(db: Connection, key: str, value: str) -> None:
    db.execute("insert or replace into meta values (?, ?)", (key, value))
