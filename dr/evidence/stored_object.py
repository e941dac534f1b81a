"""One stored object as it was last seen at a target, and when its bytes were last read there and found whole.

The memory of proofs: a million of these are held at once, so moments are whole microseconds since 1970.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class StoredObject(NamedTuple):
    """What is known of one object of a repository.

    `size` (bytes), `modified` and `version` (an ETag, "" where the place tells none) are as the target listed it;
    `size` is None where only an index names it, `modified` where it was not listed since that is kept. `since`: when it
    was first listed. `read`: when its bytes were last read and were what its name says; `decrypted`: when restic last
    decrypted them; None for never. `indexed`: of a pack, the bytes in it that the index names; 1 for an index file that
    was read for that.
    """

    size: int | None = None
    modified: int | None = None
    version: str = ""
    since: int = 0
    read: int | None = None
    decrypted: int | None = None
    indexed: int | None = None


def micros(at: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (at - _BEGINNING) // timedelta(microseconds=1)


def moment(count: int) -> datetime:
    """Return microseconds since 1970 as a moment."""
    return _BEGINNING + timedelta(microseconds=count)
