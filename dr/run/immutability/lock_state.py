"""What is known of the locks on a repository's objects, kept in a file between runs.

It can be lost: new objects are then inferred from a sample again, and at worst locked once more. There may be a million
objects, so each is the number of a row, with its name and version as bytes and its times in columns; of the file, one
line an object, none is held but the one that is read.
"""

from __future__ import annotations

import json
import os
import secrets
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from dr.errors import DrError
from dr.evidence.stored_object import micros, moment, raw_of
from dr.late_dataclass import dataclass
from dr.run.immutability.original_versions import Original

#: Instead of microseconds since 1970: no lock, or none that is known.
_NO_LOCK = -1
#: What is known of a row: its lock was asked for; its version was gone when it was to be locked; nothing needed it when
#: that was last looked at; it is what a reader gets now.
_ASKED, _GONE, _SPARE, _HEAD = 1, 2, 4, 8
#: The folders whose objects are named by their hash, each by one byte; `data/` has one more below it.
_FOLDERS = {"data/": b"d", "index/": b"i", "keys/": b"k", "snapshots/": b"s"}
_BY_BYTE = {byte[0]: folder for folder, byte in _FOLDERS.items()}
#: Any other name, or version, as it is written. So names come in the order in which a bucket lists a repository.
_AS_IT_IS = b"!"
#: What stands in the file of one object: name, version, until when it is locked, and what is known of it.
_Line = tuple[str, str, int, int]


@dataclass(frozen=True)
class ObjectLockState:
    """One object's original version, when it was written, and until when it is locked; None for not, or not known."""

    version: str
    modified: datetime
    until: datetime | None = None


@dataclass
class LockMemory:
    """The objects of one repository, and what is known of their locks; times are microseconds since 1970.

    `frozen`: until then all that is stored is needed, whatever the head of the repository says.
    """

    path: Path
    place: tuple[str, ...]
    frozen: datetime | None = None
    _names: list[bytes] = field(default_factory=list)
    _versions: list[bytes] = field(default_factory=list)
    _modified: array[int] = field(default_factory=lambda: array("q"))
    _until: array[int] = field(default_factory=lambda: array("q"))
    _known: bytearray = field(default_factory=bytearray)

    @classmethod
    def load(cls, path: Path, *, place: Sequence[str]) -> Self:
        """Return what is kept of this place, but for its objects: they are read where they are taken."""
        memory = cls(path, tuple(place))
        try:
            with path.open(encoding="utf-8") as file:
                kept = json.loads(file.readline())
            if kept["place"] == list(place):
                memory.frozen = None if kept["frozen"] is None else datetime.fromtimestamp(kept["frozen"], UTC)
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            memory.frozen = None
        return memory

    # -- what is there ------------------------------------------------------------------------------

    def take(self, there: Iterable[Original]) -> bool:
        """Hold exactly what is there; what is kept of the same versions is known. False where a name comes twice."""
        self._names, self._versions, self._modified, self._known = [], [], array("q"), bytearray()
        for name, version, on_top in there:
            self._names.append(_packed_name(name))
            self._versions.append(_packed_version(version.id))
            self._modified.append(micros(version.modified))
            self._known.append(_HEAD if on_top else 0)
        if any(one > other for one, other in pairwise(self._names)):
            self._put_in_order()
        self._until = array("q", [_NO_LOCK]) * len(self)
        self._remember()
        return all(one != other for one, other in pairwise(self._names))

    def _put_in_order(self) -> None:
        order = array("q", sorted(range(len(self)), key=self._names.__getitem__))
        self._names = [self._names[row] for row in order]
        self._versions = [self._versions[row] for row in order]
        self._modified = array("q", (self._modified[row] for row in order))
        self._known = bytearray(self._known[row] for row in order)

    def _remember(self) -> None:
        """Find what is kept of each version that is there; nothing of any, where something cannot be understood."""
        try:
            for name, version, until, known in _kept(self.path, self.place):
                row = self._row(_packed_name(name))
                if row is not None:
                    self._known[row] |= known & _SPARE
                    if self._versions[row] == _packed_version(version):
                        self._until[row], self._known[row] = until, self._known[row] | known & _ASKED
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            self._until = array("q", [_NO_LOCK]) * len(self)
            self._known = bytearray(known & _HEAD for known in self._known)

    def __len__(self) -> int:
        return len(self._names)

    def find(self, name: str) -> int | None:
        """Return the row of a name; None where it is not there."""
        return self._row(_packed_name(name))

    def _row(self, packed: bytes) -> int | None:
        row = bisect_left(self._names, packed)
        return row if row < len(self._names) and self._names[row] == packed else None

    def name(self, row: int) -> str:
        """Return the name of a row."""
        packed = self._names[row]
        folder, rest = _BY_BYTE.get(packed[0]), packed[1:]
        if folder is None:
            return rest.decode(errors="surrogateescape")
        digits = rest.hex()
        return f"{folder}{digits[:2]}/{digits}" if folder == "data/" else folder + digits

    def at(self, row: int) -> ObjectLockState:
        """Return what is known of a row."""
        until = self._until[row]
        modified = moment(self._modified[row])
        return ObjectLockState(_version(self._versions[row]), modified, None if until == _NO_LOCK else moment(until))

    def times(self, row: int) -> tuple[int, int | None]:
        """Return when it was written and until when it is locked."""
        return self._modified[row], None if self._until[row] == _NO_LOCK else self._until[row]

    def pack(self, digits: str) -> int | None:
        """Return the row of the one pack whose id begins with these eight digits; None for none, or several."""
        begin = _FOLDERS["data/"] + bytes.fromhex(digits)
        row = bisect_left(self._names, begin)
        found = [each.startswith(begin) for each in self._names[row : row + 2]]
        return row if found[:1] == [True] and found[1:] != [True] else None

    def is_spare(self, row: int) -> bool:
        """Whether nothing needed it when that was last looked at."""
        return bool(self._known[row] & _SPARE)

    def is_head(self, row: int) -> bool:
        """Whether a reader is given something for this name now."""
        return bool(self._known[row] & _HEAD)

    # -- what is known of locks ---------------------------------------------------------------------

    def new(self) -> array[int]:
        """Return the rows of which no lock is known, and none was asked for."""
        known = self._known
        return array("q", (row for row, end in enumerate(self._until) if end == _NO_LOCK and not known[row] & _ASKED))

    def due(self, limit: datetime) -> array[int]:
        """Return the rows that are locked until before then, or not."""
        last = micros(limit)
        return array("q", (row for row, end in enumerate(self._until) if end < last))

    def needed(self) -> Iterator[int]:
        """Yield the rows that are not spare."""
        return (row for row, known in enumerate(self._known) if not known & _SPARE)

    def first_to_run_out(self, rows: Iterable[int]) -> array[int]:
        """Return those of these rows that are not spare, in the order in which they run out."""
        needed = [row for row in rows if not self._known[row] & _SPARE]
        return array("q", sorted(needed, key=self._until.__getitem__))

    def gone(self, row: int) -> bool:
        """Whether its version was not there when it was to be locked."""
        return bool(self._known[row] & _GONE)

    def locked(self, row: int, until: datetime | None) -> None:
        """Take what a lock is known to be."""
        self._until[row] = _NO_LOCK if until is None else micros(until)
        self._known[row] |= _ASKED

    def went(self, row: int) -> None:
        """Take that its version was not there when it was to be locked."""
        self._known[row] |= _GONE

    def spare(self, rows: Iterable[int]) -> None:
        """Take these, and no others, for what nothing needs."""
        self._known = bytearray(known & ~_SPARE for known in self._known)
        for row in rows:
            self._known[row] |= _SPARE

    def save(self) -> None:
        """Write it, whole or not at all, for its owner alone."""
        head = {"place": list(self.place), "frozen": self.frozen.timestamp() if self.frozen else None}
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{json.dumps(head)}\n")
                for row, version in enumerate(self._versions):
                    line = (self.name(row), _version(version), self._until[row], self._known[row] & (_ASKED | _SPARE))
                    file.write(f"{json.dumps(line)}\n")
            beside.replace(self.path)
        except OSError as error:
            raise DrError(
                "what is known of the locks cannot be kept",
                str(self.path),
                error.strerror or "",
                hint="free some space in the state directory",
            ) from error
        finally:
            beside.unlink(missing_ok=True)


