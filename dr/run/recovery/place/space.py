"""Room on a disk for what is to be restored."""

from __future__ import annotations

import shutil
from pathlib import Path

from dr.errors import DrError
from dr.plan.units import format_bytes

#: What the restored data needs beside its own bytes: directories, partly filled blocks.
HEADROOM = 1.05


def available(place: Path) -> int:
    """Return the bytes that can still be written at `place`, or where it would be made."""
    while not place.is_dir() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def require_space(place: Path, size: int, *, there: int = 0) -> None:
    """Raise `DrError` unless `size` bytes and some headroom fit at `place`, which holds `there` of them."""
    require(size, free=available(place), where=str(place), there=there)


def require(size: int, *, free: int, where: str, there: int = 0) -> None:
    """Raise `DrError` unless `size` bytes and some headroom fit into what is `free`."""
    needed = max(0, int(size * HEADROOM) - there)
    if free < needed:
        raise DrError(
            f"the disk is too small: the restore needs {format_bytes(needed)} free, "
            f"{format_bytes(free)} available at {where}",
            hint="free some space there, or use a place on a larger disk",
        )
