"""The recovery points that one target holds now, by its own snapshots, each with what is to be known before it is read.

What is on record is held against it: what is damaged or suspect no snapshot tells, and what the target lost, no
snapshot either.
"""

from __future__ import annotations

from collections.abc import Sequence

from dr.evidence.point_there import Condition, PointThere
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.run.points.choose import ready
from dr.run.points.discover import points_in
from dr.run.workspace.toolbox import Place


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


def _is_held(point: Point, target: str) -> bool:
    return any(copy.target == target and copy.complete and not copy.destroyed for copy in point.copies)


def _condition(there: Point, known: Point | None, target: str) -> Condition:
    if not there.copies[0].complete:
        return "incomplete"
    if known and any(copy.target == target and copy.damaged for copy in known.copies):
        return "damaged"
    return "suspect" if known is None or known.suspect else ""
