"""The chain of evidence in the catalog: what is put onto it, what is adopted from targets, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from sqlite3 import Connection
from typing import TYPE_CHECKING

from dr.catalog import attempts, reading
from dr.catalog.values import micros, ref_key
from dr.errors import CatalogError
from dr.evidence.canonical import canonical
from dr.evidence.fact import Fact
from dr.evidence.seal import GENESIS, ChainResult, NumberSpan, Sealed, known_fact, verify_chain

if TYPE_CHECKING:
    from dr.catalog.gathered import Gathered

#: Numbers between which records are missing.
_GAPS = """
    select seq, after from (select seq, lead(seq) over (order by seq) as after from
        (select seq from evidence union all select seq from folded)) where after > seq + 1"""


def head(db: Connection) -> tuple[int, str]:
    """Return the number and digest of the last record; 0 and zeros when there is none."""
    return _number(db, "head_seq", "0"), _meta(db, "head_digest", GENESIS)


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
    """Take records found on targets; return how many were taken. Holds one at a time.

    Into a catalog without any, those of one chain; else those that link to what is there: in its gaps, before its
    first and after its last, so that a rebuild in part can be completed. What is not as it was sealed, or of another
    chain, is left out, and so is a second record of one run. Numbers that are missing are remembered as gaps, so that
    `audit` tells a known gap from a new.
    """
    from dr.catalog import derive, traffic

    number, since = 0, 1
    for number, record in enumerate(records.fitting(reading.links(db), partial(_is_named, db)), 1):
        fact = record.fact
        put(db, record)
        close_run(db, record, fact)
        traffic.add_fact(db, fact)
        since = record.seq if number == 1 else since
    if number:
        _note_gaps(db)
        for fact in _facts(db, since):
            derive.apply(db, fact)  # later records have the last word
    return number


def _is_named(db: Connection, ref: str, kind: str) -> bool:
    """Whether a record of that run, or act, is there: there is one of each."""
    asked = (
        "select 1 from evidence where ref = ? and kind = ?"
        " union all select 1 from folded where ref_key = ? and kind = ? limit 1"
    )
    return db.execute(asked, (ref, kind, ref_key(ref), kind)).fetchone() is not None


def _facts(db: Connection, since: int) -> Iterator[Fact]:
    """Yield the facts from a number on; of what is not as it was sealed there is none."""
    for stored in reading.every(db, since=since):
        if stored.fault() is None and (fact := known_fact(stored.sealed())):
            yield fact


def _note_gaps(db: Connection) -> None:
    """Keep which numbers are missing, as spans: a stranger's record may bear any number, and leave a gap as wide."""
    (first,) = db.execute("select min(seq) from (select seq from evidence union all select seq from folded)").fetchone()
    _set_meta(db, "first", str(first))
    _set_meta(db, "gaps", json.dumps([(seq + 1, after - 1) for seq, after in db.execute(_GAPS)]))


def gaps(db: Connection) -> list[NumberSpan]:
    """Return the numbers that are known to be missing, in spans. An earlier release kept one by one."""
    try:
        kept = json.loads(_meta(db, "gaps", "[]"))
        spans = [(each, each) if isinstance(each, int) else (int(each[0]), int(each[1])) for each in kept]
    except (ValueError, TypeError, LookupError):
        raise _damaged(db, "gaps") from None
    found: list[NumberSpan] = []
    for first, last in sorted(spans):
        found[-1:] = [(found[-1][0], last)] if found and found[-1][1] == first - 1 else [*found[-1:], (first, last)]
    return found


def audit(db: Connection, *, look: reading.Look) -> ChainResult:
    """Read the whole chain in its stored order, one record at a time; name the first that is not as it was.

    `look` is given each thin row that is read, and what its chunk holds.
    """
    records = reading.every(db, look=look)
    return verify_chain(records, head=head(db), first=_number(db, "first", "1"), gaps=gaps(db))


def _number(db: Connection, key: str, default: str) -> int:
    try:
        return int(_meta(db, key, default))
    except ValueError:
        raise _damaged(db, key) from None


def _damaged(db: Connection, key: str) -> CatalogError:
    place = str(db.execute("select file from pragma_database_list").fetchone()[0])
    what, hint = "the catalog is damaged: what it keeps of its chain is not what was written", "run `dr points rebuild`"
    return CatalogError(what, place, key, hint=f"{hint}: it moves the damaged file aside and reads the targets")


def _meta(db: Connection, key: str, default: str) -> str:
    row = db.execute("select value from meta where key = ?", (key,)).fetchone()
    return str(row[0]) if row else default


def _set_meta(db: Connection, key: str, value: str) -> None:
    db.execute("insert or replace into meta values (?, ?)", (key, value))
