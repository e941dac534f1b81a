"""`dr verify`: what is stored is proven, level by level, on every target of a system."""

from __future__ import annotations

from dataclasses import dataclass

from dr.errors import DEGRADED, FAILED, INTERRUPTED, LOCKED, OK, CatalogError, DrError, InterruptedRunError, every_error
from dr.evidence.record import Outcome, Proof
from dr.orchestrator.keys import removed_keys
from dr.orchestrator.retention import spent_now
from dr.orchestrator.selfcopy import save_self
from dr.orchestrator.session import Session, new_id
from dr.orchestrator.travel import attacks
from dr.plan.load import Loaded
from dr.run.toolbox import Place, Toolbox, is_away
from dr.run.verify import VerifyMemory, is_unfilled, verify


@dataclass(frozen=True)
class VerifyResult:
    """One proof, with the exit code it deserves, and what else is to be said."""

    proof: Proof
    exit_code: int
    problems: tuple[str, ...] = ()


def verify_all(session: Session, items: list[Loaded], *, level: int) -> list[VerifyResult]:
    """Verify systems side by side, and each on all its targets, one after the other."""
    found = session.each(items, lambda loaded: verify_one(session, loaded, level=level))
    save_self(session)
    return [result for results in found for result in results]


def verify_one(session: Session, loaded: Loaded, *, level: int) -> list[VerifyResult]:
    """Verify one system. A target that cannot be reached is a failed proof, not a gap; a disk that is away, or a
    replica that nothing was brought to yet, is neither.

    Only the catalog's own failure and an interruption are raised. While another run holds the system nothing is
    recorded: that run is on record.
    """
    system, results = loaded.plan.system, list[VerifyResult]()
    try:
        with every_error(), session.locked(system):
            session.catalog.close_abandoned(system, now=session.clock())
            toolbox = session.toolbox(loaded)
            for place in (each for each in toolbox.everywhere if not is_away(each)):
                waits = place in toolbox.replicas and _waits(session, place)
                results.append(
                    _passed_over(session, loaded, place, level=level)
                    if waits
                    else prove(session, loaded, toolbox, place, level=level)
                )
            session.send_evidence([toolbox.place(r.proof.target) for r in results if r.proof.error is None], system)
            return results
    except (InterruptedRunError, CatalogError):
        raise
    except DrError as error:
        locked = error.exit_code == LOCKED
        proofs = [
            _unproven(
                session, loaded, target, _new_id(session), error, level=level, outcome="skipped" if locked else "failed"
            )
            for target in loaded.plan.places
            if target not in {result.proof.target for result in results}
        ]
        for proof in () if locked else proofs:
            session.catalog.record(proof)
        return [*results, *(VerifyResult(proof, error.exit_code) for proof in proofs)]


def _waits(session: Session, place: Place) -> bool:
    """Whether a replica was only declared yet. One that cannot be asked does not wait: its proof says why."""
    memory = VerifyMemory.from_json(session.catalog.memory(place.system, place.name))
    try:
        return is_unfilled(place, session.catalog.points([place.system]), memory)
    except InterruptedRunError:
        raise
    except DrError:
        return False


def _passed_over(session: Session, loaded: Loaded, place: Place, *, level: int) -> VerifyResult:
    """Prove nothing of a replica that waits for its first objects: no failure, and not on record as a proof either.

    That it stays empty is told by the board: a replication is overdue, and the copies are too few.
    """
    error = DrError(f"nothing was replicated to {place.name} yet", hint="run `dr replicate`")
    return VerifyResult(
        _unproven(session, loaded, place.name, _new_id(session), error, level=level, outcome="skipped"), OK
    )


def _new_id(session: Session) -> str:
    return new_id("verify-", session.clock())


def prove(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, *, level: int) -> VerifyResult:
    """Prove one repository, on record. The caller holds the system, and sends the evidence."""
    system, started = loaded.plan.system, session.clock()
    run_id = _new_id(session)
    session.begin(loaded, "verify", run_id, started=started)
    try:
        with every_error():
            points = session.catalog.points([system])
            memory = VerifyMemory.from_json(session.catalog.memory(system, place.name))
            memory = memory.without_keys(removed_keys(session, system))
            place.store.reachable()
            proof, memory = verify(
                toolbox,
                place,
                level=level,
                points=points,
                previous=memory,
                clock=session.clock,
                run_id=run_id,
                spent=spent_now(session, loaded.plan),
            )
    except InterruptedRunError as error:
        proof = _unproven(session, loaded, place.name, run_id, error, level=level, outcome="aborted")
        session.catalog.record(proof)
        return VerifyResult(proof, INTERRUPTED)
    except DrError as error:
        proof = _unproven(session, loaded, place.name, run_id, error, level=level)
        session.catalog.record(proof)
        return VerifyResult(proof, error.exit_code)
    session.catalog.record(proof)
    session.catalog.remember(system, place.name, memory.to_json())
    problems: list[str] = []
    if any(item.problem != "unreferenced" for item in proof.damage):
        with session.beside(system):
            problems += attacks(session, loaded, [place.name])
    return VerifyResult(proof, {"ok": OK, "degraded": DEGRADED}.get(proof.outcome, FAILED), tuple(problems))


def _unproven(
    session: Session,
    loaded: Loaded,
    target: str,
    run_id: str,
    error: DrError,
    *,
    level: int,
    outcome: Outcome = "failed",
) -> Proof:
    now = session.clock()
    return Proof(
        run_id=run_id,
        system=loaded.plan.system,
        target=target,
        started=now,
        finished=now,
        outcome=outcome,
        level_asked=level,
        level_reached=0,
        error=str(error),
        error_hint=error.hint,
    )
