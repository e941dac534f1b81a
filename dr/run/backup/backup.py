"""The verb backup: one run captures all sources of a system into one recovery point.

In order: make the targets ready, run the hook before, capture each source once and store it on every ready
target, run the hook after, look whether what the point rests on is at the target, then copy to a target what it missed
while it was down. The point is complete only when every source was captured whole, and is there. A point in which much
is out of the ordinary is suspect: kept as it is, and said. The run ends there; then locks that run out are lengthened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path

from dr.errors import FAILED, OK, DamageError, DrError, InterruptedRunError, code_of
from dr.evidence.change import suspicion
from dr.evidence.look import LateCopy, Stranger
from dr.evidence.record import BackupRun, Outcome, TargetState
from dr.late_dataclass import dataclass
from dr.plan.hook import Hook
from dr.run.backup import stock
from dr.run.backup.capture import BackupProgress, BackupRequest, capture_one, skipped
from dr.run.backup.catch_up import catch_up
from dr.run.backup.unread import NOT_STORED, PROBLEM
from dr.run.immutability.extend_all import Needed, keep_all_locked, with_locks
from dr.run.immutability.extend_locks import LockExtension
from dr.run.points.left_behind import in_words as left_in_words
from dr.run.points.presence import (
    PresenceSeen,
    found_in_words,
    in_words,
    look_closely,
    require_repository,
    strangers_in_words,
)
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.file_lists import write_names
from dr.run.workspace.hooks import problem, run_hook
from dr.run.workspace.stale_locks import remove_stale
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools import activity, command
from dr.tools.restic import make_if_absent

log = logging.getLogger("dr.backup")
#: The error of a target that answered, and lacks what could not be captured.
NOT_WHOLE = "not every source reached it"


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
        _make_ready(toolbox, request, progress)
    caught: tuple[LateCopy, ...] = ()
    consistency: datetime | None = None
    if not progress.ready:
        progress.captures += [skipped(toolbox, name, "no target can be used") for name in toolbox.plan.sources]
    elif not _hook(toolbox, request, progress, toolbox.plan.hooks.capture.before, "before capture"):
        progress.captures += [skipped(toolbox, name, _NOT_BEGUN) for name in toolbox.plan.sources]
        _hook(toolbox, request, progress, toolbox.plan.hooks.capture.on_failure, "on failure of capture")
    else:
        work, consistency = toolbox.work(), request.clock()
        _capture_all(toolbox, request, progress, work, consistency)
        _judge(toolbox, request, progress, consistency)
        with activity.step("look at what is stored"):
            _take_stock(toolbox, request, progress)
        missed = request.missed(progress.looks)
        caught = catch_up(toolbox, progress.ready, missed, work=work, notes=progress.notes)
    run = _fact(toolbox, request, progress, started=started, consistency=consistency)
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
    code = _exit_code(run, progress)
    return BackupDone(
        run=run,
        exit_code=code,
        kept=kept,
        unread=progress.unread,
        met=progress.met,
    )


_NOT_BEGUN = "the hook before capture failed"


def _capture_all(
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
        _hook(toolbox, request, progress, hooks.on_failure, "on failure of capture")
        raise
    if all(capture.whole for capture in progress.captures):
        _hook(toolbox, request, progress, hooks.after, "after capture")
    else:
        _hook(toolbox, request, progress, hooks.on_failure, "on failure of capture")


def _judge(toolbox: Toolbox, request: BackupRequest, progress: BackupProgress, at: datetime) -> None:
    """Say what is out of the ordinary, and list the files concerned where only this machine sees them."""
    judged = [
        (capture.source, suspicion(capture.change, request.history.get(capture.source, ()), at=at))
        for capture in progress.captures
        if capture.change
    ]
    progress.suspect = "; ".join(f"{source}: {reason}" for source, reason in judged if reason) or None
    strange = progress.strange if progress.suspect else []
    unread = [(source, PROBLEM, os.fsencode(name)) for source, names in progress.unread.items() for name in names]
    unstored = [(source, NOT_STORED, name) for source, names in progress.unstored.items() for name in names]
    try:
        path = write_names(toolbox.state, request.run_id, [*strange, *unread, *unstored])
    except OSError as error:
        progress.notes.append(f"the list of the files concerned could not be written: {error.strerror}")
        return
    whys = {"look strange": strange, PROBLEM: unread, NOT_STORED: unstored}
    named = [why for why, of in whys.items() if of]
    progress.notes.extend([f"files that {' or '.join(named)} are listed in {path}"] if path else [])


def _hook(toolbox: Toolbox, request: BackupRequest, progress: BackupProgress, hook: Hook | None, moment: str) -> bool:
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


def _make_ready(toolbox: Toolbox, request: BackupRequest, progress: BackupProgress) -> None:
    """Reach every target, make its repository on first use, and see whether it has what the record says.

    One that had a repository and has none now, or another, is not used: nobody begins it again but a person.
    """

    def ready(place: Place) -> tuple[bool, PresenceSeen]:
        place.reach()
        made = require_repository(place) is None
        if made:
            make_if_absent(place.repository, exists=lambda: place.store.exists("config"))
        else:
            _heal(place, progress)
        return made, look_closely(
            place,
            request.points,
            at=request.clock(),
            useless=request.spent,
            own_runs=request.own_runs,
        )

    places = {place.name: place for place in toolbox.places}
    for name, answer in everywhere(places, ready).items():
        if isinstance(answer, DrError):
            progress.lose(name, answer)
            continue
        made, seen = answer
        progress.ready[name] = places[name]
        progress.made |= {name} if made else set()
        progress.looks.append(seen.look)
        progress.met[name] = seen.new
        if seen.left:
            progress.left += seen.left
            progress.healed.append(left_in_words(seen.left, name))
            log.warning("%s: %s", toolbox.plan.system, progress.healed[-1])
        if made and places[name].known.begun:
            progress.renewed.append(name)
            progress.notes.append(f"the repository on {name} was begun again")
        strange = strangers_in_words(toolbox.plan.system, name, seen.met, own=request.own_runs.installation)
        said = (in_words(seen.look, request.points), found_in_words(seen.look), strange)
        progress.notes.extend(text for text in said if text)


def _heal(place: Place, progress: BackupProgress) -> None:
    """Remove the locks that killed processes left. A backup can do without: one that may not is noted."""
    try:
        if healed := remove_stale(place):
            progress.healed.append(healed)
    except InterruptedRunError:
        raise
    except DrError as error:
        progress.notes.append(f"a lock that a killed process left on {place.name} stays: {error}")


def _take_stock(toolbox: Toolbox, request: BackupRequest, progress: BackupProgress) -> None:
    """See at each target that the point does not rest on what was lost there: restic would not store it again."""

    def look(place: Place) -> stock.Stock:
        stored, beside = progress.snapshots.get(place.name, {}), progress.manifests.get(place.name, {})
        return stock.take_stock(
            toolbox,
            place,
            request,
            stock.point_of(request, place, stored, beside),
            added=progress.added.get(place.name, 0),
            began=place.name in progress.made,
        )

    places = {
        place.name: place
        for place in toolbox.places
        if place.name in progress.ready or isinstance(progress.lost.get(place.name), DamageError)
    }
    for name, answer in everywhere(places, look).items():
        if isinstance(answer, DrError):
            progress.lose(name, progress.lost.get(name, answer))
            continue
        known = {p.run_id for p in request.points for copy in p.copies if copy.target == name and copy.damaged}
        harmed = tuple(run_id for run_id in answer.harmed if run_id not in known)
        progress.looks = [
            replace(each, harmed=harmed, doubtful=answer.doubtful) if each.target == name else each
            for each in progress.looks
        ]
        progress.notes += stock.notes(answer, name, toolbox.plan.system, [x for x in harmed if x != request.run_id])
        if request.run_id in harmed and name in progress.ready:
            progress.lose(name, stock.in_vain(answer, places[name]))


def _fact(
    toolbox: Toolbox,
    request: BackupRequest,
    progress: BackupProgress,
    *,
    started: datetime,
    consistency: datetime | None,
) -> BackupRun:
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
    if "degraded" in outcomes or any(t.outcome != "ok" for t in targets) or robbed or hooked:
        return "degraded"
    if progress.suspect:
        return "degraded"
    return "ok"


def _run_error(progress: BackupProgress, *, complete: bool) -> str | None:
    failed = [f"source {c.source}: {c.error}" for c in progress.captures if c.outcome == "failed" and c.error]
    if failed:
        return "; ".join(failed)
    if any(capture.error == _NOT_BEGUN for capture in progress.captures):
        return progress.notes[0] + (f": {progress.hooks[0].output[-300:]}" if progress.hooks[0].output else "")
    if progress.lost and not progress.ready:
        return "; ".join(f"target {name}: {error}" for name, error in progress.lost.items())
    return None


def _exit_code(run: BackupRun, progress: BackupProgress) -> int:
    if run.outcome == "failed" and not progress.ready:
        codes = {error.exit_code for error in progress.lost.values()}
        return codes.pop() if len(codes) == 1 else FAILED
    if run.outcome == "failed" and len(set(progress.codes)) == 1:
        return progress.codes[0]
    return code_of(run.outcome)
