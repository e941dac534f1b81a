"""The verb prune, of one target: what is not needed is freed, then the structure of what is left is proven."""

from __future__ import annotations

import time

from dr.errors import DrError
from dr.evidence.acts import Expiration, Pruning
from dr.evidence.record import Outcome
from dr.operations.lifecycle import (
    Finished,
    Run,
    Verb,
    came_to_nothing,
    carry_out,
    run_of,
)
from dr.operations.verify import prove
from dr.plan.declarations import Loaded
from dr.run.expiry.prune import prune
from dr.run.points.presence import require_repository
from dr.run.replication.retention.forget import locked_versions
from dr.run.verification.rotation import ReadingRule
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session

#: What is asked of a repository after a prune.
_LEVEL = 1


def prune_target(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place) -> Finished[Pruning]:
    """Prune one target of a system, which is locked."""
    verb = _pruning(place.name)
    return carry_out(run_of(session, loaded, verb), verb, lambda run: _pruned(run, toolbox, place))


def _pruned(run: Run, toolbox: Toolbox, place: Place) -> Pruning:
    """Free what is not needed, then prove the structure of what is left."""
    began, session, notes = time.monotonic(), run.session, list[str]()
    place.reach()
    if require_repository(place) is None:
        raise DrError("there is no repository yet", place.repository.where, hint="run `dr backup` first")
    stay, until = locked_versions(place, ())
    done = prune(place, max_repack=run.loaded.plan.keeps.max_repack, notes=notes)
    run.reached.append(place)
    less = max(0, done.before.bytes - done.after.bytes)
    proof = prove(session, run.loaded, toolbox, place, level=_LEVEL, rule=ReadingRule.of(run.loaded.plan))
    run.problems += (*notes, *proof.problems)
    told = proof.record
    sound = told.outcome == "ok"
    return Pruning(
        run_id=run.run_id,
        system=run.system,
        target=place.name,
        started=run.started,
        finished=session.clock(),
        outcome="ok" if sound else "failed",
        points=_expired_since(session, run.system, place.name),
        freed_bytes=0 if stay else less,
        hidden_bytes=less if stay else 0,
        stored_bytes=done.after.bytes,
        objects=max(0, done.before.objects - done.after.objects),
        destroyable_from=until,
        level_reached=told.level_reached,
        proof=told.run_id,
        seconds=round(time.monotonic() - began, 3),
        notes=tuple(notes),
        error=None if sound else f"what is left is not proven: {told.error or 'see the proof'}",
        error_hint="" if sound else told.error_hint or f"run `dr repair {run.system} --target {place.name}`",
        plan_digest=run.loaded.digest,
        versions=dict(toolbox.versions),
    )


def _expired_since(session: Session, system: str, target: str) -> tuple[str, ...]:
    """Return the points that expired on a target since the last prune there that worked."""
    found: list[str] = []
    for record in session.catalog.facts(("expire", "prune"), systems=[system]):
        fact = record.fact
        if isinstance(fact, Pruning) and fact.target == target and fact.outcome == "ok":
            found.clear()
        elif isinstance(fact, Expiration) and fact.target == target:
            found += [point.run_id for point in fact.expired]
    return tuple(found)


def _pruning(target: str) -> Verb[Pruning]:
    """Return the verb of pruning one target."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Pruning:
        return came_to_nothing(Pruning, run, error, outcome, target=target)

    return Verb(name="prune", prefix="prune-", nothing=nothing)
