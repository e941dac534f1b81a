"""What a backup came to, as its record."""

from __future__ import annotations

from datetime import datetime

from dr.errors import FAILED, code_of
from dr.evidence.record import BackupRun, Outcome, TargetState
from dr.run.backup.progress import BackupProgress, BackupRequest
from dr.run.workspace.toolbox import Toolbox

#: The error of a target that answered, and lacks what could not be captured.
NOT_WHOLE = "not every source reached it"

NOT_BEGUN = "the hook before capture failed"


def backup_fact(
    toolbox: Toolbox,
    request: BackupRequest,
    progress: BackupProgress,
    *,
    started: datetime,
    consistency: datetime | None,
) -> BackupRun:
    """Return the record of a run from what it gathered; when it ended, and what was caught up, is for the caller."""
    whole = bool(progress.captures) and all(c.whole for c in progress.captures)
    targets = tuple(_target_state(toolbox, progress, place.name) for place in toolbox.places)
    complete = whole and any(t.outcome == "ok" for t in targets)
    return BackupRun(
        run_id=request.run_id,
        system=toolbox.plan.system,
        outcome=_outcome(progress, targets, complete=complete),
        started=started,
        finished=started,
        consistency_time=consistency,
        complete=complete,
        sources=tuple(progress.captures),
        targets=targets,
        hooks=tuple(progress.hooks),
        notes=tuple(progress.notes),
        error=_run_error(progress, complete=complete),
        plan_digest=toolbox.digest,
        versions=dict(toolbox.versions),
        suspect=progress.suspect,
        looks=tuple(progress.looks),
        left_behind=tuple(progress.left),
        healed=tuple(progress.healed),
    )


def _target_state(toolbox: Toolbox, progress: BackupProgress, name: str) -> TargetState:
    error = progress.lost.get(name)
    snapshots = progress.snapshots.get(name, {})
    full = set(snapshots) == set(toolbox.plan.sources) and error is None
    return TargetState(
        target=name,
        outcome="ok" if full else "failed",
        snapshots=snapshots,
        manifests=progress.manifests.get(name, {}),
        bytes_added=progress.added.get(name, 0),
        error=str(error) if error else None if full else NOT_WHOLE,
        error_hint=error.hint if error else "",
    )


def _outcome(progress: BackupProgress, targets: tuple[TargetState, ...], *, complete: bool) -> Outcome:
    outcomes = [c.outcome for c in progress.captures]
    if not progress.ready or "failed" in outcomes or (not complete and "degraded" not in outcomes):
        return "failed"
    hooked = any(hook.outcome != "ok" for hook in progress.hooks)
    robbed = any(look.noticed or look.harmed for look in progress.looks)
    if "degraded" in outcomes or any(t.outcome != "ok" for t in targets) or robbed or hooked or progress.locks_left:
        return "degraded"
    if progress.suspect:
        return "degraded"
    return "ok"


def _run_error(progress: BackupProgress, *, complete: bool) -> str | None:
    failed = [f"source {c.source}: {c.error}" for c in progress.captures if c.outcome == "failed" and c.error]
    if failed:
        return "; ".join(failed)
    if any(capture.error == NOT_BEGUN for capture in progress.captures):
        return progress.notes[0] + (f": {progress.hooks[0].output[-300:]}" if progress.hooks[0].output else "")
    if progress.lost and not progress.ready:
        return "; ".join(f"target {name}: {error}" for name, error in progress.lost.items())
    return None


def exit_code_of(run: BackupRun, progress: BackupProgress) -> int:
    """Return the exit code that a run deserves: that of its errors where nothing came of it."""
    if run.outcome == "failed" and not progress.ready:
        codes = {error.exit_code for error in progress.lost.values()}
        return codes.pop() if len(codes) == 1 else FAILED
    if run.outcome == "failed" and len(set(progress.codes)) == 1:
        return progress.codes[0]
    return code_of(run.outcome)
