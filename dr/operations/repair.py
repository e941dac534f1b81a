"""`dr repair`: damaged repositories put right, then proven; each is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dr.errors import DrError, UsageError
from dr.evidence.acts import Repair
from dr.evidence.record import Outcome, Point
from dr.operations.lifecycle import Finished, Run, Verb, carry_out, foresee, run_of
from dr.operations.makers import adopted
from dr.operations.repair_look import look, problem_of, still_unusable
from dr.operations.self_backup import save_self
from dr.operations.verify import prove, waits
from dr.plan.declarations import Loaded
from dr.run.repair.repair import Mended, repair, repair_snapshots, require_what_it_was
from dr.run.verification.rotation import ReadingRule
from dr.run.workspace.file_lists import write_names
from dr.run.workspace.toolbox import Place, Toolbox, is_detached
from dr.session import Session

#: All of it: a repair is judged by what is stored and by what decrypts.
_LEVEL = 3


def repair_system(
    session: Session, loaded: Loaded, *, target: str | None, points: Sequence[str] = (), dry_run: bool = False
) -> list[Finished[Repair]]:
    """Repair a system's repositories, or that on one target; only with `points` are snapshots changed, of those.

    Raises `UsageError` for points that are not known, `LockedError` while another run holds the system.
    """
    with session.locked(loaded.plan.system):
        toolbox = session.toolbox(loaded)
        named = _named(session, loaded, points)
        places = [p for p in toolbox.everywhere if p.name == target or (target is None and _is_there(session, p))]
        results = [_one(session, loaded, toolbox, place, named, dry_run=dry_run) for place in places]
    if not dry_run:
        save_self(session)
    return results


def _named(session: Session, loaded: Loaded, points: Sequence[str]) -> list[Point]:
    known = {point.run_id: point for point in session.points(loaded)}
    for run_id in points:
        if run_id not in known:
            system = loaded.plan.system
            raise UsageError(
                f"{system} has no recovery point {run_id!r}", "--snapshots", hint=f"see `dr points {system}`"
            )
    return [known[run_id] for run_id in points]


def _is_there(session: Session, place: Place) -> bool:
    """Whether a place is to be looked at: not a disk that is away, nor a replica that nothing was brought to yet."""
    return not is_detached(place) and not waits(session, place)  # of one that cannot be asked, its repair says why


def _one(
    session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, named: list[Point], *, dry_run: bool
) -> Finished[Repair]:
    mended = Mended()

    def begun(run: Run) -> Repair:
        return Repair(
            run_id=run.run_id, system=run.system, target=place.name, started=run.started,
            finished=session.clock(), outcome="ok", points=tuple(point.run_id for point in named),
            plan_digest=loaded.digest, versions=dict(toolbox.versions), done=tuple(mended.done),
            left=tuple(mended.left),
        )  # fmt: skip

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Repair:
        return replace(begun(run), outcome=outcome, error=str(error), error_hint=error.hint)

    def act(run: Run) -> Repair:
        fact = _mend(run, toolbox, place, named, begun(run), mended, dry_run=dry_run)
        if fact.outcome in ("ok", "degraded"):
            run.reached.append(place)
        return replace(fact, finished=session.clock(), done=tuple(mended.done), left=tuple(mended.left))

    verb = Verb(name="repair", prefix="repair-", nothing=nothing)
    run = run_of(session, loaded, verb)
    return foresee(run, verb, act) if dry_run else carry_out(run, verb, act)


def _mend(
    run: Run, toolbox: Toolbox, place: Place, named: list[Point], fact: Repair, mended: Mended, *, dry_run: bool
) -> Repair:
    """Find what is damaged, put it right, and prove it."""
    session = run.session
    place.store.reachable()
    require_what_it_was(place)
    before, memory = look(session, run.loaded, toolbox, place, run.run_id)
    fact = replace(fact, problem=problem_of(before), level_reached=before.level_reached)
    if before.outcome == "ok" and not named:
        return fact
    if before.outcome != "ok":
        repair(toolbox, place, before.damage, config_hash=memory.config_hash, dry_run=dry_run, mended=mended)
    if dry_run:
        mended.done += [f"would leave out what is lost of the point {point.run_id}" for point in named]
        return fact
    if named:
        repair_snapshots(place, named, mended)
        session.catalog.adopt_points(
            place.system, place.name, [adopted(p) for p in mended.points], at=session.clock(), whole=False
        )
        if path := write_names(session.state, run.run_id, mended.names):
            mended.done.append(f"these files are listed in {path}")
    after = prove(session, run.loaded, toolbox, place, level=_LEVEL, rule=ReadingRule.of(run.loaded.plan).whole())
    run.problems += after.problems
    proof = after.record
    outcome: Outcome = "ok" if proof.outcome == "ok" and not mended.left else "degraded"
    if proof.outcome != "ok":
        mended.left.append(still_unusable(proof))
        outcome = "degraded" if mended.done else "failed"
    return replace(
        fact, outcome=outcome, level_reached=proof.level_reached, proof=proof.run_id, shortened=len(mended.names)
    )
