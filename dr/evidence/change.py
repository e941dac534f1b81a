"""Whether a change is out of the ordinary: one capture of a source against the source's own history. Pure.

Only what takes something away can be suspect: files changed, removed or given another name, a dump that shrinks or
cannot be compressed any more. New files alone never are, however many. Counts are judged on a logarithmic scale by
median and MAD (median absolute deviation: Hampel, "The influence curve", 1974), which a few bursts cannot bend; the
greatest burst that was ordinary is ordinary again. Fewer than a floor is never judged.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from dr.late_dataclass import dataclass

#: History before counts are judged: so many captures, over so long a time.
LEAST_RUNS, LEAST_TIME = 8, timedelta(days=6)
#: Fewer files than this are never judged, so that tiny systems do not cry.
FEW_ENCRYPTED, FEW_FILES = 20, 50
#: Without enough history only what no ordinary day does is judged: so many, and this share of all.
FEW_UNSEASONED, UNSEASONED_ENCRYPTED, UNSEASONED_REMOVED = 100, 0.5, 0.9
#: The share of all files from which a change, a removal, or a new extension is a spike.
CHANGED_SHARE, REMOVED_SHARE, RENAMED_SHARE = 0.5, 0.4, 0.1
#: From this share of samples that always looked so, looking at content tells nothing of this source.
STRANGE_BY_NATURE = 0.2
#: What a person trusted once and was as much as this share of all files is no measure until it was trusted so often.
NEARLY_ALL, HABIT = 0.9, 3
#: Encryption below the daily floor is summed up over this time.
SLOW = timedelta(days=14)
#: Directories that hold the same new text before it is taken for a ransom note.
NOTE_PLACES = 10
#: A dump is judged from this size on; it is suspect when it falls below this share of the last one.
SMALL_DUMP, FALLEN = 64 << 10, 0.4
#: What falls below this share is suspect whatever is known of it; a dump from the first size on, a tree from the other.
COLLAPSED, LEAST_DUMP, LEAST_TREE = 0.1, 4 << 10, 1 << 20
#: By how much more than usual a dump's samples keep of their size when compressed.
LESS_COMPRESSIBLE = 0.15
#: Rows that an emptied table had; bytes added before their compression is judged.
FEW_ROWS, FEW_ADDED = 100, 32 << 20
#: What is out of the ordinary: five deviations, yet at most three times and at least a quarter above the greatest seen.
_SPREADS, _LEAST_SPREAD, _FAR_ABOVE, _ABOVE_GREATEST = 5.0, 0.5, 3.0, 1.25


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a capture of one source changed since the last one. Counts are of files; names are not kept.

    `changed` have other content than before, those with a new name too; `renamed` are those of them that took on a new
    name, `extension` the one that most took on. `moved` only lie elsewhere. `strange` of the `sampled` look encrypted
    or no longer begin as their type does; `*_new` are the same of added files. `packed` is what is left of a dump's
    samples when compressed (0 to 1), `entropy` their bits a byte, `head` what it begins like.
    `size` is what a dump holds, `raw_added` the bytes new to the repository before compression, `packed_added` after.
    """

    files: int = 0
    before: int | None = None  # None: there was no earlier capture to compare with
    added: int = 0
    changed: int = 0
    removed: int = 0
    moved: int = 0
    renamed: int = 0
    extension: str = ""
    notes: int = 0  # directories in which one and the same new text appeared
    threatening: bool = False  # it speaks of ransom
    sampled: int = 0
    strange: int = 0
    sampled_new: int = 0
    strange_new: int = 0
    encrypted: int = 0  # of all sampled: those whose entropy is that of encrypted data
    head: str = ""
    packed: float | None = None
    entropy: float | None = None
    size: int = 0
    processed: int = 0
    raw_added: int = 0
    packed_added: int = 0
    rows: int | None = None
    rows_before: int | None = None
    emptied_rows: int = 0  # rows that tables had which are empty now
    unsampled: str = ""  # why content was not looked at

    @property
    def lost(self) -> float:
        """An estimate of how many of the earlier files look encrypted now, by the samples.

        New ones count only as far as others went: who adds files has lost none.
        """
        changed = self.changed * self.strange / self.sampled if self.sampled else 0.0
        new = self.added * self.strange_new / self.sampled_new if self.sampled_new else 0.0
        return changed + min(new, float(self.removed))

    @property
    def seen(self) -> int:
        """How many of the earlier files were really seen to look encrypted; new ones as in `lost`."""
        return self.strange + min(self.strange_new, self.removed)

    @property
    def compression(self) -> float | None:
        """What is left of the bytes added when compressed; None when too little was added to tell."""
        return self.packed_added / self.raw_added if self.raw_added >= FEW_ADDED else None

    @property
    def loudness(self) -> int:
        """By how much this capture stands out: the loudest are kept in mind longest."""
        return self.changed + self.removed + self.emptied_rows

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Change:
        """Return a change from its stored values. Keys of a later release are left out."""
        return cls(**{key: values[key] for key in _keys() if key in values})


