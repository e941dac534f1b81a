"""Folding: what is old and ordinary takes a tenth of the room, and nothing of it is lost.

A backup, a verification or a replication that went well and is older than `AGE` is of interest for its figures, and
for the chain. Its record leaves the open table: its body goes, with those of its like, into a compressed chunk, and a
thin row keeps its digest and the figures that a report or the board asks for. What went wrong, and every drill,
recovery, destruction and act, stays as it is.

The chain is the same: each record is still there, with the text that was hashed (`dr.catalog.reading`). A batch is
folded in one transaction, and no record that is not as it was sealed is ever folded.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from sqlite3 import Connection
from typing import Any

from dr.catalog import suspicion
from dr.catalog.connection import Connections
from dr.catalog.reading import FOLDED_KINDS, with_lines
from dr.catalog.values import micros, moment, ref_key
from dr.evidence.canonical import canonical
from dr.evidence.seal import Stored, text_of
from dr.late_dataclass import dataclass

#: How old a record lies open at least. Longer than the time over which the board tells exposure.
AGE = timedelta(days=35)
#: So few are not worth it; so many are folded at once; so many bodies are in a chunk.
FEWEST, MOST, IN_CHUNK = 512, 4096, 128
#: The number up to which all was looked at already.
_DONE = "folded_to"

_NEXT = "select at from evidence where seq >= ? order by seq limit 1"
_BATCH = """
    select e.*, r.started, r.outcome as noted, r.seq as noted_seq,
        (select max(seq) from evidence n where n.system = e.system and n.kind = e.kind) as newest,
        (select min(started) from runs f where f.system = r.system and f.verb = r.verb and f.scenario = r.scenario)
            as first_start, a.begun, a.settled, a.worked
    from evidence e left join runs r on r.run_id = e.ref
    left join attempts a on a.system = r.system and a.verb = r.verb and a.scenario = r.scenario
    where e.seq > ? order by e.seq limit ?"""
#: Points that no target holds any more. What exposure needs of them is kept with their folded records.
_GONE = """
    select p.* from points p where p.consistency < ? and not exists (select 1 from copies c where c.run_id = p.run_id)
    and exists (select 1 from folded f where f.ref_key = ref_key(p.run_id) and f.system = p.system)"""


@dataclass(frozen=True)
class _Ripe:
    """A record to be folded, with the text that was hashed."""

    record: Stored
    finished: int


def fold(connections: Connections, *, now: datetime, seconds: float = 2.0) -> int:
    """Fold what is old and ordinary, batch after batch, until nothing is left to fold or the time is over.

    Return how many records were folded. May be called at any time, and be killed at any time.
    """
    end, folded = time.monotonic() + seconds, 0
    cutoff = text_of(now - AGE)
    while ready(connections, cutoff):
        with connections.writing() as db:
            folded += _fold_batch(db, cutoff, micros(now - AGE))
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


def _fold_batch(db: Connection, cutoff: str, before: int) -> int:
    rows = db.execute(_BATCH, (_done(db), MOST)).fetchall()
    old = [row for row in rows if str(row["at"]) < cutoff]
    ripe = [found for row in old if (found := _ripe(row))]
    ripe.sort(key=lambda each: (each.record.kind, each.record.system, each.record.seq))
    for start in range(0, len(ripe), IN_CHUNK):
        _put(db, ripe[start : start + IN_CHUNK])
    _take_away(db, [each.record for each in ripe])
    _drop_gone(db, before)
    for system in {row["system"] for row in old}:
        suspicion.thin_out(db, system, before=before)
    if rows:  # where none is old, older ones follow: these look young by a clock that went ahead, and stay open
        db.execute("insert or replace into meta values (?, ?)", (_DONE, str((old or rows)[-1]["seq"])))
    return len(ripe)


def _done(db: Connection) -> int:
    row = db.execute("select value from meta where key = ?", (_DONE,)).fetchone()
    return int(row[0]) if row else 0


def _ripe(row: Any) -> _Ripe | None:
    """Return a record that may be folded; None where it is out of the ordinary, needed as it is, or not as it was."""
    if row["kind"] not in FOLDED_KINDS or row["seq"] == row["newest"]:
        return None
    if row["noted"] != "ok" or row["noted_seq"] != row["seq"]:
        return None
    if row["started"] in (row["first_start"], row["begun"], row["settled"], row["worked"]):
        return None
    names = ("seq", "kind", "ref", "system", "at", "prev", "digest")
    record = Stored(**{name: row[name] for name in names}, text=row["body"])
    try:
        body = json.loads(record.text)
        finished = micros(datetime.fromisoformat(record.at))
        record = Stored(**{name: row[name] for name in names}, text=canonical(body))
    except (ValueError, TypeError):
        return None
    as_kept = text_of(moment(finished)) == record.at and "\n" not in record.ref and "\t" not in record.ref
    return _Ripe(record, finished) if as_kept and is_ordinary(record, body) and record.fault() is None else None


def is_ordinary(record: Stored, body: Any) -> bool:
    """Whether a record went well, shows nothing out of the ordinary, and is what its columns say."""
    if not isinstance(body, dict) or body.get("outcome") != "ok" or body.get("suspect") or body.get("healed"):
        return False
    sources = body.get("sources") or ()
    if sources and all(isinstance(each, dict) and each.get("hollow") for each in sources):
        return False
    return body.get("run_id") == record.ref and body.get("system") == record.system


def _put(db: Connection, ripe: Sequence[_Ripe]) -> None:
    bodies = zlib.compress("\n".join(f"{each.record.ref}\t{each.record.text}" for each in ripe).encode(), 6)
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


def first_stray(db: Connection) -> tuple[int, str] | None:
    """Return the first folded record whose thin row says what it does not; None when all agree."""
    for row, lines in with_lines(db, db.execute("select * from folded order by seq")):
        try:
            ref, _, text = lines[row["nth"]].partition("\t")
            told = _contradiction(row, ref, json.loads(text))
        except (IndexError, TypeError, ValueError, OverflowError):
            told = "the index of folded runs cannot be read"
        if told:
            return int(row["seq"]), f"edited: {told}"
    return None


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
