"""The fact of one drill or recovery, made from what its run gathered; nothing is done here.

Definitions are those of `docs/words.md`: RTA is a number only when every mandatory check passed, and a
sample proves no more than it restored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from dr.evidence.record import Drill, ObjectivesThen, Outcome
from dr.run.recovery.place.sandbox import Disposition
from dr.run.recovery.state import Recovery

#: Proof that restoring a few files can give at most: stored data was decrypted.
SAMPLE_PROOF = 3


def achieved(recovery: Recovery) -> bool:
    """Whether the restored system is there and every mandatory check on it passed."""
    return recovery.ended and outcome(recovery) in ("ok", "degraded")


def outcome(recovery: Recovery) -> Outcome:
    """`ok` only when everything went as it should."""
    if recovery.aborted:
        return "aborted"
    mandatory = [check for check in recovery.checks if check.mandatory]
    if recovery.error or any(check.outcome == "failed" for check in mandatory):
        return "failed"
    return "ok" if recovery.journal.clean else "degraded"


def last_mandatory(recovery: Recovery) -> datetime | None:
    """When the last mandatory check passed; None when one failed, or none was made."""
    mandatory = [check for check in recovery.checks if check.mandatory and check.outcome != "skipped"]
    if recovery.error or any(check.outcome != "ok" for check in mandatory):
        return None
    return max((check.finished for check in mandatory if check.finished), default=None)


def proof_level(recovery: Recovery) -> int:
    """What this run shows of the copy: 4 restored and equal, 5 service proven, else what was known."""
    known = recovery.copy.proof_level if recovery.copy else 0
    if recovery.lacks:
        return known
    part = recovery.of_samples or recovery.request.tables
    if part or not achieved(recovery) or set(recovery.restored) <= set(recovery.hollow):
        return min(known, SAMPLE_PROOF)
    equal = {check.source for check in recovery.checks if check.check == "manifest" and check.outcome == "ok"}
    if not all(name in equal and recovery.asked.get(name) == 1 for name in recovery.restored):
        return known
    from dr.plan.check_kinds import proves_service

    return 5 if any(proves_service(c.check) and c.outcome == "ok" for c in recovery.checks) else 4


def share_compared(recovery: Recovery) -> float:
    """The share of all files of the restored sources whose content was compared with the manifest."""
    compared = {c.source for c in recovery.checks if c.check == "manifest" and c.outcome != "skipped"}
    items = recovery.restored.items()
    hashed = sum(item.files * recovery.asked.get(name, 0) for name, item in items if name in compared)
    total = recovery.sampled.of_files if recovery.sampled else sum(item.listed for _, item in items)
    return round(hashed / total, 6) if total else float(bool(compared))


def data_rpa(t_loss: datetime, newest: Mapping[str, datetime]) -> float | None:
    """`t_loss` minus the newest record found; of several databases, the one that lost most.

    None when a record bears a later time than the loss: such clocks measure nothing.
    """
    lost = [(t_loss - moment).total_seconds() for moment in newest.values()]
    return round(max(lost), 3) if lost and min(lost) >= 0 else None


def make_fact(recovery: Recovery, fate: Disposition) -> Drill:
    """Return the fact."""
    toolbox, request, point, journal = recovery.toolbox, recovery.request, recovery.point, recovery.journal
    wanted, passed = toolbox.plan.objectives, last_mandatory(recovery)
    return Drill(
        drill_id=request.drill_id,
        system=toolbox.plan.system,
        scenario=request.assumes,
        real=request.real,
        outcome=outcome(recovery),
        t_loss=request.t_loss,
        started=journal.started,
        finished=journal.now(),
        objectives=ObjectivesThen(rto_seconds=wanted.rto, rpo_seconds=wanted.rpo, mtd_seconds=wanted.mtd),
        run_id=point.run_id if point else None,
        target=recovery.copy.target if recovery.copy else None,
        consistency_time=point.consistency_time if point else None,
        requested_at=request.at,
        seen_at=request.travel.at if request.travel else recovery.step.seen_at if recovery.step else None,
        phases=dict(journal.phases),
        noticed=request.noticed,
        rta_seconds=None if recovery.lacks else _seconds(request.noticed or request.t_loss, passed),
        rpa_seconds=_seconds(point.consistency_time, request.t_loss) if point else None,
        data_rpa_seconds=data_rpa(request.t_loss, recovery.newest),
        proof_level=proof_level(recovery),
        checks=tuple(recovery.checks),
        events=tuple(journal.events),
        hooks=tuple(recovery.hooks),
        files=sum(item.files for item in recovery.restored.values()),
        bytes=sum(item.bytes for item in recovery.restored.values()),
        protected_bytes=(point.bytes or 0) if point else 0,
        sources=tuple(recovery.restored),
        sample=share_compared(recovery),
        sandbox=fate,
        error=recovery.error,
        error_hint=recovery.error_hint,
        error_code=recovery.error_code,
        plan_digest=toolbox.digest,
        versions=dict(toolbox.versions),
        machine=recovery.machine,
        hollow=dict(recovery.hollow),
        isolated=recovery.isolation.isolated if recovery.isolation else None,
        isolated_reason=recovery.isolation.reason if recovery.isolation else "",
        passed_over=tuple(recovery.passed_over),
        lacks=tuple(recovery.lacks),
        suspect=point.suspect if point else None,
        last_unsuspected_point=recovery.unsuspected.run_id if recovery.unsuspected else None,
        looks=tuple(recovery.looks),
        because=request.because,
        selected=request.selected,
        in_place=request.in_place,
        tables=tuple(recovery.tables),
        sampled=recovery.sampled,
    )


def _seconds(start: datetime, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if end else None
