"""One stored object as it was last seen at a target, and when its bytes were last read there and found whole.

The memory of proofs. There may be a million of these, so they are never all held: they pass by in the order of their
names, as a catalog keeps and as a bucket lists them, and two such streams are held against each other side by side.
Moments are whole microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

from dr.late_dataclass import dataclass

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

A = TypeVar("A", bound=tuple[Any, ...])
B = TypeVar("B", bound=tuple[Any, ...])


class StoredObject(NamedTuple):
    """What is known of one object of a repository.

    `size` (bytes), `modified` and `version` (an ETag, "" where the place tells none) are as the target listed it;
    `size` is None where only an index names it, `modified` where it was not listed since that is kept. `since`: when it
    was first listed. `read`: when its bytes were last read and were what its name says; `decrypted`: when restic last
    decrypted them; None for never. `indexed`: of a pack, the bytes in it that the index names; 1 for an index file that
    was read for that.
    """

    size: int | None = None
    modified: int | None = None
    version: str = ""
    since: int = 0
    read: int | None = None
    decrypted: int | None = None
    indexed: int | None = None


class KnownObjects(Protocol):
    """What is known of the objects of a repository, wherever it is kept."""

    def in_order(self, part: str = "") -> Iterator[tuple[str, StoredObject]]:
        """Yield those whose names begin with `part`, each with its name, in the order of names. May be asked again."""


@dataclass(frozen=True)
class HeldObjects:
    """Objects that are held in memory: few, or none."""

    held: Mapping[str, StoredObject] = field(default_factory=dict)

    def in_order(self, part: str = "") -> Iterator[tuple[str, StoredObject]]:
        """See `KnownObjects`."""
        return ((name, self.held[name]) for name in sorted(self.held) if name.startswith(part))


def side_by_side(one: Iterable[A], other: Iterable[B]) -> Iterator[tuple[str, A | None, B | None]]:
    """Yield each name that begins an item of either stream, with the items of it; both are in the order of names."""
    ones, others = iter(one), iter(other)
    mine, theirs = next(ones, None), next(others, None)
    while mine is not None and theirs is not None:
        name, that = mine[0], theirs[0]
        if name == that:
            yield name, mine, theirs
            mine, theirs = next(ones, None), next(others, None)
        elif name < that:
            yield name, mine, None
            mine = next(ones, None)
        else:
            yield that, None, theirs
            theirs = next(others, None)
    while mine is not None:
        yield mine[0], mine, None
        mine = next(ones, None)
    while theirs is not None:
        yield theirs[0], None, theirs
        theirs = next(others, None)


def micros(at: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (at - _BEGINNING) // timedelta(microseconds=1)


def moment(count: int) -> datetime:
    """Return microseconds since 1970 as a moment."""
    return _BEGINNING + timedelta(microseconds=count)


def raw_of(digits: str) -> bytes | None:
    """Return the bytes of hex digits in small letters; None of anything else."""
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        return None
    return raw if raw.hex() == digits else None
