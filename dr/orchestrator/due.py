"""What is due, and doing it: backups, then replicas, then proofs, then drills, system by system, most overdue first."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from dr.errors import LOCKED, Fault
from dr.evidence.record import BackupRun, Drill, Proof, Replication
from dr.evidence.standing import Attempts
from dr.orchestrator.backup import backup_one
from dr.orchestrator.drill import DrillOptions, drill_one
from dr.orchestrator.lifecycle import Finished
from dr.orchestrator.replicate import due as replicate_due
from dr.orchestrator.replicate import replicate_one
from dr.orchestrator.selfcopy import save_self
from dr.orchestrator.session import Session
from dr.orchestrator.verify import verify_one
from dr.plan import cadence
from dr.plan.load import Loaded
from dr.plan.plan import Scenario
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

    backups: list[Finished[BackupRun]] = field(default_factory=list)
    proofs: list[Finished[Proof]] = field(default_factory=list)
    drills: list[Finished[Drill]] = field(default_factory=list)
    replications: list[Finished[Replication]] = field(default_factory=list)
    faults: tuple[Fault, ...] = ()


def next_due(loaded: Loaded, verb: Verb, attempts: Mapping[str, Attempts], now: datetime) -> datetime | None:
    """Return when a verb is or was next due for a system; None for never. `attempts` are its own, by verb.

    Backups count from the last that worked, so that a failed one is caught up; proofs and drills count
    from the last that was not interrupted, so that a failing drill is not repeated every few minutes.
    """
    if verb == "drill":
        return next_drill(loaded, attempts, now)[0]
    text = loaded.plan.backup_cadence if verb == "backup" else loaded.plan.cadence.verify
    return _next(loaded, verb, text, attempts.get(verb, Attempts()), now)


def _next(loaded: Loaded, verb: Verb, text: str | None, attempts: Attempts, now: datetime) -> datetime | None:
    """Return when a cadence has its next time; None for never."""
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


def next_drill(loaded: Loaded, attempts: Mapping[str, Attempts], now: datetime) -> tuple[datetime | None, Scenario]:
    """Return when the next drill of a system is or was due, None for never, and of which scenario.

    `attempts` are the system's, by verb and by `drill:SCENARIO`. A drill counts for its scenario where that has a
    cadence of its own; any other counts for the plan's.
    """
    plan = loaded.plan
    others = {scenario: attempts.get(f"drill:{scenario}", Attempts()) for scenario in plan.cadence.scenarios}
    rest = attempts.get("drill", Attempts())
    if others:
        counted = [name for name in attempts if name.startswith("drill:") and name.partition(":")[2] not in others]
        rest = functools.reduce(Attempts.or_later, (attempts[name] for name in counted), Attempts())
    found = [(_next(loaded, "drill", plan.cadence.drill, rest, now), plan.drill.scenario)]
    for scenario, text in plan.cadence.scenarios.items():
        found.append((_next(loaded, "drill", text, others[scenario], now), scenario))
    return min(found, key=lambda pair: (pair[0] is None, pair[0] or now))


def due_now(session: Session, items: list[Loaded], verb: Verb) -> list[Loaded]:
    """Return the systems for which a verb is due, the most overdue first.

    To be drilled, each comes as its plan were of the one scenario that is most overdue: any other waits for the next
    time, since two drills of a system at once would measure each other.
    """
    now = session.clock()
    known: dict[str, dict[str, Attempts]] = {}
    for (system, what), each in session.catalog.attempts([x.plan.system for x in items], now=now).items():
        known.setdefault(system, {})[what] = each
    waiting = [_when(loaded, verb, known.get(loaded.plan.system, {}), now) for loaded in items]
    ripe = [(due, loaded) for due, loaded in waiting if due is not None and due <= now]
    return [loaded for _, loaded in sorted(ripe, key=lambda pair: (pair[0], pair[1].plan.priority))]


def _when(
    loaded: Loaded, verb: Verb, attempts: Mapping[str, Attempts], now: datetime
) -> tuple[datetime | None, Loaded]:
    if verb != "drill":
        return next_due(loaded, verb, attempts, now), loaded
    due, scenario = next_drill(loaded, attempts, now)
    own = loaded.plan.drill
    if scenario == own.scenario:
        return due, loaded
    plan = loaded.plan.model_copy(update={"drill": own.model_copy(update={"scenario": scenario})})
    return due, replace(loaded, plan=plan)


def replicas_due(session: Session, items: list[Loaded]) -> list[Loaded]:
    """Return the systems of which a replica is due, the most overdue first."""
    now, some = session.clock(), [loaded for loaded in items if loaded.plan.replicas]
    states = session.catalog.place_states([loaded.plan.system for loaded in some], now=now) if some else {}
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
    drilled = {loaded.plan.system: loaded for loaded in wanted["drill"]}
    known = {loaded.plan.system: loaded for loaded in items}
    names = (x.plan.system for x in (*(y for verb in VERBS for y in wanted[verb]), *replicated))
    ordered = [known[name] for name in dict.fromkeys(names)]
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
        if loaded.plan.system in drilled and not command.stopping():
            done.drills.append(drill_one(session, drilled[loaded.plan.system], DrillOptions()))

    if ordered:
        session.each(ordered, all_of, keep=True)
        save_self(session)
    return done
