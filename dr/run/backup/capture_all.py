"""The capture of every source, between the plan's hooks."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from dr.plan.hook import Hook
from dr.run.backup.capture import capture_one
from dr.run.backup.progress import BackupProgress, BackupRequest
from dr.run.workspace.hooks import problem, run_hook
from dr.run.workspace.toolbox import Toolbox
from dr.tools import command

log = logging.getLogger("dr.backup")


def capture_all(
    toolbox: Toolbox, request: BackupRequest, progress: BackupProgress, work: Path, consistency: datetime
) -> None:
    """Capture every source, and say so to the hooks, whatever happens: an application may wait for it."""
    hooks = toolbox.plan.hooks.capture
    try:
        for name in toolbox.plan.sources:
            command.raise_if_stopping()
            capture = capture_one(toolbox, request, progress, name, work=work, when=consistency)
            progress.captures.append(capture)
    except BaseException:
        run_capture_hook(toolbox, request, progress, hooks.on_failure, "on failure of capture")
        raise
    if all(capture.whole for capture in progress.captures):
        run_capture_hook(toolbox, request, progress, hooks.after, "after capture")
    else:
        run_capture_hook(toolbox, request, progress, hooks.on_failure, "on failure of capture")


def run_capture_hook(
    toolbox: Toolbox, request: BackupRequest, progress: BackupProgress, hook: Hook | None, moment: str
) -> bool:
    """Run one of the plan's hooks, where the system lives, and return whether all is well."""
    if hook is None:
        return True
    host, plan = toolbox.host(), toolbox.plan
    env = {"DR_SYSTEM": plan.system, "DR_RUN": request.run_id}
    cwd = str(toolbox.plan_dir) if host.here else None
    run = run_hook(host, hook, moment, env=env, cwd=cwd, regardless=moment.startswith("on failure"))
    progress.hooks.append(run)
    if run.outcome != "ok":
        progress.notes.append(problem(run))
        log.info("%s: %s", plan.system, problem(run))
    return run.outcome == "ok"