@functools.cache
def _keys() -> tuple[str, ...]:
    return tuple(field.name for field in fields(Change))


@dataclass(frozen=True)
class Past:
    """An earlier change that was ordinary, or out of the ordinary and `trusted` by a person."""

    at: datetime
    change: Change
    trusted: bool = False


@dataclass(frozen=True)
class Usual:
    """What is usual of a count: most lie from `low` to `high`; above `limit` it is out of the ordinary."""

    low: float
    high: float
    limit: float

    def __str__(self) -> str:
        """In words."""
        low, high = round(self.low), round(self.high)
        return f"usually {high}" if low == high else f"usually {low} to {high}"


def usual(values: Sequence[float]) -> Usual:
    """Return what is usual of counts seen so far. Median and MAD of their logarithms; of none, nothing is usual."""
    if not values:
        return Usual(0.0, 0.0, 0.0)
    logs = [math.log1p(value) for value in values]
    from statistics import median  # loads much, and few commands judge a change

    middle = median(logs)
    spread = max(1.4826 * median(abs(value - middle) for value in logs), _LEAST_SPREAD)
    ordered = sorted(values)
    bound = min(math.expm1(middle + _SPREADS * spread), _FAR_ABOVE * ordered[-1])
    limit = max(bound, _ABOVE_GREATEST * ordered[-1])
    last = len(ordered) - 1
    return Usual(ordered[round(0.1 * last)], ordered[round(0.9 * last)], limit)


def suspicion(change: Change, past: Sequence[Past], *, at: datetime, size: Callable[[float], str]) -> str | None:
    """Return in plain words why a change is suspect, with the numbers and what is usual; None when it is not.

    `past` may be in any order; what bears a later time than `at` does not count. Sizes are told as `size` says them.
    """
    known = sorted((item for item in past if item.at <= at), key=lambda item: item.at)
    compared = [item for item in known if item.change.before is not None]
    seasoned = len(compared) >= LEAST_RUNS and at - compared[0].at >= LEAST_TIME
    view = _View(change, compared, at, seasoned)
    reasons = [*_of_files(view), *_of_a_dump(view), *_of_size(view, [item.change.size for item in known], size)]
    return "; ".join(reasons) or None


# -- how each part is judged -------------------------------------------------------------------------


@dataclass(frozen=True)
class _View:
    change: Change
    past: Sequence[Past]
    at: datetime
    seasoned: bool

    def usual(self, of: Callable[[Change], float]) -> Usual:
        known = self.past
        if of is _lost:
            known = self.innocent
        elif of is not _emptied:
            known = self._without(lambda item: of(item) >= NEARLY_ALL * (item.before or 1))
        return usual([of(item.change) for item in known])

    @property
    def innocent(self) -> Sequence[Past]:
        """The history without what looked like encryption, was trusted, and is no habit."""
        return self._without(lambda item: item.lost >= FEW_ENCRYPTED)

    def _without(self, extreme: Callable[[Change], bool]) -> Sequence[Past]:
        """Leave out what is extreme and was trusted, unless so often that it is a habit: trust is no blind eye."""
        trusted = [item for item in self.past if item.trusted and extreme(item.change)]
        return self.past if len(trusted) >= HABIT else [item for item in self.past if item not in trusted]

    def above(self, of: Callable[[Change], float]) -> bool:
        """Whether it is more than was usual; without enough history nobody knows what is."""
        return self.seasoned and of(self.change) > self.usual(of).limit

    def share(self, count: float) -> float:
        """The share of the files that were there before."""
        return count / self.change.before if self.change.before else 0.0

    def usually(self, of: Callable[[Change], float]) -> str:
        return f", {self.usual(of)}" if self.seasoned else ""


