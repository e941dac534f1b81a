"""What a replica's own retention took away, and what it waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class Absence:
    """One object of a replica that the primary no longer has.

    `since`: when that was first seen; `seen`: when it was last looked at; `waited`: the seconds between that count.
    `state`: "going" once its removal was begun, "gone" when it was seen to be gone and no fact tells of it yet.
    `judged`: the digest of the snapshots for which it was found to be needed still. `point`: that of a snapshot whose
    removal was begun.
    """

    name: str
    size: int
    since: datetime
    seen: datetime
    waited: float = 0.0
    state: Literal["absent", "going", "gone"] = "absent"
    judged: str = ""
    point: str = ""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A point that the primary no longer has: since when that is on record, and when it may go at the earliest."""

    point: str
    since: datetime
    due: datetime


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """What one replication took away at the replica, `after_seconds` after the primary had lost it.

    `points` went whole; `snapshots` are theirs. `objects` and `bytes` count all that went, also by a run that was
    interrupted. `kept` says why what may go by its age stays. `alarm`: the primary lacks what its plan's retention
    keeps, so that nothing goes. `destroyable_from`: until then locked versions of what went stay below it in a bucket
    that keeps versions (`versions_stay`).
    """

    after_seconds: int
    points: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    objects: int = 0
    bytes: int = 0
    waiting: tuple[Waiting, ...] = ()
    kept: tuple[str, ...] = ()
    alarm: str | None = None
    error: str | None = None
    versions_stay: bool = False
    destroyable_from: datetime | None = None
    seconds: float = 0.0
