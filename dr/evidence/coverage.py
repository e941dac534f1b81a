"""How much a proof of stored bytes rests on, and when that was read; and how much a drill of a sample brought back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from dr.late_dataclass import dataclass

#: The circle on which every file of a system has its place has so many places.
CIRCLE = 1 << 64


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What was there, and what of it was read when.

    `objects` and `bytes` are all that the target listed (but locks), `read_objects` and `read_bytes` what this run
    read. `oldest_read`: every object there was read since then, and found whole; None while one was not.
    `unread_objects` of `unread_bytes` are still to be read: they are new, or changed. `oldest_decrypted`: as
    `oldest_read`, of what restic decrypted of each pack.
    """

    objects: int
    bytes: int
    read_objects: int
    read_bytes: int
    oldest_read: datetime | None
    whole_within_seconds: int
    unread_objects: int = 0
    unread_bytes: int = 0
    oldest_decrypted: datetime | None = None

    def holds(self, now: datetime, *, within: float | None = None) -> bool:
        """Whether nothing there is unread for longer than the bound: that of the plan then, or `within` (seconds)."""
        bound = timedelta(seconds=self.whole_within_seconds if within is None else within)
        return self.oldest_read is not None and now - self.oldest_read <= bound


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """`files` of `of_files` were restored, `bytes` of `of_bytes`, and at most `limit_bytes`.

    A file's place on a circle of 2^64 is the first four bytes of the SHA-256 of its source, a zero byte and its folder,
    then those of the same with its whole path. Restored were the `newest` files of the sources, and those whose place
    is from `begin` to before `end` (16 hexadecimal digits, around the circle): the next such drill begins at `end`, so
    that over a whole turn each file comes once. Files that alone are `larger` than the limit never do. `left_out` are
    sources of which nothing was restored. A source that is one stream has one place: that of an empty path.
    """

    limit_bytes: int
    files: int
    of_files: int
    bytes: int
    of_bytes: int
    newest: int
    begin: str
    end: str
    larger: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def turn(self) -> float:
        """The part of a whole turn that the drill brought, from 0 to 1."""
        return ((int(self.end, 16) - int(self.begin, 16)) % CIRCLE or CIRCLE) / CIRCLE

    def in_words(self, size: Callable[[float], str]) -> str:
        """Return it in words, with sizes as `size` says them."""
        much = f"{self.files:,} of {self.of_files:,} files, {size(self.bytes)} of {size(self.of_bytes)}"
        parts = [f"{much}, chosen by age (the {self.newest:,} newest) and in turn by the hash of their names"]
        parts += [f"{self.larger:,} larger than the sample of {size(self.limit_bytes)}"] if self.larger else []
        parts += [f"nothing of {', '.join(self.left_out)}"] if self.left_out else []
        return "; ".join(parts)
