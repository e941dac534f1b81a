"""Records of the catalog that are not as they were sealed, or not in their place: taken off the chain, and put back.

Such a record stands in the way of a whole one that a target holds. While records are adopted it is away; what nothing
was found for is put back as it was, or set aside: its number is known to be missing then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import field
from sqlite3 import Connection, IntegrityError, Row

from dr.catalog import chain, folding, reading
from dr.evidence.seal import Sealed, Stored
from dr.late_dataclass import dataclass

_TABLES = ("evidence", "folded")
#: A folded record whose `prev` is that of the row before it keeps it, where that row is taken away.
_KEEP_LINK = """
    update folded set prev = (select digest from evidence where seq = :seq
        union all select lower(hex(b.digest)) from folded b where b.seq = :seq) where seq = :seq + 1 and prev is null"""


@dataclass(frozen=True)
class Doubt:
    """A record that is doubted: the rows it is stored in, by table, and itself where it is as it was sealed.

    `stray`: its thin row tells something else; it lies open when it is put back.
    """

    seq: int
    digest: str
    rows: tuple[tuple[str, Row], ...]
    sound: Sealed | None = None
    stray: bool = False

    def lines(self) -> Iterator[str]:
        """Yield its rows as they are stored, each as one JSON document."""
        for table, row in self.rows:
            kept = dict(zip(row.keys(), row, strict=True))
            shown = {key: each.hex() if isinstance(each, bytes) else each for key, each in kept.items()}
            yield json.dumps({"table": table, **shown})

    def put_back(self, db: Connection) -> bool:
        """Store it as it was; False where something took its place."""
        try:
            if self.stray and self.sound:
                chain.put(db, self.sound)
                return True
            for table, row in self.rows:
                db.execute(f"insert into {table} values ({', '.join('?' * len(row))})", tuple(row))  # noqa: S608
        except IntegrityError:
            return False
        return True


@dataclass
class _Seen:
    """What passes by of the chain, and which numbers are doubted: each with whether it is as it was sealed."""

    head: tuple[int, str]
    doubted: dict[int, Sealed | None] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)
    strays: set[int] = field(default_factory=set)
    last: Stored | None = None

    def look_at_row(self, row: Row, lines: Sequence[str]) -> None:
        if folding.stray(row, lines):
            self.strays.add(int(row["seq"]))

    def look(self, record: Stored) -> None:
        before, sound = self.last, record.fault() is None
        if before and before.seq == record.seq:
            self._doubt(before, sound=False)
        if before and before.seq + 1 == record.seq and sound and before.digest != record.prev:
            self._doubt(before, sound=before.seq not in self.doubted)
        number, digest = self.head
        behind = record.seq > number or (record.seq == number and record.digest != digest)
        if not sound or behind or record.seq in self.strays:
            self._doubt(record, sound=sound)
        self.last = record

    def _doubt(self, record: Stored, *, sound: bool) -> None:
        self.doubted[record.seq] = record.sealed() if sound else None
        self.digests[record.seq] = str(record.digest)


def take_off(db: Connection) -> list[Doubt]:
    """Take the records that are doubted off the chain, and return them by their numbers.

    Doubted is what is not as it was sealed; what has another digest than the record after it, or the head, tells;
    what stands behind the head; and whose thin row tells something else.
    """
    seen = _Seen(chain.head(db))
    for record in reading.every(db, look=seen.look_at_row):
        seen.look(record)
    doubts = [_doubt(db, seen, seq) for seq in sorted(seen.doubted)]
    for doubt in doubts:
        if doubt.seq + 1 not in seen.doubted:
            db.execute(_KEEP_LINK, {"seq": doubt.seq})
    for table in _TABLES:
        db.executemany(f"delete from {table} where seq = ?", [(doubt.seq,) for doubt in doubts])  # noqa: S608
    return doubts


def _doubt(db: Connection, seen: _Seen, seq: int) -> Doubt:
    found = [(table, db.execute(f"select * from {table} where seq = ?", (seq,))) for table in _TABLES]  # noqa: S608
    rows = tuple((table, row) for table, each in found for row in each)
    sound = seen.doubted[seq] if len(rows) == 1 else None
    return Doubt(seq, seen.digests[seq], rows, sound, stray=seq in seen.strays)


def put_back(db: Connection, doubts: Sequence[Doubt], *, whole: bool) -> tuple[list[Doubt], list[int]]:
    """Put back what nothing was found for; return what is not, and the numbers that stay doubted.

    What is as it was sealed and fits is no longer doubted. Of the rest nothing is put back where the `whole` was read,
    so that nobody else can hold the true record.
    """
    away, doubted = list[Doubt](), list[int]()
    for doubt in reversed(doubts):
        fits = doubt.sound is not None and _fits(db, doubt.sound)
        if (whole and not fits) or not doubt.put_back(db):
            away.append(doubt)
        elif not fits:
            doubted.append(doubt.seq)
    return away[::-1], doubted


def _fits(db: Connection, record: Sealed) -> bool:
    """Whether a record is what those beside it, and the head, tell."""
    number, digest = chain.head(db)
    if record.seq == number and record.digest != digest:
        return False
    around = (record.seq - 1, record.seq + 1)
    near = {seq: (prev, own) for seq, prev, own in reading.links(db, around)}
    before, after = near.get(record.seq - 1), near.get(record.seq + 1)
    return (before is None or before[1] == record.prev) and (after is None or after[0] == record.digest)
