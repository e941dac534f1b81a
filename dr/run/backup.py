"""The verb backup: one run captures all sources of a system into one recovery point.

In order: make the targets ready, capture each source once and store it on every ready target, then copy
to a target what it missed while it was down. The point is complete only when every source was captured
whole; what went wrong with one source or one target never hides behind what went well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from dr.errors import DEGRADED, FAILED, OK, DrError, InterruptedRunError, SourceError
from dr.evidence import manifest
from dr.evidence.record import BackupRun, Outcome, Point, SourceCapture, TargetState, worst_outcome
from dr.run.catch_up import CaughtUp, catch_up
from dr.run.fanout import pour
from dr.run.toolbox import Place, Toolbox
from dr.sources.door import Doors, Stream, Tree
from dr.tools import command
from dr.tools.restic import make_if_absent
from dr.tools.restic_events import Stored

log = logging.getLogger("dr.backup")
T = TypeVar("T")
MANIFEST = "dr-manifest"


@dataclass(frozen=True, kw_only=True)
class BackupRequest:
    """What the caller knows before the run.

    `reuse` is the directory of last manifests. `missed` maps target to the complete points it lacks.
    `established` are the targets that held points before.
    """

    run_id: str
    clock: Callable[[], datetime]
    reuse: Path
    missed: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    established: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class BackupDone:
    """The fact, the points that reached a target late, and the targets whose repository was made anew."""

    run: BackupRun
    caught_up: tuple[CaughtUp, ...] = ()
    renewed: tuple[str, ...] = ()
    exit_code: int = OK


@dataclass
class _Progress:
    """What a run gathers on its way."""

    ready: dict[str, Place] = field(default_factory=dict)
    lost: dict[str, DrError] = field(default_factory=dict)
    renewed: list[str] = field(default_factory=list)
    captures: list[SourceCapture] = field(default_factory=list)
    snapshots: dict[str, dict[str, str]] = field(default_factory=dict)
    manifests: dict[str, dict[str, str]] = field(default_factory=dict)
    added: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run_backup(toolbox: Toolbox, request: BackupRequest) -> BackupDone:
    """Make one recovery point. Every failure but an interruption becomes part of the fact returned."""
    started, progress = request.clock(), _Progress()
    _make_ready(toolbox, request, progress)
    caught: tuple[CaughtUp, ...] = ()
    consistency: datetime | None = None
    if progress.ready:
        work = toolbox.work()
        consistency = request.clock()
        for name in toolbox.plan.sources:
            command.raise_if_stopping()
            progress.captures.append(_capture(toolbox, request, progress, name, work, consistency))
        caught = catch_up(toolbox, progress.ready, request.missed, work=work, notes=progress.notes)
    else:
        progress.captures += [_skipped(toolbox, name) for name in toolbox.plan.sources]
    run = _fact(toolbox, request, progress, started=started, consistency=consistency)
    run = replace(run, finished=request.clock(), caught_up=tuple(f"{c.run_id}@{c.target}" for c in caught))
    return BackupDone(run=run, caught_up=caught, renewed=tuple(progress.renewed), exit_code=_exit_code(run, progress))


def _everywhere(places: Mapping[str, Place], act: Callable[[Place], T]) -> dict[str, T | DrError]:
    """Do the same on every target side by side; a target's error is its result."""

    def guarded(place: Place) -> T | DrError:
        try:
            return act(place)
        except InterruptedRunError:
            if command.stopping():
                raise
            return DrError("restic was ended from outside", hint="start the backup again")
        except DrError as error:
            return error

    if len(places) == 1:
        return {name: guarded(place) for name, place in places.items()}
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        return dict(zip(places, pool.map(guarded, places.values()), strict=True))


def _make_ready(toolbox: Toolbox, request: BackupRequest, progress: _Progress) -> None:
    """Reach every target and make its repository on first use."""

    def ready(place: Place) -> bool:
        place.store.reachable()
        return make_if_absent(place.repository, exists=lambda: place.store.exists("config"))

    places = {place.name: place for place in toolbox.places}
    for name, made in _everywhere(places, ready).items():
        if isinstance(made, DrError):
            _lose(progress, name, made)
            continue
        progress.ready[name] = places[name]
        if made and name in request.established:
            progress.renewed.append(name)
            progress.notes.append(f"the repository on {name} was gone and has been made anew")
            log.warning("%s: the repository on %s was gone; a new one is begun", toolbox.plan.system, name)


def _lose(progress: _Progress, name: str, error: DrError) -> None:
    progress.ready.pop(name, None)
    progress.lost[name] = error
    log.warning("target %s: %s", name, error)


