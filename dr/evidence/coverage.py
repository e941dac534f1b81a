"""How much of a repository a proof of its stored bytes rests on, and when that was read."""

from __future__ import annotations

from datetime import datetime, timedelta

from dr.late_dataclass import dataclass


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
