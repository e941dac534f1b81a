"""One replica brought up to date: what is lacking is copied, what may go is forgotten, and locks are extended."""

from __future__ import annotations

from dr.evidence.record import Proof, Replication
from dr.operations.backup import locked_there
from dr.operations.lifecycle import (
    Run,
)
from dr.operations.proof_memory import keep_index, known_index, memory_of
from dr.operations.replica_retention import forget
from dr.queries.attack_history import attacks
from dr.queries.expired import expired_now
from dr.queries.key_posture import removed_keys
from dr.run.immutability.extend_all import keep_replica_locked
from dr.run.immutability.extend_locks import LockExtension
from dr.run.keys.escrow import hand_on_sealed
from dr.run.points.presence import live_ids_on
from dr.run.replication.replicate import ReplicateRequest, replicate, with_lock
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session


def update_replica(run: Run, toolbox: Toolbox, place: Place) -> Replication:
    """Replicate to a place, whose lock is held; forget there what may go, and extend locks."""
    session, loaded, system, primary = run.session, run.loaded, run.system, toolbox.places[0]
    memory = memory_of(session.catalog, system, primary.name)
    request = ReplicateRequest(
        run_id=run.run_id,
        clock=session.clock,
        points=lambda: session.catalog.points([system]),
        again=_damaged_there(session, system, place.name),
        proven=memory.objects,
        known=known_index(session.catalog, system, primary.name, memory),
        spent=expired_now(session, loaded.plan),
    )
    done = replicate(toolbox, place, request)
    if done.index and done.index.indexes != frozenset(request.known.indexes):
        keep_index(session.catalog, system, primary.name, done.index)
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
    """Extend the locks on a replica that could be brought up to date."""
    if fact.points is None:
        return None
    system = toolbox.plan.system
    gone = fact.forgetting.snapshots if fact.forgetting else ()
    live = live_ids_on(session.catalog.points([system]), place.name) - set(gone)
    dropped = removed_keys(session, system)
    return keep_replica_locked(toolbox, place, now=session.clock(), live=live, dropped=dropped)


def _damaged_there(session: Session, system: str, target: str) -> frozenset[str]:
    """Return what the last proof found damaged at a replica, unless it was written again since."""
    state = session.catalog.place_states([system], now=session.clock()).get(system, {}).get(target)
    if not state or not state.proven or state.proof == "ok" or (state.worked and state.worked > state.proven):
        return frozenset()
    proofs = [record.fact for record in session.catalog.facts(("verify",), systems=[system])]
    last = next((x for x in reversed(proofs) if isinstance(x, Proof) and x.target == target), None)
    return frozenset(item.object for item in last.damage if item.problem != "missing") if last else frozenset()
