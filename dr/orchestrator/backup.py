"""`dr backup`: a recovery point of each system asked for, recorded whatever happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dr.errors import INTERRUPTED, LOCKED, DrError, InterruptedRunError, every_error
from dr.evidence.look import Look
from dr.evidence.record import BackupRun, Copy, Outcome, Point
from dr.orchestrator.keys import keep_keys, removed_keys
from dr.orchestrator.retention import spent_now
from dr.orchestrator.selfcopy import save_self
from dr.orchestrator.session import Session, new_id
from dr.orchestrator.travel import attacks
from dr.plan.load import Loaded
from dr.plan.plan import Plan
from dr.run.backup import BackupDone, run_backup
from dr.run.baseline import recorded
from dr.run.capture import BackupRequest
from dr.run.keeping.locks import Kept
from dr.run.toolbox import Toolbox
from dr.run.verify import VerifyMemory


@dataclass(frozen=True)
class BackupResult:
    """One system's run, with the exit code it deserves.

    `unread` maps a source to the names of what could not be read: for the person who asked, not for the evidence.
    """

    run: BackupRun
    exit_code: int
    problems: tuple[str, ...] = ()
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def backup(session: Session, items: list[Loaded]) -> list[BackupResult]:
    """Back up systems side by side; every attempt is in the catalog, the failed ones too."""
    results = session.each(items, lambda loaded: backup_one(session, loaded))
    save_self(session)
    return results


def backup_one(session: Session, loaded: Loaded) -> BackupResult:
    """Back up one system. Only the catalog's own failure is raised; all else is a recorded fact."""
    started = session.clock()
    run_id, system = new_id("", started), loaded.plan.system
    try:
        with session.locked(system):
            session.catalog.close_abandoned(system, now=started)
            session.begin(loaded, "backup", run_id, started=started)
            return _under_lock(session, loaded, run_id, started)
    except DrError as error:
        if error.exit_code != LOCKED:
            raise
        return BackupResult(_nothing(session, loaded, run_id, error, started=started, outcome="skipped"), LOCKED)


def _under_lock(session: Session, loaded: Loaded, run_id: str, started: datetime) -> BackupResult:
    try:
        with every_error():
            toolbox = session.toolbox(loaded)
            done = run_backup(toolbox, _request(session, toolbox, run_id))
    except InterruptedRunError as error:
        run = _nothing(session, loaded, run_id, error, started=started, outcome="aborted")
        session.catalog.record(run)
        return BackupResult(run, INTERRUPTED)
    except DrError as error:
        run = _nothing(session, loaded, run_id, error, started=started, outcome="failed")
        session.catalog.record(run)
        return BackupResult(run, error.exit_code)
    _remember(session, toolbox, done)
    problems: list[str] = []
    with session.beside(loaded.plan.system):
        problems += keep_keys(session, toolbox, [state.target for state in done.run.targets if state.snapshots])
    session.send_evidence(_reached(toolbox, done), loaded.plan.system)
    if not done.run.suspect and (frozen := session.catalog.retention_frozen(loaded.plan.system)):
        problems.append(f"retention is still frozen: {frozen}")
    harmed = {state.target for state in done.run.targets if state.outcome != "ok"} | set(done.renewed)
    harmed |= {look.target for look in done.run.looks if look.noticed or look.harmed}
    with session.beside(loaded.plan.system):
        problems += attacks(session, loaded, sorted(harmed))
        toolbox.sweep_work()
    return BackupResult(done.run, done.exit_code, tuple(problems), done.unread)


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
        spent=frozenset(spent_now(session, toolbox.plan)),
        installation=session.installation,
        known_runs=frozenset(catalog.known_runs()),
        strangers={place.name: tuple(catalog.strangers(system, place.name)) for place in toolbox.places},
        history=catalog.change_history(system, list(toolbox.plan.sources), now=session.clock()),
        held={place.name: ids_on(points, place.name) for place in toolbox.places},
        dropped_keys=frozenset(removed_keys(session, system)),
        proven=lambda target: VerifyMemory.from_json(catalog.memory(system, target)).needed,
    )


def missed_by(session: Session, plan: Plan, target: str) -> list[Point]:
    """Return the complete points that a target lacks, newest first.

    But not those that the plan's retention has no use for: they may have been taken away there.
    """
    missing = session.catalog.missing_on(plan.system, target)
    useless = spent_now(session, plan) if missing else set()
    return [point for point in missing if point.run_id not in useless]


def ids_on(points: Iterable[Point], target: str) -> frozenset[str]:
    """Return the ids of all snapshots that points have on a target."""
    copies = [copy for point in points for copy in point.copies if copy.target == target and _lives(copy)]
    return frozenset(each for copy in copies for each in copy.ids)


def _lives(copy: Copy) -> bool:
    """Whether a copy may still be needed: not where its keys were destroyed."""
    return not copy.damaged and not copy.destroyed


def reuse_dir(state: Path, system: str) -> Path:
    """Where the last manifests of a system are kept, for the reuse of hashes."""
    return state / "cache" / "manifests" / system


def _remember(session: Session, toolbox: Toolbox, done: BackupDone) -> None:
    for target, met in done.met.items():
        session.catalog.met(toolbox.plan.system, target, met)
    session.catalog.record(done.run)
    recorded(reuse_dir(session.state, toolbox.plan.system))
    for late in done.caught_up:
        session.catalog.copied(late.run_id, late.target, late.snapshots, late.manifests, at=done.run.finished)
    note_locks(session, toolbox.plan.system, done.kept)


def note_locks(session: Session, system: str, kept: Mapping[str, Kept]) -> None:
    """Note until when each point is locked on each target; what could not be looked at stays as it was known."""
    points = session.catalog.points([system]) if kept else []
    for target, each in kept.items():
        if each.needed:
            ends = {point.run_id: each.of_snapshots(ids_on([point], target)) for point in points}
            session.catalog.protect(target, mode=each.state.mode, ends=ends)


def _reached(toolbox: Toolbox, done: BackupDone) -> list:  # type: ignore[type-arg]
    names = {state.target for state in done.run.targets if state.outcome == "ok"}
    return [place for place in toolbox.places if place.name in names]


def _nothing(
    session: Session, loaded: Loaded, run_id: str, error: DrError, *, started: datetime, outcome: Outcome
) -> BackupRun:
    """The fact of a run that came to nothing."""
    return BackupRun(
        run_id=run_id,
        system=loaded.plan.system,
        outcome=outcome,
        started=started,
        finished=session.clock(),
        error=str(error),
        error_hint=error.hint,
        plan_digest=loaded.digest,
    )