def _changed(change: Change) -> float:
    return change.changed


def _emptied(change: Change) -> float:
    return change.emptied_rows


def _removed(change: Change) -> float:
    return change.removed


def _renamed(change: Change) -> float:
    return change.renamed


def _lost(change: Change) -> float:
    return change.lost


def _of_files(view: _View) -> Iterator[str]:
    change = view.change
    if change.before is None:
        return
    encrypted = _is_encrypted(view)
    rewritten = change.changed >= FEW_FILES and view.share(change.changed) >= CHANGED_SHARE and view.above(_changed)
    deleted = _is_deleted(view)
    if rewritten or (encrypted and change.changed):
        yield f"{change.changed} of {change.before} files changed{view.usually(_changed)}"
    if deleted or (encrypted and change.removed and not change.changed):
        yield f"{change.removed} of {change.before} files are gone{view.usually(_removed)}"
    if encrypted or ((rewritten or deleted) and change.strange + change.strange_new):
        yield _sampled(change)
    if not encrypted and (slow := _slowly(view)):
        yield slow
    many_renamed = change.renamed >= FEW_ENCRYPTED and view.share(change.renamed) >= RENAMED_SHARE
    if change.extension and many_renamed and (view.above(_renamed) or encrypted):
        yield f"{change.renamed} files have other content and a new name that ends in {change.extension}"
    if _has_notes(view):
        about = ", and it speaks of ransom" if change.threatening else ""
        yield f"the same new text lies in {change.notes} directories{about}"


def _sampled(change: Change) -> str:
    strange, sampled = change.strange + change.strange_new, change.sampled + change.sampled_new
    how = "look encrypted" if 2 * change.encrypted >= strange else "no longer begin as their names say"
    return f"{_percent(strange / sampled)} of those sampled {how}"


def _percent(share: float) -> str:
    return f"{math.floor(share * 100 + 0.5)} %" if share < 1 else "100 %"


def _is_encrypted(view: _View) -> bool:
    lost = view.change.lost
    if not view.seasoned:
        return lost >= FEW_UNSEASONED and view.share(lost) >= UNSEASONED_ENCRYPTED
    share = _strange_by_nature(view)
    if share >= STRANGE_BY_NATURE:
        return False
    return lost - _expected(view.change, share) >= FEW_ENCRYPTED and view.above(_lost)


def _strange_by_nature(view: _View) -> float:
    """The share of samples that always looked like encrypted ones; never quite nothing, since few were looked at."""
    older = [item for item in view.innocent if view.at - item.at > SLOW] or view.innocent
    sampled = sum(item.change.sampled + item.change.sampled_new for item in older)
    strange = sum(item.change.strange + item.change.strange_new for item in older)
    return (strange + 1) / (sampled + 50)


def _expected(change: Change, share: float) -> float:
    """How many may look encrypted by nature: twice the usual share, and four deviations of a sample of that size."""
    changed = change.changed * _at_most(share, change.sampled)
    return changed + min(change.added * _at_most(share, change.sampled_new), float(change.removed))


def _at_most(share: float, sampled: int) -> float:
    return 2 * share + 4 * math.sqrt(share / max(1, sampled))


def _is_deleted(view: _View) -> bool:
    removed = view.change.removed
    if not view.seasoned:
        return removed >= FEW_UNSEASONED and view.share(removed) >= UNSEASONED_REMOVED
    return removed >= FEW_FILES and view.share(removed) >= REMOVED_SHARE and view.above(_removed)


