"""Months of ordinary change, as numbers: what captures of a school district's systems look like, day by day."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dr.evidence.change import Change

FIRST = datetime(2026, 7, 1, 2, tzinfo=UTC)


def days(count: int) -> Iterator[tuple[int, datetime]]:
    for number in range(count):
        yield number, FIRST + timedelta(days=number)


def school(at: datetime) -> float:
    """How busy a day is: holidays in summer and at the turn of the year, weekends, month ends."""
    if at.weekday() >= 5:
        return 0.05
    holidays = at.month in (7, 8) or (at.month == 12 and at.day > 22) or (at.month == 1 and at.day < 3)
    return (0.2 if holidays else 1.0) * (2.5 if (at + timedelta(days=2)).month != at.month else 1.0)


@dataclass
class Share:
    """A tree of documents. `busy` files change on a school day; `strange` is the share of files that look random."""

    chance: random.Random
    files: int
    busy: int
    strange: float = 0.0

    def day(self, number: int, at: datetime) -> Change:
        pace, files = school(at), self.files
        changed = min(files // 5, self._some(self.busy * pace))
        added, removed, moved = self._some(self.busy * pace / 2), self._some(self.busy * pace / 8), 0
        if (at.month, at.day) in ((9, 1), (2, 1)):  # a term begins: 30 % more files
            added += int(0.3 * files)
        if (at.month, at.day) == (10, 15):  # photo day
            added += 4000
        if at.weekday() == 6:  # logs are rotated
            moved, changed, removed = moved + 30, changed + 10, removed + 5
        if (at.month, at.day) == (1, 2):  # the year's rollover: a third goes to the archive, old years are purged
            moved, removed = moved + files // 3, removed + files // 5
        if number % 45 == 20:  # somebody tidies up, or a tool writes all files of a department anew
            changed, removed = changed + files // 8, removed + files // 20
        return self._measured(files, min(changed, files), added, min(removed, files), moved)

    def _measured(self, files: int, changed: int, added: int, removed: int, moved: int) -> Change:
        self.files = files + added - removed
        sampled, new = min(150, changed), min(50, added)
        strange, strange_new = self._of(sampled), self._of(new)
        size = self.files * 200_000
        raw = int((changed + added) * 200_000 * self.chance.uniform(0.3, 1))
        return Change(
            files=self.files, before=files, added=added, changed=changed, removed=removed, moved=moved,
            sampled=sampled, strange=strange, sampled_new=new, strange_new=strange_new, encrypted=strange,
            size=size, processed=size, raw_added=raw, packed_added=int(raw * self.chance.uniform(0.6, 0.95)),
        )  # fmt: skip

    def _some(self, about: float) -> int:
        """A count with the heavy tail that work has."""
        return int(about * math.exp(self.chance.gauss(0, 0.8))) if about else 0

    def _of(self, sampled: int) -> int:
        return sum(self.chance.random() < self.strange for _ in range(sampled))


@dataclass
class Dump:
    """A dump of a database that grows, is migrated to a new schema, and is trimmed at the turn of the year."""

    chance: random.Random
    size: float = 50e6
    packed: float = 0.25
    rows: int = 100_000

    def day(self, number: int, at: datetime) -> Change:
        before = self.rows
        self.size *= 1 + 0.004 * school(at) * self.chance.random()
        self.rows += int(400 * school(at))
        emptied = self.chance.choice((0, 0, 0, 40)) * self.chance.randrange(5)  # a queue
        if number == 120:  # a new schema: every row is another, with one more random token
            self.size, self.packed = self.size * 1.2, self.packed + 0.08
        if (at.month, at.day) == (1, 2):  # last year's attendance goes into an archive's tables, and half is dropped
            self.size, emptied, self.rows = self.size * 0.55, emptied + 30_000, self.rows - 12_000
        packed = min(1.0, self.packed * self.chance.uniform(0.93, 1.07))
        size = int(self.size)
        raw = int(size * self.chance.uniform(0.2, 1))
        return Change(
            files=1, before=1, changed=1, head="text", packed=round(packed, 4), entropy=5.1, size=size, processed=size,
            raw_added=raw, packed_added=int(raw * packed * 0.8), rows=self.rows, rows_before=before,
            emptied_rows=emptied,
        )  # fmt: skip


def systems(seed: int) -> dict[str, Share | Dump]:
    """Systems of several sizes and habits."""
    chance = random.Random(seed)
    return {
        "a few files": Share(chance, files=12, busy=3),
        "a small share": Share(chance, files=900, busy=12),
        "a share": Share(chance, files=20_000, busy=60, strange=0.01),
        "photos": Share(chance, files=6_000, busy=2),
        "encrypted by its program": Share(chance, files=3_000, busy=80, strange=0.97),
        "a dump": Dump(chance),
        "a compressed dump": Dump(chance, packed=0.97),
    }
