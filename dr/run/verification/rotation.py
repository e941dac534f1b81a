"""Which stored objects one run reads, and which share it decrypts: what is new or changed, then what waits longest.

Pure: what a target lists is held against what earlier runs read there. Nothing counts as read that is not listed as it
was when it was read, nor what bears a time that is still to come: somebody edited the memory, or a clock was wrong.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import merge
from typing import Any, Self

from dr.evidence.coverage import Coverage
from dr.evidence.stored_object import StoredObject, moment
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.run.verification.comparison import NEVER, ListingComparison
from dr.run.verification.inventory import id_of

#: A repository smaller than this (bytes), and than the budget, is read whole in each run.
SMALL = 20 << 30
#: So many level-3 runs decrypt everything, at least; a repository smaller than this (bytes) is decrypted in one.
SHARES, TINY = 10, 100_000_000
#: restic tells packs apart by their first byte.
_MOST_SHARES = 256


@dataclass(frozen=True, kw_only=True)
class ReadingRule:
    """How much one run reads.

    Level 2 holds while nothing was read longer ago than `whole_within`; a run reads at most `budget` bytes and begins
    with no other object after `limit`; None: no bound. `interval` is the longest time between two runs by their
    cadence, None where there is none. All times are seconds. `decrypt_all`: level 3 leaves nothing for the next run.
    """

    whole_within: int = 30 * 86_400
    budget: int | None = None
    limit: float | None = None
    interval: float | None = None
    decrypt_all: bool = False

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return the rule that a plan declares."""
        declared = plan.proof
        return cls(
            whole_within=declared.whole_within,
            budget=declared.budget,
            limit=60.0 * declared.minutes,
            interval=plan.verify_seconds,
        )

    def reads_all(self, size: int) -> bool:
        """Whether a repository of so many bytes is read whole in each run."""
        return self.budget is None or size <= min(SMALL, self.budget)

    @property
    def runs(self) -> int:
        """How many runs fall within the bound; at least one."""
        return max(1, int(self.whole_within // self.interval)) if self.interval else 1

    def whole(self, *, decrypt_all: bool = False) -> Self:
        """Return the rule of a run that reads everything."""
        return replace(self, budget=None, limit=None, decrypt_all=decrypt_all)

    def shares(self, size: int) -> int:
        """Return in how many shares a repository of so many bytes is decrypted."""
        if self.decrypt_all or size < TINY:
            return 1
        if self.budget is None or self.reads_all(size):
            return SHARES
        return min(_MOST_SHARES, max(SHARES, self.runs, math.ceil(size / max(1, self.budget))))


def to_read(against: ListingComparison, rule: ReadingRule, now: int) -> Sequence[int]:
    """Return the rows of the objects that a run reads, in its order; at least one, so that it always gets on."""
    there = against.stored
    if rule.reads_all(there.bytes):
        return range(len(there))
    chosen, read = array("Q"), 0
    for row in _in_turn(against, rule, now):
        read += there.at(row).size
        if chosen and rule.budget is not None and read > rule.budget:
            break
        chosen.append(row)
    return chosen


def _in_turn(against: ListingComparison, rule: ReadingRule, now: int) -> Iterator[int]:
    """Yield what changed, what was never read, what is overdue before the next run, and this run's part of the rest."""
    yield from against.changed
    yield from against.new()
    there, waiting = against.stored, dict[int, Any]()
    for row, at in enumerate(against.read_at):
        if at <= now:
            waiting.setdefault(at, array("Q")).append(row)
    left = there.bytes / max(1, rule.runs - 1)
    soon = now - (rule.whole_within - 1.5 * (rule.interval or 0)) * 1e6
    for at in sorted(waiting):
        for row in merge(*there.apart(waiting[at]), key=there.by_id):
            if at > soon and left <= 0:
                return
            yield row
            left -= there.at(row).size


def coverage_of(
    against: ListingComparison, rule: ReadingRule, now: int, *, began: int, bad: Collection[str] = ()
) -> Coverage:
    """Return what the memory shows after a run that `began` and ends `now` (microseconds since 1970).

    Some it found to be `bad`.
    """
    there = against.stored
    harmed = {item.row for name in bad if (item := there.find(name))}
    oldest, unread = NEVER, array("Q")
    for row, (was_read, read_at) in enumerate(zip(there.read_rows(), against.read_at, strict=True)):
        at = began if was_read else read_at
        if at <= now and row not in harmed:
            oldest = min(oldest, at)
        elif row not in harmed:
            unread.append(row)
    return Coverage(
        objects=len(there),
        bytes=there.bytes,
        read_objects=there.read_objects,
        read_bytes=there.read_bytes,
        oldest_read=moment(oldest) if oldest < NEVER and not (unread or harmed) else None,
        whole_within_seconds=rule.whole_within,
        unread_objects=len(unread),
        unread_bytes=sum(there.at(row).size for row in unread),
    )


def next_share(packs: Iterable[tuple[str, StoredObject]], shares: int, now: int) -> int:
    """Return which of so many shares (from 1) to decrypt: the one that has the pack which waits longest.

    A pack waits since it was decrypted, or was first seen. So one that is there for as many runs as there are shares
    was decrypted in one of them, whatever came and went meanwhile.
    """
    waits: dict[int, tuple[int, bool]] = {}
    for name, item in packs:
        share, mine = share_of(name, shares), (item.since if item.since <= now else 0, False)
        if item.decrypted is not None and item.decrypted <= now:
            mine = (item.decrypted, True)
        waits[share] = min(mine, waits.get(share, mine))
    return min(waits, key=lambda share: (waits[share], share), default=1)


def share_of(name: str, shares: int) -> int:
    """Return in which share (from 1) restic counts a pack: by the first byte of its id."""
    return int(id_of(name)[:2], 16) % shares + 1


def oldest_decrypted(packs: Iterable[StoredObject], now: int) -> int | None:
    """Return since when every pack was decrypted at least once; None while one never was."""
    times = (item.decrypted if item.decrypted is not None and item.decrypted <= now else -1 for item in packs)
    oldest = min(times, default=-1)
    return oldest if oldest >= 0 else None
