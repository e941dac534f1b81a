"""Values the catalog is given, and how it keeps moments."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dr.late_dataclass import dataclass

#: How the catalog keeps a number of bytes that nobody knows.
UNKNOWN = -1
#: What follows a target's name in the memory where a repository's size is kept (`dr.evidence.size`).
SIZE = "/size"


@dataclass(frozen=True, kw_only=True)
class AdoptedPoint:
    """A recovery point recognised from a repository alone."""

    run_id: str
    consistency_time: datetime
    finished: datetime
    complete: bool
    kinds: dict[str, str]
    snapshots: dict[str, str]
    manifests: dict[str, str]
    bytes: int | None = None  # None: not known


@dataclass(frozen=True)
class Locked:
    """What is locked on a target.

    `ends` returns when the first and the last lock run out on what snapshots need, by their ids; None when one has
    no lock.
    """

    target: str
    mode: str
    ends: Callable[[frozenset[str]], tuple[datetime, datetime] | None]


def ref_key(ref: str) -> int:
    """Return a number for the id of a run, by which a folded record is found: 63 bits of its SHA-256."""
    return int.from_bytes(hashlib.sha256(ref.encode("utf-8", "replace")).digest()[:8], "big") >> 1


def micros(at: datetime) -> int:
    """Return a moment as microseconds since the epoch."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment(count: int) -> datetime:
    """Return microseconds since the epoch as a moment."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=count)
