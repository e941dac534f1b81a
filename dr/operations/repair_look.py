"""What a repair sees before it begins, and what is said of it."""

from __future__ import annotations

from dr.evidence.record import Proof
from dr.operations.proof_memory import memory_of
from dr.plan.declarations import Loaded
from dr.plan.units import counted
from dr.queries.expired import expired_now
from dr.queries.key_posture import removed_keys
from dr.run.verification.memory import VerifyMemory
from dr.run.verification.rotation import ReadingRule
from dr.run.verification.verify import verify
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session


def look(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, run_id: str) -> tuple[Proof, VerifyMemory]:
    """Look at every object, as a proof does that is not recorded: that which follows counts."""
    memory = memory_of(session.catalog, place.system, place.name)
    memory = memory.without_keys(removed_keys(session, place.system))
    proof, _ = verify(
        toolbox, place, level=2, points=session.catalog.points([place.system]), previous=memory, clock=session.clock,
        run_id=run_id, spent=expired_now(session, loaded.plan), rule=ReadingRule.of(loaded.plan).whole(),
    )  # fmt: skip
    return proof, memory


def problem_of(proof: Proof) -> str:
    """Say in a sentence what was found."""
    if proof.outcome == "ok":
        return ""
    real = [item for item in proof.damage if item.problem != "unreferenced"]
    kinds = [f"{item.object} is {item.problem}" for item in real[:3]]
    more = [f"{len(real) - 3} more"] if len(real) > 3 else []
    return "; ".join(filter(None, (*kinds, *more, proof.error))) or "the structure is not sound"


def still_unusable(proof: Proof) -> str:
    """Say in a sentence what the repair did not put right."""
    points = counted(len(proof.damaged_points), "recovery point")
    return f"{points} cannot be used on {proof.target} all the same: {problem_of(proof)}"
