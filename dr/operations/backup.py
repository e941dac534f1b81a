"""`dr backup`: a recovery point of each system asked for, recorded whatever happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from dr.catalog.file_index import FileIndex
from dr.catalog.values import Locked
from dr.errors import DrError
from dr.evidence import manifest
from dr.evidence.look import Look
from dr.evidence.record import BackupRun, Copy, Outcome, Point
from dr.operations.lifecycle import Finished, Run, Verb, across, carry_out, not_begun, run_of, unless_locked
from dr.operations.makers import own_runs
from dr.operations.proof_memory import memory_of
from dr.operations.rotate_keys import keep_keys
from dr.plan.declarations import Loaded
from dr.plan.plan import Plan
from dr.queries.attack_history import attacks
from dr.queries.expired import expired_now, unwanted
from dr.queries.key_posture import removed_keys
from dr.run.backup.backup import BackupDone, run_backup
from dr.run.backup.baseline import recorded
from dr.run.backup.capture import BackupRequest
from dr.run.immutability.extend_locks import LockExtension
from dr.run.workspace.toolbox import Toolbox
from dr.session import Session
from dr.tools.state_dir import StateDir


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
        request = _request(session, toolbox, run.run_id)
        done = run_backup(toolbox, request)
    for target, met in done.met.items():
        session.catalog.met(system, target, met)
    run.locked += locked_there(done.kept)
    run.once_kept(lambda: recorded(reuse_dir(session.state, system)))
    run.once_sent(lambda: keep_keys(session, toolbox, [x.target for x in done.run.targets if x.snapshots]))
    run.once_sent(lambda: _still_frozen(session, done.run))
    run.once_sent(lambda: attacks(session, run.loaded, _harmed(done)))
    run.once_sent(lambda: index_files(session, done.run, request.points))
    run.once_sent(toolbox.sweep_work)
    ok = {state.target for state in done.run.targets if state.outcome == "ok"}
    run.reached += [place for place in toolbox.places if place.name in ok]
    run.exit_code, run.details = done.exit_code, done.unread
    return done.run


def index_files(session: Session, run: BackupRun, points: Sequence[Point]) -> None:
    """Take the manifests of a run into the index of files, where that has what was before it.

    Else whoever asks for files first brings what is lacking from the targets. `points` are those before it, the newest
    first. Raises `DrError` as the index does.
    """
    with FileIndex(session.state, run.system) as index:
        for source in [each.source for each in run.sources if each.snapshot_id]:
            listed = reuse_dir(session.state, run.system) / source
            before = next((point.run_id for point in points if source in point.kinds), None)
            known = before is None or index.seq_of(source, before) is not None
            if run.consistency_time and known and _is_of(run, listed):
                index.take_in(source, run.run_id, run.consistency_time, listed)


def _is_of(run: BackupRun, listed: Path) -> bool:
    """Whether a kept manifest is of this run: that of a capture that misses much is not kept for the next."""
    return listed.is_file() and datetime.fromisoformat(manifest.header(listed)["started"]) >= run.started


def _still_frozen(session: Session, run: BackupRun) -> list[str]:
    frozen = "" if run.suspect else session.catalog.retention_frozen(run.system)
    return [f"retention is still frozen: {frozen}"] if frozen else []


def _harmed(done: BackupDone) -> list[str]:
    """Return the targets of which something seen asks for a look at their versions."""
    harmed = {state.target for state in done.run.targets if state.outcome != "ok"} | set(done.run.renewed)
    return sorted(harmed | {look.target for look in done.run.looks if look.noticed or look.harmed})


def _request(session: Session, toolbox: Toolbox, run_id: str) -> BackupRequest:
    catalog, system = session.catalog, toolbox.plan.system
    points = catalog.points([system])

    def missed(looks: Sequence[Look]) -> dict[str, tuple[Point, ...]]:
        """Note what was seen, and return what the targets lack by that."""
        catalog.looked(system, looks)
        names = [place.name for place in toolbox.places] if len(toolbox.places) > 1 else []
        return {name: tuple(reversed(missed_by(session, toolbox.plan, name))) for name in names}

    return BackupRequest(
        run_id=run_id,
        clock=session.clock,
        reuse=reuse_dir(session.state, system),
        missed=missed,
        points=tuple(points),
        spent=frozenset(expired_now(session, toolbox.plan)),
        own_runs=own_runs(session, system, [place.name for place in toolbox.places]),
        history=catalog.change_history(system, list(toolbox.plan.sources), now=session.clock()),
        held={place.name: ids_on(points, place.name) for place in toolbox.places},
        dropped_keys=frozenset(removed_keys(session, system)),
        proven=lambda target: memory_of(catalog, system, target).needed,
    )


def missed_by(session: Session, plan: Plan, target: str) -> list[Point]:
    """Return the complete points that a target lacks, newest first.

    But not those that the plan's retention has no use for: they may have been taken away there.
    """
    missing = session.catalog.missing_on(plan.system, target)
    useless = unwanted(session, plan) if missing else set()
    return [point for point in missing if point.run_id not in useless]


def ids_on(points: Iterable[Point], target: str) -> frozenset[str]:
    """Return the ids of all snapshots that points have on a target."""
    copies = [copy for point in points for copy in point.copies if copy.target == target and _lives(copy)]
    return frozenset(each for copy in copies for each in copy.ids)


def _lives(copy: Copy) -> bool:
    """Whether a copy may still be needed: not where its keys were destroyed."""
    return not copy.damaged and not copy.destroyed


def reuse_dir(state: StateDir, system: str) -> Path:
    """Where the last manifests of a system are kept, for the reuse of hashes."""
    return state.cache / "manifests" / system


def locked_there(kept: Mapping[str, LockExtension]) -> list[Locked]:
    """Return what is locked on each target; what could not be looked at is left out, and stays as it was known."""
    return [Locked(target, each.state.mode, each.of_snapshots) for target, each in kept.items() if each.needed]


def _nothing(run: Run, error: DrError, outcome: Outcome) -> BackupRun:
    """The fact of a run that came to nothing."""
    return BackupRun(
        run_id=run.run_id,
        system=run.system,
        outcome=outcome,
        started=run.started,
        finished=run.session.clock(),
        error=str(error),
        error_hint=error.hint,
        plan_digest=run.loaded.digest,
    )


BACKUP = Verb(name="backup", prefix="", nothing=_nothing)
