"""The recovery points that one target holds now, by its own snapshots, each with what is to be known before it is read.

What is on record is held against it: what is damaged or suspect no snapshot tells, and what the target lost, no
snapshot either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from dr.errors import DrError
from dr.evidence.point_there import Condition, PointThere
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.run.points.choose import none_usable, ready
from dr.run.points.discover import points_in
from dr.run.workspace.toolbox import Place, Toolbox

#: What is told while targets are asked: what, and why.
Say = Callable[[str, DrError], None]


@dataclass(frozen=True)
class HeldThere:
    """What a target holds: the points on record, the newest first; how many are not; what it lost by the record."""

    points: tuple[PointThere, ...]
    unknown: int = 0
    lost: tuple[str, ...] = ()


def points_there(place: Place, on_record: Sequence[Point], *, named: str | None = None) -> HeldThere:
    """Ask a target what it holds. `named` is a run whose point counts whoever made it, and no other.

    Raises as restic does, and where another repository is there than the one on record.
    """
    ready(place)
    known = {point.run_id: point for point in on_record}
    found = [point for point in points_in(place, place.system) if point.copies[0].snapshots]
    wanted = [point for point in found if (point.run_id == named if named else point.run_id in known)]
    should = {run_id for run_id, point in known.items() if _is_held(point, place.name) and named in (None, run_id)}
    return HeldThere(
        points=tuple(PointThere(point, _condition(point, known.get(point.run_id), place.name)) for point in wanted),
        unknown=0 if named else len(found) - len(wanted),
        lost=tuple(sorted(should - {point.run_id for point in found})),
    )


def first_with_points(
    toolbox: Toolbox, on_record: Sequence[Point], now: datetime, *, target: str | None, named: str | None, say: Say
) -> tuple[Place, HeldThere]:
    """Return the target to read from, and what it holds: the one that was named, else the first that has any point.

    `say` hears of targets that could not be used, and of points that are left out. Raises as the targets do, and
    `DrError` where none that answers holds what is asked for.
    """
    system = toolbox.plan.system
    errors: dict[str, DrError] = {}
    for place in _asked(toolbox, target):
        try:
            held = points_there(place, on_record, named=named)
        except DrError as error:
            if target:
                raise
            errors[place.name] = error
            say(f"{place.name} is passed over", error)
            continue
        _tell(system, place, held, say)
        if held.points:
            return place, held
    if len(errors) == 1 and len(toolbox.everywhere) == 1:
        raise next(iter(errors.values()))
    if errors or named:
        raise DrError(
            "no target that answers holds " + (f"the point {named}" if named else "a recovery point"),
            system,
            "; ".join(f"{name}: {error.what}" for name, error in errors.items()),
            hint="see what is wrong with the targets by `dr doctor`, or name another point",
        )
    raise none_usable(on_record, now, target)


def _asked(toolbox: Toolbox, target: str | None) -> tuple[Place, ...]:
    return toolbox.everywhere if target is None else (toolbox.place(target),)


def _tell(system: str, place: Place, held: HeldThere, say: Say) -> None:
    if held.lost:
        hint = f"see with `dr verify {system}` what is lost there, or mount another target with --target"
        lost = DrError("the target does not list them, although it should", place.repository.where, hint=hint)
        say(f"left out: {', '.join(held.lost[:3])}{' and others' if len(held.lost) > 3 else ''}", lost)
    if held.unknown:
        hint = f"`dr points rebuild {system}` takes them in, or name one with --point"
        strange = DrError("they are not on record here", place.repository.where, hint=hint)
        say(f"left out: {held.unknown} recovery points", strange)


def _is_held(point: Point, target: str) -> bool:
    return any(copy.target == target and copy.complete and not copy.destroyed for copy in point.copies)


def _condition(there: Point, known: Point | None, target: str) -> Condition:
    if not there.copies[0].complete:
        return "incomplete"
    if known and any(copy.target == target and copy.damaged for copy in known.copies):
        return "damaged"
    return "suspect" if known is None or known.suspect else ""
