"""What a place lists, held against what was known of it: once, before anything is read.

Both pass by side by side, in the order of names. Kept is what differs, which is little, and of each object that is
listed as it was when it was read, when that was.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator

from dr.evidence.record import Damage
from dr.evidence.stored_object import KnownObjects, StoredObject, side_by_side
from dr.run.verification.inventory import Inventory, Listed, id_of
from dr.run.verification.memory import Expected, Named, is_pack, pack_name

#: In the place of a time of reading: never.
NEVER = (1 << 63) - 1


class ListingComparison:
    """`read_at`, by row: when an object was read as it is listed now (microseconds since 1970), or `NEVER`.

    `changed` and `new` are rows that a run which begins `now` finds so; `new` in the order in which they are read.
    """

    def __init__(self, stored: Inventory, previous: KnownObjects, now: int) -> None:
        self.stored = stored
        self.read_at = array("q", [NEVER]) * len(stored)
        self.changed = array("Q")
        self._previous = previous
        self._unlisted: list[tuple[str, StoredObject]] = []
        self._resized: list[tuple[int, int]] = []  # rows, and the size (bytes) that was read
        self._unnamed = array("Q")  # data that the index did not name at the last look
        self._new = [array("Q") for _ in range(4)]
        for name, item, known in side_by_side(stored, previous.in_order()):
            was = known[1] if known else None
            if item is not None:
                self._compare(name, item, was, now)
            elif was is not None:
                self._unlisted.append((name, was))

    def _compare(self, name: str, item: Listed, was: StoredObject | None, now: int) -> None:
        row, data = item[4], name.startswith("data/")
        if data and (was is None or was.indexed is None):
            self._unnamed.append(row)
        if was is None:
            self._new[2 * data + 1].append(row)
            return
        read = was.read
        if read is not None and was[:3] == item[1:4]:
            self.read_at[row] = read
            if read <= now:
                return
        if read is not None and was.size != item.size:
            self._resized.append((row, was.size or 0))
        if read is not None or was.modified is None:
            self.changed.append(row)
        else:
            self._new[2 * data].append(row)

    def new(self) -> Iterator[int]:
        """Yield the rows that were never read: what opens the others first, and what was seen before."""
        for rows in self._new:
            yield from rows

    def damage(self, expected: Expected, *, config_hash: str) -> list[Damage]:
        """Return what is missing, truncated or corrupt, by what was read and by what is listed, by name."""
        stored = self.stored
        gone = [name for name in expected.sizes if name not in stored] + stored.gone
        for name, was in self._unlisted:
            if name not in expected.sizes and expected.needs(name, was, listed=False):
                gone.append(name)
        damage = [Damage(object=name, problem="missing") for name in gone]
        if "config" not in stored and "config" not in gone:
            damage.append(Damage(object="config", problem="missing"))
        damage += self._spoilt(expected, config_hash)
        for row, size in self._resized:  # bytes of one hash have one size
            item = stored.at(row)
            if stored.waits(item):
                damage.append(Damage(object=item.name, problem="truncated" if item.size < size else "corrupt"))
        return sorted(damage, key=lambda item: item.object)

    def _spoilt(self, expected: Expected, config_hash: str) -> Iterator[Damage]:
        """Yield what was read and is not what its name says."""
        stored = self.stored
        bad = unsound(stored, config_hash=config_hash)
        known = dict(each for each in self._previous.in_order() if each[0] in bad) if bad else {}
        for name in bad:
            short = stored.lengths[name] < max(1, expected.size(name, known.get(name)))
            yield Damage(object=name, problem="truncated" if short else "corrupt")

    def strays(self, named: Named) -> list[Listed]:
        """Return the data objects that no index names."""
        listed = map(self.stored.at, self._unnamed) if named.before else self.stored.in_order("data/")
        both = side_by_side(listed, named.packs.in_order("data/"))
        found = [item for _, item, pack in both if item is not None and pack is None]
        moved = {own for item in found if (own := pack_name(id_of(item.name))) != item.name}
        known = {name for name in moved if name in named.packs}
        known |= self._named_before(moved) if moved and named.before else set()
        return [item for item in found if pack_name(id_of(item.name)) not in known]

    def _named_before(self, names: Collection[str]) -> set[str]:
        """Return which of some objects the index named: what lies in another folder is named by its id."""
        return {name for name, item in self._previous.in_order("data/") if name in names and is_pack(name, item)}


def unsound(stored: Inventory, *, config_hash: str) -> set[str]:
    """Return what was read and is not what its name promises; `config` is held against what it was before."""
    hashes = stored.hashes.items()
    return {name for name, digest in hashes if digest != (config_hash or digest if name == "config" else id_of(name))}
