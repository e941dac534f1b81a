"""SHA-256 of files, and of many at once in threads (hashing releases the interpreter's lock)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

_BLOCK = 1 << 20
_AHEAD = 4  # items for each thread
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_UNNOTICED = _FLAGS | getattr(os, "O_NOATIME", 0)
THREADS = os.cpu_count() or 1
A = TypeVar("A")
B = TypeVar("B")


#: Files that this process has locked, by device and inode: see `leave_closed`.
_locked: dict[tuple[int, int], Path] = {}
#: Descriptors of such that were opened all the same, and must stay open.
_met: list[int] = []


class NotAFileError(OSError):
    """There is something of that name, and it is no regular file that may be read."""


def leave_closed(*paths: Path) -> None:
    """Never open these files here: POSIX drops a process's locks on a file when it closes it anywhere."""
    for path in paths:
        with suppress(FileNotFoundError):
            _locked[_identity(path)] = path


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_locked(identity: tuple[int, int]) -> bool:
    """Whether it is one of those files still. One that is gone has left its inode to some other file."""
    path = _locked.get(identity)
    if path is None:
        return False
    with suppress(FileNotFoundError):
        if _identity(path) == identity:
            return True
    _locked.pop(identity, None)
    return False


def sha256_of(blocks: Iterable[bytes]) -> tuple[str, int]:
    """Return the SHA-256 (hex) and the number of bytes that come block by block."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def open_file(path: Path | bytes | str) -> int:
    """Open a file for reading: never through a link, never waiting on a FIFO, its access time left alone.

    Raises `NotAFileError` for a file that this process has locked: it is in use, and has no one content.
    """
    status = os.lstat(path)
    if _locked and _is_locked((status.st_dev, status.st_ino)):
        raise NotAFileError("this process has locked it")
    return _open(path)


def _open(path: Path | bytes | str) -> int:
    try:
        return os.open(path, _UNNOTICED)
    except PermissionError:  # only the owner and root may leave the access time alone
        return os.open(path, _FLAGS)


def sha256_file(path: Path | bytes | str) -> tuple[str, int]:
    """Return the SHA-256 (hex) and the number of bytes read. Raises `OSError`; never waits on a FIFO."""
    descriptor = open_file(path)
    try:
        return sha256_open(descriptor)
    finally:
        os.close(descriptor)


def sha256_open(descriptor: int) -> tuple[str, int]:
    """Return the SHA-256 (hex) and size of an open file, read from where it stands, to its end."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise NotAFileError("not a regular file")
    data = os.read(descriptor, min(status.st_size + 1, _BLOCK))
    if len(data) == status.st_size:  # one byte more was asked for, and there was none
        return hashlib.sha256(data).hexdigest(), len(data)
    digest, total, block = hashlib.sha256(data), len(data), bytearray(_BLOCK)
    view = memoryview(block)
    while count := os.readv(descriptor, [block]):
        digest.update(view[:count])
        total += count
    return digest.hexdigest(), total


def open_unseen(path: bytes) -> int:
    """Open a file as `open_file` does, without a look at it before: it may be closed by `read_and_close` alone."""
    return open_file(path) if _met else _open(path)


def read_and_close(descriptor: int, size: int, ask: Callable[[int], A]) -> tuple[str, int, A, os.stat_result]:
    """Read a file that had `size` bytes when it was looked at, by as few calls of the kernel as tell whether it has.

    Return its SHA-256 (hex), its bytes, what `ask` said of the open file, and how it stood after that. Raises
    `OSError`; `NotAFileError` as `open_file` and `sha256_open` do.
    """
    after = None
    try:
        data = _small(descriptor, size)
        digest, size = sha256_open(descriptor) if data is None else (hashlib.sha256(data).hexdigest(), size)
        asked = ask(descriptor)
        after = os.fstat(descriptor)
    finally:
        _close(descriptor, after or os.fstat(descriptor))
    return digest, size, asked, after


def _small(descriptor: int, size: int) -> bytes | None:
    """Return all of a file of so many bytes; None where it has others, is large, or no file: nothing is taken then.

    Read by position, which pipes, terminals and tapes refuse.
    """
    if size >= _BLOCK:
        return None
    try:
        data = os.pread(descriptor, size + 1, 0)
    except OSError:
        return None
    return data if len(data) == size else None


def _close(descriptor: int, status: os.stat_result) -> None:
    """Close a file that was opened unseen; one that this process has locked stays open."""
    if _locked and _is_locked((status.st_dev, status.st_ino)):
        _met.append(descriptor)
        raise NotAFileError("this process has locked it")
    os.close(descriptor)


def in_threads(
    act: Callable[[A], B], items: Iterable[A], *, threads: int = THREADS, worth: Callable[[A], bool] = lambda item: True
) -> Iterator[B]:
    """Yield `act(item)` in order, worked on by several threads, a few items ahead of what is taken.

    An item that is not `worth` a thread waits for its turn, and is done in this one.
    """
    from concurrent.futures import ThreadPoolExecutor  # few commands hash

    waiting = deque[Callable[[], B]]()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(act, item).result if worth(item) else partial(act, item))
            if len(waiting) > _AHEAD * threads:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()
    finally:
        pool.shutdown(cancel_futures=True)
