"""What is due: the rules of cadence, and the systems that are due now, the most overdue first."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from dr.evidence.system_status import Attempts, PlaceState
from dr.plan import cadence
from dr.plan.declarations import Loaded
from dr.plan.window import opens
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.plan import Plan
    from dr.plan.target import Target

Verb = Literal["backup", "verify", "expire", "prune", "drill"]


VERBS: tuple[Verb, ...] = ("backup", "verify", "expire", "prune", "drill")


#: What came to nothing is tried again by the next run, but not sooner than this: a failed backup, and
#: whatever was interrupted. A drill that exhausts this machine is not to do so all day.
_AGAIN: Mapping[Verb, timedelta] = {
    "backup": timedelta(minutes=5), "verify": timedelta(minutes=30), "drill": timedelta(hours=1),
    "expire": timedelta(hours=1), "prune": timedelta(hours=1),
}  # fmt: skip


#: After a failure, or damage at the source, a replica is tried again so much later, not by every `dr run`.
_REPLICA_AGAIN: Mapping[str, timedelta] = {"degraded": timedelta(days=1)}
_SOON = timedelta(minutes=30)


def next_due(loaded: Loaded, verb: Verb, attempts: Mapping[str, Attempts], now: datetime) -> datetime | None:
    """Return when a verb is or was next due for a system, within its windows; None for never.

    `attempts` are the system's own, by verb.
    Backups count from the last that worked, so that a failed one is caught up; proofs and drills count
    from the last that was not interrupted, so that a failing drill is not repeated every few minutes.
    """
    due = _by_cadence(loaded, verb, attempts, now)
    return due and opens(loaded.site.windows.get(verb, ()), loaded.plan.cadence.timezone, due)


def _by_cadence(loaded: Loaded, verb: Verb, attempts: Mapping[str, Attempts], now: datetime) -> datetime | None:
    if verb == "drill":
        return _once_begun(next_drill(loaded, attempts, now)[0], loaded, attempts, now)
    due = _next(loaded, verb, _text(loaded.plan, verb), attempts.get(verb, Attempts()), now)
    return due if verb == "backup" else _once_begun(due, loaded, attempts, now)


def _once_begun(
    due: datetime | None, loaded: Loaded, attempts: Mapping[str, Attempts], now: datetime
) -> datetime | None:
    """Return when other work is due, not before the first backup may begin: until then there is nothing to prove.

    Once a backup was tried nothing is put off: a drill that finds no point is a failure that must be told.
    """
    if due is None or attempts.get("backup", Attempts()).begun:
        return due
    first = next_due(loaded, "backup", attempts, now)
    return due if first is None else max(due, first)


def _text(plan: Plan, verb: Verb) -> str | None:
    """Return the cadence of a verb other than a drill. Without `retention` nothing expires."""
    if verb in ("expire", "prune") and (plan.retention is None or plan.cadence.expire in (None, "never")):
        return None
    return plan.backup_cadence if verb == "backup" else getattr(plan.cadence, verb)


def expiring_targets(plan: Plan, targets: Mapping[str, Target]) -> list[str]:
    """Return the targets that backups write to and where dr may remove what the plan's retention no longer keeps."""
    return [name for name in plan.targets if plan.retention and name in targets and targets[name].expires]


def _next(loaded: Loaded, verb: Verb, text: str | None, attempts: Attempts, now: datetime) -> datetime | None:
    """Return when a cadence has its next time; None for never."""
    if text is None or text == "never":
        return None
    last = attempts.worked if verb == "backup" else attempts.settled
    due = _due(text, loaded.plan.cadence.timezone, last, now)
    if attempts.begun and (last is None or attempts.begun > last):
        return max(due, attempts.begun + _AGAIN[verb])
    return due


def _due(text: str, timezone: str, last: datetime | None, now: datetime) -> datetime:
    """As `Rule.due`, which asks what time it is now only of what was never done, or done in the future."""
    return now if last is None else _after(text, timezone, min(last, now))


@functools.lru_cache(maxsize=16_384)
def _after(text: str, timezone: str, last: datetime) -> datetime:
    return cadence.parse(text, timezone).due(last, last)


def next_drill(loaded: Loaded, attempts: Mapping[str, Attempts], now: datetime) -> tuple[datetime | None, str]:
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


Known = Mapping[str, Mapping[str, Attempts]]


def attempts_of(session: Session, items: Sequence[Loaded]) -> Known:
    """Return by system when each verb was last attempted, by now."""
    known: dict[str, dict[str, Attempts]] = {}
    names = [loaded.plan.system for loaded in items]
    for (system, what), each in session.catalog.attempts(names, now=session.clock()).items():
        known.setdefault(system, {})[what] = each
    return known