class NeededLocks(Mapping[str, ObjectLockState]):
    """Of what is known, the objects that something needs, by name; of none more is held than is there."""

    def __init__(self, memory: LockMemory) -> None:
        self._memory, self._number = memory, sum(1 for _ in memory.needed())

    def __getitem__(self, name: str) -> ObjectLockState:
        row = self._memory.find(name)
        if row is None or self._memory.is_spare(row):
            raise KeyError(name)
        return self._memory.at(row)

    def __iter__(self) -> Iterator[str]:
        return map(self._memory.name, self._memory.needed())

    def __len__(self) -> int:
        return self._number


def _kept(path: Path, place: Sequence[str]) -> Iterator[_Line]:
    """Yield what is kept of a place; nothing of another. Raises `ValueError` and its like for what is no such file."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        head = json.loads(file.readline())
        if head["place"] != list(place):
            return
        if "objects" in head:
            yield from _as_before(head)
        for line in file:
            name, version, until, known = json.loads(line)
            yield str(name), str(version), int(until), int(known)


def _as_before(kept: Mapping[str, Any]) -> Iterator[_Line]:
    """Yield what an earlier release kept, in one line, with seconds."""
    spare = set(kept["spare"])
    for name, (version, _, until, asked) in kept["objects"].items():
        known = (_ASKED if asked else 0) | (_SPARE if name in spare else 0)
        yield name, str(version), _NO_LOCK if until is None else round(until * 1e6), known


def _packed_name(name: str) -> bytes:
    folder, digits = name[:-64], name[-64:]
    if folder == f"data/{digits[:2]}/":
        folder = "data/"
    elif folder == "data/":
        folder = ""
    if folder in _FOLDERS and (raw := raw_of(digits)):
        return _FOLDERS[folder] + raw
    return _AS_IT_IS + name.encode(errors="surrogateescape")


def _packed_version(version: str) -> bytes:
    """Return a version's id: those in hex digits, also as a UUID, take half the room."""
    digits = version.replace("-", "") if version.count("-") == 4 else version
    kind = b"u" if digits != version else b"h"
    raw = raw_of(digits) if len(digits) == 32 else None
    packed = kind + raw if raw else b""
    return packed if packed and _version(packed) == version else _AS_IT_IS + version.encode()


def _version(packed: bytes) -> str:
    kind, rest = packed[:1], packed[1:]
    if kind == _AS_IT_IS:
        return rest.decode()
    digits = rest.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(parts) if kind == b"u" else digits
