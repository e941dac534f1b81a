"""Acts that are neither a run nor a drill: on keys, holds, targets, kits, and what a person vouched for."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from dr.evidence.record import Outcome


@dataclass(frozen=True, kw_only=True)
class Rewind:
    """What is on top in a bucket was put back to what it was at `moment`, for one system.

    Of the objects there were then, `intact` needed nothing, `uncovered` had a delete marker taken away, `copied` an old
    version copied on top; `hidden` were added since under a name that their bytes do not deserve. `verified` were read
    back, and have the bytes that their name promises. No version of any data was deleted.
    """

    run_id: str
    system: str
    target: str
    started: datetime
    finished: datetime
    outcome: Outcome
    moment: datetime
    objects: int = 0
    intact: int = 0
    uncovered: int = 0
    copied: int = 0
    hidden: int = 0
    verified: int = 0
    failed: tuple[str, ...] = ()  # names, the first thousand
    error: str | None = None
    error_hint: str = ""  # what to do about it
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Repair:
    """A damaged repository was put right on one target, as far as that was possible.

    `problem` is what was found before, `done` what was done, `left` what could not be, in words. `level_reached` is
    what the proof shows that followed, whose run is `proof`. `points` were named to have their snapshots changed; of
    their files `shortened` are shorter than captured, or gone.
    """

    run_id: str
    system: str
    target: str
    started: datetime
    finished: datetime
    outcome: Outcome
    problem: str = ""
    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    level_reached: int = 0
    proof: str = ""
    points: tuple[str, ...] = ()
    shortened: int = 0
    error: str | None = None
    error_hint: str = ""
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class KeyChange:
    """What a change of keys came to on one target; ids of keys only.

    `left` are keys that should be gone and are not yet; `shown` is what was proven there, in words.
    """

    target: str
    outcome: Outcome
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str = ""  # what to do about it


@dataclass(frozen=True, kw_only=True)
class KeyEvent:
    """A change of a system's keys. `limits` says what was not, or cannot be, proven."""

    run_id: str
    system: str
    what: Literal["escrow", "rotation", "destruction"]
    outcome: Outcome
    started: datetime
    finished: datetime
    targets: tuple[KeyChange, ...] = ()
    points: tuple[str, ...] = ()  # the points that a destruction made unreadable
    limits: tuple[str, ...] = ()
    error: str | None = None
    error_hint: str = ""  # what to do about it
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class HoldEvent:
    """A hold was placed or released. `point` narrows it to one recovery point; absent, it is on all of them."""

    run_id: str
    hold_id: str
    system: str
    act: Literal["placed", "released"]
    reason: str
    started: datetime
    finished: datetime
    until: datetime | None = None
    point: str | None = None
    outcome: Outcome = "ok"


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What must be kept whatever else is due: a legal hold, or one for public records. It wins over everything."""

    hold_id: str
    system: str
    reason: str
    placed: datetime
    until: datetime | None = None
    point: str | None = None
    released: datetime | None = None
    released_reason: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether it is in force."""
        return self.released is None and (self.until is None or now < self.until)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """A person said that a recovery point holds what it should: what was out of the ordinary in it was expected.

    `point` is the run that made it, `consistency_time` that point's; `by` the user name of who said so.
    """

    run_id: str
    system: str
    point: str
    consistency_time: datetime
    because: str
    started: datetime
    finished: datetime
    by: str = ""
    suspect: str | None = None  # what was held against it
    outcome: Outcome = "ok"


@dataclass(frozen=True, kw_only=True)
class NewBeginning:
    """A person said that a target begins again for a system: what it held, by the record, is not there any more.

    `points` are given up there, by run id. `found` is what was there instead: nothing, another repository, or the same
    without them; `repository` its restic id, "" where none was there. `by` is the user name of who said so.
    """

    run_id: str
    system: str
    target: str
    found: Literal["nothing", "another repository", "the same repository"]
    because: str
    started: datetime
    finished: datetime
    points: tuple[str, ...] = ()
    repository: str = ""
    by: str = ""
    outcome: Outcome = "ok"


@dataclass(frozen=True, kw_only=True)
class KitRepository:
    """Whether a kit opened one repository, and by which key: "escrow", or the repository's own "passphrase"."""

    system: str
    target: str
    opened: bool
    key: str = ""
    snapshots: int = 0
    error: str | None = None
    error_hint: str = ""  # what to do about it


@dataclass(frozen=True, kw_only=True)
class KitAct:
    """A recovery kit was made, made in place of another, or tested. Custodians are roles, in the order of shares.

    `shares` are the numbers of those used; `stale` says what differs between the kit and today.
    """

    run_id: str
    act: Literal["made", "replaced", "tested"]
    outcome: Outcome
    started: datetime
    finished: datetime
    kit_id: str = ""
    threshold: int = 0
    custodians: tuple[str, ...] = ()
    shares: tuple[int, ...] = ()
    repositories: tuple[KitRepository, ...] = ()
    stale: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
