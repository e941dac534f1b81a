"""What is due, and doing it: backups, then proofs, then drills, system by system, most overdue first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from dr.errors import DrError
from dr.orchestrator.backup import BackupResult, backup_one
from dr.orchestrator.drill import DrillOptions, DrillResult, drill_one
from dr.orchestrator.session import Session
from dr.orchestrator.verify import VerifyResult, verify_one
from dr.plan import cadence
from dr.plan.load import Loaded
from dr.run.sandbox import sweep

Verb = Literal["backup", "verify", "drill"]
VERBS: tuple[Verb, ...] = ("backup", "verify", "drill")
#: A failed backup is tried again by the next run, but not sooner than this.
_AGAIN = timedelta(minutes=5)


@dataclass
class DueDone:
    """What one `dr run` did."""

    backups: list[BackupResult] = field(default_factory=list)
    proofs: list[VerifyResult] = field(default_factory=list)
    drills: list[DrillResult] = field(default_factory=list)
    errors: list[DrError] = field(default_factory=list)


def cadence_text(loaded: Loaded, verb: Verb) -> str | None:
    """Return the plan's words for when a verb is due; None for never."""
    plan = loaded.plan
    return {"backup": plan.backup_cadence, "verify": plan.cadence.verify, "drill": plan.cadence.drill}[verb]


def next_due(session: Session, loaded: Loaded, verb: Verb, now: datetime) -> datetime | None:
    """Return when a verb is or was next due; None for never.

    Backups count from the last that worked, so that a failed one is caught up; proofs and drills count
    from the last attempt, so that a failing drill is not repeated every few minutes.
    """
    text = cadence_text(loaded, verb)
    if text is None or text == "never":
        return None
    attempt, success = session.catalog.last(verb, loaded.plan.system)
    last = success if verb == "backup" else attempt
    due = cadence.parse(text, loaded.plan.cadence.timezone).due(last, now)
    if verb == "backup" and attempt and (success is None or attempt > success):
        return max(due, attempt + _AGAIN)
    return due


def due_now(session: Session, items: list[Loaded], verb: Verb) -> list[Loaded]:
    """Return the systems for which a verb is due, the most overdue first."""
    now = session.clock()
    waiting = [(next_due(session, loaded, verb, now), loaded) for loaded in items]
    ripe = [(due, loaded) for due, loaded in waiting if due is not None and due <= now]
    return [loaded for _, loaded in sorted(ripe, key=lambda pair: (pair[0], pair[1].plan.priority))]


def run_due(session: Session) -> DueDone:
    """Do all that is due, once. Systems run side by side; one system's verbs one after the other."""
    items = session.chosen((), everything=True)
    session.catalog.close_abandoned(None, now=session.clock())
    sweep(session.state)
    wanted = {verb: due_now(session, items, verb) for verb in VERBS}
    ordered = list({id(loaded): loaded for verb in VERBS for loaded in wanted[verb]}.values())
    done = DueDone()

    def all_of(loaded: Loaded) -> None:
        if loaded in wanted["backup"]:
            done.backups.append(backup_one(session, loaded))
        if loaded in wanted["verify"]:
            done.proofs.extend(verify_one(session, loaded, level=3))
        if loaded in wanted["drill"]:
            done.drills.append(drill_one(session, loaded, DrillOptions()))

    if ordered:
        session.each(ordered, all_of)
    return done
