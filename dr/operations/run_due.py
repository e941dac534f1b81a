"""What is due, and doing it, system by system, the most overdue first.

Backups, then replicas, then proofs, then what expires and is pruned, then drills.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from dr.errors import LOCKED, Fault, PlanError
from dr.evidence.record import BackupRun, Drill, Proof, Replication
from dr.operations import heartbeat
from dr.operations.backup import backup_one
from dr.operations.drill import drill_one
from dr.operations.expire import EXPIRY, ExpireOptions, ExpireResult, expire_due_of
from dr.operations.heal import heal
from dr.operations.lifecycle import Finished
from dr.operations.replicate import replicate_one
from dr.operations.self_backup import save_self
from dr.operations.tell import tell
from dr.operations.verify import verify_one
from dr.plan.load import Loaded
from dr.queries.replica_schedule import due_replicas
from dr.queries.schedule import VERBS, Verb, attempts_of, due_now, replicas_due
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session
from dr.tools import command

#: A run that takes long tells what went wrong on the way after so long, and then again.
EVERY_SECONDS = 900.0


@dataclass
class DueDone:
    """What one `dr run` did; `faults` are those of plans that could not be used."""

    backups: list[Finished[BackupRun]] = field(default_factory=list)
    proofs: list[Finished[Proof]] = field(default_factory=list)
    drills: list[Finished[Drill]] = field(default_factory=list)
    replications: list[Finished[Replication]] = field(default_factory=list)
    expirations: list[ExpireResult] = field(default_factory=list)
    faults: tuple[Fault, ...] = ()


def _replicate(session: Session, loaded: Loaded, done: DueDone) -> None:
    """Replicate when that is due, now that a backup may have been made. Of a disk that is away nothing is said."""
    if due_replicas(session, loaded) and not session.hold_back(loaded, "replicate") and not command.stopping():
        found = replicate_one(session, loaded, due_only=True)
        done.replications.extend(result for result in found if not result.absent)


def _may_begin(session: Session, loaded: Loaded, verb: Verb) -> bool:
    """Whether nobody has asked to stop, and the window is still open after what was done before."""
    return not command.stopping() and not session.hold_back(loaded, verb)


def run_due(session: Session) -> DueDone:
    """Do all that is due, once. Systems run side by side; one system's verbs one after the other."""
    session.unattended = True
    try:
        items, faults = session.usable()
    except PlanError:
        tell(session)  # that nothing runs any more
        raise
    heal(session, far=True)
    known = attempts_of(session, items)
    wanted = {verb: due_now(session, items, verb, known) for verb in VERBS}
    replicated = replicas_due(session, items)
    drilled = {loaded.plan.system: loaded for loaded in wanted["drill"]}
    named = {loaded.plan.system: loaded for loaded in items}
    names = (x.plan.system for x in (*(y for verb in VERBS for y in wanted[verb]), *replicated))
    ordered = [named[name] for name in dict.fromkeys(names)]
    done = DueDone(faults=faults)

    def all_of(loaded: Loaded) -> None:
        """One system's verbs. While another run is at work on it there is nothing to prove or to drill yet."""
        if loaded in wanted["backup"] and not command.stopping():
            made = backup_one(session, loaded)
            done.backups.append(made)
            if made.exit_code == LOCKED:
                return
        _replicate(session, loaded, done)
        if loaded in wanted["verify"] and _may_begin(session, loaded, "verify"):
            proofs = verify_one(session, loaded, level=3)
            done.proofs.extend(proofs)
            if any(result.exit_code == LOCKED for result in proofs):
                return
        due = {verb: loaded in wanted[verb] and _may_begin(session, loaded, verb) for verb in EXPIRY}
        done.expirations.extend(expire_due_of(session, loaded, ExpireOptions(**due)))
        if loaded.plan.system in drilled and _may_begin(session, loaded, "drill"):
            done.drills.append(drill_one(session, drilled[loaded.plan.system], RecoveryRequest()))
        between(session)

    between = _Between()
    if ordered:
        session.each(ordered, all_of, keep=True)
        save_self(session)
    heartbeat.looked(session)
    fold(session)
    tell(session)
    return done


@dataclass
class _Between:
    """Tells on the way too, where a run takes long: the first system's failure does not wait for the last system.

    No more than every `EVERY_SECONDS`, so that what befalls forty systems at once is still one message.
    """

    _told: float = field(default_factory=time.monotonic)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, session: Session) -> None:
        with self._one:
            if time.monotonic() - self._told >= EVERY_SECONDS:
                tell(session)
                self._told = time.monotonic()


def fold(session: Session) -> None:
    """Let old and ordinary records take less room. It stands beside the work: the next run does what this did not."""
    with session.beside("the catalog"):
        session.catalog.fold(now=session.clock())
