"""Two manifests of one source held side by side, line by line: what went and what came. Only what differs is decoded.

Where both are in order that takes no memory. Those of earlier releases are not: of their lines all are held at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dr.evidence import manifest
from dr.evidence.manifest import key_of
from dr.late_dataclass import dataclass

#: No path holds this: its quotes would be escaped.
_A_FILE = b'", "file", '


class Listed(NamedTuple):
    """A file as two manifests are compared by it."""

    path: bytes
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Difference:
    """The files that two manifests do not have in common, by path and content, and how many they do."""

    gone: tuple[Listed, ...]
    come: tuple[Listed, ...]
    same: int


def ordered(path: Path) -> Iterator[bytes]:
    """Yield the lines of a manifest's entries in order. Raises `DamageError` when it cannot be read."""
    return manifest.lines(path) if manifest.is_sorted(path) else iter(sorted(manifest.lines(path)))


def pairs(old: Path | None, new: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield of each path the line that two manifests have of it, empty where one has none; first the older one's.

    Raises `DamageError` when one cannot be read; that they are whole is not seen to again.
    """
    if old is None:
        yield from ((b"", line) for line in ordered(new))
        return
    before, after = ordered(old), ordered(new)
    was, now = next(before, b""), next(after, b"")
    while was or now:
        if was == now:
            yield was, now
            was, now = next(before, b""), next(after, b"")
            continue
        one, two = key_of(was), key_of(now)
        if was and (not now or one < two):
            yield was, b""
            was = next(before, b"")
        elif not was or two < one:
            yield b"", now
            now = next(after, b"")
        else:
            yield was, now
            was, now = next(before, b""), next(after, b"")


def difference(old: Path, new: Path) -> Difference:
    """Compare the files of two manifests: a million alike take two seconds.

    A file of other owner, mode or times alone is the same. Raises `DamageError` when one cannot be understood.
    """
    gone, come, same = list[Listed](), list[Listed](), 0
    try:
        for was, now in pairs(old, new):
            if was == now:
                same += _A_FILE in now
                continue
            before, after = _listed(was), _listed(now)
            if before and after and before.sha256 == after.sha256:
                same += 1
                continue
            gone += [before] if before else []
            come += [after] if after else []
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise manifest.damaged(new, error) from error
    return Difference(tuple(gone), tuple(come), same)


def _listed(line: bytes) -> Listed | None:
    if _A_FILE not in line:
        return None
    entry = manifest.entry_of(line)
    return Listed(entry.path, entry.size, entry.sha256)
