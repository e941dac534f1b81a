"""What a place lists of a repository, in few bytes an object: a million of them must fit.

restic names what it stores by the SHA-256 of its bytes, which is 32 of a row's 65 bytes. Rows lie together by the
beginning of their names, as a listing brings them folder by folder, and are put in the order of names there. What has
another name than restic gives (`config` alone should) is held as it is. An object is known by the number of its row.
"""

from __future__ import annotations

import re
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from dr.evidence.stored_object import raw_of
from dr.tools.store import ObjectStore, Stored, is_object

PARTS = ("data/", "index/", "keys/", "snapshots/")
_FOLDERS = re.compile(r"data/[0-9a-f]{2}/|index/|keys/|snapshots/")
#: Id, size, time, what the version is (0: none, 1: 32 hex digits, 2: one of a list), the version, or its place there.
_ROW = struct.Struct("<32sqqB16s")
_ID = 32
_NONE, _DIGITS, _OTHER = range(3)
#: What became of a row: not read, read and as its name says, read and not so, gone when it was to be read.
_UNREAD, _WHOLE, _BAD, _GONE = range(4)


class Listed(NamedTuple):
    """An object as a place lists it: size (bytes), when it was written (microseconds since 1970), and its version."""

    name: str
    size: int
    modified: int
    version: str
    row: int

    @property
    def as_listed(self) -> tuple[int, int, str]:
        """What must be the same again for an object to count as read."""
        return self[1:4]