def due_now(session: Session, items: list[Loaded], verb: Verb, known: Known | None = None) -> list[Loaded]:
    """Return the systems for which a verb is due and its window is open, the most overdue first.

    `known`: as `attempts_of` returned it.

    To be drilled, each comes as its plan were of the one scenario that is most overdue: any other waits for the next
    time, since two drills of a system at once would measure each other.
    """
    now, known = session.clock(), attempts_of(session, items) if known is None else known
    if verb in ("expire", "prune"):
        items = [loaded for loaded in items if expiring_targets(loaded.plan, session.declarations.targets)]
    waiting = [_when(loaded, verb, known.get(loaded.plan.system, {}), now) for loaded in items]
    ripe = [(due, loaded) for due, loaded in waiting if due is not None and due <= now]
    ordered = [loaded for _, loaded in sorted(ripe, key=lambda pair: (pair[0], pair[1].plan.priority))]
    return [loaded for loaded in ordered if not session.hold_back(loaded, verb)]


def _when(
    loaded: Loaded, verb: Verb, attempts: Mapping[str, Attempts], now: datetime
) -> tuple[datetime | None, Loaded]:
    if verb != "drill":
        return _by_cadence(loaded, verb, attempts, now), loaded
    due, scenario = next_drill(loaded, attempts, now)
    due = _once_begun(due, loaded, attempts, now)
    own = loaded.plan.drill
    if scenario == own.scenario:
        return due, loaded
    whole = loaded.read
    plan = whole.plan.model_copy(update={"drill": whole.plan.drill.model_copy(update={"scenario": scenario})})
    return due, replace(whole, plan=plan)


def replicas_due(session: Session, items: list[Loaded]) -> list[Loaded]:
    """Return the systems of which a replica is due and the window is open, the most overdue first."""
    now, some = session.clock(), [loaded for loaded in items if loaded.plan.replicas]
    places = {loaded.plan.system: loaded.plan.places for loaded in some}
    states = session.catalog.replication_states(places, now=now) if some else {}
    waiting = [(replicate_due(loaded, states.get(loaded.plan.system, {}), now), loaded) for loaded in some]
    ripe = [(due, loaded) for due, loaded in waiting if due is not None and due <= now]
    ordered = [loaded for _, loaded in sorted(ripe, key=lambda pair: (pair[0], pair[1].plan.priority))]
    return [loaded for loaded in ordered if not session.hold_back(loaded, "replicate")]


# -- replicas -------------------------------------------------------------------------------------------


def replicate_due(
    loaded: Loaded, states: Mapping[str, PlaceState], now: datetime, *, but: Collection[str] = ()
) -> datetime | None:
    """Return when a replica of a system is or was first due; None when the next backup decides, or for never.

    `but` names replicas that are left out.
    """
    names = [name for name in loaded.plan.replicas if name not in but]
    moments = [_replica_due(loaded, states.get(name), states.get(loaded.plan.targets[0]), now) for name in names]
    return min((moment for moment in moments if moment), default=None)


def in_window(loaded: Loaded, moment: datetime | None) -> datetime | None:
    """Return when what is due at a moment may be replicated, by the windows of the site."""
    return moment and opens(loaded.site.windows.get("replicate", ()), loaded.plan.cadence.timezone, moment)


def due_replicas(session: Session, loaded: Loaded) -> list[str]:
    """Return the replicas of a system that are due now."""
    now, names = session.clock(), loaded.plan.replicas
    states = session.catalog.replication_states({loaded.plan.system: loaded.plan.places}, now=now)[loaded.plan.system]
    moments = {name: _replica_due(loaded, states.get(name), states.get(loaded.plan.targets[0]), now) for name in names}
    return [name for name, moment in moments.items() if moment and moment <= now]


def _by_now(moment: datetime | None, now: datetime) -> datetime | None:
    """What bears a time still to come is from before the clock was set back, and puts nothing off."""
    return moment if moment and moment <= now else None


def _replica_due(
    loaded: Loaded, there: PlaceState | None, primary: PlaceState | None, now: datetime
) -> datetime | None:
    text = loaded.plan.cadence.replicate
    if text == "never" or primary is None or primary.newest is None:
        return None
    tried = _by_now(there.replicated, now) if there else None
    worked = _by_now(there.worked, now) if there else None
    if text is not None:
        due = cadence.parse(text, loaded.plan.cadence.timezone).due(worked, now)
        return max(due, tried + _SOON) if tried and tried != worked else due
    if there and there.newest and there.newest >= primary.newest:
        return None
    if not tried or tried < primary.newest:
        return primary.newest
    return tried + _REPLICA_AGAIN.get(there.replication or "", _SOON) if there else None
