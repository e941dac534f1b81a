"""A run that was begun and whose process died: the fact it comes to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dr.evidence.acts import KeyEvent, Rewind
from dr.evidence.fact import Fact
from dr.evidence.record import BackupRun, Drill, ObjectivesThen, Proof, Replication

INTERRUPTED = "the run was interrupted: its process ended without finishing"


@dataclass(frozen=True, kw_only=True)
class OpenRun:
    """A run that was begun and has no end yet."""

    run_id: str
    verb: str
    system: str
    started: datetime
    plan_digest: str
    process: str


def aborted_fact(run: OpenRun, now: datetime) -> Fact:
    """Return the fact of a run that ended without a word."""
    if run.verb == "backup":
        return BackupRun(
            run_id=run.run_id,
            system=run.system,
            outcome="aborted",
            started=run.started,
            finished=now,
            error=INTERRUPTED,
            plan_digest=run.plan_digest,
        )
    if run.verb == "replicate":
        return Replication(
            run_id=run.run_id,
            system=run.system,
            source="",
            target="",
            outcome="aborted",
            started=run.started,
            finished=now,
            error=INTERRUPTED,
            plan_digest=run.plan_digest,
        )
    if run.verb == "verify":
        return Proof(
            run_id=run.run_id,
            system=run.system,
            target="",
            started=run.started,
            finished=now,
            outcome="aborted",
            level_asked=0,
            level_reached=0,
            error=INTERRUPTED,
        )
    if run.verb == "keys":
        return KeyEvent(
            run_id=run.run_id,
            system=run.system,
            what="destruction" if run.run_id.startswith("destruction-") else "rotation",
            outcome="aborted",
            started=run.started,
            finished=now,
            error=INTERRUPTED,
        )
    if run.verb == "rewind":
        return Rewind(
            run_id=run.run_id,
            system=run.system,
            target="",
            started=run.started,
            finished=now,
            outcome="aborted",
            moment=run.started,
            error=INTERRUPTED,
            plan_digest=run.plan_digest,
        )
    return Drill(
        drill_id=run.run_id,
        system=run.system,
        scenario="system-loss",
        real=run.verb == "recovery",
        outcome="aborted",
        t_loss=run.started,
        started=run.started,
        finished=now,
        objectives=ObjectivesThen(rto_seconds=0, rpo_seconds=0),
        sandbox="swept",
        error=INTERRUPTED,
        plan_digest=run.plan_digest,
    )
