"""Room on a disk for what is to be restored."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.plan.units import format_bytes
from dr.tools.host import Host, script

#: What the restored data needs beside its own bytes: directories, partly filled blocks.
HEADROOM = 1.05
_HINT = "free some space there, or use a place on a larger disk"
#: What to do where a sandbox is too small.
LARGER = (
    "name a larger place with `drill: {sandbox: DIR}` in the plan (servers: TMPDIR), or restore a part of the files: "
    "`drill: {sample: 50GiB}`"
)
_ASK_SECONDS = 60.0
_DISK = '[ -d "$1" ] && df -Pk -- "$1" | tail -n 1;'
_SPACE = re.compile(r"\s\d+\s+\d+\s+(-?\d+)\s+\d+%")


@dataclass(frozen=True)
class Disk:
    """A disk that is to be written to: `key` tells it from others, `where` is a place on it in words, `free` bytes."""

    key: str
    where: str
    free: int


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that something takes on a disk; `what` it is, in words. `estimated`: nobody knows before it is there."""

    disk: Disk
    what: str
    bytes: int
    estimated: bool = False


def for_databases(source: str, disk: Disk, size: int) -> Need:
    """Return what the databases of a source take on a disk."""
    return Need(disk=disk, what=f"for the databases of {source}, and while they are loaded", bytes=size, estimated=True)


def available(place: Path) -> int:
    """Return the bytes that can still be written at `place`, or where it would be made."""
    return shutil.disk_usage(_standing(place)).free


def disk_of(place: Path) -> Disk:
    """Return the disk of a place on this machine, or of where it would be made. Raises `OSError`."""
    there = _standing(place)
    return Disk(str(os.stat(there).st_dev), str(place), shutil.disk_usage(there).free)


def disk_on(host: Host, place: Path) -> Disk | None:
    """Return the disk of a directory on any host; None where it is not there, or may not be looked at."""
    if host.here:
        try:
            return disk_of(place) if place.is_dir() else None
        except OSError:
            return None
    done = host.run(script(_DISK, str(place)), env={"LC_ALL": "C"}, timeout=_ASK_SECONDS)
    line = done.stdout.decode("utf-8", "replace").strip()
    free = free_of(line)
    return None if free is None else Disk(f"{host.name} {line.split()[0]}", f"{place} on {host.name}", free)


def free_of(line: str) -> int | None:
    """Return the bytes that `df -Pk` says are available; names of devices and places may hold anything."""
    found = _SPACE.search(line)
    return max(0, int(found[1])) * 1024 if found else None


def require_space(place: Path, size: int, *, there: int = 0) -> None:
    """Raise `DrError` unless `size` bytes and some headroom fit at `place`, which holds `there` of them."""
    require(size, free=available(place), where=str(place), there=there)


def require(size: int, *, free: int, where: str, there: int = 0, hint: str = _HINT) -> None:
    """Raise `DrError` unless `size` bytes and some headroom fit into what is `free`."""
    needed = max(0, int(size * HEADROOM) - there)
    if free < needed:
        raise _too_small(needed, Disk("", where, free), "", hint)


def require_all(needs: Iterable[Need], *, hint: str = _HINT) -> None:
    """Raise `DrError` with the numbers unless all that is needed of each disk fits there together."""
    by_disk: dict[str, list[Need]] = {}
    for need in needs:
        by_disk.setdefault(need.disk.key, []).append(need)
    for found in by_disk.values():
        needed, disk = int(sum(need.bytes for need in found) * HEADROOM), found[0].disk
        if disk.free < needed:
            parts = [
                f"{format_bytes(need.bytes)}{' (ESTIMATE)' if need.estimated else ''} {need.what}" for need in found
            ]
            told = "; ".join(parts) if len(found) > 1 or found[0].estimated else ""
            raise _too_small(needed, disk, told, hint)


def _too_small(needed: int, disk: Disk, told: str, hint: str) -> DrError:
    what = (
        f"the disk is too small: the restore needs {format_bytes(needed)} free, "
        f"{format_bytes(disk.free)} available at {disk.where}"
    )
    return DrError(what, cause=told, hint=hint)


def _standing(place: Path) -> Path:
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return place
