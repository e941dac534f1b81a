"""What each declared path, and each file system mounted below, holds: noted in the manifest's header at capture.

The next capture asks of each whether it still holds something: one disk of several that is away is not noticed by a
look at the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dr.errors import DamageError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.record import Omission
from dr.late_dataclass import dataclass
from dr.plan.units import format_bytes
from dr.sources.driver import shown, upward
from dr.sources.last_hashes import Unchanged
from dr.sources.mounts import Mounted, not_data
from dr.sources.walk import Excluded

#: A file system that was there and is not mounted now is missed when less than this share of its files is left.
_LEFT = 0.5
Held = dict[str, list[int]]  # path -> files and bytes
Listed = TypeVar("Listed", bound=Entry | Unchanged)


@dataclass(frozen=True)
class Holdings:
    """What a capture notes for the next (`header`), and what it finds gone or has to say.

    `gone` paths held something when they were captured last.
    """

    header: Mapping[str, Any]
    gone: tuple[Omission, ...] = ()
    notes: tuple[str, ...] = ()


def holdings(
    counted: Callable[[Sequence[bytes]], Held],
    tops: Iterable[str],
    mounted: Mounted,
    *,
    reuse: Path | None,
    left_out: Iterable[bytes] = (),
    excluded: Excluded,
) -> Holdings:
    """Return what the declared paths `tops` and the mounts below them hold, beside the last manifest's counts.

    `counted` gives the files and bytes at and below each of some paths.
    """
    before = _header(reuse)
    away = frozenset(left_out)
    mounts = {mount.point for mount in mounted.data if mount.point not in away}
    known = {os.fsencode(path) for path in _texts(before.get("mounts"))}
    places = [os.fsencode(top) for top in tops]
    former = [p for p in sorted(known - mounts - away) if not excluded(p) and _below_one(p, places)]
    held = counted([*places, *sorted(mounts), *former])
    pseudo = [os.fsdecode(mount.point) for mount in mounted.pseudo]
    noted = {"held": held, "mounts": sorted(map(os.fsdecode, mounts)), "not_data": pseudo}
    earlier = _before(before, reuse, [*places, *sorted(mounts), *former])
    gone = (*_emptied(earlier, held), *_unmounted(earlier, held, former))
    fresh = [m for m in mounted.pseudo if os.fsdecode(m.point) not in _texts(before.get("not_data"))]
    note = not_data(fresh)
    return Holdings({key: value for key, value in noted.items() if value}, gone, (note,) if note else ())


def places_of(tops: Iterable[str], mounted: Mounted, reuse: Path | None) -> list[bytes]:
    """Return all that `holdings` may ask of, as far as it is known before the walk."""
    before = map(os.fsencode, _texts(_header(reuse).get("mounts")))
    return list(dict.fromkeys([*map(os.fsencode, tops), *(mount.point for mount in mounted.data), *before]))


class Counting:
    """Counts files and bytes at and below each of some places while entries pass."""

    def __init__(self, places: Iterable[bytes]) -> None:
        self._held = {place: [0, 0] for place in places}
        self._folder: bytes | None = None
        self._above: list[list[int]] = []

    def passing(self, entries: Iterable[Listed]) -> Iterator[Listed]:
        """Let entries pass. Those of one folder are best together."""
        for entry in entries:
            if entry.kind == "file":
                self.count(entry)
            yield entry

    def count(self, entry: Entry | Unchanged) -> None:
        """Count a file."""
        folder = entry.path.rpartition(b"/")[0] or b"/"
        if folder != self._folder:
            self._folder = folder
            self._above = [self._held[outer] for outer in upward(folder) if outer in self._held]
        own = self._held.get(entry.path)
        for counter in (*self._above, own) if own else self._above:
            counter[0] += 1
            counter[1] += entry.size

    def of(self, places: Sequence[bytes], again: Callable[[], Iterable[Entry]]) -> Held:
        """Return what some places hold; `again` gives the entries where one was not known before they passed."""
        if any(place not in self._held for place in places):
            return count(again(), places)
        return {os.fsdecode(place): self._held[place] for place in places}


def count(entries: Iterable[Entry], places: Sequence[bytes]) -> Held:
    """Return the files and bytes at and below each of some paths."""
    counting = Counting(places)
    for _ in counting.passing(entries):
        pass
    return counting.of(places, lambda: ())


def _below_one(path: bytes, places: Iterable[bytes]) -> bool:
    return any(path == place or path.startswith(place.rstrip(b"/") + b"/") for place in places)


def _emptied(before: Held, now: Held) -> tuple[Omission, ...]:
    """What is asked of each path: whether it held files, or bytes, and holds none now."""
    found = []
    for path, (files, size) in now.items():
        files_before, size_before = before.get(path, [0, 0])
        if (files_before and not files) or (size_before and not size):
            what = f"no file is there in {shown(path)}, where there were some before" if not files else (
                f"{shown(path)} holds 0 B, where it held {format_bytes(size_before)} before"
            )  # fmt: skip
            hint = f"mount its disk, or put its data back; if it is meant, take {shown(path)} out of the plan"
            found.append(Omission(what=f"{what}: is its disk mounted?", hint=hint, names=(shown(path),)))
    return tuple(found)


def _unmounted(before: Held, now: Held, former: Iterable[bytes]) -> tuple[Omission, ...]:
    """What was a file system of its own, and is not mounted now: less is left there than was."""
    found = []
    for point in map(os.fsdecode, former):
        files_before, files = before.get(point, [0, 0])[0], now[point][0]
        if files and files < _LEFT * files_before:
            what = f"{shown(point)} is not mounted: {files:,} files are there now, where there were {files_before:,}"
            hint = f'mount it; if it is meant, write `exclude: ["{shown(point)}"]` in the plan'
            found.append(Omission(what=what, hint=hint, names=(shown(point),)))
    return tuple(found)


def _before(header: Mapping[str, Any], reuse: Path | None, places: Sequence[bytes]) -> Held:
    """Return the last counts; those of an older release are counted from its manifest."""
    held = header.get("held")
    if isinstance(held, dict):
        return {path: pair for path, pair in held.items() if _is_pair(pair)}
    if reuse is None:
        return {}
    try:
        return count(manifest.read(reuse), places)
    except DamageError:
        return {}


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value)


def _header(reuse: Path | None) -> Mapping[str, Any]:
    try:
        return manifest.header(reuse) if reuse else {}
    except DamageError:
        return {}


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
