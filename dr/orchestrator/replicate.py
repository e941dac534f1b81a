"""`dr replicate`: every point on every target; the primary's repository copied to the replicas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from dr.errors import DEGRADED, LOCKED, OK, DrError, InterruptedRunError, UsageError, every_error
from dr.evidence.record import Outcome, Point, Proof, Replication
from dr.evidence.standing import PlaceState
from dr.orchestrator.backup import ids_on, missed_by, note_locks
from dr.orchestrator.forget import forget
from dr.orchestrator.keys import removed_keys
from dr.orchestrator.retention import spent_now
from dr.orchestrator.selfcopy import save_self
from dr.orchestrator.session import Session, new_id
from dr.orchestrator.travel import attacks
from dr.plan import cadence
from dr.plan.load import Loaded
from dr.run.catch_up import catch_up
from dr.run.custody.escrow import hand_on_sealed
from dr.run.keeping.lock_all import keep_replica_locked
from dr.run.keeping.locks import Kept
from dr.run.presence import require_repository
from dr.run.replica import Replicated, ReplicateRequest, replicate, with_lock
from dr.run.toolbox import Place, Toolbox
from dr.run.verify import VerifyMemory
from dr.tools import command
from dr.tools.disk import AbsentError, DiskStore
from dr.tools.lock import hold
from dr.tools.restic import make_if_absent
from dr.tools.restic_events import Index

#: After a failure, or damage at the source, a replica is tried again so much later, not by every `dr run`.
_AGAIN: Mapping[str, timedelta] = {"degraded": timedelta(days=1)}
_SOON = timedelta(minutes=30)
#: Behind the name of a primary: where the catalog keeps what replications read of its index.
_INDEX = "/index"


@dataclass(frozen=True)
class ReplicateResult:
    """What became of one target. `absent`: its disk was not there, which is no failure, and nothing was recorded."""

    fact: Replication
    exit_code: int
    absent: bool = False
    problems: tuple[str, ...] = ()


def replicate_all(session: Session, items: list[Loaded], *, due_only: bool = False) -> list[ReplicateResult]:
    """Bring the replicas of systems up to date, and their targets what they missed. Systems go side by side."""
    found = session.each(items, lambda loaded: replicate_one(session, loaded, due_only=due_only))
    save_self(session)
    return [result for results in found for result in results]


def replicate_one(session: Session, loaded: Loaded, *, due_only: bool = False) -> list[ReplicateResult]:
    """Bring one system's copies up to date, place by place; a place that fails stops no other.

    With `due_only` the replicas that are due: what a target missed, the next backup brings it.
    """
    wanted = due_replicas(session, loaded) if due_only else loaded.plan.replicas
    session.catalog.close_abandoned(loaded.plan.system, now=session.clock())
    try:
        toolbox = session.toolbox(loaded)
    except DrError as error:
        return [_nothing(session, loaded, name, error) for name in wanted]
    results = []
    for place in toolbox.places if not due_only and len(toolbox.everywhere) > 1 else ():
        if missed := missed_by(session, loaded.plan, place.name):
            results.append(_bring(session, loaded, toolbox, place, missed))
    for place in toolbox.replicas:
        if place.name in wanted and not command.stopping():
            results.append(_replicate(session, loaded, toolbox, place))
    return results


def first_use(session: Session, name: str) -> Path:
    """Mark the disk that is now at an offline target's path as its own; return that path.

    Raises `UsageError` when there is no such target, or it is none that may be absent.
    """
    target = session.declarations.targets.get(name)
    if target is None or target.local is None or not target.offline:
        known = [x for x, each in sorted(session.declarations.targets.items()) if each.offline]
        hint = f"those are: {', '.join(known)}" if known else "write `offline: true` in its file"
        raise UsageError(f"{name!r} is no target whose disk may be taken away", "--first-use", hint=hint)
    DiskStore(target.local.path, label=name).first_use()
    return target.local.path


# -- a replica ---------------------------------------------------------------------------------------


def _replicate(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place) -> ReplicateResult:
    system = loaded.plan.system
    what = f"{system}: another run replicates to {place.name}"
    try:
        with hold(session.state / "locks" / f"{system}@{place.name}.lock", what=what):
            if place.target.offline:
                place.store.reachable()
            return _under_lock(session, loaded, toolbox, place)
    except AbsentError as error:
        return _nothing(session, loaded, place.name, error, absent=True)
    except DrError as error:
        if error.exit_code == LOCKED or place.target.offline:
            return _nothing(session, loaded, place.name, error)
        raise


def _under_lock(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place) -> ReplicateResult:
    started, run_id = session.clock(), _open(session, loaded)
    try:
        with every_error():
            done = _done(session, loaded, toolbox, place, run_id)
    except DrError as error:
        fact = _came_to_nothing(session, loaded, place.name, error, run_id=run_id, started=started)
        session.catalog.record(fact)
        return ReplicateResult(fact, error.exit_code)
    system, problems = loaded.plan.system, list[str]()
    if done.fact.points is not None and session.send_evidence([place], system):
        with session.beside(system):
            hand_on_sealed(toolbox.places[0], place, session.state)
    if done.fact.outcome in ("failed", "degraded"):
        with session.beside(system):
            problems += attacks(session, loaded, [toolbox.places[0].name])
    return ReplicateResult(done.fact, done.exit_code, problems=tuple(problems))


def _done(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, run_id: str) -> Replicated:
    """Replicate, forget what may go, lengthen locks, and record it."""
    system, primary = loaded.plan.system, toolbox.places[0].name
    request = ReplicateRequest(
        run_id=run_id,
        clock=session.clock,
        points=lambda: session.catalog.points([system]),
        again=_damaged_there(session, system, place.name),
        known=_known_index(session, system, primary),
        spent=spent_now(session, loaded.plan),
    )
    done = replicate(toolbox, place, request)
    if done.index and done.index != request.known:
        learned = VerifyMemory(packs=done.index.packs, indexes=done.index.indexes)
        session.catalog.remember(system, primary + _INDEX, learned.to_json())
    done = forget(session, loaded, toolbox, place, done)
    kept = _locked(session, toolbox, place, done.fact)
    done = with_lock(done, kept)
    session.catalog.record(done.fact)
    with session.beside(system):
        note_locks(session, system, {place.name: kept} if kept else {})
    return done


def _locked(session: Session, toolbox: Toolbox, place: Place, fact: Replication) -> Kept | None:
    """Lengthen the locks on a replica that could be brought up to date."""
    if fact.points is None:
        return None
    system = toolbox.plan.system
    gone = fact.forgetting.snapshots if fact.forgetting else ()
    live = ids_on(session.catalog.points([system]), place.name) - set(gone)
    dropped = removed_keys(session, system)
    return keep_replica_locked(toolbox, place, now=session.clock(), live=live, dropped=dropped)


def _known_index(session: Session, system: str, primary: str) -> Index:
    """Return what is known of the primary's index: by the last proof, or the last replication, whichever knows more."""
    texts = [session.catalog.memory(system, name) for name in (primary, primary + _INDEX)]
    return max((VerifyMemory.from_json(text).index for text in texts), key=lambda index: len(index.indexes))


