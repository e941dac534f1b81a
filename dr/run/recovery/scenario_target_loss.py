"""The scenario target-loss: the primary is gone, and nothing of it may be used or asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dr.errors import DrError
from dr.evidence.record import Point
from dr.run.workspace.toolbox import Toolbox


def without_primary(
    toolbox: Toolbox, points: Sequence[Point], *, target: str | None
) -> tuple[Toolbox, list[Point], str]:
    """Return the toolbox and the points as they are when the primary is lost, and that in words.

    Raises `DrError` when `target` is the primary, or no other place holds a whole copy: then the system would not come
    back.
    """
    lost = toolbox.places[0].name
    if target == lost:
        raise DrError(
            f"{lost} is the primary, which this scenario takes for lost", "--target", hint="name another target"
        )
    left = [place for place in toolbox.everywhere if place.name != lost]
    others = [replace(point, copies=tuple(copy for copy in point.copies if copy.target != lost)) for point in points]
    if not left or not any(point.usable for point in others):
        why = "the plan names no other target and no replica" if not left else "no other target holds a whole point"
        raise DrError(
            f"there is no copy but that on {lost}",
            toolbox.plan.system,
            why,
            hint="add a target or a replica to the plan, then run `dr backup` and `dr replicate`",
        )
    return replace(toolbox, places=tuple(left), replicas=()), others, f"the target {lost} is taken for lost"
