"""Which stored objects one run reads, and which share it decrypts: what is new or changed, then what waits longest.

Pure: what a target lists is held against what earlier runs read there. Nothing counts as read that is not listed as it
was when it was read, nor what bears a time that is still to come: somebody edited the memory, or a clock was wrong.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Self

from dr.evidence.coverage import Coverage
from dr.evidence.stored_object import StoredObject, moment
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.run.verification.object_hashes import Inventory

#: A repository smaller than this (bytes), and than the budget, is read whole in each run.
SMALL = 20 << 30
#: So many level-3 runs decrypt everything, at least; a repository smaller than this (bytes) is decrypted in one.
SHARES, TINY = 10, 100_000_000
#: restic tells packs apart by their first byte.
_MOST_SHARES = 256
_UNSEEN = StoredObject()


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


def is_read(there: Inventory, name: str, known: StoredObject, now: int) -> bool:
    """Whether an object was read as it is listed now (microseconds since 1970), and not in the future."""
    listed = (known.size, known.modified, known.version)
    return known.read is not None and known.read <= now and listed == there.as_listed(name)


def to_read(there: Inventory, known: Mapping[str, StoredObject], rule: ReadingRule, now: int) -> list[str]:
    """Return the objects that a run reads, in its order; at least one, so that it always gets on."""
    size = sum(there.sizes.values())
    if rule.reads_all(size):
        return list(there.sizes)
    chosen, read = list[str](), 0
    for name in _in_turn(there, known, rule, now):
        read += there.sizes[name]
        if chosen and rule.budget is not None and read > rule.budget:
            break
        chosen.append(name)
    return chosen


def _in_turn(there: Inventory, known: Mapping[str, StoredObject], rule: ReadingRule, now: int) -> Iterator[str]:
    """Yield what changed, what was never read, what is overdue before the next run, and this run's part of the rest."""
    changed, new, waiting = [], [], []
    for name in there.sizes:
        item = known.get(name)
        if item is not None and is_read(there, name, item, now):
            waiting.append((item.read or 0, _id(name), name))
        elif item is not None and (item.read is not None or item.modified is None):
            changed.append(name)
        else:
            new.append((name.startswith("data/"), item is None, name))
    yield from sorted(changed)
    yield from (name for _, _, name in sorted(new))
    waiting.sort()
    left = sum(there.sizes.values()) / max(1, rule.runs - 1)
    soon = now - (rule.whole_within - 1.5 * (rule.interval or 0)) * 1e6
    for at, _, name in waiting:
        if at > soon and left <= 0:
            return
        yield name
        left -= there.sizes[name]


def coverage_of(
    there: Inventory, known: Mapping[str, StoredObject], rule: ReadingRule, now: int, *, bad: Collection[str] = ()
) -> Coverage:
    """Return what the memory shows after a run that ends `now` (microseconds since 1970) and found some to be `bad`."""
    times, unread, harmed = list[int](), list[str](), False
    for name in there.sizes:
        item = known.get(name, _UNSEEN)
        if item.read is not None and is_read(there, name, item, now):
            times.append(item.read)
        elif name in bad:
            harmed = True
        else:
            unread.append(name)
    return Coverage(
        objects=len(there.sizes),
        bytes=sum(there.sizes.values()),
        read_objects=len(there.hashes),
        read_bytes=there.bytes,
        oldest_read=moment(min(times)) if times and not (unread or harmed) else None,
        whole_within_seconds=rule.whole_within,
        unread_objects=len(unread),
        unread_bytes=sum(there.sizes[name] for name in unread),
    )


def next_share(packs: Mapping[str, StoredObject], shares: int, now: int) -> int:
    """Return which of so many shares (from 1) to decrypt: the one that has the pack which waits longest.

    A pack waits since it was decrypted, or was first seen. So one that is there for as many runs as there are shares
    was decrypted in one of them, whatever came and went meanwhile.
    """
    waits: dict[int, tuple[int, bool]] = {}
    for name, item in packs.items():
        share, mine = share_of(name, shares), (item.since if item.since <= now else 0, False)
        if item.decrypted is not None and item.decrypted <= now:
            mine = (item.decrypted, True)
        waits[share] = min(mine, waits.get(share, mine))
    return min(waits, key=lambda share: (waits[share], share), default=1)


def share_of(name: str, shares: int) -> int:
    """Return in which share (from 1) restic counts a pack: by the first byte of its id."""
    return int(_id(name)[:2], 16) % shares + 1


def oldest_decrypted(packs: Iterable[StoredObject], now: int) -> int | None:
    """Return since when every pack was decrypted at least once; None while one never was."""
    times = [item.decrypted if item.decrypted is not None and item.decrypted <= now else -1 for item in packs]
    return min(times) if times and min(times) >= 0 else None


def _id(name: str) -> str:
    return name.rpartition("/")[2]