def _open(session: Session, loaded: Loaded) -> str:
    run_id = new_id("replicate-", session.clock())
    session.begin(loaded, "replicate", run_id, started=session.clock())
    return run_id


def _damaged_there(session: Session, system: str, target: str) -> frozenset[str]:
    """Return what the last proof found damaged at a replica, unless it was written anew since."""
    state = session.catalog.place_states([system], now=session.clock()).get(system, {}).get(target)
    if not state or not state.proven or state.proof == "ok" or (state.worked and state.worked > state.proven):
        return frozenset()
    proofs = [record.fact for record in session.catalog.facts(("verify",), systems=[system])]
    last = next((x for x in reversed(proofs) if isinstance(x, Proof) and x.target == target), None)
    return frozenset(item.object for item in last.damage if item.problem != "missing") if last else frozenset()


def _nothing(session: Session, loaded: Loaded, target: str, error: DrError, *, absent: bool = False) -> ReplicateResult:
    """What came to nothing before it began; it is said, not recorded."""
    fact = _came_to_nothing(session, loaded, target, error, run_id="", started=session.clock())
    if absent or error.exit_code == LOCKED:
        fact = replace(fact, outcome="skipped")
    return ReplicateResult(fact, OK if absent else error.exit_code, absent)


def _came_to_nothing(
    session: Session, loaded: Loaded, target: str, error: DrError, *, run_id: str, started: datetime
) -> Replication:
    return Replication(
        run_id=run_id,
        system=loaded.plan.system,
        source=loaded.plan.targets[0],
        target=target,
        started=started,
        finished=session.clock(),
        outcome="aborted" if isinstance(error, InterruptedRunError) else "failed",
        error=str(error),
        error_hint=error.hint,
        plan_digest=loaded.digest,
    )


