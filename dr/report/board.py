"""The board: how each system stands now, judged by its plan and what the catalog knows. Pure."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dr.evidence.problem import SystemProblem
from dr.evidence.system_status import SystemStatus
from dr.late_dataclass import dataclass
from dr.plan import cadence
from dr.plan.units import format_duration
from dr.report.copies import Copies, PlaceRow, count_copies, growing, place_rows
from dr.report.coverage import unread_too_long
from dr.report.problems import problems_of
from dr.report.verdict import Verdict, judge

if TYPE_CHECKING:
    from dr.plan.plan import Plan
    from dr.plan.target import Target

#: What should have been done so long ago is late.
GRACE = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system on the board; seconds, None where nothing is known."""

    system: str
    title: str
    rpo_target_seconds: int
    freshness_seconds: float | None
    rpo: Verdict
    exposure_seconds: float | None
    rto_target_seconds: int
    last_rta_seconds: float | None
    rto: Verdict
    proof_level: int
    proof_age_seconds: float | None
    last_drill: datetime | None
    last_drill_outcome: str | None
    problems: tuple[SystemProblem, ...]
    retention_frozen: str | None = None
    copies: Copies | None = None
    places: tuple[PlaceRow, ...] = ()


def row_of(
    plan: Plan,
    standing: SystemStatus,
    *,
    now: datetime,
    overdue: Mapping[str, datetime] | None = None,
    targets: Mapping[str, Target] | None = None,
) -> Row:
    """Return a system's row. `overdue`: since when the verbs are due whose time is long past.

    With `targets` copies are counted.
    """
    wanted = plan.objectives
    fresh = max(0.0, (now - standing.consistency_time).total_seconds()) if standing.consistency_time else None
    drill = standing.drill
    undrilled = _undrilled(plan, standing, now)
    rto = _rto(plan, standing, undrilled)
    rpo = _rpo(plan, standing, now) if fresh is None else judge(fresh, wanted.rpo, unknown="")
    if rpo.word == "met" and _is_of_nothing(standing):
        rpo = Verdict("unknown", "the newest recovery point holds nothing")
    places = place_rows(plan, targets or {}, standing)
    return Row(
        system=plan.system,
        title=plan.title or plan.system,
        rpo_target_seconds=wanted.rpo,
        freshness_seconds=fresh,
        rpo=rpo,
        exposure_seconds=standing.exposure_seconds,
        rto_target_seconds=wanted.rto,
        last_rta_seconds=drill.rta_seconds if drill else None,
        rto=rto,
        proof_level=standing.proof_level,
        proof_age_seconds=max(0.0, (now - standing.proven_at).total_seconds()) if standing.proven_at else None,
        last_drill=drill.started if drill else None,
        last_drill_outcome=drill.outcome if drill else None,
        problems=(
            *problems_of(plan, standing, rpo=rpo, rto=rto, undrilled=undrilled and undrilled[1], overdue=overdue or {}),
            *growing(plan, standing, targets or {}),
            *unread_too_long(plan, standing, now),
        ),
        retention_frozen=standing.retention_frozen,
        copies=count_copies(places, standing) if targets else None,
        places=places,
    )


def _is_of_nothing(standing: SystemStatus) -> bool:
    """Whether the newest complete point holds nothing: the last backup took it, and found nothing."""
    last, newest = standing.backup, standing.consistency_time
    return bool(last and last.of_nothing and newest and newest >= last.started)


def overdue(due: datetime | None, *, now: datetime, grace: timedelta = GRACE) -> bool:
    """Whether something should have been done a good while ago."""
    return due is not None and now - due > grace


def _rpo(plan: Plan, standing: SystemStatus, now: datetime) -> Verdict:
    """Judge a system that has no point: missed as soon as it is known for longer than its RPO."""
    none = f"no complete recovery point {'any more' if standing.damaged_points or standing.lost else 'yet'}"
    gone = standing.destroyed
    if gone:
        none = f"its keys were destroyed on {gone.at:%Y-%m-%d %H:%M}Z ({gone.run_id}): no recovery point can be read"
    if standing.known_since is None:
        return Verdict("unknown", none)
    wanted, waited = plan.objectives.rpo, max(0.0, (now - standing.known_since).total_seconds())
    if gone:
        return Verdict("missed" if waited > wanted else "unknown", none)
    begun = standing.attempts["backup"].begun if "backup" in standing.attempts else None
    of = "the first try" if begun else "its plan was first seen"
    if waited > wanted:
        return Verdict("missed", f"{none}, {format_duration(waited)} after {of}")
    left = format_duration(wanted - waited)
    if not standing.attempts:
        of += "; if its catalog was lost, `dr points rebuild` finds its points"
    return Verdict("unknown", f"{none}; {left} are left of {format_duration(wanted)} since {of}")


def _undrilled(plan: Plan, standing: SystemStatus, now: datetime) -> tuple[datetime, datetime] | None:
    """Return since when no drill was made, and by when one should have been; None where none is late, or one failed.

    A drill that failed misses the objective by itself.
    """
    drill = standing.drill
    settled = standing.attempts["drill"].settled if "drill" in standing.attempts else None
    since = settled or (drill.started if drill else standing.known_since)
    longest = _longest(plan.cadence.drill, plan.cadence.timezone)
    if since is None or longest is None or (drill and drill.outcome == "failed"):
        return None
    by = since + timedelta(seconds=longest)
    return (since, by) if now - by > GRACE else None


def _rto(plan: Plan, standing: SystemStatus, undrilled: tuple[datetime, datetime] | None) -> Verdict:
    """Judge the last drill; and a system that was not drilled for longer than its plan's cadence misses its RTO."""
    drill, asked = standing.drill, plan.cadence.drill
    if drill and drill.outcome == "failed":
        return Verdict("missed", drill.error or "the last drill failed")
    if undrilled:
        told = f"{'the last drill was on' if drill else 'never drilled since'} {undrilled[0]:%Y-%m-%d}"
        return Verdict("missed", f"{told}, although the plan asks for a drill {_asked(asked)}")
    if drill and drill.outcome == "aborted":
        return Verdict("unknown", "the last drill was interrupted")
    if drill and drill.of_nothing:
        return Verdict("unknown", "the last drill brought back nothing: what it restored holds nothing")
    if drill and drill.partial and drill.rta_seconds is not None:
        return Verdict("unknown", "the last drill brought back samples only")
    ever = _longest(asked, plan.cadence.timezone)
    never = "never drilled" + (f"; the plan asks for a drill {_asked(asked)}" if ever else "")
    unknown = "the last drill did not measure it" if drill else never
    return judge(drill.rta_seconds if drill else None, plan.objectives.rto, unknown=unknown)


@functools.lru_cache(maxsize=1024)
def _longest(text: str | None, timezone: str) -> float | None:
    """Return the longest time between two drills by a cadence, in seconds; None where there is none."""
    return None if text in (None, "never") else cadence.parse(str(text), timezone).interval_seconds()


def _asked(text: str | None) -> str:
    return f"by `{text}`" if str(text).startswith("cron") else str(text)
