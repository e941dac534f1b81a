"""Folding: what is old and ordinary takes a tenth of the room, and nothing of it is lost.

A backup, a verification or a replication that went well and is older than `AGE` is of interest for its figures, and
for the chain. Its record leaves the open table: its body goes, with those of its like, into a compressed chunk, and a
thin row keeps its digest and the figures that a report or the board asks for. What went wrong, and every drill,
recovery, destruction and act, stays as it is.

The chain is the same: each record is still there, with the text that was hashed (`dr.catalog.reading`). A batch is
read and compressed while nobody waits for it, and folded in one transaction, unless what it rests on has changed
meanwhile. No record that is not as it was sealed is ever folded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from sqlite3 import Connection
from typing import Any

from dr.catalog import chunks, suspicion
from dr.catalog.connection import Connections
from dr.catalog.reading import FOLDED_KINDS
from dr.catalog.values import micros, moment, ref_key
from dr.evidence.canonical import canonical
from dr.evidence.seal import Stored, text_of
from dr.late_dataclass import dataclass

#: How old a record lies open at least. Longer than the time over which the board tells exposure.
AGE = timedelta(days=35)
#: So few are not worth it; so many are folded at once; so many bodies are in a chunk. Of a thousand systems few records
#: of each would be in a small batch, and what is the same in all of a system would be kept that much more often. Chunks
#: twice as long take 4 % less room, and whoever reads the records of one system unpacks them in 1.7 times the time.
FEWEST, MOST, IN_CHUNK = 4096, 4096, 256
#: Of so many characters a batch is full, and a longer record lies open: what is read back must fit into memory.
MOST_TEXT, LONGEST = 12 * 2**20, 2**20
#: The number up to which all was looked at already.
_DONE = "folded_to"

_NEXT = "select at from evidence where seq >= ? order by seq limit 1"
#: The next records, without their bodies. Needed as they are: the newest of a kind, the first run, and those by which
#: it is told what was last begun, what ended and what worked.
_BATCH = """
    select e.seq, e.kind, e.ref, e.system, e.at, e.prev, e.digest, r.outcome as noted, r.seq as noted_seq,
        e.seq = (select max(seq) from evidence n where n.system = e.system and n.kind = e.kind)
        or coalesce(r.started in (
            (select min(started) from runs f where f.system = r.system and f.verb = r.verb and f.scenario = r.scenario),
            a.begun, a.settled, a.worked), 0) as needed
    from evidence e left join runs r on r.run_id = e.ref
    left join attempts a on a.system = r.system and a.verb = r.verb and a.scenario = r.scenario
    where e.seq > ? order by e.seq limit ?"""
_BODY = "select body from evidence where seq = ?"
#: Points that no target holds any more. What exposure needs of them is kept with their folded records.
_GONE = """
    select p.* from points p where p.consistency < ? and not exists (select 1 from copies c where c.run_id = p.run_id)
    and exists (select 1 from folded f where f.ref_key = ref_key(p.run_id) and f.system = p.system)"""


@dataclass(frozen=True)
class _Ripe:
    """A record to be folded, with the text that was hashed."""

    record: Stored
    finished: int


@dataclass(frozen=True)
class _Batch:
    """The records after a number as they were found, those of them that are old, and what can be folded, by chunks."""

    after: int
    rows: Sequence[Any]
    old: Sequence[Any]
    packed: Sequence[tuple[bytes, Sequence[_Ripe]]]

    @property
    def up_to(self) -> int:
        """The number up to which all was looked at: where none is old, older ones follow these, which look young by a
        clock that went ahead, and stay open."""
        return int((self.old or self.rows)[-1]["seq"]) if self.rows else self.after

    def holds_still(self, db: Connection) -> bool:
        """Whether all that it rests on is as it was when it was read."""
        again = db.execute(_BATCH, (_done(db), len(self.rows)))
        return _done(db) == self.after and all(one == two for one, two in zip_longest(self.rows, again))


def fold(connections: Connections, *, now: datetime, seconds: float = 2.0) -> int:
    """Fold what is old and ordinary, batch after batch, until nothing is left to fold or the time is over.

    Return how many records were folded. May be called at any time, by many at once, and be killed at any time.
    """
    end, folded = time.monotonic() + seconds, 0
    cutoff = text_of(now - AGE)
    while ready(connections, cutoff):
        with connections.reading() as db:
            batch = _next_batch(db, cutoff)
        with connections.writing() as db:
            if batch.holds_still(db):
                folded += _fold_batch(db, batch, micros(now - AGE))
        if time.monotonic() > end:
            break
    return folded


def ready(connections: Connections, cutoff: str) -> bool:
    """Whether there are so many old records that a batch is worth it: a few looks at an index, ever further on.

    One would do, were there no clocks that went ahead for a while: what they sealed looks young for years.
    """
    with connections.reading() as db:
        done, step = _done(db), FEWEST
        while row := db.execute(_NEXT, (done + step,)).fetchone():
            if str(row["at"]) < cutoff:
                return True
            step *= 2
    return False


def _next_batch(db: Connection, cutoff: str) -> _Batch:
    done = _done(db)
    rows = db.execute(_BATCH, (done, MOST)).fetchall()
    old, ripe, size = [], [], 0
    for number, row in enumerate(rows, 1):
        if str(row["at"]) < cutoff:
            old.append(row)
            if found := _ripe(db, row):
                ripe.append(found)
                size += len(found.record.text)
        if size > MOST_TEXT:
            rows = rows[:number]
            break
    ripe.sort(key=lambda each: (each.record.kind, each.record.system, each.record.seq))
    return _Batch(done, rows, old, [(chunks.pack(_lines(part)), part) for part in _in_chunks(ripe)])


def _in_chunks(ripe: Sequence[_Ripe]) -> Iterator[Sequence[_Ripe]]:
    return (ripe[start : start + IN_CHUNK] for start in range(0, len(ripe), IN_CHUNK))


def _lines(ripe: Sequence[_Ripe]) -> Iterator[str]:
    return (f"{each.record.ref}\t{each.record.text}" for each in ripe)


def _fold_batch(db: Connection, batch: _Batch, before: int) -> int:
    for bodies, ripe in batch.packed:
        _put(db, bodies, ripe)
    folded = [each.record for _, ripe in batch.packed for each in ripe]
    _take_away(db, folded)
    _drop_gone(db, before)
    for system in {row["system"] for row in batch.old}:
        suspicion.thin_out(db, system, before=before)
    db.execute("insert or replace into meta values (?, ?)", (_DONE, str(batch.up_to)))
    return len(folded)


def _done(db: Connection) -> int:
    row = db.execute("select value from meta where key = ?", (_DONE,)).fetchone()
    return int(row[0]) if row else 0


def _ripe(db: Connection, row: Any) -> _Ripe | None:
    """Return a record that may be folded; None where it is out of the ordinary, needed as it is, or not as it was."""
    if row["kind"] not in FOLDED_KINDS or row["needed"] or row["noted"] != "ok" or row["noted_seq"] != row["seq"]:
        return None
    names = ("seq", "kind", "ref", "system", "at", "prev", "digest")
    text = db.execute(_BODY, (row["seq"],)).fetchone()
    try:
        body = json.loads(text["body"])
        finished = micros(datetime.fromisoformat(row["at"]))
        record = Stored(**{name: row[name] for name in names}, text=canonical(body))
    except (ValueError, TypeError):
        return None
    as_kept = text_of(moment(finished)) == record.at and "\n" not in record.ref and "\t" not in record.ref
    if not as_kept or len(record.text) > LONGEST:
        return None
    return _Ripe(record, finished) if is_ordinary(record, body) and record.fault() is None else None


def is_ordinary(record: Stored, body: Any) -> bool:
    """Whether a record went well, shows nothing out of the ordinary, and is what its columns say."""
    if not isinstance(body, dict) or body.get("outcome") != "ok" or body.get("suspect") or body.get("healed"):
        return False
    sources = body.get("sources") or ()
    if sources and all(isinstance(each, dict) and each.get("hollow") for each in sources):
        return False
    return body.get("run_id") == record.ref and body.get("system") == record.system


def _put(db: Connection, bodies: bytes, ripe: Sequence[_Ripe]) -> None:
    number = db.execute("insert into chunks (bodies) values (?)", (bodies,)).lastrowid
    db.executemany(
        "insert into folded (seq, kind, system, ref_key, finished, chunk, nth, digest, prev) values"
        " (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.record.seq,
                each.record.kind,
                each.record.system,
                ref_key(each.record.ref),
                each.finished,
                number,
                nth,
                bytes.fromhex(each.record.digest),
                None if _follows(db, each.record, ripe) else each.record.prev,
            )
            for nth, each in enumerate(ripe)
        ],
    )


def _follows(db: Connection, record: Stored, ripe: Sequence[_Ripe]) -> bool:
    """Whether the record before is here, so that its digest need not be kept twice."""
    row = db.execute(
        "select lower(hex(digest)) from folded where seq = :before union all"
        " select digest from evidence where seq = :before",
        {"before": record.seq - 1},
    ).fetchone()
    return row is not None and row[0] == record.prev


def _take_away(db: Connection, records: Sequence[Stored]) -> None:
    db.executemany("delete from evidence where seq = ?", [(each.seq,) for each in records])
    db.executemany("delete from runs where run_id = ?", [(each.ref,) for each in records])


def _drop_gone(db: Connection, before: int) -> None:
    """Drop points that no target holds: their exposure is kept with the records of their runs."""
    for point in db.execute(_GONE, (before,)).fetchall():
        if point["complete"]:
            db.execute(
                "update folded set consistency = ? where ref_key = ? and system = ?",
                (point["consistency"], ref_key(point["run_id"]), point["system"]),
            )
        db.execute("delete from points where run_id = ?", (point["run_id"],))


class Strays:
    """Holds thin rows against the records they were made of, while those pass by, and remembers the first that differs.

    A thin row differs when it says of its record what the record does not.
    """

    def __init__(self) -> None:
        self.first: tuple[int, str] | None = None

    def look(self, row: Any, lines: Sequence[str]) -> None:
        """Look at a row of `folded`, with what its chunk holds. Rows are looked at by their numbers."""
        if self.first is None and (told := stray(row, lines)):
            self.first = int(row["seq"]), f"edited: {told}"


def stray(row: Any, lines: Sequence[str]) -> str:
    """Return in what a row of `folded` differs from the record it was made of; "" where it does not."""
    try:
        ref, _, text = lines[row["nth"]].partition("\t")
        return _contradiction(row, ref, json.loads(text))
    except (IndexError, TypeError, ValueError, OverflowError):
        return "the index of folded runs cannot be read"


def _contradiction(row: Any, ref: str, body: Any) -> str:
    record = Stored(seq=row["seq"], kind=row["kind"], ref=ref, system=row["system"], at="", prev="", digest="", text="")
    if not is_ordinary(record, body):
        return "it was folded as one that went well, and the record says otherwise"
    if row["ref_key"] != ref_key(ref):
        return "the index of folded runs does not lead to it"
    told = body.get("consistency_time")
    if row["consistency"] is not None and (not body.get("complete") or told != text_of(moment(row["consistency"]))):
        return "the index of folded runs says another time"
    return ""
