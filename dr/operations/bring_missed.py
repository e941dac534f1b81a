"""A target with a repository of its own brought what it missed while it was down: by snapshots, as a backup does."""

from __future__ import annotations

from dataclasses import replace

from dr.errors import DrError, InterruptedRunError, every_error
from dr.evidence.look import LateCopy
from dr.evidence.record import Point, Replication
from dr.operations.lifecycle import (
    Finished,
    Run,
    carry_out,
    outcome_of,
    run_of,
    unless_locked,
)
from dr.operations.replication_verb import untouched, verb_of
from dr.plan.declarations import Loaded
from dr.queries.expired import missed_by
from dr.run.backup.catch_up import catch_up
from dr.run.points.presence import require_repository
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session
from dr.tools.restic import make_if_absent


def bring(
    session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, missed: list[Point]
) -> Finished[Replication]:
    """Copy snapshots to a target that missed points while it was down; as a backup does, and under its lock."""
    verb = verb_of(place.name)
    return unless_locked(
        session.locked(loaded.plan.system),
        lambda: carry_out(run_of(session, loaded, verb), verb, lambda run: _brought(run, toolbox, place, missed)),
        lambda error: untouched(session, loaded, place.name, error),
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
        seconds=round((run.clock() - run.started).total_seconds(), 3),
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
