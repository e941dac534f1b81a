"""Versions of files over recovery points, as values: one span of one name, one content, one change."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from datetime import datetime
from typing import Literal

from dr.late_dataclass import dataclass

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


@dataclass
class InPlace:
    """What putting entries back where they were would do: how many, their bytes, and names, by what lies there now.

    `blocked` names what is in the way, and why: then nothing is put back. `owners` is how many belong to somebody else
    than who asks, who is not root.
    """

    counts: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    absent: list[Found] = field(default_factory=list)
    overwritten: list[Found] = field(default_factory=list)
    rights: list[Found] = field(default_factory=list)
    blocked: list[tuple[Found, str]] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    owners: int = 0

    @property
    def nothing_to_do(self) -> bool:
        """Whether all that was named is there as it was."""
        return not self.counts.keys() - {"same"}
