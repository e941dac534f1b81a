"""Versions of files over recovery points, as values: one span of one name, one content, one change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Change = Literal["added", "removed", "modified", "metadata", "moved"]


@dataclass(frozen=True)
class Found:
    """One version of one name, and the points in which it was, first and last by `seq`; `last` None: it still is.

    Times in nanoseconds since the epoch, sizes in bytes, `sha256` in hex where the content was hashed.
    """

    source: str
    path: bytes
    first: int
    last: int | None
    kind: str
    size: int
    sha256: str | None
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    link: bytes | None
    state: str
    attributes: str | None


@dataclass(frozen=True)
class Version:
    """One content of one name: in which points it was, the newest first, and when it was first and last seen."""

    entry: Found
    first_seen: datetime
    last_seen: datetime
    points: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """What became of one name between two points. Sizes in bytes; None where it was not, or is not any more."""

    source: str
    path: bytes
    change: Change
    bytes_before: int | None = None
    bytes_after: int | None = None
    moved_from: bytes | None = None
    folder: bool = False
