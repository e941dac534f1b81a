"""`dr backup`: a recovery point of each system asked for, recorded whatever happened."""

from __future__ import annotations

from collections.abc import Mapping

from dr.catalog.values import Locked
from dr.errors import DrError
from dr.evidence.record import BackupRun, Outcome
from dr.operations.backup_request import request_of
from dr.operations.index_files import index_files
from dr.operations.lifecycle import (
    Finished,
    Run,
    Verb,
    came_to_nothing,
    carry_out,
    not_begun,
    run_of,
    unless_locked,
)
from dr.operations.rotate_keys import keep_keys
from dr.operations.side_by_side import across
from dr.plan.declarations import Loaded
from dr.queries.attack_history import attacks
from dr.run.backup.backup import BackupDone, run_backup
from dr.run.backup.baseline import recorded
from dr.run.immutability.extend_locks import LockExtension
from dr.session import Session


def backup(session: Session, items: list[Loaded]) -> list[Finished[BackupRun]]:
    """Back up systems side by side; every attempt is in the catalog, the failed ones too."""
    return across(session, items, lambda loaded: backup_one(session, loaded))


def backup_one(session: Session, loaded: Loaded) -> Finished[BackupRun]:
    """Back up one system. Only the catalog's own failure is raised; all else is a recorded fact.

    The `details` are the names of what could not be read, by source.
    """
    run = run_of(session, loaded, BACKUP)
    return unless_locked(
        session.locked(run.system),
        lambda: carry_out(run, BACKUP, _back_up),
        lambda error: not_begun(run, BACKUP, error),
    )


def _back_up(run: Run) -> BackupRun:
    session, system = run.session, run.system
    toolbox = session.toolbox(run.loaded)
    with session.turn(run.loaded):
        request = request_of(session, toolbox, run.run_id)
        done = run_backup(toolbox, request)
    for target, met in done.met.items():
        session.catalog.met(system, target, met)
    run.locked += locked_there(done.kept)
    run.once_kept(lambda: recorded(session.state.manifests(system)))
    run.once_sent(lambda: keep_keys(session, toolbox, [x.target for x in done.run.targets if x.snapshots]))
    run.once_sent(lambda: _still_frozen(session, done.run))
    run.once_sent(lambda: attacks(session, run.loaded, _harmed(done)))
    run.once_sent(lambda: index_files(session, done.run, request.points))
    run.once_sent(toolbox.sweep_work)
    ok = {state.target for state in done.run.targets if state.outcome == "ok"}
    run.reached += [place for place in toolbox.places if place.name in ok]
    run.exit_code, run.details = done.exit_code, done.unread
    return done.run


def _still_frozen(session: Session, run: BackupRun) -> list[str]:
    frozen = "" if run.suspect else session.catalog.retention_frozen(run.system)
    return [f"retention is still frozen: {frozen}"] if frozen else []


def _harmed(done: BackupDone) -> list[str]:
    """Return the targets of which something seen asks for a look at their versions."""
    harmed = {state.target for state in done.run.targets if state.outcome != "ok"} | set(done.run.renewed)
    return sorted(harmed | {look.target for look in done.run.looks if look.noticed or look.harmed})


def locked_there(kept: Mapping[str, LockExtension]) -> list[Locked]:
    """Return what is locked on each target; what could not be looked at is left out, and stays as it was known."""
    return [Locked(target, each.state.mode, each.of_snapshots) for target, each in kept.items() if each.needed]


def _nothing(run: Run, error: DrError, outcome: Outcome) -> BackupRun:
    """The fact of a run that came to nothing."""
    return came_to_nothing(BackupRun, run, error, outcome)


BACKUP = Verb(name="backup", prefix="", nothing=_nothing)
