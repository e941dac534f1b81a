"""The chain of evidence in the catalog: what is put onto it, what is known to be missing, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from sqlite3 import Connection

from dr.catalog import attempts, reading
from dr.catalog.values import micros
from dr.errors import CatalogError
from dr.evidence.canonical import canonical
from dr.evidence.fact import Fact
from dr.evidence.seal import GENESIS, NUMBERS, ChainResult, NumberSpan, Sealed, Stored, verify_chain

#: Numbers between which records are missing.
_GAPS = """
    select seq, after from (select seq, lead(seq) over (order by seq) as after from
        (select seq from evidence union all select seq from folded)) where after > seq + 1"""


def head(db: Connection) -> tuple[int, str]:
    """Return the number and digest of the last record; 0 and zeros when there is none."""
    number = _number(db, "head_seq", "0")
    if not 0 <= number < NUMBERS:
        raise _damaged(db, "head_seq")
    return number, _meta(db, "head_digest", GENESIS)


def told_end(db: Connection) -> int:
    """Return the greatest number that the catalog tells of beside its chain: of what was sent, and of what has run."""
    told = "select max(seq) from (select seq from sent union all select seq from runs where seq is not null)"
    return int(db.execute(told).fetchone()[0] or 0)


def put(db: Connection, record: Sealed) -> None:
    """Put a record in its place; one with the greatest number becomes the head."""
    body = canonical(record.body)  # what was hashed, so that an audit need not parse it
    db.execute(
        "insert into evidence (seq, kind, ref, system, at, prev, digest, body) values (?, ?, ?, ?, ?, ?, ?, ?)",
        (record.seq, record.kind, record.ref, record.system, record.at, record.prev, record.digest, body),
    )
    if record.seq > head(db)[0]:
        set_head(db, record.seq, record.digest)


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


def note_gaps(db: Connection) -> None:
    """Keep which numbers are missing, as spans: a stranger's record may bear any number, and leave a gap as wide."""
    ends = "select min(seq), max(seq) from (select seq from evidence union all select seq from folded)"
    first, last = db.execute(ends).fetchone()
    found = [(seq + 1, after - 1) for seq, after in db.execute(_GAPS)] if last else []
    before = [(1, first - 1)] if first and first > 1 else []
    behind = [((last or 0) + 1, head(db)[0])] if head(db)[0] > (last or 0) else []
    _set_meta(db, "first", "1")
    _set_meta(db, "gaps", json.dumps([*before, *found, *behind]))


def set_head(db: Connection, number: int, digest: str) -> None:
    """Let a record be the last one."""
    _set_meta(db, "head_seq", str(number))
    _set_meta(db, "head_digest", digest)


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


def audit(
    db: Connection, *, look: reading.Look, passing: Callable[[Iterator[Stored]], Iterator[Stored]] = iter
) -> ChainResult:
    """Read the whole chain in its stored order, one record at a time; name the first that is not as it was.

    `look` is given each thin row that is read, and what its chunk holds; all records are `passing` by another.
    """
    last, told = head(db), told_end(db)
    found = verify_chain(
        passing(reading.every(db, look=look)), head=last, first=_number(db, "first", "1"), gaps=gaps(db)
    )
    if found.first_bad is None and told > last[0]:
        cut = last[0] + 1, f"removed, and the head was set back: there were records up to {told}"
        return replace(found, first_bad=cut)
    return found


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
