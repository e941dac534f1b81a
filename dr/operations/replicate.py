"""`dr replicate`: every point on every target; the primary's repository copied to the replicas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dr.errors import LOCKED, OK, DrError, InterruptedRunError, UsageError, every_error
from dr.evidence.look import LateCopy
from dr.evidence.record import Outcome, Point, Proof, Replication
from dr.operations.backup import ids_on, locked_there, missed_by
from dr.operations.lifecycle import (
    Finished,
    Run,
    Verb,
    across,
    carry_out,
    not_begun,
    outcome_of,
    run_of,
    unless_locked,
)
from dr.operations.proof_memory import memory_of
from dr.operations.replica_retention import forget
from dr.plan.declarations import Loaded
from dr.queries.attack_history import attacks
from dr.queries.expired import expired_now
from dr.queries.key_posture import removed_keys
from dr.queries.schedule import due_replicas
from dr.run.backup.catch_up import catch_up
from dr.run.immutability.extend_all import keep_replica_locked
from dr.run.immutability.extend_locks import LockExtension
from dr.run.keys.escrow import hand_on_sealed
from dr.run.points.presence import require_repository
from dr.run.replication.replicate import ReplicateRequest, replicate, with_lock
from dr.run.verification.memory import VerifyMemory
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session
from dr.targets.kinds import driver_of
from dr.tools import command
from dr.tools.disk import AbsentError
from dr.tools.restic import make_if_absent
from dr.tools.restic_events import Index

#: Behind the name of a primary: where the catalog keeps what replications read of its index.
_INDEX = "/index"


def replicate_all(session: Session, items: list[Loaded], *, due_only: bool = False) -> list[Finished[Replication]]:
    """Bring the replicas of systems up to date, and their targets what they missed. Systems go side by side."""
    found = across(session, items, lambda loaded: replicate_one(session, loaded, due_only=due_only))
    return [result for results in found for result in results]


def replicate_one(session: Session, loaded: Loaded, *, due_only: bool = False) -> list[Finished[Replication]]:
    """Bring one system's copies up to date, place by place; a place that fails stops no other.

    With `due_only` the replicas that are due: what a target missed, the next backup brings it.
    """
    wanted = due_replicas(session, loaded) if due_only else loaded.plan.replicas
    try:
        toolbox = session.toolbox(loaded)
    except DrError as error:
        return [_not_begun(session, loaded, name, error, outcome="failed") for name in wanted]
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
    if target is None or not target.offline:
        known = [x for x, each in sorted(session.declarations.targets.items()) if each.offline]
        hint = f"those are: {', '.join(known)}" if known else "write `offline: true` in its file"
        raise UsageError(f"{name!r} is not a target whose disk may be taken away", "dr target adopt", hint=hint)
    return driver_of(target).first_use()


# -- a replica ---------------------------------------------------------------------------------------


def _replicate(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place) -> Finished[Replication]:
    system = loaded.plan.system
    what = f"{system}: another run replicates to {place.name}"
    verb = _verb(place.name)
    try:
        with session.state.hold(f"{system}@{place.name}", what=what):
            if place.target.offline:
                place.store.reachable()
            run = run_of(session, loaded, verb)
            return carry_out(run, verb, lambda run: _done(run, toolbox, place))
    except AbsentError as error:
        return _not_begun(session, loaded, place.name, error, code=OK)
    except DrError as error:
        if error.exit_code == LOCKED:
            return _not_begun(session, loaded, place.name, error)
        if place.target.offline:
            return _not_begun(session, loaded, place.name, error, outcome="failed")
        raise


def _done(run: Run, toolbox: Toolbox, place: Place) -> Replication:
    """Replicate, forget what may go, and lengthen locks."""
    session, loaded, system, primary = run.session, run.loaded, run.system, toolbox.places[0]
    memory = memory_of(session.catalog, system, primary.name)
    request = ReplicateRequest(
        run_id=run.run_id,
        clock=session.clock,
        points=lambda: session.catalog.points([system]),
        again=_damaged_there(session, system, place.name),
        proven=memory.proven,
        known=_known_index(session, system, primary.name, memory),
        spent=expired_now(session, loaded.plan),
    )
    done = replicate(toolbox, place, request)
    if done.index and done.index != request.known:
        learned = VerifyMemory.of_index(done.index).objects
        session.catalog.keep_stored_objects(system, primary.name + _INDEX, learned)
    done = forget(session, loaded, toolbox, place, done)
    kept = _locked(session, toolbox, place, done.fact)
    done = with_lock(done, kept)
    run.exit_code = done.exit_code
    run.locked += locked_there({place.name: kept} if kept else {})
    if done.fact.points is not None:
        run.reached.append(place)
        run.once_sent(lambda: hand_on_sealed(primary, place, session.state) if run.sent else None)
    if done.fact.outcome in ("failed", "degraded"):
        run.once_sent(lambda: attacks(session, loaded, [primary.name]))
    return done.fact


def _locked(session: Session, toolbox: Toolbox, place: Place, fact: Replication) -> LockExtension | None:
    """Lengthen the locks on a replica that could be brought up to date."""
    if fact.points is None:
        return None
    system = toolbox.plan.system
    gone = fact.forgetting.snapshots if fact.forgetting else ()
    live = ids_on(session.catalog.points([system]), place.name) - set(gone)
    dropped = removed_keys(session, system)
    return keep_replica_locked(toolbox, place, now=session.clock(), live=live, dropped=dropped)


def _known_index(session: Session, system: str, primary: str, proof: VerifyMemory) -> Index:
    """Return what is known of the primary's index: by the last proof, or the last replication, whichever knows more."""
    replication = memory_of(session.catalog, system, primary + _INDEX)
    return max((proof.index, replication.index), key=lambda index: len(index.indexes))