# -- one source --------------------------------------------------------------------------------------


def _capture(
    toolbox: Toolbox, request: BackupRequest, progress: _Progress, name: str, work: Path, when: datetime
) -> SourceCapture:
    doors, began = toolbox.source(name), time.monotonic()
    tags = {
        "system": toolbox.plan.system,
        "run": request.run_id,
        "source": name,
        "kind": doors.kind,
        "sources": str(len(toolbox.plan.sources)),
        "consistency": when.strftime("%Y%m%dT%H%M%S.%fZ"),
    }
    place = work / name
    place.mkdir(parents=True)
    try:
        captured = doors.capture(place, _reusable(request, name))
        if isinstance(captured, Stream):
            fact = _store_stream(captured, doors, progress, tags, place)
        else:
            fact = _store_tree(captured, doors, request, progress, tags=tags, work=place)
    except SourceError as error:
        log.warning("%s: source %s: %s", toolbox.plan.system, name, error)
        fact = SourceCapture(source=name, kind=doors.kind, outcome="failed", error=str(error))
    _remember(request, name, place, fact)
    return replace(fact, seconds=round(time.monotonic() - began, 3))


def _reusable(request: BackupRequest, name: str) -> Path | None:
    path = request.reuse / name
    return path if path.is_file() else None


def _remember(request: BackupRequest, name: str, work: Path, fact: SourceCapture) -> None:
    """Keep the manifest for the next run, which then hashes only what changed."""
    made = work / MANIFEST
    if fact.outcome in ("ok", "degraded") and made.is_file():
        request.reuse.mkdir(parents=True, exist_ok=True)
        made.replace(request.reuse / name)


def _store_tree(
    tree: Tree,
    doors: Doors,
    request: BackupRequest,
    progress: _Progress,
    *,
    tags: Mapping[str, str],
    work: Path,
) -> SourceCapture:
    def store(place: Place) -> Stored:
        # restic finds the parent by host and paths, hence a scratch directory of constant name.
        return place.repository.backup_tree(
            (*tree.paths, tree.manifest_name),
            cwd=tree.cwd,
            tags={**tags, "part": "data"},
            excludes=tree.excludes,
            one_filesystem=tree.one_filesystem,
        )

    stored = _gather(progress, _everywhere(progress.ready, store), doors.name)
    settled = tree.settle()
    unreadable = _unreadable(tree, stored)
    if settled.amended or (unreadable and stored):
        _amend(tree, progress, stored, tags=tags, whole=not unreadable, work=work)
    vanished = settled.vanished
    problem = _tree_problem(tree, unreadable)
    fact = _source_fact(doors, progress, stored, files=tree.files, size=tree.bytes)
    return replace(
        fact,
        outcome=worst_outcome([fact.outcome, "degraded" if problem else "ok"]),
        changed=len(settled.changed),
        vanished=vanished,
        unreadable=len(unreadable),
        error=fact.error or problem,
    )


def _unreadable(tree: Tree, stored: Mapping[str, Stored]) -> frozenset[str]:
    """What is there and could not be read, by us or by restic. What went away meanwhile is not damage."""
    seen = {name for result in stored.values() for name in (*result.unreadable, *result.skipped)}
    return frozenset({*tree.unreadable, *(name for name in seen if _still_there(name))})


def _still_there(name: str) -> bool:
    try:
        Path(name).lstat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return True


def _tree_problem(tree: Tree, unreadable: frozenset[str]) -> str | None:
    if tree.missing:
        return f"{len(tree.missing)} declared path(s) are not there: {', '.join(tree.missing)}"
    if unreadable:
        return f"{len(unreadable)} file(s) could not be read"
    return None


def _amend(
    tree: Tree,
    progress: _Progress,
    stored: Mapping[str, Stored],
    *,
    tags: Mapping[str, str],
    whole: bool,
    work: Path,
) -> None:
    """Store the manifest as it is after the capture, beside the data it is about."""

    def store(place: Place) -> Stored:
        more = {"part": "amend", "whole": "yes" if whole else "no"}
        return place.repository.backup_tree((tree.manifest_name,), cwd=tree.cwd, tags={**tags, **more})

    places = {name: place for name, place in progress.ready.items() if name in stored}
    for name, result in _everywhere(places, store).items():
        if isinstance(result, DrError):
            _lose(progress, name, result)
        else:
            progress.manifests.setdefault(name, {})[tags["source"]] = result.snapshot_id


