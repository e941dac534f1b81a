"""`dr repair`: damaged repositories put right, then proven; each is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dr.errors import DEGRADED, FAILED, INTERRUPTED, OK, DrError, InterruptedRunError, UsageError, every_error
from dr.evidence.acts import Repair
from dr.evidence.record import Outcome, Point, Proof
from dr.orchestrator.keys import removed_keys
from dr.orchestrator.points import adopted
from dr.orchestrator.retention import spent_now
from dr.orchestrator.selfcopy import save_self
from dr.orchestrator.session import Session, new_id
from dr.orchestrator.verify import prove
from dr.plan.load import Loaded
from dr.plan.units import counted
from dr.run.details import write_names
from dr.run.repair import Mended, repair, repair_snapshots, require_what_it_was
from dr.run.toolbox import Place, Toolbox, is_away
from dr.run.verify import VerifyMemory, is_unfilled, verify

#: All of it: a repair is judged by what is stored and by what decrypts.
_LEVEL = 3


@dataclass(frozen=True)
class RepairResult:
    """What became of one target, with the exit code it deserves, and what else is to be said."""

    fact: Repair
    exit_code: int
    problems: tuple[str, ...] = ()


def repair_system(
    session: Session, loaded: Loaded, *, target: str | None, points: Sequence[str] = (), dry_run: bool = False
) -> list[RepairResult]:
    """Repair a system's repositories, or that on one target; only with `points` are snapshots changed, of those.

    Raises `UsageError` for points that are not known, `LockedError` while another run holds the system.
    """
    system = loaded.plan.system
    with session.locked(system):
        session.catalog.close_abandoned(system, now=session.clock())
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
    if is_away(place):
        return False
    memory = VerifyMemory.from_json(session.catalog.memory(place.system, place.name))
    try:
        return not is_unfilled(place, session.catalog.points([place.system]), memory)
    except InterruptedRunError:
        raise
    except DrError:
        return True  # its repair says why it cannot be


def _one(
    session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, named: list[Point], *, dry_run: bool
) -> RepairResult:
    started, system = session.clock(), loaded.plan.system
    fact = Repair(
        run_id=new_id("repair-", started), system=system, target=place.name, started=started, finished=started,
        outcome="ok", points=tuple(point.run_id for point in named), plan_digest=loaded.digest,
        versions=dict(toolbox.versions),
    )  # fmt: skip
    if not dry_run:
        session.begin(loaded, "repair", fact.run_id, started=started)
    mended = Mended()
    try:
        with every_error():
            fact, problems = _mend(session, loaded, toolbox, place, named, fact, mended, dry_run=dry_run)
        code = {"ok": OK, "degraded": DEGRADED}.get(fact.outcome, FAILED)
    except DrError as error:
        stopped = isinstance(error, InterruptedRunError)
        fact = replace(fact, outcome="aborted" if stopped else "failed", error=str(error), error_hint=error.hint)
        problems, code = (), INTERRUPTED if stopped else error.exit_code
    fact = replace(fact, finished=session.clock(), done=tuple(mended.done), left=tuple(mended.left))
    if not dry_run:
        session.catalog.record(fact)
        if fact.outcome in ("ok", "degraded"):
            session.send_evidence([place], system)
    return RepairResult(fact, code, problems)


def _mend(
    session: Session,
    loaded: Loaded,
    toolbox: Toolbox,
    place: Place,
    named: list[Point],
    fact: Repair,
    mended: Mended,
    *,
    dry_run: bool,
) -> tuple[Repair, tuple[str, ...]]:
    """Find what is damaged, put it right, and prove it."""
    place.store.reachable()
    require_what_it_was(place)
    before, memory = _look(session, loaded, toolbox, place, fact.run_id)
    fact = replace(fact, problem=_problem(before), level_reached=before.level_reached)
    if before.outcome == "ok" and not named:
        return fact, ()
    if before.outcome != "ok":
        repair(toolbox, place, before.damage, config_hash=memory.config_hash, dry_run=dry_run, mended=mended)
    if dry_run:
        mended.done += [f"would leave out what is lost of the point {point.run_id}" for point in named]
        return fact, ()
    if named:
        repair_snapshots(place, named, mended)
        session.catalog.adopt_points(
            place.system, place.name, [adopted(p) for p in mended.points], at=session.clock(), whole=False
        )
        if path := write_names(session.state, fact.run_id, mended.names):
            mended.done.append(f"these files are listed in {path}")
    after = prove(session, loaded, toolbox, place, level=_LEVEL)
    proof = after.proof
    outcome: Outcome = "ok" if proof.outcome == "ok" and not mended.left else "degraded"
    if proof.outcome != "ok":
        mended.left.append(_still(proof))
        outcome = "degraded" if mended.done else "failed"
    fact = replace(
        fact, outcome=outcome, level_reached=proof.level_reached, proof=proof.run_id, shortened=len(mended.names)
    )
    return fact, after.problems


def _look(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, run_id: str) -> tuple[Proof, VerifyMemory]:
    """Look at every object, as a proof does that is not recorded: that which follows counts."""
    memory = VerifyMemory.from_json(session.catalog.memory(place.system, place.name))
    memory = memory.without_keys(removed_keys(session, place.system))
    proof, _ = verify(
        toolbox, place, level=2, points=session.catalog.points([place.system]), previous=memory, clock=session.clock,
        run_id=run_id, spent=spent_now(session, loaded.plan),
    )  # fmt: skip
    return proof, memory


def _problem(proof: Proof) -> str:
    """Say in a sentence what was found."""
    if proof.outcome == "ok":
        return ""
    real = [item for item in proof.damage if item.problem != "unreferenced"]
    kinds = [f"{item.object} is {item.problem}" for item in real[:3]]
    more = [f"{len(real) - 3} more"] if len(real) > 3 else []
    return "; ".join(filter(None, (*kinds, *more, proof.error))) or "the structure is not sound"


def _still(proof: Proof) -> str:
    points = counted(len(proof.damaged_points), "recovery point")
    return f"{points} cannot be used on {proof.target} all the same: {_problem(proof)}"
