"""What one proof leaves for the next: each object as the target was last seen to hold it, and when it was last read.

A help, never a witness: what is not in it is read again, and what it says is held against the target's own listing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field, replace
from typing import Self

from dr.evidence.stored_object import StoredObject
from dr.late_dataclass import dataclass
from dr.tools.restic_events import Index


@dataclass(frozen=True)
class VerifyMemory:
    """The objects of a repository by name, and the hash of its `config`, which has no name to be held against."""

    objects: Mapping[str, StoredObject] = field(default_factory=dict)
    config_hash: str = ""

    @classmethod
    def of_index(cls, index: Index) -> Self:
        """Return what is known where nothing was read but the index."""
        return cls(with_index({}, index))

    @property
    def index(self) -> Index:
        """What the index named."""
        named = {name: item.indexed for name, item in self.objects.items() if item.indexed is not None}
        packs = {_id(name): size for name, size in named.items() if name.startswith("data/")}
        return Index(packs, tuple(sorted(_id(name) for name in named if name.startswith("index/"))))

    @property
    def needed(self) -> dict[str, int]:
        """The objects that must still be there: what no index named may be cleaned away at any time."""
        return {
            name: item.size
            for name, item in self.objects.items()
            if item.size is not None and (item.indexed is not None or not name.startswith("data/"))
        }

    @property
    def proven(self) -> dict[str, str]:
        """The version (an ETag) in which each object was last read and was what its name says, where one is told."""
        return {name: item.version for name, item in self.objects.items() if item.version and item.read is not None}

    def without_keys(self, removed: Collection[str]) -> Self:
        """Return it without the keys that are on record as removed: they are not missing."""
        return self.without({f"keys/{key}" for key in removed})

    def without(self, names: Collection[str]) -> Self:
        """Return it without objects that are taken away on record."""
        gone = frozenset(names)
        return replace(self, objects={name: item for name, item in self.objects.items() if name not in gone})


def with_index(objects: Mapping[str, StoredObject], index: Index | None) -> dict[str, StoredObject]:
    """Return objects with what an index names noted, and nothing beside it; with nothing where it is not known."""
    packs, indexes = (index.packs, frozenset(index.indexes)) if index else ({}, frozenset[str]())

    def says(name: str) -> int | None:
        part, _, ident = name.partition("/")
        if part == "data":
            pack = _id(ident)
            return packs.get(pack) if pack_name(pack) == name else None
        return 1 if part == "index" and ident in indexes else None

    # One dictionary, and no names made that are held: there may be a million of each.
    known = {
        name: item if item.indexed == (indexed := says(name)) else item._replace(indexed=indexed)
        for name, item in objects.items()
    }
    for name, size in _named(packs, indexes):
        if name not in known:
            known[name] = StoredObject(indexed=size)
    return known


def _named(packs: Mapping[str, int], indexes: Collection[str]) -> Iterator[tuple[str, int]]:
    yield from ((pack_name(pack), size) for pack, size in packs.items())
    yield from ((f"index/{each}", 1) for each in indexes)


def pack_name(pack: str) -> str:
    """Return the name of a pack's object."""
    return f"data/{pack[:2]}/{pack}"


def _id(name: str) -> str:
    return name.rpartition("/")[2]