def _slowly(view: _View) -> str | None:
    """Encryption of a few files at a time, each too little to be judged, summed up: those really seen, no estimate."""
    share = _strange_by_nature(view)
    if not view.seasoned or share >= STRANGE_BY_NATURE or not view.change.seen:
        return None
    small = [item for item in view.past if not (item.trusted and item.change.lost >= FEW_ENCRYPTED)]
    recent = [item.change for item in small if view.at - item.at <= SLOW] + [view.change]
    older = [item for item in small if view.at - item.at > SLOW]
    if len(older) < LEAST_RUNS:
        return None
    total, sampled = sum(map(_little, recent)), sum(item.sampled + item.sampled_new for item in recent)
    greatest = max(_within(older, item.at) for item in older)
    by_nature = 2 * share * sampled + 4 * math.sqrt(share * sampled)
    if total - max(by_nature, 1.5 * greatest) < 2 * FEW_ENCRYPTED:
        return None
    return f"{total} files or more within {SLOW.days} days look encrypted, at most {greatest} in such a time before"


def _within(past: Sequence[Past], end: datetime) -> int:
    return sum(_little(item.change) for item in past if timedelta() <= end - item.at <= SLOW)


def _little(change: Change) -> int:
    """What one change adds to the sum: more than the daily floor was judged by itself."""
    return min(change.seen, FEW_ENCRYPTED)


def _has_notes(view: _View) -> bool:
    change = view.change
    if change.notes < NOTE_PLACES:
        return False
    return change.threatening or change.lost >= FEW_ENCRYPTED / 2 or view.above(_changed) or view.above(_removed)


def _of_a_dump(view: _View) -> Iterator[str]:
    change = view.change
    if not view.seasoned:
        return
    yield from _other_head(view)
    yield from _incompressible(view)
    if _is_emptied(view):
        yield f"tables that held {change.emptied_rows} rows are empty, of {change.rows_before} rows in all"


def _of_size(view: _View, sizes: Sequence[int], told: Callable[[float], str]) -> Iterator[str]:
    """What is suddenly a small part of what it was. `sizes` are those of all earlier captures, oldest first."""
    size, last = view.change.size, sizes[-1] if sizes else 0
    one = view.change.packed is not None or view.change.files == 1
    fallen = view.seasoned and view.change.packed is not None and last >= SMALL_DUMP and size < FALLEN * last
    collapsed = last >= (LEAST_DUMP if one else LEAST_TREE) and size < COLLAPSED * last
    falls = [later / earlier for earlier, later in pairwise(sizes) if earlier]
    if size and (fallen or collapsed) and size / last < 0.8 * min(falls, default=1.0):
        yield f"it holds {told(size)}, where it held {told(last)} the last time"


def _is_emptied(view: _View) -> bool:
    """Whether tables were emptied, and their rows are nowhere else: an archive that took them is no loss."""
    emptied, rows_before = view.change.emptied_rows, view.change.rows_before or 0
    gone = rows_before - (view.change.rows or 0)
    many = emptied >= max(FEW_ROWS, 0.01 * rows_before)
    return many and gone >= emptied / 2 and view.above(_emptied)


def _other_head(view: _View) -> Iterator[str]:
    heads = {item.change.head for item in view.past}
    if view.change.head == "encrypted" and len(heads) == 1 and not heads & {"", "encrypted"}:
        yield f"it no longer begins like {heads.pop()} and looks encrypted"


def _incompressible(view: _View) -> Iterator[str]:
    change, seen = view.change, [p.change.packed for p in view.past if p.change.packed is not None]
    if change.packed is not None and change.size >= SMALL_DUMP and _rises(change.packed, seen):
        yield _less_compressible("samples of it keep", change.packed, seen)
    added = [share for item in view.past if (share := item.change.compression) is not None]
    judged = change.before == change.files == 1 or change.changed >= FEW_ENCRYPTED
    if change.unsampled and judged and change.compression is not None and _rises(change.compression, added):
        yield _less_compressible("what is new in it keeps", change.compression, added)


def _less_compressible(what: str, share: float, seen: Sequence[float]) -> str:
    return (
        f"{what} {_percent(share)} of the size when compressed, usually {_percent(min(seen))} to {_percent(max(seen))}"
    )


def _rises(value: float, seen: Sequence[float]) -> bool:
    if len(seen) < LEAST_RUNS:
        return False
    from statistics import median

    middle = median(seen)
    spread = max(1.4826 * median(abs(item - middle) for item in seen), 0.02)
    return value > middle + max(LESS_COMPRESSIBLE, _SPREADS * spread) and value > max(seen) + LESS_COMPRESSIBLE / 2
