"""The problems of one system on the board, each with its kind, since when, and what to type. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dr.evidence.problem import ProblemKind, ProblemSeverity, SystemProblem
from dr.evidence.system_status import LastRun, SystemStatus
from dr.report.phrases import counted
from dr.report.verdict import Verdict

if TYPE_CHECKING:
    from dr.plan.plan import Plan

_NOUNS = {
    "backup": "backup",
    "verify": "verification",
    "drill": "drill",
    "recovery": "recovery",
    "keys": "change of keys",
    "replicate": "replication",
    "expire": "removal of expired recovery points",
    "prune": "prune",
}
_FAILED: Mapping[str, ProblemKind] = {
    "backup": "backup_failed",
    "verify": "proof_failed",
    "expire": "expiry_failed",
    "prune": "prune_failed",
    "drill": "drill_failed",
}
_OVERDUE: Mapping[str, ProblemKind] = {
    "backup": "backup_overdue",
    "verify": "proof_overdue",
    "drill": "drill_overdue",
    "replicate": "replica_overdue",
    "expire": "expiry_overdue",
    "prune": "prune_overdue",
}
#: What to type where it is not the verb's own name.
_TYPED = {"prune": "expire"}
_ENDED = {"failed": "failed", "degraded": "was done in part", "aborted": "was interrupted"}
_SEVERITY: Mapping[str, ProblemSeverity] = {"failed": "failed", "degraded": "degraded", "aborted": "warning"}


def problems_of(
    plan: Plan,
    standing: SystemStatus,
    *,
    rpo: Verdict,
    rto: Verdict,
    undrilled: datetime | None,
    overdue: Mapping[str, datetime],
) -> Iterable[SystemProblem]:
    """Yield what is wrong with a system, the gravest matters first.

    `undrilled`: by when a drill should have been made, where that is past. `overdue`: since when each verb is.
    """
    of = functools.partial(SystemProblem, system=plan.system)
    yield from _recovery_points(of, plan, standing, rpo)
    yield from _doubts(of, standing)
    yield from _losses(of, standing)
    yield from _last_runs(of, standing)
    yield from _proofs(of, plan, standing)
    yield from _replicas(of, standing, [name for name in plan.replicas if name in standing.places])
    yield from _drills(of, standing, rto, undrilled)
    for verb in standing.interrupted:
        text = f"a {_NOUNS.get(verb, verb)} was interrupted"
        yield of(kind="interrupted", severity="warning", subject=verb, text=text, todo=_again(verb, plan.system))
    for verb, since in overdue.items():
        if not (undrilled and verb == "drill"):
            text = f"a {_NOUNS.get(verb, verb)} is overdue"
            yield of(kind=_OVERDUE[verb], severity="warning", since=since, text=text, todo=_again(verb, plan.system))


_Of = functools.partial[SystemProblem]


def _again(verb: str, system: str) -> str:
    return (
        f"run `dr {_TYPED.get(verb, verb)} {system}`"
        if verb in _OVERDUE
        else "run the command that was interrupted again"
    )


def _recovery_points(of: _Of, plan: Plan, standing: SystemStatus, rpo: Verdict) -> Iterator[SystemProblem]:
    severity: ProblemSeverity = "missed" if rpo.word == "missed" else "warning"
    last, allowed = standing.consistency_time, timedelta(seconds=plan.objectives.rpo)
    first = standing.known_since and (standing.known_since + allowed if severity == "missed" else standing.known_since)
    todo = f"run `dr backup {plan.system}`"
    if standing.destroyed:
        todo = "remove its plan; to protect the system again, give it another name"
    if last is None:
        yield of(kind="rpo", severity=severity, since=first, text=rpo.reason, todo=todo)
    elif rpo.word == "missed":
        text = f"the newest recovery point is too old: {rpo.reason}"
        yield of(kind="rpo", severity="missed", since=last + allowed, text=text, todo=todo)


def _doubts(of: _Of, standing: SystemStatus) -> Iterator[SystemProblem]:
    if standing.retention_frozen:
        yield of(
            kind="suspect",
            severity="degraded",
            since=standing.frozen_since,
            text=f"{standing.retention_frozen}; until then no recovery point may be expired",
            todo=f"look at `dr diff {standing.system}`; if it was expected, mark it as trusted with "
            f"`dr points trust {standing.system} RUN_ID --because WHY`",
        )
    if standing.ahead:
        clock = "see this machine's clock"
        yield of(
            kind="clock", severity="degraded", text=f"runs on record bear a later time than now: {clock}", todo=clock
        )
    if standing.unlocked_points:
        points, todo = counted(standing.unlocked_points, "recovery point"), "back up again, which locks what is needed"
        yield of(
            kind="locks_expired", severity="degraded", text=f"the locks on {points} have run out: {todo}", todo=todo
        )
    for target, number in standing.strangers.items():
        points = counted(number, "recovery point")
        yield of(
            kind="foreign_points",
            severity="degraded",
            subject=target,
            text=f"{target} holds {points} that another installation made, or this one before its state was "
            "brought back from an older copy: `dr points` names them",
            todo="take them over by `dr points rebuild --adopt ID`, or give each installation a prefix of its own",
        )


def _losses(of: _Of, standing: SystemStatus) -> Iterator[SystemProblem]:
    system = standing.system
    for there in standing.lost:
        seen = f", last seen there {there.seen:%Y-%m-%d %H:%M}Z" if there.seen else ""
        yield of(
            kind="points_lost",
            severity="failed",
            subject=there.target,
            since=there.seen,
            text=f"{there.target} has lost {counted(there.points, 'recovery point')} that should be there{seen}",
            todo=f"see the target and `dr points {system}`, then run `dr backup {system}`",
        )
    if standing.damaged_points:
        points, doubtful = counted(standing.damaged_points, "recovery point"), standing.doubtful_points
        more = f"; of {doubtful} only the index is damaged: run `dr repair {system}`" if doubtful else ""
        yield of(
            kind="damage",
            severity="degraded" if doubtful == standing.damaged_points else "failed",
            text=f"damage found: {points} cannot be used on the target concerned{more}",
            todo=f"run `dr repair {system}`",
        )


def _last_runs(of: _Of, standing: SystemStatus) -> Iterator[SystemProblem]:
    for verb in _FAILED:
        last: LastRun | None = getattr(standing, verb)
        if last and last.outcome in _ENDED and not _suspect_only(last):
            why = f": {last.error}" if last.error else ""
            yield of(
                kind=_FAILED[verb],
                severity=_SEVERITY[last.outcome],
                since=last.started,
                text=f"the last {_NOUNS[verb]} {_ENDED[last.outcome]}{why}",
                todo=f"remove the cause, then run `dr {_TYPED.get(verb, verb)} {standing.system}`",
            )


def _proofs(of: _Of, plan: Plan, standing: SystemStatus) -> Iterator[SystemProblem]:
    """Yield the targets whose last verification was not ok, but the last of all: that one is told as a run."""
    told = standing.verify and standing.verify.outcome in _ENDED
    seen = [state for name in plan.places if (state := standing.places.get(name)) and state.proof and state.proven]
    last = max((state.proven for state in seen if state.proven), default=None) if told else None
    for state in seen:
        if state.proof in _ENDED and state.proven != last:
            yield of(
                kind="proof_failed",
                severity=_SEVERITY[state.proof],
                subject=state.target,
                since=state.proven,
                text=f"the last verification of {state.target} {_ENDED[state.proof]}",
                todo=f"remove the cause, then run `dr verify {standing.system}`",
            )


def _suspect_only(last: LastRun) -> bool:
    """Whether it was done in whole, and only its point is suspect: that is told where retention is."""
    return last.outcome == "degraded" and bool(last.suspect) and not last.error


def _replicas(of: _Of, standing: SystemStatus, replicas: Sequence[str]) -> Iterator[SystemProblem]:
    for name in replicas:
        state = standing.places[name]
        if state.replication in _ENDED:
            ended = f"the last replication to {name} {_ENDED[state.replication]}"
            yield of(
                kind="replica_failed",
                severity=_SEVERITY[state.replication],
                subject=name,
                since=state.replicated,
                text=f"{ended}: {state.problem or 'see the record'}",
                todo=f"remove the cause, then run `dr replicate {standing.system}`",
            )


def _drills(of: _Of, standing: SystemStatus, rto: Verdict, undrilled: datetime | None) -> Iterator[SystemProblem]:
    """A drill that waits longer than the plan allows misses the objective: nothing shows any more that it is met."""
    common: dict[str, Any] = {
        "todo": f"run `dr drill {standing.system}`",
        "severity": "missed" if undrilled else "warning",
    }
    drill = standing.drill
    if drill is None:
        text = f"{rto.reason if undrilled else 'never drilled'}: nothing shows that this system comes back"
        yield of(kind="never_drilled", since=undrilled or standing.known_since, text=text, **common)
    elif undrilled:
        yield of(kind="drill_overdue", since=undrilled, text=rto.reason, **common)
    elif rto.word == "missed" and drill.outcome != "failed":
        text = f"the last drill took too long: {rto.reason}"
        yield of(kind="rto", since=drill.started, text=text, **{**common, "severity": "missed"})
