"""3-2-1-1-0, counted from facts: three copies, two kinds of media, one offsite, one immutable or offline, no errors.

Production counts as one copy, on disk, as the rule's authors count it. A place counts when it holds a whole, undamaged
recovery point; for offsite unless its service is on this very host; for immutable when its lock is declared and the
bucket was seen to enforce it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dr.evidence.problem import SystemProblem
from dr.evidence.system_status import PlaceState, SystemStatus
from dr.late_dataclass import dataclass
from dr.report.coverage import in_words
from dr.report.phrases import counted
from dr.tools.network import is_this_host

if TYPE_CHECKING:
    from dr.plan.plan import Plan
    from dr.plan.target import Target

RULE = "3-2-1-1-0"
#: What production lies on.
_PRODUCTION = "disk"


@dataclass(frozen=True, kw_only=True)
class PlaceRow:
    """One place of a system's copies. `newest`: as of when its newest whole point is; `seen`: when it last worked.

    `oldest_read`, `whole_within_seconds`, `unread_objects`: as `PlaceState`.
    """

    target: str
    replica: bool
    medium: str
    provider: str
    account: str
    offsite: bool
    here: bool  # its service is on this very host
    offline: bool
    immutable: bool
    points: int
    newest: datetime | None
    proof_level: int
    seen: datetime | None
    object_lock: str
    oldest_read: datetime | None = None
    whole_within_seconds: int | None = None
    unread_objects: int | None = None

    @property
    def coverage(self) -> str:
        """What was read there and when, in words; "" where no run told."""
        if self.whole_within_seconds is None:
            return ""
        return in_words(self.oldest_read, self.whole_within_seconds, unread=self.unread_objects or 0)


@dataclass(frozen=True, kw_only=True)
class Copies:
    """The rule's five numbers. `errors` is None while nothing was verified; `missing` says what is not met."""

    copies: int
    media: int
    offsite: int
    immutable_or_offline: int
    errors: int | None
    missing: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether all five are met."""
        return not self.missing

    @property
    def numbers(self) -> str:
        """The five numbers, as the rule is written."""
        errors = "?" if self.errors is None else str(self.errors)
        return f"{self.copies}-{self.media}-{self.offsite}-{self.immutable_or_offline}-{errors}"


def place_rows(plan: Plan, targets: Mapping[str, Target], standing: SystemStatus) -> tuple[PlaceRow, ...]:
    """Return the places of a system's copies, the primary first."""
    return tuple(
        _place(targets[name], standing.places.get(name) or PlaceState(target=name), replica=name in plan.replicas)
        for name in plan.places
        if name in targets
    )


def _place(target: Target, state: PlaceState, *, replica: bool) -> PlaceRow:
    declared = target.locks.mode
    return PlaceRow(
        target=target.target,
        replica=replica,
        medium=target.medium,
        provider=target.provider,
        account=target.account,
        offsite=target.is_offsite(is_this_host),
        here=target.lies_here(is_this_host),
        offline=target.offline,
        immutable=declared != "none" and state.object_lock.startswith(declared),
        points=state.points,
        newest=state.newest,
        proof_level=state.proof_level,
        seen=state.seen,
        object_lock=state.object_lock,
        oldest_read=state.oldest_read,
        whole_within_seconds=state.whole_within_seconds,
        unread_objects=state.unread_objects,
    )


def count_copies(rows: Sequence[PlaceRow], standing: SystemStatus) -> Copies:
    """Count."""
    holding = [row for row in rows if row.points]
    numbers = {
        "copies": 1 + len(holding),
        "media": len({_PRODUCTION, *(row.medium for row in holding)}),
        "offsite": sum(row.offsite for row in holding),
        "immutable_or_offline": sum(row.immutable or row.offline for row in holding),
    }
    errors = list(_errors(holding, standing))
    unproven = [row.target for row in holding if not _state(standing, row).proof]
    nothing = not holding or len(unproven) == len(holding)
    missing = [
        *_short(numbers, [row.target for row in holding if row.here]),
        *errors,
        *(f"{name} was never verified" for name in unproven),
    ]
    return Copies(**numbers, errors=None if nothing and not errors else len(errors), missing=tuple(missing))


def _short(numbers: Mapping[str, int], here: Sequence[str]) -> Iterator[str]:
    if numbers["copies"] < 3:
        yield f"{counted(3 - numbers['copies'], 'more copy', 'more copies')}, production counted as one"
    if numbers["media"] < 2:
        yield "a second kind of media"
    if not numbers["offsite"]:
        where = f" (the service of {' and '.join(here)} is on this very host: use one in another place)" if here else ""
        yield f"a copy offsite{where}"
    if not numbers["immutable_or_offline"]:
        yield "a copy that is immutable (its lock declared, and seen on the bucket) or offline"


def _errors(holding: Sequence[PlaceRow], standing: SystemStatus) -> Iterator[str]:
    for there in standing.lost:
        yield f"{counted(there.points, 'recovery point')} lost on {there.target}"
    if standing.damaged_points:
        yield f"{counted(standing.damaged_points, 'recovery point')} with damage"
    for row in holding:
        state = _state(standing, row)
        if state.proof and state.proof != "ok":
            yield f"the last verification of {row.target} ended {state.proof}"
        if state.replication in ("failed", "degraded"):
            yield f"the last replication to {row.target} ended {state.replication}"


def _state(standing: SystemStatus, row: PlaceRow) -> PlaceState:
    return standing.places.get(row.target) or PlaceState(target=row.target)


def growing(plan: Plan, standing: SystemStatus, targets: Mapping[str, Target]) -> Iterator[SystemProblem]:
    """Yield the targets that only grow: retention is declared, and nothing removes what it no longer keeps.

    With `cadence: {expire: never}` that is meant.
    """
    if plan.retention is None or plan.cadence.expire == "never":
        return
    most = plan.retention.most
    for name in plan.targets:
        state = standing.places.get(name)
        if state is None or state.points <= most or name not in targets:
            continue
        if targets[name].expires and plan.cadence.expire:
            continue
        why = "its file names no `delete_credentials`" if plan.cadence.expire else "the plan's cadence has no `expire`"
        holds = f"it holds {counted(state.points, 'recovery point')}, retention keeps at most {most}"
        yield SystemProblem(
            kind="target_grows",
            system=plan.system,
            severity="warning",
            subject=name,
            text=f"{name} only grows: {holds}, and {why}",
            todo=f"see `dr expire {plan.system} --dry-run`",
        )
