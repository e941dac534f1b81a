"""The verb recover: the real thing. The engine of a drill, onto the real place.

Files come back into the directory that was named, databases into the server that the plan names: beside the
live ones, which are replaced only when all mandatory checks have passed, and only when they were named. It
never writes over existing data unless told. While it runs, `DIR/.dr-recovery.json` says what it is about; a
recovery that was interrupted finds it, and goes on with the same point. When every mandatory check has
passed the marker goes away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from dr.errors import DrError, LockedError, UsageError
from dr.evidence.record import Copy, Drill, Point
from dr.plan.units import counted
from dr.run.points.choose import LostError, Say, choose, condition, find_usable, last_unsuspected, suspect_in_words
from dr.run.recovery import under_way
from dr.run.recovery.checks.manifest import compares
from dr.run.recovery.engine import carry_out
from dr.run.recovery.fresh_cache import SUFFIX
from dr.run.recovery.place.restore_host import HERE, MANIFESTS, RestoreHost
from dr.run.recovery.place.sandbox import Disposition, claim, destroy, sweep
from dr.run.recovery.place.server_dirs import RECORD, ServerDirs, vacate
from dr.run.recovery.place.space import HEADROOM, available, require_space
from dr.run.recovery.place.tree import walk
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.route import Route
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Toolbox
from dr.sources.driver import RestoredSource, RestoreSlot

MARKER = ".dr-recovery.json"
#: What a freshly made filesystem holds.
_NOTHING = {"lost+found"}


@dataclass(frozen=True, kw_only=True)
class RecoveryPlan:
    """What a recovery would do: for `--dry-run`. `notes` says what the reader should know before.

    `estimate_seconds` is how long it took in drills, and from how many `drills` that is known.
    """

    system: str
    run_id: str
    consistency_time: datetime
    target: str
    to: Path
    sources: tuple[str, ...]
    bytes: int | None
    available_bytes: int
    proof_level: int
    resumes: bool
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    suspect: str | None = None
    last_unsuspected_point: str | None = None
    estimate_seconds: float | None = None
    drills: int = 0

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.available_bytes >= (self.bytes or 0) * HEADROOM


@dataclass(frozen=True, kw_only=True)
class Marker:
    """What an unfinished recovery in a directory is about; `at` is the time it travelled to, if it did."""

    system: str
    run_id: str
    drill_id: str
    at: str = ""

    @property
    def moment(self) -> datetime | None:
        """The time it travelled to."""
        return datetime.fromisoformat(self.at) if self.at else None


def run_recover(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> Drill:
    """Recover one system and return the fact; run again after an interruption, it goes on.

    Raises `UsageError` with nothing touched when `to` is unfit, `LockedError` when another recovery is at
    work there; `refuse_live` is the caller's to ask first. Everything else that goes wrong is in the fact.
    """
    begun, again = read_marker(request.into), request.typed(toolbox.plan.system)
    request = replace(_resumed(request), again=again, token=begun.drill_id if begun else request.drill_id)
    if request.at:
        request = replace(request, travel=Travel(request.at, toolbox.state, request.clock))
    destination = Destination(request, toolbox.plan.system)
    with destination.held():
        refuse_unfit(request.into, system=toolbox.plan.system, force=request.force)
        if begun:  # that one alone: a recovery does not wait for what drills left behind
            sweep(toolbox.state, only=begun.drill_id + SUFFIX)
        with under_way.written_down(toolbox.state, toolbox.plan.system, request.into, again):
            return carry_out(toolbox, _suitable(points, request), request, destination)


def plan_recover(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> RecoveryPlan:
    """Say what `run_recover` would do, having asked the targets whether they answer. Touches nothing."""
    request = _resumed(request)
    refuse_unfit(request.into, system=toolbox.plan.system, force=request.force)
    notes: list[str] = []

    prospect = refuse_live(toolbox, request)
    point, copy = _foreseen(toolbox, points, request, notes)
    clean = last_unsuspected(points, point) if point.suspect else None
    notes += filter(None, [suspect_in_words(points, point)])
    return RecoveryPlan(
        system=point.system,
        run_id=point.run_id,
        consistency_time=point.consistency_time,
        target=copy.target,
        to=request.into,
        sources=tuple(sorted(copy.snapshots)),
        bytes=point.bytes,
        available_bytes=available(request.into) + _written(request.into),
        proof_level=copy.proof_level,
        resumes=read_marker(request.into) is not None,
        steps=_steps(toolbox, request, prospect),
        notes=tuple(notes),
        suspect=point.suspect,
        last_unsuspected_point=clean.run_id if clean else None,
    )


def _foreseen(
    toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest, notes: list[str]
) -> tuple[Point, Copy]:
    """Return the point and the copy that a recovery would use."""

    def say(target: str, error: DrError) -> None:
        notes.append(str(error) if isinstance(error, LostError) else f"target {target} cannot be used: {error}")

    suitable, at, target = _suitable(points, request), request.at, request.target
    if at is None:
        return _now(toolbox, suitable, request, notes, say)
    travel = Travel(at, toolbox.state, request.clock, say=notes.append)
    with closing(travel):
        before, there = travel.depart(toolbox, suitable, target=target)
        return find_usable(toolbox, there, before, target=target, say=say, through=travel.of_point)[:2]


def _now(
    toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest, notes: list[str], say: Say
) -> tuple[Point, Copy]:
    """Return the copy that would be tried first, with a note of what lacks where it is not whole."""
    before, named = request.t_loss, request.point is not None
    if named:
        before = max(point.consistency_time for point in points)
    route = Route(toolbox, points, before, request.clock, say, target=request.target, named=named)
    with closing(route):
        step = route.begin()
    if step.salvage or not step.copy.complete:
        notes += [f"lacking: {what}" for what in request.lacks] or [f"the point {condition(step.point)}"]
    elif step.how:
        notes.append(f"it is read from {step.where}")
    return step.point, step.copy


def refuse_live(toolbox: Toolbox, request: RecoveryRequest) -> list[RestoredSource]:
    """Raise `UsageError` when a live database is in the way, or its server out of reach; nothing is touched.

    Return what the restore will make of the plan's sources.
    """
    if not request.as_files:
        under_way.refuse_other(toolbox.state, toolbox.plan.system, request.into)

    def nowhere(kind: str) -> Path:
        raise DrError(f"no place for {kind} is made before the recovery begins", hint="recover without --dry-run")

    found = []
    for name in toolbox.plan.sources:
        room = RestoreSlot(
            root=request.into / name,
            apart=request.into / MANIFESTS / name,
            annex=nowhere,
            token=request.drill_id,
            real=True,
            replace=request.replaced,
        )
        instance = toolbox.source(name).restored(room)
        if not (instance.takes_stream and request.as_files):
            instance.preflight()
            found.append(instance)
    return found


def _steps(toolbox: Toolbox, request: RecoveryRequest, prospect: Sequence[RestoredSource]) -> tuple[str, ...]:
    """Return what will be done, in order, in words."""
    hooks, into = toolbox.plan.hooks.restore, {instance.name for instance in prospect if instance.takes_stream}
    steps = [f"run the hook before restore: {' '.join(hooks.before.run)}"] if hooks.before else []
    for name, source in toolbox.plan.sources.items():
        place = "beside the live databases of its server" if name in into else f"into {request.into / name}"
        steps.append(f"restore {name} ({source.kind}) {place}")
    checks = 1 + sum(not compares(check) for check in toolbox.plan.drill.checks)
    steps.append(f"run {counted(checks, 'check')} on what came back")
    if into:
        named = f", in place of {', '.join(sorted(request.replaced))}" if request.replaced else ""
        steps.append(f"when all mandatory checks passed: give the restored databases their names{named}")
    steps += [f"run the hook after restore: {' '.join(hooks.after.run)}"] if hooks.after else []
    return tuple(steps)


def refuse_unfit(to: Path, *, system: str, force: bool) -> None:
    """Raise `UsageError` unless `to` is new, empty, our own unfinished recovery, or `force` is given."""
    if not to.exists():
        return
    if not to.is_dir():
        raise UsageError("this is a file, not a directory", str(to), hint="name a new or empty directory")
    marker = read_marker(to)
    if marker and marker.system != system:
        raise UsageError(f"an unfinished recovery of {marker.system} is here", str(to), hint="name another directory")
    if not marker and not force and any(path.name not in _NOTHING for path in to.iterdir()):
        raise UsageError(
            "the directory is not empty",
            str(to),
            hint="name a new or empty directory; or say --force to write over what is there",
        )


def read_marker(to: Path) -> Marker | None:
    """Return what the unfinished recovery in a directory is about; None when there is none."""
    try:
        body = json.loads((to / MARKER).read_text("utf-8"))
        marker = Marker(**{key: str(body[key]) for key in ("system", "run_id", "drill_id")}, at=body.get("at") or "")
        return marker if marker.moment or not marker.at else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _resumed(request: RecoveryRequest) -> RecoveryRequest:
    """Return the request with the time that the recovery begun there travelled to, unless another is named."""
    marker = read_marker(request.into)
    return replace(request, at=marker.moment) if marker and request.at is None else request


def _suitable(points: Sequence[Point], request: RecoveryRequest) -> Sequence[Point]:
    """Return the points to choose from: all, or the one whose recovery was begun here."""
    marker = read_marker(request.into)
    if request.point:
        return _only(points, request, marker)
    if marker is None:
        return points
    begun = [point for point in points if point.run_id == marker.run_id]
    if request.at and request.at == marker.moment:
        return begun  # what the record lacks, the view of that time has
    other = request.at and choose(points, request.at, request.target)[0].run_id != marker.run_id
    if (other or not begun) and not request.force:
        raise UsageError(
            f"an unfinished recovery of another point, {marker.run_id}, is here",
            str(request.into),
            hint="leave out --at to finish it, name another directory, or say --force to write over it",
        )
    return points if other or not begun else begun


def _only(points: Sequence[Point], request: RecoveryRequest, marker: Marker | None) -> Sequence[Point]:
    """Return the point that was named; `UsageError` when the recovery of another was begun here."""
    if marker and marker.run_id != request.point and not request.force:
        raise UsageError(
            f"an unfinished recovery of another point, {marker.run_id}, is here",
            str(request.into),
            hint="leave out --point to finish it, name another directory, or say --force to write over it",
        )
    return [point for point in points if point.run_id == request.point]


def _written(to: Path) -> int:
    """Return the bytes that an unfinished recovery has already written."""
    if read_marker(to) is None:
        return 0
    return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for _, entry in walk(to))


class Destination:
    """The real place of a recovery; never destroyed. The engine's other site, beside the sandbox."""

    def __init__(self, request: RecoveryRequest, system: str) -> None:
        self._request, self._system = request, system
        self._root = request.into
        self.where = str(request.into)
        self.land: RestoreHost = HERE
        self._owner: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other recoveries out of the directory, from now on or from when it is made."""
        try:
            if self._root.is_dir():
                self._claim()
            yield
        finally:
            if self._owner is not None:
                os.close(self._owner)

    def prepare(self, point: Point, size: int) -> Path:
        """Make the directory and mark it as ours; `DrError` when it does not fit."""
        require_space(self._root, size, there=_written(self._root))
        at = self._request.at.isoformat() if self._request.at else ""
        marker = Marker(system=self._system, run_id=point.run_id, drill_id=self._request.drill_id, at=at)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._owner is None:
                self._claim()
            _write_marker(self._root, marker)
        except OSError as error:
            raise DrError(
                "the directory cannot be written",
                str(self._root),
                error.strerror or "",
                hint="correct its rights, or name another directory",
            ) from error
        return self._root.resolve()

    def annex(self, kind: str) -> Path:
        """See `Site`."""
        return ServerDirs(self._root / MANIFESTS / RECORD).make(kind)

    def empty(self, names: Sequence[str], *, same: bool) -> bool:
        """See `Site`. What was there before we came stays: then no other point is mixed into it."""
        if self._request.force and not same:
            return False
        self._vacate()
        for name in () if self._request.force else names:
            destroy(self._root / name)
        destroy(self._root / MANIFESTS)
        (self._root / MARKER).unlink(missing_ok=True)
        return True

    def _vacate(self) -> None:
        for place in ServerDirs(self._root / MANIFESTS / RECORD).places():
            vacate(place, [])
            shutil.rmtree(place, ignore_errors=True)

    def finish(self, *, achieved: bool) -> Disposition:
        """Take our marks away when all is well; else leave them for the next attempt."""
        self._vacate()
        if achieved:
            shutil.rmtree(self._root / MANIFESTS, ignore_errors=True)
            (self._root / MARKER).unlink(missing_ok=True)
        return "not used"

    def _claim(self) -> None:
        self._owner = claim(self._root.resolve())
        if self._owner is None:
            raise LockedError(
                "another recovery is at work here", str(self._root), hint="wait until it ends", retryable=True
            )


def _write_marker(root: Path, marker: Marker) -> None:
    """Write the marker whole or not at all, and lastingly: it is what a power cut leaves to go by."""
    beside = root / f"{MARKER}.new"
    with beside.open("w", encoding="utf-8") as file:
        json.dump(asdict(marker), file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(root / MARKER)
