"""Capturing one source: once, and stored on every target that is ready.

A capture that lost its connection is begun again from the start; whatever else fails leaves no snapshot.
What went wrong with one target never hides behind what went well on another.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dr.errors import SourceError
from dr.evidence.record import SourceCapture
from dr.run.backup.agent_capture import capture_by_agent
from dr.run.backup.baseline import baseline, keep, keep_baseline, rows_kept
from dr.run.backup.change import Watch
from dr.run.backup.progress import BackupProgress, BackupRequest
from dr.run.backup.stored_manifest import StoredManifest, keep_parts
from dr.run.backup.stream_capture import store_stream
from dr.run.backup.tree_capture import store_tree
from dr.run.workspace.toolbox import Toolbox
from dr.sources import database_inventory as facts
from dr.sources.driver import MANIFEST, AgentCapture, SourceDriver, Stream
from dr.tools import activity, retry

log = logging.getLogger("dr.backup")
#: How often a capture is begun whose connection is lost again and again.
TRIES = 3


def capture_one(
    toolbox: Toolbox, request: BackupRequest, progress: BackupProgress, name: str, *, work: Path, when: datetime
) -> SourceCapture:
    """Capture one source and return what became of it; its failure is a fact, not an error."""
    doors, began = toolbox.source(name), time.monotonic()
    tags = {
        "system": toolbox.plan.system,
        "run": request.run_id,
        "source": name,
        "kind": doors.kind,
        "sources": str(len(toolbox.plan.sources)),
        "consistency": when.strftime("%Y%m%dT%H%M%S.%fZ"),
        **request.own_runs.marks,
    }
    what = f"{toolbox.plan.system}: source {name}"

    def once() -> SourceCapture:
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir(parents=True)
        return _capture(doors, request, progress, tags, work / name)

    try:
        with activity.step("capture", source=name):
            fact = retry.persist(once, what=what, tries=TRIES, first_wait=2.0)
    except SourceError as error:
        told = str(error).removeprefix(f"{name}: ")
        log.info("%s: %s", what, told)
        progress.codes.append(error.exit_code)
        fact = SourceCapture(source=name, kind=doors.kind, outcome="failed", error=told, error_hint=error.hint)
    _remember(request, progress, work / name, fact)
    return replace(fact, seconds=round(time.monotonic() - began, 3))


def _capture(
    doors: SourceDriver, request: BackupRequest, progress: BackupProgress, tags: Mapping[str, str], work: Path
) -> SourceCapture:
    reuse = _reusable(request, doors.name)
    captured = doors.capture(work, reuse)
    watch = Watch(doors.name, baseline(request.reuse, doors.name), request.run_id, progress.strange)
    parts = StoredManifest(doors.name, reuse=request.reuse, work=work)
    if isinstance(captured, Stream):
        return store_stream(captured, doors, progress, {**tags, "form": "stream"}, work=work, watch=watch)
    if isinstance(captured, AgentCapture):
        return capture_by_agent(
            captured, doors, progress, {**tags, "form": "agent"}, work=work, parts=parts, watch=watch
        )
    fact = store_tree(captured, doors, progress, tags, parts=parts, watch=watch)
    if captured.cwd != work:
        (captured.cwd / captured.manifest_name).replace(work / MANIFEST)
    return fact


def _reusable(request: BackupRequest, name: str) -> Path | None:
    path = request.reuse / name
    return path if path.is_file() else None


def _remember(request: BackupRequest, progress: BackupProgress, work: Path, fact: SourceCapture) -> None:
    """Keep the manifest for the next run, which then hashes only what changed.

    That of a tree of which something is gone altogether is not kept: it is said again until that is back.
    """
    made, name = work / MANIFEST, fact.source
    if fact.outcome in ("ok", "degraded") and name not in progress.emptied and made.is_file():
        request.reuse.mkdir(parents=True, exist_ok=True)
        keep_baseline(request.reuse, name)
        keep_parts(name, reuse=request.reuse, work=work)
        keep(made, request.reuse / name)
        if (counted := work / facts.FILENAME).is_file():
            keep(counted, rows_kept(request.reuse / name))
