"""Verdicts: an objective judged by facts. Computed when told, never stored."""

from __future__ import annotations

import math
from typing import Literal

from dr.errors import DEGRADED, FAILED, OBJECTIVE_MISSED, OK
from dr.evidence.record import Drill
from dr.late_dataclass import dataclass
from dr.plan.units import format_bytes, format_duration

Word = Literal["met", "missed", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """`met`, `missed` or `unknown`, with the reason in words."""

    word: Word
    reason: str


_INTERRUPTED = "it was interrupted"
_OF_NOTHING = "nothing was recovered: what was restored holds nothing"


def judge(actual: float | None, objective: float | None, *, unknown: str) -> Verdict:
    """Judge a time against the longest allowed, both in seconds. Just within is within.

    A time that is no time (less than nothing, or no number) comes of clocks that disagree: unknown.
    """
    if actual is None or not objective:
        return Verdict("unknown", unknown)
    if not actual >= 0 or math.isinf(actual):
        return Verdict("unknown", "the clocks disagree: the time measured is not valid")
    if actual <= objective:
        return Verdict("met", f"{format_duration(actual)} is within {format_duration(objective)}")
    return Verdict("missed", f"{format_duration(actual)} is longer than {format_duration(objective)}")


def rto_verdict(drill: Drill) -> Verdict:
    """Judge the recovery time actual of a drill against its RTO (NIST SP 800-34r1).

    A drill that failed did not bring the service back: missed, whatever the reason, also when it could
    not begin. One that was interrupted, or had nothing mandatory to check, shows nothing: unknown.
    """
    return _time_verdict(drill, drill.objectives.rto_seconds)


def mtd_verdict(drill: Drill) -> Verdict | None:
    """Judge the recovery time actual against the maximum tolerable downtime; None where none is declared."""
    limit = drill.objectives.mtd_seconds
    return None if limit is None else _time_verdict(drill, limit)


def _not_judged(drill: Drill) -> Verdict | None:
    """A recovery of what a person named, or of what is left of a point, counts for no objective; None for any other."""
    if drill.selected:
        return Verdict("unknown", "not judged: what a person named was recovered, not the system")
    if not drill.lacks:
        return None
    more = f", and {len(drill.lacks) - 1} more" if len(drill.lacks) > 1 else ""
    return Verdict("unknown", f"not judged: the point is not whole ({drill.lacks[0]}{more})")


def _time_verdict(drill: Drill, limit: int) -> Verdict:
    if (unjudged := _not_judged(drill)) and (drill.selected or drill.outcome == "degraded"):
        return unjudged
    if broken := [check for check in drill.checks if check.mandatory and check.outcome == "failed"]:
        names = ", ".join(f"{check.check} of {check.source or 'the system'}" for check in broken)
        many = "a mandatory check" if len(broken) == 1 else f"{len(broken)} mandatory checks"
        return Verdict("missed", f"the service did not come back: {many} failed ({names})")
    if drill.outcome == "failed":
        return Verdict("missed", f"the service did not come back: {drill.error or 'the drill failed'}")
    if drill.outcome == "aborted":
        return Verdict("unknown", _INTERRUPTED)
    if drill.of_nothing:
        return Verdict("unknown", _OF_NOTHING)
    found = judge(drill.rta_seconds, limit, unknown="no mandatory check was made, so it was not measured")
    return _of_sample(drill, found)


def _of_sample(drill: Drill, found: Verdict) -> Verdict:
    """Return what a time that was measured on a sample shows of the whole: that it is too long, or nothing."""
    sampled = drill.sampled
    if sampled is None or drill.rta_seconds is None:
        return found
    on = f"a sample, {format_bytes(sampled.bytes)} of {format_bytes(sampled.of_bytes)}"
    if found.word == "missed":
        return Verdict("missed", f"{found.reason}, although it was measured on {on}")
    estimate = rto_estimate(drill)
    told = "" if estimate is None else f"; ESTIMATE for the whole: {format_duration(estimate)}"
    return Verdict("unknown", f"{format_duration(drill.rta_seconds)} was measured on {on}{told}")


def rto_estimate(drill: Drill) -> float | None:
    """Return the seconds that a recovery of the whole may take, by a drill of a sample; None of any other drill.

    What moves bytes, the phases restore and verify, is taken to grow with the bytes. An ESTIMATE, never judged.
    """
    sampled = drill.sampled
    if sampled is None or drill.rta_seconds is None or not sampled.bytes:
        return None
    moved = sum(drill.phases.get(phase, 0.0) for phase in ("restore", "verify"))
    return round(drill.rta_seconds + moved * (sampled.of_bytes / sampled.bytes - 1), 3)


def rpo_verdict(drill: Drill) -> Verdict:
    """Judge the recovery point actual of a drill against its RPO (NIST SP 800-34r1).

    Only the age of the point used is judged. The age of the newest record found is told beside it and
    not judged: nobody may have written anything for days. One that restored nothing brought no data back, however
    young its point: unknown, unless the point was too old already.
    """
    if drill.run_id is None and not drill.selected:
        return Verdict("unknown", drill.error or "no recovery point was used")
    if drill.outcome == "aborted":
        return Verdict("unknown", _INTERRUPTED)
    if drill.of_nothing:
        return Verdict("unknown", _OF_NOTHING)
    if unjudged := _not_judged(drill):
        return unjudged
    found = judge(drill.rpa_seconds, drill.objectives.rpo_seconds, unknown="it was not measured")
    if found.word == "met" and drill.outcome == "failed" and not drill.sources:
        return Verdict("unknown", f"nothing was restored: {drill.error or 'the drill failed'}")
    return found


def checks_verdict(drill: Drill) -> Literal["passed", "failed", "not run"]:
    """Return `passed`, `failed`, or `not run` for the mandatory checks.

    `passed` means that all that could be made were made and held, in a drill that went to its end.
    """
    mandatory = [check.outcome for check in drill.checks if check.mandatory]
    if "failed" in mandatory:
        return "failed"
    if "ok" not in mandatory or drill.outcome == "aborted":
        return "not run"
    return "failed" if drill.outcome == "failed" else "passed"


def drill_exit_code(drill: Drill) -> int:
    """Return the exit code a drill deserves: failed 1, degraded 3, an objective missed 4.

    A drill that failed before its checks has the code of its error, such as 12 for refused credentials.
    """
    if drill.outcome not in ("ok", "degraded"):
        return drill.error_code if drill.error and not drill.checks else FAILED
    if drill.outcome == "degraded":
        return DEGRADED
    missed = "missed" in (rto_verdict(drill).word, rpo_verdict(drill).word)
    return OBJECTIVE_MISSED if missed else OK
