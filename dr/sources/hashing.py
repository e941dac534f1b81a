"""Hashing the files of this host whose hash is not known, in batches, in this thread or in several.

Several threads wait for a disk at once, and hash large files side by side. Small files that lie in memory they read no
sooner than one: each call of the kernel gives the interpreter's lock away, and getting it back costs more than the
call. So a thread is used only where files are large, or where reading them was seen to wait.
"""

from __future__ import annotations

import errno
import resource
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import TypeGuard

from dr.evidence.manifest import Entry, State
from dr.late_dataclass import dataclass
from dr.sources.attributes import digest_here
from dr.sources.last_hashes import Unchanged
from dr.sources.settle import differs
from dr.tools import command
from dr.tools.digest import NotAFileError, in_threads, open_unseen, read_and_close

#: So many entries are hashed at a time, or so many bytes.
_BATCH = (256, 32 << 20)
#: The mean size, in bytes, from which on files are hashed side by side.
_LARGE = 16 << 10
#: Where more than this share of a batch's files were waited for, so many batches are read by several threads; then it
#: is seen again.
_WAITED, _THEN = 1 / 16, 128


def hashed(entries: Iterable[Entry | Unchanged]) -> Iterator[Entry | Unchanged | None]:
    """Hash the files whose hash is not known, a few batches ahead; yield all, and None for a file that vanished."""
    pace = _Pace()
    for batch in in_threads(pace.hashed, _batches(entries), worth=pace.is_for_a_thread):
        yield from batch


@dataclass
class _Batch:
    """Some entries; of them how many are to be read, and the bytes of those."""

    entries: list[Entry | Unchanged] = field(default_factory=list)
    unknown: int = 0
    size: int = 0


def _batches(entries: Iterable[Entry | Unchanged]) -> Iterator[_Batch]:
    """Yield entries in batches that take a while to read, and not too long."""
    batch = _Batch()
    for entry in entries:
        batch.entries.append(entry)
        if _is_unknown(entry):
            batch.unknown += 1
            batch.size += entry.size
        if len(batch.entries) >= _BATCH[0] or batch.size >= _BATCH[1]:
            yield batch
            batch = _Batch()
    yield batch


class _Pace:
    """Sees whether reading waits, while it is done in the thread that made this; gives batches to others where it does.

    What it goes by is how often the kernel put this thread to sleep. Threads of other sources that wait for the
    interpreter's lock look the same: then it is done as where a disk is slow.
    """

    def __init__(self) -> None:
        self._own, self._left = threading.get_ident(), 0

    def is_for_a_thread(self, batch: _Batch) -> bool:
        """Whether a batch is to be read by another thread."""
        if not batch.unknown or batch.size >= _LARGE * batch.unknown:
            return batch.unknown > 0
        if not self._left:
            return False
        self._left -= 1
        return True

    def hashed(self, batch: _Batch) -> Sequence[Entry | Unchanged | None]:
        """Return the entries of a batch, all with their hashes; None for a file that vanished."""
        if not batch.unknown:
            return batch.entries
        before = _sleeps()
        found = [_hash(entry) if _is_unknown(entry) else entry for entry in batch.entries]
        if threading.get_ident() == self._own and _sleeps() - before > _WAITED * batch.unknown:
            self._left = _THEN
        return found


def _sleeps() -> int:
    """Return how often this thread has waited for something."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def _is_unknown(entry: Entry | Unchanged) -> TypeGuard[Entry]:
    return not isinstance(entry, Unchanged) and entry.kind == "file" and entry.sha256 is None


def _hash(entry: Entry) -> Entry | None:
    """Read one file; None when it vanished. One that is not the same before and after is `changed`, never wrong."""
    if command.stopping():
        command.raise_if_stopping()
    try:
        descriptor = open_unseen(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        odd = isinstance(error, NotAFileError) or error.errno == errno.ELOOP  # it became a link
        return _not_read(entry, "changed" if odd else "unreadable")
    try:
        digest, size, attributes, after = read_and_close(descriptor, entry.size, digest_here)
    except NotAFileError:
        return _not_read(entry, "changed")
    except OSError:
        return _not_read(entry, "unreadable")
    if size != entry.size or differs(entry, after):
        return entry._replace(size=size, sha256=digest, state="changed", attributes=attributes)
    return Entry._make((*entry[:3], digest, *entry[4:13], attributes))  # `_replace` takes twice as long


def _not_read(entry: Entry, state: State) -> Entry:
    return entry._replace(attributes=digest_here(entry.path), state=state)
