"""`dr replicate`: every point on every target; the primary's repository copied to the replicas."""

from __future__ import annotations

from dr.errors import LOCKED, OK, AbsentError, DrError
from dr.evidence.record import Replication
from dr.operations.bring_missed import bring
from dr.operations.lifecycle import (
    Finished,
    carry_out,
    run_of,
)
from dr.operations.replication_verb import untouched, verb_of
from dr.operations.side_by_side import across
from dr.operations.update_replica import update_replica
from dr.plan.declarations import Loaded
from dr.queries.expired import missed_by
from dr.queries.schedule import due_replicas
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session
from dr.tools import command


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
        return [untouched(session, loaded, name, error, outcome="failed") for name in wanted]
    results = []
    for place in toolbox.places if not due_only and len(toolbox.everywhere) > 1 else ():
        if missed := missed_by(session, loaded.plan, place.name):
            results.append(bring(session, loaded, toolbox, place, missed))
    for place in toolbox.replicas:
        if place.name in wanted and not command.stopping():
            results.append(_replicate(session, loaded, toolbox, place))
    return results


def _replicate(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place) -> Finished[Replication]:
    system = loaded.plan.system
    what = f"{system}: another run replicates to {place.name}"
    verb = verb_of(place.name)
    try:
        with session.state.hold(f"{system}@{place.name}", what=what):
            if place.target.offline:
                place.store.reachable()
            run = run_of(session, loaded, verb)
            return carry_out(run, verb, lambda run: update_replica(run, toolbox, place))
    except AbsentError as error:
        return untouched(session, loaded, place.name, error, code=OK)
    except DrError as error:
        if error.exit_code == LOCKED:
            return untouched(session, loaded, place.name, error)
        if place.target.offline:
            return untouched(session, loaded, place.name, error, outcome="failed")
        raise
