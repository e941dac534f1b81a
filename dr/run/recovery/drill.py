"""The verb drill: a rehearsed recovery in a sandbox, timed and checked.

The drill runs the engine (`dr.run.recovery.engine`) in a sandbox (`dr.run.recovery.place.sandbox`) under a scenario
(`dr.plan.scenario`): every source of the point is restored, or a sample of each tree, which says how little that
shows; from the primary, or from another place when that is taken for lost. A scenario that needs more than that has a
driver (`dr.operations.scenarios`), which comes back here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dr.evidence.record import Drill, Point
from dr.plan.scenario import SCENARIOS
from dr.run.recovery.engine import carry_out
from dr.run.recovery.place.sandbox import Sandbox
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.scenario_target_loss import without_primary
from dr.run.recovery.site import RestoreSite
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Toolbox


def run_drill(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> Drill:
    """Drill one system and return the fact, whatever happened: a failed or aborted drill is a fact too.

    Raises `DrError` when what the scenario assumes leaves nothing to recover from.

    Safe for several drills at once, of the same system too: nothing is shared but the repositories, read
    without a lock.
    """
    if SCENARIOS[request.assumes].loses_primary:
        toolbox, points, assumed = without_primary(toolbox, points, target=request.target)
        request = replace(request, assumed=assumed)
    if request.at:
        request = replace(request, travel=Travel(request.at, toolbox.state, request.clock))
    return rehearse(toolbox, points, request)


def rehearse(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> Drill:
    """Recover in a sandbox what is asked for, with nothing more assumed, and return the fact."""
    if not (request.real or request.partial):
        request = replace(request, sample=toolbox.plan.drill.sample)
    return carry_out(toolbox, points, request, _site_of(toolbox, request))


def _site_of(toolbox: Toolbox, request: RecoveryRequest) -> RestoreSite:
    """Return where the drill is held: here, or on the host that the plan names for it.

    What is needed for real does not wait for a disk that the drills have.
    """
    declared, elsewhere = toolbox.plan.drill.host, toolbox.plan.drill.sandbox
    if request.real and declared is None and elsewhere and not elsewhere.is_dir():
        elsewhere = None
    if declared is None:
        return Sandbox(toolbox.state, request.drill_id, keep=request.keep, elsewhere=elsewhere)
    from dr.run.recovery.place.remote_sandbox import FarSandbox

    return FarSandbox(toolbox.state, request.drill_id, declared, keep=request.keep, elsewhere=elsewhere)
