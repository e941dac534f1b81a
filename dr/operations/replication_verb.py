"""The verb replicate as the lifecycle knows it: what is on record, and what is told, where nothing came of it."""

from __future__ import annotations

from dr.errors import DrError
from dr.evidence.record import Outcome, Replication
from dr.operations.lifecycle import (
    Finished,
    Run,
    Verb,
    came_to_nothing,
    not_begun,
    run_of,
)
from dr.plan.declarations import Loaded
from dr.session import Session


def untouched(
    session: Session,
    loaded: Loaded,
    target: str,
    error: DrError,
    *,
    outcome: Outcome = "skipped",
    code: int | None = None,
) -> Finished[Replication]:
    """What came to nothing before it began; it is told, not recorded."""
    verb = verb_of(target)
    return not_begun(run_of(session, loaded, verb), verb, error, outcome=outcome, code=code)


def verb_of(target: str) -> Verb[Replication]:
    """Return the verb of bringing one target up to date."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Replication:
        return came_to_nothing(Replication, run, error, outcome, source=run.loaded.plan.targets[0], target=target)

    return Verb(name="replicate", prefix="replicate-", nothing=nothing)