# -- a target with a repository of its own -----------------------------------------------------------


def _bring(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, missed: list[Point]) -> ReplicateResult:
    """Copy snapshots to a target that missed points while it was down; as a backup does, and under its lock."""
    system = loaded.plan.system
    try:
        with session.locked(system):
            return _brought(session, loaded, toolbox, place, missed)
    except DrError as error:
        if error.exit_code != LOCKED:
            raise
        return _nothing(session, loaded, place.name, error)


def _brought(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, missed: list[Point]) -> ReplicateResult:
    system, started, run_id = loaded.plan.system, session.clock(), _open(session, loaded)
    notes: list[str] = []
    problem: DrError | None = None
    try:
        with every_error():
            place.store.reachable()
            if require_repository(place) is None:
                make_if_absent(place.repository, exists=lambda: place.store.exists("config"))
            ready = {each.name: each for each in toolbox.everywhere if each is place or _answers(each)}
            wanted = {place.name: tuple(reversed(missed))}
            for late in catch_up(toolbox, ready, wanted, work=toolbox.work(), notes=notes):
                session.catalog.copied(late.run_id, late.target, late.snapshots, late.manifests, at=session.clock())
            toolbox.sweep_work()
    except DrError as error:
        problem = error
    points = [x for x in session.catalog.points([system]) if place.name in {copy.target for copy in x.usable}]
    left = missed_by(session, loaded.plan, place.name)
    outcome: Outcome = "failed" if problem else "degraded" if left else "ok"
    if isinstance(problem, InterruptedRunError):
        outcome = "aborted"
    fact = Replication(
        run_id=run_id,
        system=system,
        source=loaded.plan.targets[0] if place.name != loaded.plan.targets[0] else loaded.plan.places[1],
        target=place.name,
        by="snapshots",
        started=started,
        finished=session.clock(),
        outcome=outcome,
        points=tuple(point.run_id for point in points),
        seconds=round((session.clock() - started).total_seconds(), 3),
        notes=tuple(notes),
        error=str(problem) if problem else notes[0] if notes else _STILL if left else None,
        error_hint=problem.hint if problem else "",
        plan_digest=loaded.digest,
        versions=dict(toolbox.versions),
    )
    session.catalog.record(fact)
    if not problem:
        session.send_evidence([place], system)
    return ReplicateResult(fact, problem.exit_code if problem else DEGRADED if left else OK)


_STILL = "some points are on no other target that answers"


def _answers(place: Place) -> bool:
    try:
        place.store.reachable()
        require_repository(place)
    except InterruptedRunError:
        raise
    except DrError:
        return False
    return True


# -- when --------------------------------------------------------------------------------------------


def due(
    loaded: Loaded, states: Mapping[str, PlaceState], now: datetime, *, but: Collection[str] = ()
) -> datetime | None:
    """Return when a replica of a system is or was first due; None when the next backup decides, or for never.

    `but` names replicas that are left out.
    """
    names = [name for name in loaded.plan.replicas if name not in but]
    moments = [_due(loaded, states.get(name), states.get(loaded.plan.targets[0]), now) for name in names]
    return min((moment for moment in moments if moment), default=None)


def due_replicas(session: Session, loaded: Loaded) -> list[str]:
    """Return the replicas of a system that are due now."""
    now, names = session.clock(), loaded.plan.replicas
    states = session.catalog.place_states([loaded.plan.system], now=now).get(loaded.plan.system, {})
    moments = {name: _due(loaded, states.get(name), states.get(loaded.plan.targets[0]), now) for name in names}
    return [name for name, moment in moments.items() if moment and moment <= now]


def _by_now(moment: datetime | None, now: datetime) -> datetime | None:
    """What bears a time still to come is from before the clock was set back, and puts nothing off."""
    return moment if moment and moment <= now else None


def _due(loaded: Loaded, there: PlaceState | None, primary: PlaceState | None, now: datetime) -> datetime | None:
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
    return tried + _AGAIN.get(there.replication or "", _SOON) if there else None
