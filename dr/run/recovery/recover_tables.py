"""The recovery of single tables: what is refused beforehand, and the engine of a drill, in a drill's own place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dr.errors import UsageError
from dr.evidence.record import Drill, Point
from dr.run.recovery.destination import refuse_shut
from dr.run.recovery.drill import rehearse
from dr.run.recovery.foresee_tables import refuse_tables
from dr.run.recovery.request import RecoveryRequest
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Toolbox


def run_tables(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> Drill:
    """Bring back the tables that were named, and return the fact; all that goes wrong is in it."""
    travel = Travel(request.at, toolbox.state, request.clock) if request.at else None
    return rehearse(toolbox, points, replace(request, travel=travel))


def refuse_no_tables(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> None:
    """Raise `UsageError`, with nothing touched, when no source can give tables, or the directory cannot be one.

    Also for a table that the point is seen not to hold.
    """
    plan = toolbox.plan
    able = [name for name, source in plan.sources.items() if source.body.holds_tables]
    if request.source and request.source not in able:
        declared = plan.sources.get(request.source)
        what = (
            f"the source {request.source} is of the kind {declared.kind}, which holds no tables" if declared
            else f"the plan of {plan.system} has no source {request.source!r}"
        )  # fmt: skip
        raise UsageError(what, "--source", hint=f"sources with tables: {', '.join(able) or 'none'}")
    if not able:
        raise UsageError(
            f"no source of {plan.system} holds tables", "--table",
            hint=f"see what its points hold with `dr ls {plan.system}`",
        )  # fmt: skip
    if request.to and request.to.exists() and not request.to.is_dir():
        raise UsageError("this is a file, not a directory", str(request.to), hint="name a directory")
    if request.to:
        refuse_shut(request.to)
    refuse_tables(toolbox, points, request)
