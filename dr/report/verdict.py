"""Verdicts: an objective judged by facts. Computed when told, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dr.errors import DEGRADED, FAILED, OBJECTIVE_MISSED, OK
from dr.evidence.record import Drill
from dr.plan.units import format_duration

Word = Literal["met", "missed", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """`met`, `missed` or `unknown`, with the reason in words."""

    word: Word
    reason: str


def judge(actual: float | None, objective: float | None, *, unknown: str) -> Verdict:
    """Judge a time against the longest allowed, both in seconds."""
    if actual is None or not objective:
        return Verdict("unknown", unknown)
    if actual <= objective:
        return Verdict("met", f"{format_duration(actual)} is within {format_duration(objective)}")
    return Verdict("missed", f"{format_duration(actual)} is longer than {format_duration(objective)}")


def rto_verdict(drill: Drill) -> Verdict:
    """Judge the recovery time actual of a drill against its RTO (NIST SP 800-34r1).

    A mandatory check that failed means that the service did not come back: the objective is missed.
    """
    if drill.rta_seconds is None:
        if any(check.mandatory and check.outcome == "failed" for check in drill.checks):
            return Verdict("missed", "the service did not come back: a mandatory check failed")
        return Verdict("unknown", drill.error or "the drill did not reach its checks")
    return judge(drill.rta_seconds, drill.objectives.rto_seconds, unknown="not measured")


def rpo_verdict(drill: Drill) -> Verdict:
    """Judge the recovery point actual of a drill against its RPO (NIST SP 800-34r1).

    Where the newest record was probed too, the larger of both losses counts.
    """
    losses = [loss for loss in (drill.rpa_seconds,) if loss is not None]
    return judge(max(losses, default=None), drill.objectives.rpo_seconds, unknown=drill.error or "no point was used")


def checks_verdict(drill: Drill) -> str:
    """Return `passed`, `failed`, or `not run` for the mandatory checks."""
    mandatory = [check.outcome for check in drill.checks if check.mandatory]
    if "failed" in mandatory or (mandatory and drill.outcome in ("failed", "aborted")):
        return "failed"
    return "passed" if "ok" in mandatory else "not run"


def drill_exit_code(drill: Drill) -> int:
    """Return the exit code a drill deserves: failed 1, degraded 3, an objective missed 4."""
    if drill.outcome in ("failed", "aborted"):
        return drill.error_code if drill.error and not drill.checks else FAILED
    if drill.outcome == "degraded":
        return DEGRADED
    missed = "missed" in (rto_verdict(drill).word, rpo_verdict(drill).word)
    return OBJECTIVE_MISSED if missed else OK
