"""What one proof leaves for the next: each object as the target was last seen to hold it, and when it was last read.

A help, never a witness: what is not in it is read again, and what it says is held against the target's own listing.
Of a million objects nothing is held here: what is known after a run is made of what was known before and of what was
listed, object by object, whenever it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import field, replace
from itertools import chain
from typing import Self

from dr.evidence.stored_object import HeldObjects, KnownObjects, StoredObject, moment, side_by_side
from dr.late_dataclass import dataclass
from dr.run.verification.inventory import Inventory, Listed, id_of
from dr.tools.store import Stored


@dataclass(frozen=True)
class VerifyMemory:
    """The objects of a repository, and the hash of its `config`, which has no name to be held against."""

    objects: KnownObjects = field(default_factory=HeldObjects)
    config_hash: str = ""

    @classmethod
    def of_index(cls, named: Named) -> Self:
        """Return what is known where nothing was read but the index."""
        return cls(Seen(Inventory(), HeldObjects(), named=named))

    @property
    def empty(self) -> bool:
        """Whether nothing is known."""
        return next(self.objects.in_order(), None) is None

    def named_by(self, indexes: Collection[str], ask: Callable[[str], Iterable[tuple[str, int]]]) -> Named:
        """Return what an index of these files names; `ask` reads one of them: packs, with the bytes in each.

        An index file never changes. What is known of some counts while all of them are there.
        """
        known = frozenset(self.indexes)
        known = known if known <= frozenset(indexes) else frozenset()
        items = self.objects.in_order("data/") if known else ()
        before = ((id_of(name), item.indexed) for name, item in items if item.indexed is not None)
        more = (pack for each in sorted(frozenset(indexes) - known) for pack in ask(each))
        return Named.of(chain(before, more), frozenset(indexes))

    @property
    def indexes(self) -> tuple[str, ...]:
        """The index files that were read for that."""
        return tuple(id_of(name) for name, item in self.objects.in_order("index/") if item.indexed is not None)

    @property
    def needed(self) -> Iterator[tuple[str, int]]:
        """The objects that must still be there, with their sizes (bytes), in the order of names."""
        return ((name, item.size or 0) for name, item in self.objects.in_order() if is_needed(name, item))

    def without_keys(self, removed: Collection[str]) -> Self:
        """Return it without the keys that are on record as removed: they are not missing."""
        gone = frozenset(f"keys/{key}" for key in removed)
        return replace(self, objects=_Without(self.objects, gone)) if gone else self


@dataclass(frozen=True)
class _Without:
    """Objects without some that are taken away on record."""

    objects: KnownObjects
    gone: Collection[str]

    def in_order(self, part: str = "") -> Iterator[tuple[str, StoredObject]]:
        """See `KnownObjects`."""
        return (each for each in self.objects.in_order(part) if each[0] not in self.gone)


def is_pack(name: str, item: StoredObject) -> bool:
    """Whether an object is a pack that the index names."""
    return item.indexed is not None and name.startswith("data/")


def is_needed(name: str, item: StoredObject) -> bool:
    """Whether an object must still be there: what no index named may be cleaned away at any time."""
    return item.size is not None and (item.indexed is not None or not name.startswith("data/"))


@dataclass(frozen=True)
class Expected:
    """What must still be there of what was: not what `gone` says, and, where the structure is sound without it
    (`pruned`), no index file or pack that is not listed. `sizes` (bytes) are those that restic asks for.
    """

    gone: Callable[[str], bool] = lambda name: False
    pruned: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)

    def needs(self, name: str, was: StoredObject, *, listed: bool) -> bool:
        """Whether an object that was there must be there now."""
        if not is_needed(name, was) or self.gone(name):
            return False
        return listed or not (self.pruned and name.startswith(("index/", "data/")))

    def size(self, name: str, was: StoredObject | None) -> int:
        """Return the size (bytes) that a listed object should have; 0 where nothing is asked of it."""
        if name in self.sizes:
            return self.sizes[name]
        return was.size or 0 if was and self.needs(name, was, listed=True) else 0


@dataclass(frozen=True)
class Named:
    """What an index names: `packs`, with the bytes in each, as few bytes as a listing takes; and index files.

    With `before` also what it named at the last look.
    """

    packs: Inventory = field(default_factory=Inventory)
    indexes: frozenset[str] = frozenset()
    before: bool = False

    @classmethod
    def of(cls, packs: Iterable[tuple[str, int]], indexes: frozenset[str], *, before: bool = False) -> Self:
        """Return it of packs by their ids; of one that is named twice the last counts."""
        return cls(Inventory(Stored(pack_name(pack), size, moment(0)) for pack, size in packs), indexes, before)

    def in_order(self) -> Iterator[tuple[str, int]]:
        """Yield what is named now, in the order of names."""
        yield from ((item.name, item.size) for item in self.packs)
        yield from ((f"index/{each}", 1) for each in sorted(self.indexes))


@dataclass(frozen=True, kw_only=True)
class Decrypted:
    """That a run which began `at` (microseconds since 1970) decrypted the packs for which `holds` says so."""

    holds: Callable[[str], bool]
    at: int


#: An object as a listing brings it, as it was known before, and as it is known now; None where it is not there.
Change = tuple[str, Listed | None, StoredObject | None, StoredObject | None]


@dataclass(frozen=True)
class Seen:
    """What is known after a run that began `now` (microseconds since 1970).

    Made of what is `stored`, of what was known before, of what was found to be `bad`, of what the index names, where
    that was asked, and of what was decrypted.
    """

    stored: Inventory
    previous: KnownObjects
    expected: Expected = field(default_factory=Expected)
    bad: Collection[str] = frozenset()
    now: int = 0
    named: Named | None = None
    decrypted: Decrypted | None = None

    def in_order(self, part: str = "") -> Iterator[tuple[str, StoredObject]]:
        """See `KnownObjects`."""
        return ((name, known) for name, _, _, known in self.changes(part) if known is not None)

    def differences(self) -> Iterator[tuple[str, StoredObject | None]]:
        """Yield what is known now, in order, where it is not what was known before; None where that is nothing."""
        if isinstance(self.previous, _Without):
            yield from ((name, None) for name in self.previous.gone)
        yield from ((name, known) for name, _, was, known in self.changes() if was != known)

    def changes(self, part: str = "") -> Iterator[Change]:
        """Yield each object as it is listed, was known and is known now, in the order of names."""
        both = side_by_side(self.stored.in_order(part), self.previous.in_order(part))
        if self.named is None:
            for name, listed, known in both:
                was = known[1] if known else None
                yield name, listed, was, self._known(name, listed, was)
            return
        named = (each for each in self.named.in_order() if each[0].startswith(part))
        for name, there, now in side_by_side(both, named):
            listed, was = (there[1], there[2][1] if there[2] else None) if there else (None, None)
            indexed = now[1] if now else was.indexed if was and self.named.before else None
            item = self._known(name, listed, was)
            if item is None:
                item = StoredObject(indexed=indexed) if indexed is not None else None
            elif item.indexed != indexed:
                item = item._replace(indexed=indexed)
            if self.decrypted and listed and item and is_pack(name, item) and self.decrypted.holds(name):
                item = item._replace(decrypted=self.decrypted.at)
            yield name, listed, was, item

    def _known(self, name: str, listed: Listed | None, was: StoredObject | None) -> StoredObject | None:
        """Return an object as it was last seen whole, or with no time of reading where it never was."""
        if listed is None:
            lost = was is not None and self.expected.needs(name, was, listed=False)
            return was._replace(read=None, decrypted=None) if was and lost else None
        now, (size, modified, version) = self.now, listed[1:4]
        if was is None or was.size is None:
            was = (was or StoredObject())._replace(size=size, modified=modified, version=version, since=now)
        if name in self.bad:
            return was._replace(modified=None, read=None, decrypted=None)
        if self.stored.is_read(listed):
            same = is_read(listed, was, now)
            decrypted = was.decrypted if same and was.decrypted is not None and was.decrypted <= now else None
            return StoredObject(size, modified, version, was.since, now, decrypted, was.indexed)
        return was


def is_read(listed: Listed, known: StoredObject, now: int) -> bool:
    """Whether an object was read as it is listed now (microseconds since 1970), and not in the future."""
    return known.read is not None and known.read <= now and known[:3] == listed[1:4]


def pack_name(pack: str) -> str:
    """Return the name of a pack's object."""
    return f"data/{pack[:2]}/{pack}"
