"""Records found on targets are taken onto the chain: into its gaps, and in place of what is not as it was sealed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from sqlite3 import Connection
from typing import TYPE_CHECKING

from dr.catalog import chain, derive, doubts, reading, traffic
from dr.evidence.fact import Fact
from dr.evidence.seal import GENESIS, NumberSpan, known_fact
from dr.late_dataclass import dataclass

if TYPE_CHECKING:
    from dr.catalog.gathered import Gathered

_LAST = "select max(seq) from (select seq from evidence union all select seq from folded)"


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What a rebuild did to the chain: how many records came from targets; of those, which came in place of one that
    was not as it was sealed; and of which such records no target that was read holds a whole one."""

    records: int = 0
    put_back: tuple[NumberSpan, ...] = ()
    set_aside: tuple[NumberSpan, ...] = ()


def adopt(
    db: Connection, records: Gathered, *, whole: bool = False, aside: Callable[[Iterable[str]], None] = lambda _: None
) -> Adopted:
    """Take records found on targets. Holds one at a time, and those of the catalog that are not as they were sealed.

    Into a catalog without any, those of one chain; else those that link to what is there: in its gaps, before its
    first and after its last, so that a rebuild in part can be completed. What is not as it was sealed, or of another
    chain, is left out, and so is a second record of one run. Numbers that are missing are remembered as gaps, so that
    `audit` tells a known gap from a new.

    A record of the catalog that is not as it was sealed gives way to a whole one. Where there is none it stays, unless
    the `whole` of all targets was read: then its number is a gap. What gave way is given to `aside`, as it was stored.
    """
    (number, digest), gaps = chain.head(db), chain.gaps(db)
    doubted = {doubt.seq: doubt for doubt in doubts.take_off(db)}
    numbers = {doubt.digest: doubt.seq for doubt in doubted.values()}
    fitting = records.fitting(
        reading.links(db), partial(reading.is_on_record, db), doubted=doubted, wanted=(digest, *numbers)
    )
    taken, put_back, away, since = 0, list[int](), list[doubts.Doubt](), 0
    for record in fitting:
        doubt = doubted.get(record.seq) or doubted.get(numbers.get(record.digest, 0))  # its number may be altered
        if doubt and doubt.sound and doubt.sound.digest == record.digest and doubt.put_back(db):
            del doubted[doubt.seq]
            continue
        if doubt:
            put_back.append(record.seq)
            away.append(doubted.pop(doubt.seq))
            db.execute("delete from runs where run_id = ?", (record.ref,))  # it may say what the altered one said
        chain.put(db, record)
        chain.close_run(db, record, record.fact)
        if not doubt and (record.seq > number or any(first <= record.seq <= last for first, last in gaps)):
            traffic.add_fact(db, record.fact)  # else what it moved is in the sums already
        taken, since = taken + 1, since or record.seq
    left, stay = doubts.put_back(db, list(doubted.values()), whole=whole)
    if away or left:
        aside(line for doubt in sorted((*away, *left), key=lambda each: each.seq) for line in doubt.lines())
    _settle(db, head=max(number, chain.told_end(db)), stay=stay)
    for fact in _facts(db, since) if taken else ():
        derive.apply(db, fact)  # later records have the last word
    return Adopted(records=taken, put_back=_spans(put_back), set_aside=_spans(doubt.seq for doubt in left))


def _settle(db: Connection, *, head: int, stay: Sequence[int]) -> None:
    """Bring the head, the gaps and the index of runs up to date; a head that nothing whole bears out stays."""
    (last,) = db.execute(_LAST).fetchone()
    if last and last >= head and not any(seq >= head for seq in stay):
        ((_, _, digest),) = reading.links(db, (last, last))
        chain.set_head(db, last, digest)
    elif head > chain.head(db)[0]:
        chain.set_head(db, head, GENESIS)  # of that nobody has the digest; no number is given twice
    chain.note_gaps(db)
    for seq, _ in derive.strays(db):
        record = reading.opened(db, seq)
        if record.fault() is None and (fact := known_fact(record.sealed())):
            db.execute("delete from runs where run_id = ?", (record.ref,))
            chain.close_run(db, record.sealed(), fact)


def _facts(db: Connection, since: int) -> Iterator[Fact]:
    """Yield the facts from a number on; of what is not as it was sealed there is none."""
    for stored in reading.every(db, since=since):
        if stored.fault() is None and (fact := known_fact(stored.sealed())):
            yield fact


def _spans(numbers: Iterable[int]) -> tuple[NumberSpan, ...]:
    """Return ascending numbers as spans."""
    spans = list[NumberSpan]()
    for number in numbers:
        spans[-1:] = (
            [(spans[-1][0], number)] if spans and spans[-1][1] == number - 1 else [*spans[-1:], (number, number)]
        )
    return tuple(spans)
