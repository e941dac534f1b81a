"""What a proof of stored bytes rests on, in words: the same on the command line, the board and the report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dr.evidence.coverage import Coverage
from dr.evidence.problem import SystemProblem
from dr.evidence.system_status import PlaceState, SystemStatus
from dr.plan.units import format_duration
from dr.report.phrases import counted, when

if TYPE_CHECKING:
    from dr.evidence.record import Proof
    from dr.plan.plan import Plan


def looked(proof: Proof) -> bool:
    """Whether stored bytes were looked at: else a proof's numbers of objects and bytes are nobody's count."""
    return proof.coverage is not None or proof.objects > 0


def said(coverage: Coverage) -> str:
    """Return it in words."""
    return in_words(coverage.oldest_read, coverage.whole_within_seconds, unread=coverage.unread_objects)


def in_words(oldest: datetime | None, within: float, *, unread: int) -> str:
    """Say within how long all was read (seconds), and when what waits longest was; or how much is still to be read.

    Nothing is said of what is damaged, and of that alone.
    """
    bound = format_duration(within)
    if oldest is None:
        return f"{counted(unread, 'object')} still to be read within {bound}" if unread else ""
    return f"read within {bound}, oldest {when(oldest)}"


def unread_too_long(plan: Plan, standing: SystemStatus, now: datetime) -> Iterator[SystemProblem]:
    """Yield the places where something was read longer ago than the plan allows, as it is now.

    Where the last run said so itself, that run is the problem.
    """
    for name in plan.places:
        state = standing.places.get(name) or PlaceState(target=name)
        by = _by(plan, state)
        if by is None or now <= by or state.proof != "ok":
            continue
        bound = format_duration(plan.proof.whole_within)
        yield SystemProblem(
            kind="proof_overdue",
            system=plan.system,
            severity="warning",
            subject=name,
            since=by,
            text=f"some of what {name} holds was read longer than {bound} ago, the oldest {when(state.oldest_read)}",
            todo=f"run `dr verify {plan.system}`",
        )


def _by(plan: Plan, state: PlaceState) -> datetime | None:
    """Return by when a place should have been read again; None where no run told."""
    return state.oldest_read + timedelta(seconds=plan.proof.whole_within) if state.oldest_read else None
