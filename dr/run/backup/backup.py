"""The verb backup: one run captures all sources of a system into one recovery point.

In order: make the targets ready, run the hook before, capture each source once and store it on every ready
target, run the hook after, look whether what the point rests on is at the target, then copy to a target what it missed
while it was down. The point is complete only when every source was captured whole, and is there. A point in which much
is out of the ordinary is suspect: kept as it is, and said. The run ends there; then locks that run out are lengthened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime

from dr.errors import OK
from dr.evidence.look import LateCopy, Stranger
from dr.evidence.record import BackupRun
from dr.late_dataclass import dataclass
from dr.run.backup.backup_fact import NOT_BEGUN, backup_fact, exit_code_of
from dr.run.backup.capture_all import capture_all, run_capture_hook
from dr.run.backup.catch_up import catch_up
from dr.run.backup.judge import judge
from dr.run.backup.progress import BackupProgress, BackupRequest
from dr.run.backup.source_capture import skipped
from dr.run.backup.targets_ready import make_ready, note_locks_left, take_stock
from dr.run.immutability.extend_all import Needed, keep_all_locked, with_locks
from dr.run.immutability.extend_locks import LockExtension
from dr.run.workspace.toolbox import Toolbox
from dr.tools import activity


@dataclass(frozen=True, kw_only=True)
class BackupDone:
    """The fact, and what is told or kept beside it."""

    run: BackupRun
    exit_code: int = OK
    kept: Mapping[str, LockExtension] = field(default_factory=dict)  # by target: what is locked there
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by source: names of what could not be read
    met: Mapping[str, tuple[Stranger, ...]] = field(default_factory=dict)  # by target: what is of no run on record


def run_backup(toolbox: Toolbox, request: BackupRequest) -> BackupDone:
    """Make one recovery point. Every failure but an interruption becomes part of the fact returned."""
    started, progress = request.clock(), BackupProgress()
    with activity.step("reach the targets"):
        make_ready(toolbox, request, progress)
    caught: tuple[LateCopy, ...] = ()
    consistency: datetime | None = None
    if not progress.ready:
        progress.captures += [skipped(toolbox, name, "no target can be used") for name in toolbox.plan.sources]
    elif not run_capture_hook(toolbox, request, progress, toolbox.plan.hooks.capture.before, "before capture"):
        progress.captures += [skipped(toolbox, name, NOT_BEGUN) for name in toolbox.plan.sources]
        run_capture_hook(toolbox, request, progress, toolbox.plan.hooks.capture.on_failure, "on failure of capture")
    else:
        work, consistency = toolbox.work(), request.clock()
        capture_all(toolbox, request, progress, work, consistency)
        judge(toolbox, request, progress, consistency)
        with activity.step("look at what is stored"):
            take_stock(toolbox, request, progress)
        missed = request.missed(progress.looks)
        caught = catch_up(toolbox, progress.ready, missed, work=work, notes=progress.notes)
        note_locks_left(progress)
    run = backup_fact(toolbox, request, progress, started=started, consistency=consistency)
    run = replace(
        run,
        finished=request.clock(),
        caught_up=tuple(f"{late.run_id}@{late.target}" for late in caught),
        late_copies=caught,
        renewed=tuple(progress.renewed),
    )
    needed = Needed(
        ready=progress.ready, renewed=progress.renewed, held=request.held, dropped_keys=request.dropped_keys
    )
    with activity.step("extend object locks"):
        kept = keep_all_locked(toolbox, needed, now=request.clock())
    run = with_locks(run, kept)
    code = exit_code_of(run, progress)
    return BackupDone(
        run=run,
        exit_code=code,
        kept=kept,
        unread=progress.unread,
        met=progress.met,
    )
