"""What retention removed where backups write, and what space that freed: the records of destruction.

To expire a point is to remove its snapshots: its data may lie there until a prune. Both are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from dr.evidence.record import Outcome


@dataclass(frozen=True, kw_only=True)
class ExpiredPoint:
    """A point that one target no longer lists. `rule` says why it went, `left_on` which targets still hold it whole.

    Where nothing is left, the point cannot be recovered any more: at once where no version of it stays, else from the
    day on which the last of these is destroyed.
    """

    run_id: str
    consistency_time: datetime
    rule: str
    left_on: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Expiration:
    """What the plan's retention came to on one target.

    `points` were there before; `kept` counts those that stay by what keeps them; `blocked` says why what may go by
    its age stays. `retention` are the plan's rules of that day. `versions_stay`: the bucket keeps versions, so that
    what was removed lies below it, the last locked version until `destroyable_from`. `confirmed`: a person said that
    many may go at once. `stored_bytes`: the size of the repository before.
    """

    run_id: str
    system: str
    target: str
    started: datetime
    finished: datetime
    outcome: Outcome
    points: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    expired: tuple[ExpiredPoint, ...] = ()
    snapshots: tuple[str, ...] = ()  # the ids of theirs
    blocked: tuple[str, ...] = ()
    retention: dict[str, int] = field(default_factory=dict)
    versions_stay: bool = False
    destroyable_from: datetime | None = None
    confirmed: bool = False
    stored_bytes: int | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str = ""  # what to do about it
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """What one prune freed on one target, and what the proof showed that followed (`level_reached`, `proof` its run).

    `freed_bytes` are gone; `hidden_bytes` are not on top any more and stay as versions in a bucket that keeps them,
    the last locked one until `destroyable_from`. `points` are those that expired before and whose data went now.
    """

    run_id: str
    system: str
    target: str
    started: datetime
    finished: datetime
    outcome: Outcome
    points: tuple[str, ...] = ()
    freed_bytes: int = 0
    hidden_bytes: int = 0
    stored_bytes: int | None = None  # what is left
    objects: int = 0  # removed
    destroyable_from: datetime | None = None
    level_reached: int = 0
    proof: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str = ""
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