class Inventory:
    """What is stored, as listed, and what became of those that were read.

    `locks` come and go. `left` is what restic passes over, as its name is none of an object: by name, when it was
    written. Of what was read and is not what its name says, and of `config`, there are the hashes of the bytes, and
    their number (`lengths`). `gone` was not there when it was to be read.
    """

    def __init__(self, items: Iterable[Stored] = ()) -> None:
        self.locks: list[Stored] = []
        self.left: dict[str, int] = {}
        self.hashes: dict[str, str] = {}
        self.lengths: dict[str, int] = {}
        self.gone: list[str] = []
        self.read_objects, self.read_bytes, self.bytes = 0, 0, 0
        self._folders: dict[str, bytearray] = {}
        self._versions: list[str] = []
        others: dict[str, Stored] = {}
        for item in items:
            self._add(item, others)
        self._settle(others)

    def _add(self, item: Stored, others: dict[str, Stored]) -> None:
        name = item.name
        folder, digits = name[:-64], name[-64:]
        rows = self._folders.get(folder)
        if rows is None and _FOLDERS.fullmatch(folder):
            rows = self._folders.setdefault(folder, bytearray())
        if rows is not None and (ident := _id_of(folder, digits)):
            rows += _ROW.pack(ident, item.size, _written(item), *self._packed(item.version))
        elif name.startswith("locks/"):
            self.locks.append(item)
        elif name == "config" or name.startswith(PARTS):
            if not is_object(name):
                self.left[name] = _written(item)
            else:
                others[name] = item

    def _packed(self, version: str) -> tuple[int, bytes]:
        if not version:
            return _NONE, b""
        if len(version) == 32 and (raw := raw_of(version)):
            return _DIGITS, raw
        self._versions.append(version)
        return _OTHER, (len(self._versions) - 1).to_bytes(8, "little")

    def _version(self, kind: int, packed: bytes) -> str:
        if kind == _DIGITS:
            return packed.hex()
        return self._versions[int.from_bytes(packed[:8], "little")] if kind else ""

    def _settle(self, others: dict[str, Stored]) -> None:
        """Put the rows in order, the last of one name alone, and number them."""
        size = _ROW.size
        rows = {}
        for folder in sorted(self._folders):
            packed = self._folders.pop(folder)
            each = {bytes(packed[at : at + _ID]): at for at in range(0, len(packed), size)}
            rows[folder] = b"".join(packed[at : at + size] for _, at in sorted(each.items()))
        self._rows = {folder: packed for folder, packed in rows.items() if packed}
        self._names = list(self._rows)
        self._starts = [0, *accumulate(len(packed) // size for packed in self._rows.values())]
        count = self._starts[-1]
        self._others = [
            Listed(name, others[name].size, _written(others[name]), others[name].version, count + number)
            for number, name in enumerate(sorted(others))
        ]
        self._state = bytearray(count + len(others))
        self.bytes = sum(row[1] for packed in self._rows.values() for row in _ROW.iter_unpack(packed))
        self.bytes += sum(each.size for each in self._others)

    def __len__(self) -> int:
        return len(self._state)

    def __contains__(self, name: str) -> bool:
        return self.find(name) is not None

    def __iter__(self) -> Iterator[Listed]:
        """Yield all, in the order of their names."""
        return self.in_order()

    def in_order(self, part: str = "") -> Iterator[Listed]:
        """Yield those whose names begin with `part`, which is empty or one of `PARTS`, in the order of names."""
        others = [each for each in self._others if each.name.startswith(part)]
        for number, folder in enumerate(self._names):
            if not folder.startswith(part):
                continue
            rows = self._unpacked(number)
            if others and others[0].name < folder + "g":
                among = [each for each in others if each.name < folder + "g"]
                rows, others = iter(sorted(chain(among, rows))), others[len(among) :]
            yield from rows
        yield from others

    def _unpacked(self, number: int) -> Iterator[Listed]:
        folder, version, row = self._names[number], self._version, self._starts[number]
        for ident, size, modified, kind, packed in _ROW.iter_unpack(self._rows[folder]):
            yield Listed(folder + ident.hex(), size, modified, version(kind, packed), row)
            row += 1

    def at(self, row: int) -> Listed:
        """Return the object of a row."""
        if row >= self._starts[-1]:
            return self._others[row - self._starts[-1]]
        number = bisect_right(self._starts, row) - 1
        folder = self._names[number]
        packed = self._rows[folder]
        ident, size, modified, kind, version = _ROW.unpack_from(packed, (row - self._starts[number]) * _ROW.size)
        return Listed(folder + ident.hex(), size, modified, self._version(kind, version), row)

    def find(self, name: str) -> Listed | None:
        """Return an object by its name; None where it is not listed."""
        folder, ident = name[:-64], raw_of(name[-64:])
        packed = self._rows.get(folder)
        if packed is None or ident is None:
            return next((each for each in self._others if each.name == name), None)
        low, high = 0, len(packed) // _ROW.size
        while low < high:
            middle = (low + high) // 2
            if packed[middle * _ROW.size : middle * _ROW.size + _ID] < ident:
                low = middle + 1
            else:
                high = middle
        found = packed.startswith(ident, low * _ROW.size)
        return self.at(self._starts[self._names.index(folder)] + low) if found else None

    def apart(self, rows: array[int]) -> list[Sequence[int]]:
        """Return rows, which are in the order of names, by the parts that they are of: in each, ids are in order too.

        The last are those of other names, put in the order of their ids.
        """
        count = self._starts[-1]
        if others := [row for row in rows if row >= count]:
            rows = array("Q", (row for row in rows if row < count))
        ends = [start for start, name in zip(self._starts, self._names, strict=False) if not name.startswith("data/")]
        cuts = [0, *(bisect_left(rows, end) for end in ends), len(rows)]
        regular = [rows[start:end] for start, end in pairwise(cuts)]
        return [*regular, sorted(others, key=self.by_id)]

    def by_id(self, row: int) -> tuple[str, str]:
        """Return what puts rows in the order of their ids."""
        name = self.at(row).name
        return id_of(name), name

    # -- what was read ------------------------------------------------------------------------------

    def note(self, item: Listed, digest: str, length: int) -> None:
        """Note the hash (hex) of the bytes that were read of an object, and their number; "" where it was gone."""
        if not digest:
            self._state[item.row] = _GONE
            self.gone.append(item.name)
            return
        self.read_objects, self.read_bytes = self.read_objects + 1, self.read_bytes + length
        whole = digest == id_of(item.name)
        self._state[item.row] = _WHOLE if whole else _BAD
        if not whole:
            self.hashes[item.name], self.lengths[item.name] = digest, length

    def is_read(self, item: Listed) -> bool:
        """Whether it was read in this run."""
        return self._state[item.row] in (_WHOLE, _BAD)

    def waits(self, item: Listed) -> bool:
        """Whether this run did not come to it."""
        return self._state[item.row] == _UNREAD

    def read_rows(self) -> Iterator[bool]:
        """Yield of each row whether it was read in this run."""
        return (state in (_WHOLE, _BAD) for state in self._state)


class SizesByName(Mapping[str, int]):
    """The sizes (bytes) of what is stored, by name; nothing is held but the rows."""

    def __init__(self, stored: Inventory) -> None:
        self._stored = stored

    def __getitem__(self, name: str) -> int:
        item = self._stored.find(name)
        if item is None:
            raise KeyError(name)
        return item.size

    def __iter__(self) -> Iterator[str]:
        return (item.name for item in self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def listed(store: ObjectStore) -> Inventory:
    """Return the objects of a repository, of which none is read."""
    return Inventory(store.list())


def id_of(name: str) -> str:
    """Return the last part of a name: what restic calls the object."""
    return name.rpartition("/")[2]


def _id_of(folder: str, digits: str) -> bytes | None:
    """Return the id that a regular name ends with; None where it lies in another folder than restic gives it."""
    ident = raw_of(digits)
    return ident if ident and (folder[:5] != "data/" or folder[5:7] == digits[:2]) else None


def _written(item: Stored) -> int:
    return round(item.modified.timestamp() * 1e6)
