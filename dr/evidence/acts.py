"""Acts that are no backup, proof or drill: on keys, holds, targets, kits; what a person vouched for; what expired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from datetime import datetime
from typing import Literal

from dr.evidence.look import LeftBehind
from dr.evidence.posture import Traffic
from dr.evidence.record import Outcome, TargetState
from dr.late_dataclass import dataclass


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
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    error: str | None = None
    error_hint: str = ""  # what to do about it
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records


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
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    error: str | None = None
    error_hint: str = ""
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records


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
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records


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
class Mounting:
    """A person had recovery points of a target shown as folders: from `started` on, all that is in them could be read.

    `points` is their number, `oldest` and `newest` the runs that made them; `by` the user name of who asked for it. It
    is put on record as it begins, whatever ends it.
    """

    run_id: str
    system: str
    target: str
    started: datetime
    finished: datetime
    points: int
    oldest: str
    newest: str
    because: str = ""
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


# -- retention where backups write: to expire a point is to remove its snapshots, to prune frees the space --


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
    left_behind: tuple[LeftBehind, ...] = ()  # what earlier runs stored there, and no record named until now
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    error: str | None = None
    error_hint: str = ""  # what to do about it
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records


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
    healed: tuple[str, ...] = ()  # what earlier processes left, and this run put right
    error: str | None = None
    error_hint: str = ""
    plan_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    traffic: tuple[Traffic, ...] = ()  # what was moved to and from each target; absent in older records


def held(events: Iterable[HoldEvent]) -> list[Hold]:
    """Return the holds that events tell of, oldest first; the released and those that ran out too."""
    found: dict[str, Hold] = {}
    for event in events:
        _note(found, event)
    return list(found.values())


def _note(found: dict[str, Hold], event: HoldEvent) -> None:
    """Bring the holds up to date with what happened to one of them."""
    if event.act == "placed":
        found[event.hold_id] = Hold(
            hold_id=event.hold_id,
            system=event.system,
            reason=event.reason,
            placed=event.started,
            until=event.until,
            point=event.point,
        )
    elif event.hold_id in found:
        released = replace(found[event.hold_id], released=event.started, released_reason=event.reason)
        found[event.hold_id] = released


@dataclass(frozen=True, kw_only=True)
class Rebuild:
    """The catalog was made anew from the targets.

    Numbers of records that were not as they were sealed: whole ones were `put_back`; where no target held a whole one
    it was `set_aside`, and is missing.
    """

    run_id: str
    started: datetime
    finished: datetime
    outcome: Outcome
    points: int = 0
    records: int = 0
    targets: tuple[TargetState, ...] = ()
    error: str | None = None
    put_back: tuple[tuple[int, int], ...] = ()
    set_aside: tuple[tuple[int, int], ...] = ()
