"""What a recovery would do, said before it begins: from which copy, into what, in which steps. Touches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from dr.errors import DrError
from dr.evidence.record import Copy, Point
from dr.late_dataclass import dataclass
from dr.plan.units import counted
from dr.run.points.choose import LostError, Say, condition, find_usable, last_unsuspected, suspect_in_words
from dr.run.recovery.checks.manifest import compares
from dr.run.recovery.destination import read_marker, written
from dr.run.recovery.place.space import HEADROOM, available
from dr.run.recovery.recover import refuse_live, resumed, suitable
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.route import Route, later_than
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Toolbox
from dr.sources.driver import RestoredSource


@dataclass(frozen=True, kw_only=True)
class RecoveryPlan:
    """What a recovery would do: for `--dry-run`. `notes` says what the reader should know before.

    `to` is None where files go back where they were.

    `estimate_seconds` is how long it took in drills, and from how many `drills` that is known.
    """

    system: str
    run_id: str
    consistency_time: datetime
    target: str
    to: Path | None
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


def plan_recover(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> RecoveryPlan:
    """Say what `run_recover` would do, having asked the targets whether they answer. Touches nothing."""
    request = resumed(request)
    notes: list[str] = []

    prospect = refuse_live(toolbox, points, request)
    point, copy = _foreseen(toolbox, points, request, notes)
    clean = last_unsuspected(points, point) if point.suspect else None
    notes += filter(None, [suspect_in_words(points, point)])
    return RecoveryPlan(
        system=point.system,
        run_id=point.run_id,
        consistency_time=point.consistency_time,
        target=copy.target,
        to=request.to,
        sources=tuple(sorted(copy.snapshots)),
        bytes=point.bytes,
        available_bytes=available(request.to) + written(request.to) if request.to else available(toolbox.state.path),
        proof_level=copy.proof_level,
        resumes=request.to is not None and not request.tables and read_marker(request.to) is not None,
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

    able, at, target = suitable(points, request), request.at, request.target
    if at is None:
        return _now(toolbox, able, request, notes, say)
    travel = Travel(at, toolbox.state, request.clock, say=notes.append)
    with closing(travel):
        before, there = travel.depart(toolbox, able, target=target)
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
    notes += filter(None, [later_than(request, step, points)])
    return step.point, step.copy


def _steps(toolbox: Toolbox, request: RecoveryRequest, prospect: Sequence[RestoredSource]) -> tuple[str, ...]:
    """Return what will be done, in order, in words."""
    if request.in_place:
        return (
            f"restore {', '.join(request.paths)} into a sandbox, and compare each file with the manifest",
            "put each back where it was, whole and in one step; what it overwrites stays beside, as NAME.before-ID",
            "compare each again, where it lies",
        )
    if request.tables:
        return _table_steps(request)
    if request.paths:
        return (
            f"restore {', '.join(request.paths)} into {request.into}, each file below the name of its source",
            "compare each file with the manifest that was made at capture",
        )
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


def _table_steps(request: RecoveryRequest) -> tuple[str, ...]:
    names, some = ", ".join(request.tables), "the chosen rows of " if request.where else ""
    last = f"write {some}{names} as SQL and CSV into {request.to}"
    if request.beside:
        last = f"load {some}{names} beside the live table, as {request.beside}; the live table is not touched"
    return ("restore what holds the tables into a sandbox", last, "count the rows there, and in what was written")
