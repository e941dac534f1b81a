"""The verb drill: a rehearsed recovery in a sandbox, timed and checked.

The drill runs the engine (`dr.run.recovery.engine`) in a sandbox (`dr.run.recovery.place.sandbox`) under a scenario:
`system-loss` restores every source of the point; `file-loss` a sample of each tree, and says how little that shows;
`target-loss` does as `system-loss` does, from another place than the primary, which is not asked for anything;
`ransomware` begins in `dr.run.recovery.scenario_ransomware`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dr.evidence.record import Drill, Point
from dr.run.recovery.engine import carry_out
from dr.run.recovery.place.sandbox import Sandbox
from dr.run.recovery.result import Job
from dr.run.recovery.scenario_target_loss import without_primary
from dr.run.recovery.site import RestoreSite
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Toolbox


@dataclass(frozen=True, kw_only=True)
class DrillRequest:
    """What the caller knows before the drill. `t_loss` is the moment of loss; `at` only picks the point.

    Without `at` the newest complete point of before the loss is used, without `target` the first target
    that answers. `keep` leaves the sandbox for somebody to look at. `kit` and the files of its `shares` are what a
    drill of `control-loss` begins with: `dr.operations.control_loss`. `point` is the run id of the one to use, whole
    or not; `lacks` is what is on record as not in it.
    """

    drill_id: str
    scenario: str
    t_loss: datetime
    clock: Callable[[], datetime]
    at: datetime | None = None
    target: str | None = None
    keep: bool = False
    kit: Path | None = None
    shares: tuple[Path, ...] = ()
    point: str | None = None
    lacks: tuple[str, ...] = ()


def run_drill(toolbox: Toolbox, points: Sequence[Point], request: DrillRequest) -> Drill:
    """Drill one system and return the fact, whatever happened: a failed or aborted drill is a fact too.

    Raises `DrError` when what the scenario assumes leaves nothing to recover from.

    Safe for several drills at once, of the same system too: nothing is shared but the repositories, read
    without a lock.
    """
    assumed = ""
    if request.scenario == "target-loss":
        toolbox, points, assumed = without_primary(toolbox, points, target=request.target)
    job = Job(
        drill_id=request.drill_id,
        scenario=request.scenario,
        real=False,
        at=request.at,
        target=request.target,
        t_loss=request.t_loss,
        clock=request.clock,
        checks=toolbox.plan.drill.checks,
        travel=Travel(request.at, toolbox.state, request.clock) if request.at else None,
        assumed=assumed,
        point=request.point,
        lacks=request.lacks,
    )
    return carry_out(toolbox, points, job, site_of(toolbox, request))


def site_of(toolbox: Toolbox, request: DrillRequest) -> RestoreSite:
    """Return where the drill is held: here, or on the host that the plan names for it."""
    declared = toolbox.plan.drill.host
    if declared is None:
        return Sandbox(toolbox.state, request.drill_id, keep=request.keep)
    from dr.run.recovery.place.remote_sandbox import FarSandbox

    return FarSandbox(toolbox.state, request.drill_id, declared, keep=request.keep)
