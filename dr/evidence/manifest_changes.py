"""Two manifests of one source held side by side, line by line: what went and what came. Only what differs is decoded.

Where both are in order that takes no memory. Those of earlier releases are not: of their lines all are held at once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

from dr.evidence import manifest
from dr.evidence.manifest import key_of
from dr.late_dataclass import dataclass

#: No path holds this: its quotes would be escaped.
_A_FILE = b'", "file", '
#: Bytes that are compared at once. Where one line in a thousand differs, most are the same.
_BLOCK = 1 << 14


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
    yield from by_path(ordered(old), ordered(new))


def by_path(before: Iterator[bytes], after: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield of each path its line in either, empty where one has none; both come in order."""
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


def differing(
    old: Path | None, new: Path, *, alike: Callable[[bytes], object] = lambda block: None
) -> Iterator[tuple[bytes, bytes]]:
    """Yield those of the pairs that differ. What is the same in both is given to `alike`, a block of lines at a time.

    Raises as `pairs` does.
    """
    if old is None or not (manifest.is_sorted(old) and manifest.is_sorted(new)):
        for was, now in pairs(old, new):
            if was != now:
                yield was, now
            else:
                alike(now)
        return
    try:
        with _Lines(old) as before, _Lines(new) as after:
            yield from _differing(before, after, alike)
    except OSError as error:
        raise manifest.damaged(new, error) from error


class _Lines:
    """The lines of a manifest's entries, of which many can be passed over at once."""

    def __init__(self, path: Path) -> None:
        self._file = io.BufferedReader(io.FileIO(path), _BLOCK)
        #: So many bytes may be passed over: the end of the manifest is read line by line.
        self._left = path.stat().st_size - len(self._file.readline()) - _BLOCK
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def next(self) -> bytes:
        """Return the next line; nothing at the end."""
        line = b"" if self._ended else self._file.readline()
        self._ended = not line or line.startswith(b"{")
        self._left -= len(line)
        return b"" if self._ended else line

    def ahead(self) -> bytes:
        """Return bytes that come next and are no end, as many as are at hand."""
        return self._file.peek()[: max(0, self._left)]

    def skip(self, size: int) -> bytes:
        """Pass over so many bytes, which were ahead, and return them."""
        self._left -= size
        return self._file.read(size)


def _differing(before: _Lines, after: _Lines, alike: Callable[[bytes], object]) -> Iterator[tuple[bytes, bytes]]:
    was = now = b""
    while True:
        if not was and not now:
            _pass_over(before, after, alike)
            was, now = before.next(), after.next()
            if not was and not now:
                return
        if was == now:
            alike(now)
            was = now = b""
            continue
        one, two = key_of(was), key_of(now)
        if was and (not now or one < two):
            yield was, b""
            was = before.next()
        elif not was or two < one:
            yield b"", now
            now = after.next()
        else:
            yield was, now
            was = now = b""


def _pass_over(before: _Lines, after: _Lines, alike: Callable[[bytes], object]) -> None:
    """Pass over whole lines of entries as long as both have the same."""
    while True:
        one, two = before.ahead(), after.ahead()
        size = min(len(one), len(two))
        block = one[: one.rfind(b"\n", 0, size) + 1]
        if not block or not two.startswith(block):
            return
        before.skip(len(block))
        alike(after.skip(len(block)))


def difference(old: Path, new: Path) -> Difference:
    """Compare the files of two manifests: a million alike take a tenth of a second.

    A file of other owner, mode or times alone is the same. Raises `DamageError` when one cannot be understood.
    """
    gone, come, same = list[Listed](), list[Listed](), 0

    def alike(block: bytes) -> None:
        nonlocal same
        same += block.count(_A_FILE)

    try:
        for was, now in differing(old, new, alike=alike):
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
