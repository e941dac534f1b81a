"""Reading records: those that lie open in `evidence`, and those that were folded (`dr.catalog.folding`), as one chain.

Whoever reads sees no difference. One record is held at a time, and of what is folded a few chunks.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from sqlite3 import Connection, Row
from typing import TypeAlias

from dr.catalog.values import moment, ref_key
from dr.evidence.seal import Stored, text_of

#: Is given a row of `folded` that is read, and what its chunk holds.
Look: TypeAlias = Callable[[Row, list[str]], None]
#: The kinds of which ordinary records are folded; any other lies open.
FOLDED_KINDS = frozenset({"backup", "verify", "replicate", "expire", "prune"})
_BEFORE = """coalesce(f.prev, (select lower(hex(digest)) from folded b where b.seq = f.seq - 1),
    (select digest from evidence b where b.seq = f.seq - 1), '')"""
_FOLDED = f"select f.*, lower(hex(f.digest)) as told, {_BEFORE} as before from folded f"  # noqa: S608 - constants
_LINKS = """
    select seq, prev, digest from evidence where seq between :first and :last
    union all select f.seq, {before}, lower(hex(f.digest)) from folded f where f.seq between :first and :last"""
_DIGESTS = """
    select seq, digest from evidence where system = :system and seq <= :last
    union all select seq, lower(hex(digest)) from folded where system = :system and seq <= :last"""
#: What may be asked for, of those that lie open and of those that were folded.
_KINDS = "kind in (select value from json_each(:kinds))"
_SYSTEMS = "system in (select value from json_each(:systems))"
_AFTER = "seq > :after"


def every(db: Connection, *, since: int = 1, look: Look | None = None) -> Iterator[Stored]:
    """Yield the whole chain in its stored order, or from a number on; `look` is given what the folded are read from."""
    of = [_AFTER] if since > 1 else []
    given = {"after": since - 1}
    opened = map(_open, db.execute(_where("select * from evidence", of), given))
    return heapq.merge(opened, _folded(db, db.execute(_where(_FOLDED, of), given), look), key=attrgetter("seq"))


def is_on_record(db: Connection, ref: str, kind: str) -> bool:
    """Whether a record of that run, or act, is there: there is one of each."""
    asked = (
        "select 1 from evidence where ref = ? and kind = ?"
        " union all select 1 from folded where ref_key = ? and kind = ? limit 1"
    )
    return db.execute(asked, (ref, kind, ref_key(ref), kind)).fetchone() is not None


def digests(db: Connection, system: str, *, to: int = 2**62) -> Iterator[tuple[int, str]]:
    """Yield the numbers and digests of a system's records, up to a number, in no order."""
    return ((int(seq), str(digest)) for seq, digest in db.execute(_DIGESTS, {"system": system, "last": to}))


def select(
    db: Connection,
    kinds: Sequence[str] | None = None,
    *,
    systems: Sequence[str] | None = None,
    since: str | None = None,
    ref: str | None = None,
    after: int | None = None,
) -> Iterator[Stored]:
    """Yield records, oldest first: of some kinds, of some systems, not older than a time (as sealed), of one run."""
    given = {
        "kinds": json.dumps(list(kinds or ())),
        "systems": json.dumps(list(systems or ())),
        "after": after,
        "since": since,
        "ref": ref,
        "key": ref_key(ref or ""),
    }
    asked = [text for text, value in ((_KINDS, kinds), (_SYSTEMS, systems), (_AFTER, after)) if value is not None]
    of_open = [*asked, *(["at >= :since"] if since else []), *(["ref = :ref"] if ref else [])]
    of_folded = [*asked, *(["f.ref_key = :key"] if ref else [])]
    found: list[Iterator[Stored]] = [map(_open, db.execute(_where("select * from evidence", of_open), given))]
    if kinds is None or not FOLDED_KINDS.isdisjoint(kinds):
        rows = db.execute(_where(_FOLDED, of_folded), given)
        found.append(_folded(db, rows))
    merged = heapq.merge(*found, key=attrgetter("seq"))
    return (each for each in merged if (since is None or each.at >= since) and (ref is None or each.ref == ref))


def _where(query: str, conditions: Sequence[str]) -> str:
    return f"{query}{' where ' if conditions else ''}{' and '.join(conditions)} order by seq"


def links(db: Connection, span: tuple[int, int] = (-(2**63), 2**63 - 1)) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each record, or of those in a span, the digest of the record before, and its own."""
    for row in db.execute(_LINKS.format(before=_BEFORE), {"first": span[0], "last": span[1]}):
        yield int(row["seq"]), str(row["prev"]), str(row["digest"])


def opened(db: Connection, seq: int) -> Stored:
    """Return a record that lies open."""
    return _open(db.execute("select * from evidence where seq = ?", (seq,)).fetchone())


def _open(row: Row) -> Stored:
    names = ("seq", "kind", "ref", "system", "at", "prev", "digest")
    return Stored(**{name: row[name] for name in names}, text=row["body"])


def _folded(db: Connection, rows: Iterator[Row], look: Look | None = None) -> Iterator[Stored]:
    if (first := next(rows, None)) is None:
        return  # in a young catalog nothing was: what unpacks it is not loaded
    from dr.catalog.chunks import with_lines

    for row, lines in with_lines(db, itertools.chain((first,), rows)):
        if look:
            look(row, lines)
        yield _stored(row, lines)


def _stored(row: Row, lines: Sequence[str]) -> Stored:
    """Return a folded record; one whose columns are not what they should be comes back as nothing that is whole."""
    try:
        ref, _, text = lines[row["nth"]].partition("\t")
        at = text_of(moment(row["finished"]))
    except (IndexError, TypeError, OverflowError):
        ref, text, at = "", "", ""
    return Stored(
        seq=row["seq"], kind=row["kind"], ref=ref, system=row["system"], at=at, prev=row["before"], digest=row["told"],
        text=text,
    )  # fmt: skip


def exposed(db: Connection, systems: Sequence[str], *, since: int) -> Iterator[tuple[str, int, int]]:
    """Yield (system, consistency, finished) of points that no target holds any more, as far as exposure needs them.

    Of each system those that were finished since a time (microseconds), and the last before.
    """
    query = (
        "select consistency, finished from folded where system = ? and kind = 'backup' and consistency is not null"
        " and finished >= coalesce((select max(finished) from folded where system = ? and kind = 'backup'"
        " and consistency is not null and finished < ?), 0)"
    )
    for system in systems:
        yield from ((system, row[0], row[1]) for row in db.execute(query, (system, system, since)))


def counted(db: Connection, systems: Iterable[str], kind: str, *, since: int) -> dict[str, int]:
    """Return by system how many records of a kind, finished since a time (microseconds), were folded: all went well."""
    query = (
        "select system, count(*) as number from folded where kind = ? and finished >= ?"
        " and system in (select value from json_each(?)) group by system"
    )
    return {str(row[0]): int(row[1]) for row in db.execute(query, (kind, since, json.dumps(list(systems))))}
