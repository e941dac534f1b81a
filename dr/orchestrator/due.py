"""What is due, and doing it: backups, then replicas, then proofs, then drills, system by system, most overdue first."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from dr.errors import LOCKED, Fault
from dr.evidence.standing import Attempts
from dr.orchestrator.backup import BackupResult, backup_one
from dr.orchestrator.drill import DrillOptions, DrillResult, drill_one
from dr.orchestrator.replicate import ReplicateResult, replicate_one
from dr.orchestrator.replicate import due as replicate_due
from dr.orchestrator.selfcopy import save_self
from dr.orchestrator.session import Session
from dr.orchestrator.verify import VerifyResult, verify_one
from dr.plan import cadence
from dr.plan.load import Loaded
from dr.run.sandbox import sweep
from dr.tools import command

Verb = Literal["backup", "verify", "drill"]
VERBS: tuple[Verb, ...] = ("backup", "verify", "drill")
#: What came to nothing is tried again by the next run, but not sooner than this: a failed backup, and
#: whatever was interrupted. A drill that exhausts this machine is not to do so all day.
_AGAIN: Mapping[Verb, timedelta] = {
    "backup": timedelta(minutes=5), "verify": timedelta(minutes=30), "drill": timedelta(hours=1)
}  # fmt: skip


@dataclass
class DueDone:
    """What one `dr run` did; `faults` are those of plans that could not be used."""

    backups: list[BackupResult] = field(default_factory=list)
    proofs: list[VerifyResult] = field(default_factory=list)
    drills: list[DrillResult] = field(default_factory=list)
    replications: list[ReplicateResult] = field(default_factory=list)
    faults: tuple[Fault, ...] = ()


def cadence_text(loaded: Loaded, verb: Verb) -> str | None:
    """Return the plan's words for when a verb is due; None for never."""
    plan = loaded.plan
    return {"backup": plan.backup_cadence, "verify": plan.cadence.verify, "drill": plan.cadence.drill}[verb]


def next_due(loaded: Loaded, verb: Verb, attempts: Attempts, now: datetime) -> datetime | None:
    """Return when a verb is or was next due; None for never.

    Backups count from the last that worked, so that a failed one is caught up; proofs and drills count
    from the last that was not interrupted, so that a failing drill is not repeated every few minutes.
    """
    text = cadence_text(loaded, verb)
    if text is None or text == "never":
        return None
    last = attempts.worked if verb == "backup" else attempts.settled
    due = _due(text, loaded.plan.cadence.timezone, last, now)
    if attempts.begun and (last is None or attempts.begun > last):
        return max(due, attempts.begun + _AGAIN[verb])
    return due


@functools.lru_cache(maxsize=4096)
def _due(text: str, timezone: str, last: datetime | None, now: datetime) -> datetime:
    return cadence.parse(text, timezone).due(last, now)


def due_now(session: Session, items: list[Loaded], verb: Verb) -> list[Loaded]:
    """Return the systems for which a verb is due, the most overdue first."""
    now = session.clock()
    known = session.catalog.attempts([loaded.plan.system for loaded in items], now=now)
    waiting = [(next_due(x, verb, known.get((x.plan.system, verb), Attempts()), now), x) for x in items]
    ripe = [(due, loaded) for due, loaded in waiting if due is not None and due <= now]
    return [loaded for _, loaded in sorted(ripe, key=lambda pair: (pair[0], pair[1].plan.priority))]


def replicas_due(session: Session, items: list[Loaded]) -> list[Loaded]:
    """Return the systems of which a replica is due, the most overdue first."""
    now, some = session.clock(), [loaded for loaded in items if loaded.plan.replicas]
    states = session.catalog.place_states([loaded.plan.system for loaded in some]) if some else {}
    waiting = [(replicate_due(loaded, states.get(loaded.plan.system, {}), now), loaded) for loaded in some]
    ripe = [(due, loaded) for due, loaded in waiting if due is not None and due <= now]
    return [loaded for _, loaded in sorted(ripe, key=lambda pair: (pair[0], pair[1].plan.priority))]


def _replicate(session: Session, loaded: Loaded, done: DueDone) -> None:
    """Replicate when that is due, now that a backup may have been made. Of a disk that is away nothing is said."""
    if loaded.plan.replicas and not command.stopping():
        found = replicate_one(session, loaded, due_only=True)
        done.replications.extend(result for result in found if not result.absent)


def run_due(session: Session) -> DueDone:
    """Do all that is due, once. Systems run side by side; one system's verbs one after the other."""
    items, faults = session.usable()
    session.catalog.close_abandoned(None, now=session.clock())
    sweep(session.state)
    wanted = {verb: due_now(session, items, verb) for verb in VERBS}
    replicated = replicas_due(session, items)
    ordered = list({id(x): x for x in (*(y for verb in VERBS for y in wanted[verb]), *replicated)}.values())
    done = DueDone(faults=faults)

    def all_of(loaded: Loaded) -> None:
        """One system's verbs. While another run is at work on it there is nothing to prove or to drill yet."""
        if loaded in wanted["backup"] and not command.stopping():
            made = backup_one(session, loaded)
            done.backups.append(made)
            if made.exit_code == LOCKED:
                return
        _replicate(session, loaded, done)
        if loaded in wanted["verify"] and not command.stopping():
            proofs = verify_one(session, loaded, level=3)
            done.proofs.extend(proofs)
            if any(result.exit_code == LOCKED for result in proofs):
                return
        if loaded in wanted["drill"] and not command.stopping():
            done.drills.append(drill_one(session, loaded, DrillOptions()))

    if ordered:
        session.each(ordered, all_of)
        save_self(session)
    return done