def _damaged_there(session: Session, system: str, target: str) -> frozenset[str]:
    """Return what the last proof found damaged at a replica, unless it was written anew since."""
    state = session.catalog.place_states([system], now=session.clock()).get(system, {}).get(target)
    if not state or not state.proven or state.proof == "ok" or (state.worked and state.worked > state.proven):
        return frozenset()
    proofs = [record.fact for record in session.catalog.facts(("verify",), systems=[system])]
    last = next((x for x in reversed(proofs) if isinstance(x, Proof) and x.target == target), None)
    return frozenset(item.object for item in last.damage if item.problem != "missing") if last else frozenset()


def _not_begun(
    session: Session,
    loaded: Loaded,
    target: str,
    error: DrError,
    *,
    outcome: Outcome = "skipped",
    code: int | None = None,
) -> Finished[Replication]:
    """What came to nothing before it began; it is told, not recorded."""
    verb = _verb(target)
    return not_begun(run_of(session, loaded, verb), verb, error, outcome=outcome, code=code)


def _verb(target: str) -> Verb[Replication]:
    """Return the verb of bringing one target up to date."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Replication:
        return Replication(
            run_id=run.run_id,
            system=run.system,
            source=run.loaded.plan.targets[0],
            target=target,
            started=run.started,
            finished=run.session.clock(),
            outcome=outcome,
            error=str(error),
            error_hint=error.hint,
            plan_digest=run.loaded.digest,
        )

    return Verb(name="replicate", prefix="replicate-", nothing=nothing)


# -- a target with a repository of its own -----------------------------------------------------------


def _bring(
    session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, missed: list[Point]
) -> Finished[Replication]:
    """Copy snapshots to a target that missed points while it was down; as a backup does, and under its lock."""
    verb = _verb(place.name)
    return unless_locked(
        session.locked(loaded.plan.system),
        lambda: carry_out(run_of(session, loaded, verb), verb, lambda run: _brought(run, toolbox, place, missed)),
        lambda error: _not_begun(session, loaded, place.name, error),
    )


def _brought(run: Run, toolbox: Toolbox, place: Place, missed: list[Point]) -> Replication:
    notes: list[str] = []
    late: tuple[LateCopy, ...] = ()
    problem: DrError | None = None
    try:
        with every_error():
            late = _copy_missed(toolbox, place, missed, notes)
    except DrError as error:
        problem, run.exit_code = error, error.exit_code
    if not problem:
        run.reached.append(place)
    there = _what_is_there(run, place, late, problem, notes)
    return replace(there, versions=dict(toolbox.versions))


def _copy_missed(toolbox: Toolbox, place: Place, missed: list[Point], notes: list[str]) -> tuple[LateCopy, ...]:
    place.reach()
    if require_repository(place) is None:
        make_if_absent(place.repository, exists=lambda: place.store.exists("config"))
    ready = {each.name: each for each in toolbox.everywhere if each is place or _answers(each)}
    wanted = {place.name: tuple(reversed(missed))}
    late = catch_up(toolbox, ready, wanted, work=toolbox.work(), notes=notes)
    toolbox.sweep_work()
    return late


def _what_is_there(
    run: Run, place: Place, late: tuple[LateCopy, ...], problem: DrError | None, notes: list[str]
) -> Replication:
    """Return the record of what the target holds now, also where copying ended by an error."""
    session, plan = run.session, run.loaded.plan
    brought = {copy.run_id for copy in late}
    known = session.catalog.points([run.system])
    there = [x.run_id for x in known if x.run_id in brought or place.name in {copy.target for copy in x.usable}]
    left = [point for point in missed_by(session, plan, place.name) if point.run_id not in brought]
    now = session.clock()
    return Replication(
        run_id=run.run_id,
        system=run.system,
        source=plan.targets[0] if place.name != plan.targets[0] else plan.places[1],
        target=place.name,
        by="snapshots",
        started=run.started,
        finished=now,
        outcome=outcome_of(problem) if problem else "degraded" if left else "ok",
        points=tuple(there),
        late_copies=late,
        seconds=round((now - run.started).total_seconds(), 3),
        notes=tuple(notes),
        error=str(problem) if problem else notes[0] if notes else _STILL if left else None,
        error_hint=problem.hint if problem else "",
        plan_digest=run.loaded.digest,
    )


_STILL = "some points are on no other target that answers"


def _answers(place: Place) -> bool:
    try:
        place.reach()
        require_repository(place)
    except InterruptedRunError:
        raise
    except DrError:
        return False
    return True