def _store_stream(
    stream: Stream, doors: Doors, progress: _Progress, tags: Mapping[str, str], work: Path
) -> SourceCapture:
    backups = {
        name: place.repository.backup_stream(stream.filename, tags={**tags, "part": "data"}, work=work)
        for name, place in progress.ready.items()
    }
    try:
        digest, size, results = pour(stream.chunks(), backups)
    finally:
        stream.close()
    stored = _gather(progress, results, doors.name)
    manifest.write_stream(
        work / MANIFEST,
        source=doors.name,
        kind=doors.kind,
        started=stream.started,
        filename=stream.filename,
        size=size,
        sha256=digest,
    )

    def store(place: Place) -> Stored:
        return place.repository.backup_tree((MANIFEST,), cwd=work, tags={**tags, "part": "manifest"})

    places = {name: place for name, place in progress.ready.items() if name in stored}
    for name, result in _everywhere(places, store).items():
        if isinstance(result, DrError):
            stored.pop(name, None)
            progress.snapshots[name].pop(doors.name, None)
            _lose(progress, name, result)
        else:
            progress.manifests.setdefault(name, {})[doors.name] = result.snapshot_id
    return _source_fact(doors, progress, stored, files=1, size=size)


def _gather(progress: _Progress, results: Mapping[str, Stored | DrError], source: str) -> dict[str, Stored]:
    """Note what reached which target; a target that failed is not used again in this run."""
    stored: dict[str, Stored] = {}
    for name, result in results.items():
        if isinstance(result, DrError):
            _lose(progress, name, result)
            continue
        stored[name] = result
        progress.snapshots.setdefault(name, {})[source] = result.snapshot_id
        progress.added[name] = progress.added.get(name, 0) + result.bytes_added
    return stored


def _source_fact(
    doors: Doors, progress: _Progress, stored: Mapping[str, Stored], *, files: int, size: int
) -> SourceCapture:
    first = next(iter(stored.values()), None)
    return SourceCapture(
        source=doors.name,
        kind=doors.kind,
        outcome="ok" if first else "failed",
        snapshot_id=first.snapshot_id if first else None,
        files=files,
        bytes=size,
        bytes_added=first.bytes_added if first else 0,
        error=None if first else _no_target(progress),
    )


def _no_target(progress: _Progress) -> str:
    reasons = "; ".join(f"{name}: {error.what}" for name, error in progress.lost.items())
    return f"no target could store it ({reasons})"


def _skipped(toolbox: Toolbox, name: str) -> SourceCapture:
    kind = toolbox.source(name).kind
    return SourceCapture(source=name, kind=kind, outcome="skipped", error="no target can be used")


# -- the whole ---------------------------------------------------------------------------------------


def _fact(
    toolbox: Toolbox,
    request: BackupRequest,
    progress: _Progress,
    *,
    started: datetime,
    consistency: datetime | None,
) -> BackupRun:
    whole = bool(progress.captures) and all(c.outcome == "ok" for c in progress.captures)
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
        notes=tuple(progress.notes),
        error=_run_error(progress, complete=complete),
        plan_digest=toolbox.digest,
        versions=dict(toolbox.versions),
    )


def _target_state(toolbox: Toolbox, progress: _Progress, name: str) -> TargetState:
    error = progress.lost.get(name)
    snapshots = progress.snapshots.get(name, {})
    full = set(snapshots) == set(toolbox.plan.sources) and error is None
    return TargetState(
        target=name,
        outcome="ok" if full else "failed",
        snapshots=snapshots,
        manifests=progress.manifests.get(name, {}),
        bytes_added=progress.added.get(name, 0),
        error=str(error) if error else None if full else "not every source reached it",
    )


def _outcome(progress: _Progress, targets: tuple[TargetState, ...], *, complete: bool) -> Outcome:
    outcomes = [c.outcome for c in progress.captures]
    if not progress.ready or "failed" in outcomes or (not complete and "degraded" not in outcomes):
        return "failed"
    if "degraded" in outcomes or any(t.outcome != "ok" for t in targets) or progress.renewed:
        return "degraded"
    return "ok"


def _run_error(progress: _Progress, *, complete: bool) -> str | None:
    failed = [f"source {c.source}: {c.error}" for c in progress.captures if c.outcome == "failed" and c.error]
    if failed:
        return "; ".join(failed)
    if progress.lost and not progress.ready:
        return "; ".join(f"target {name}: {error}" for name, error in progress.lost.items())
    return None


def _exit_code(run: BackupRun, progress: _Progress) -> int:
    if run.outcome == "failed" and not progress.ready:
        codes = {error.exit_code for error in progress.lost.values()}
        return codes.pop() if len(codes) == 1 else FAILED
    return {"ok": OK, "degraded": DEGRADED}.get(run.outcome, FAILED)
