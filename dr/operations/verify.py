"""`dr verify`: what is stored is proven, level by level, on every target of a system."""

from __future__ import annotations

from dr.errors import LOCKED, OK, CatalogError, DrError, InterruptedRunError, every_error
from dr.evidence.record import Outcome, Proof
from dr.operations.lifecycle import Finished, Run, Verb, carry_out, not_begun, run_of
from dr.operations.proof_memory import memory_of, remember
from dr.operations.side_by_side import across
from dr.plan.declarations import Loaded
from dr.queries.attack_history import attacks
from dr.queries.expired import expired_now
from dr.queries.key_posture import removed_keys
from dr.run.verification.rotation import ReadingRule
from dr.run.verification.verify import is_unfilled, verify
from dr.run.workspace.toolbox import Place, Toolbox, is_detached
from dr.session import Session


def verify_all(session: Session, items: list[Loaded], *, level: int, whole: bool = False) -> list[Finished[Proof]]:
    """Verify systems side by side, and each on all its targets, one after the other.

    `whole`: everything is read, and at level 3 decrypted, whatever the plans say of one run.
    """
    found = across(session, items, lambda loaded: verify_one(session, loaded, level=level, whole=whole))
    return [result for results in found for result in results]


def verify_one(session: Session, loaded: Loaded, *, level: int, whole: bool = False) -> list[Finished[Proof]]:
    """Verify one system. A target that cannot be reached is a failed proof, not a gap; a disk that is away, or a
    replica that nothing was brought to yet, is neither.

    Only the catalog's own failure and an interruption are raised. While another run holds the system nothing is
    recorded: that run is on record.
    """
    system, results, rule = loaded.plan.system, list[Finished[Proof]](), ReadingRule.of(loaded.plan)
    rule = rule.whole(decrypt_all=True) if whole else rule
    try:
        with every_error(), session.locked(system):
            toolbox = session.toolbox(loaded)
            for place in (each for each in toolbox.everywhere if not is_detached(each)):
                unfilled = place in toolbox.replicas and waits(session, place)
                if unfilled:
                    results.append(_passed_over(session, loaded, place, level=level))
                else:
                    results.append(prove(session, loaded, toolbox, place, level=level, rule=rule))
            session.send_evidence([toolbox.place(x.record.target) for x in results if x.record.error is None], system)
            return results
    except (InterruptedRunError, CatalogError):
        raise
    except DrError as error:
        tried = {result.record.target for result in results}
        left = [target for target in loaded.plan.places if target not in tried]
        return [*results, *(_untried(session, loaded, target, error, level=level) for target in left)]


def _untried(session: Session, loaded: Loaded, target: str, error: DrError, *, level: int) -> Finished[Proof]:
    """Return the proof of a target that could not be begun with; on record, unless another run holds the system."""
    verb = _verb(target, level)
    run = run_of(session, loaded, verb)
    if error.exit_code == LOCKED:
        return not_begun(run, verb, error)

    def raised(_: Run) -> Proof:
        raise error

    return carry_out(run, verb, raised)


def waits(session: Session, place: Place) -> bool:
    """Whether a repository was only declared yet. One that cannot be asked does not wait: its proof says why."""
    memory = memory_of(session.catalog, place.system, place.name)
    try:
        return is_unfilled(place, session.catalog.points([place.system]), memory)
    except InterruptedRunError:
        raise
    except DrError:
        return False


def _passed_over(session: Session, loaded: Loaded, place: Place, *, level: int) -> Finished[Proof]:
    """Prove nothing of a replica that waits for its first objects: no failure, and not on record as a proof either.

    That it stays empty is told by the board: a replication is overdue, and the copies are too few.
    """
    error = DrError(f"nothing was replicated to {place.name} yet", hint="run `dr replicate`")
    verb = _verb(place.name, level)
    return not_begun(run_of(session, loaded, verb), verb, error, code=OK)


def prove(
    session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, *, level: int, rule: ReadingRule
) -> Finished[Proof]:
    """Prove one repository, on record. The caller holds the system, and sends the evidence."""
    verb = _verb(place.name, level)
    return carry_out(run_of(session, loaded, verb), verb, lambda run: _proven(run, toolbox, place, level, rule))


def _proven(run: Run, toolbox: Toolbox, place: Place, level: int, rule: ReadingRule) -> Proof:
    session, system = run.session, run.system
    known = memory_of(session.catalog, system, place.name)
    place.reach()
    proof, memory = verify(
        toolbox,
        place,
        level=level,
        points=session.catalog.points([system]),
        previous=known.without_keys(removed_keys(session, system)),
        clock=session.clock,
        run_id=run.run_id,
        spent=expired_now(session, run.loaded.plan),
        rule=rule,
        keep=lambda read: remember(session.catalog, system, place.name, before=known, after=read),
    )
    run.once_kept(lambda: remember(session.catalog, system, place.name, before=known, after=memory))
    if any(item.problem != "unreferenced" for item in proof.damage):
        run.once_sent(lambda: attacks(session, run.loaded, [place.name]))
    return proof


def _verb(target: str, level: int) -> Verb[Proof]:
    """Return the verb of one target's proof."""

    def unproven(run: Run, error: DrError, outcome: Outcome) -> Proof:
        return Proof(
            run_id=run.run_id,
            system=run.system,
            target=target,
            started=run.started,
            finished=run.session.clock(),
            outcome=outcome,
            level_asked=level,
            level_reached=0,
            error=str(error),
            error_hint=error.hint,
        )

    return Verb(name="verify", prefix="verify-", nothing=unproven)
