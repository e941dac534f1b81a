"""Which files a drill restores of a point that is larger than its plan's `sample`. Pure; says nothing of restic.

Every file has a place on a circle, by the hash of its source, folder and name (`dr.evidence.coverage`). A drill takes
the newest files of each source, for at most a tenth of the sample, then those whose places come next on the circle
until the sample is full; the next drill goes on from there. So the choice depends on nothing but the names, the point
and where the last drill ended: whoever has these chooses the same. A folder's files lie side by side on the circle,
since restic holds every file of a folder that it enters against every name it is asked for.

No list of all files is held: sizes are summed up in parts of the circle, and only the part in which the sample becomes
full is looked at file by file.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import lru_cache

from dr.evidence.coverage import CIRCLE, Sampled
from dr.evidence.manifest import Entry
from dr.late_dataclass import dataclass

#: Parts of the circle, as a power of two; and how many of a source's newest files are looked at.
_PARTS, _NEWEST = 16, 1_000
#: For the newest files at most one part in so many of the sample.
_FOR_NEWEST = 10
#: Reads all files of a source anew.
Files = Callable[[], Iterable[Entry]]


@dataclass(kw_only=True)
class Choice:
    """What is restored: streams, by source, and of trees the `newest` files and those `takes` says."""

    begin: int
    length: int
    limit: int
    newest: dict[str, set[bytes]] = field(default_factory=dict)
    streams: set[str] = field(default_factory=set)

    def takes(self, source: str, entry: Entry) -> bool:
        """Whether a file of a tree is restored."""
        if not counts(entry) or entry.size > self.limit:
            return False
        return self._within(source, entry.path) or entry.path in self.newest.get(source, ())

    def _within(self, source: str, path: bytes) -> bool:
        return (place_of(source, path) - self.begin) % CIRCLE < self.length

    @property
    def end(self) -> int:
        """Where the next drill goes on."""
        return (self.begin + self.length) % CIRCLE


def counts(entry: Entry) -> bool:
    """Whether something is a file, as a sample counts them: what is no folder, and could be read."""
    return entry.kind != "dir" and entry.state != "unreadable"


def place_of(source: str, path: bytes) -> int:
    """Return a file's place on the circle: see `Sampled`."""
    head = f"{source}\0".encode()
    return _first(head + os.path.dirname(path)) << 32 | int.from_bytes(hashlib.sha256(head + path).digest()[:4])


@lru_cache(maxsize=4)
def _first(text: bytes) -> int:
    return int.from_bytes(hashlib.sha256(text).digest()[:4])


def choose(trees: Mapping[str, Files], streams: Mapping[str, int], *, limit: int, begin: int) -> Choice | None:
    """Return what of these sources a sample of `limit` bytes takes from `begin` on; None where all of it fits.

    `streams` are the bytes of sources that come whole or not at all.
    """

    def items() -> Iterator[tuple[int, int]]:
        for source, size in streams.items():
            yield (place_of(source, b"") - begin) % CIRCLE, size
        for source, files in trees.items():
            for entry in filter(counts, files()):
                yield (place_of(source, entry.path) - begin) % CIRCLE, entry.size

    newest = _newest(trees, limit)
    room = limit - sum(size for found in newest.values() for size in found.values())
    sums, whole = array("Q", bytes(8 << _PARTS)), 0
    for place, size in items():
        whole += size
        if size <= limit:
            sums[place >> (64 - _PARTS)] += size
    if whole <= limit:
        return None
    length, first = _length(items, sums, room=room, limit=limit)
    if not length and first is not None:  # larger than what the newest leave: it comes now, and they give way
        length, room = first[0] + 1, limit - first[1]
        newest = {source: _fitting(found, room // len(newest)) for source, found in newest.items()}
    found = Choice(begin=begin, length=length, limit=limit, newest={name: set(each) for name, each in newest.items()})
    reached = {name for name in streams if (place_of(name, b"") - begin) % CIRCLE < length and streams[name] <= limit}
    found.streams = reached
    return found


def _newest(trees: Mapping[str, Files], limit: int) -> dict[str, dict[bytes, int]]:
    """Return the newest files of each source, with their sizes; at least one, where the limit lets it be."""
    found: dict[str, dict[bytes, int]] = {}
    for source, files in trees.items():
        share = limit // _FOR_NEWEST // len(trees)
        fit = ((e.mtime_ns, e.path, e.size) for e in files() if counts(e) and e.size <= limit // len(trees))
        newest = heapq.nlargest(_NEWEST, fit)
        found[source] = _fitting({path: size for _, path, size in newest}, share)
        if newest and not found[source]:
            found[source] = {newest[0][1]: newest[0][2]}
    return found


def _fitting(newest: Mapping[bytes, int], room: int) -> dict[bytes, int]:
    """Return the first of these files, which together fit."""
    kept: dict[bytes, int] = {}
    for path, size in newest.items():
        if size > room:
            break
        kept[path], room = size, room - size
    return kept


def _length(
    items: Callable[[], Iterator[tuple[int, int]]], sums: array[int], *, room: int, limit: int
) -> tuple[int, tuple[int, int] | None]:
    """Return how far along the circle all fits into `room`, and the place and size of what comes first beyond."""
    part, left = 0, room
    while part < len(sums) and sums[part] <= left:
        left -= sums[part]
        part += 1
    if part == len(sums):  # all but what is larger than the limit
        return CIRCLE, None
    places, sizes = array("Q"), array("Q")
    for place, size in items():
        if place >> (64 - _PARTS) == part and size <= limit:
            places.append(place)
            sizes.append(size)
    for number in sorted(range(len(places)), key=places.__getitem__):
        if sizes[number] > left:
            place = places[number]
            return (place if left < room else 0), (place, sizes[number])
        left -= sizes[number]
    return (part + 1) << (64 - _PARTS), None


def summed_up(choice: Choice, trees: Mapping[str, Files], streams: Mapping[str, int]) -> Sampled:
    """Return what a choice comes to, for the evidence."""
    files = size = of_files = of_bytes = larger = 0
    empty = set(streams) - choice.streams
    for source, each in trees.items():
        taken = 0
        for entry in filter(counts, each()):
            of_files, of_bytes, larger = of_files + 1, of_bytes + entry.size, larger + (entry.size > choice.limit)
            if choice.takes(source, entry):
                taken, size = taken + 1, size + entry.size
        files += taken
        empty |= set() if taken else {source}
    for source, bytes_ in streams.items():
        of_files, of_bytes, larger = of_files + 1, of_bytes + bytes_, larger + (bytes_ > choice.limit)
        if source in choice.streams:
            files, size = files + 1, size + bytes_
    return Sampled(
        limit_bytes=choice.limit,
        files=files,
        of_files=of_files,
        bytes=size,
        of_bytes=of_bytes,
        newest=sum(map(len, choice.newest.values())),
        begin=f"{choice.begin:016x}",
        end=f"{choice.end:016x}",
        larger=larger,
        left_out=tuple(sorted(empty)),
    )
