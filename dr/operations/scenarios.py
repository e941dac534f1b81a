"""How each scenario holds its drill, and what it refuses beforehand.

What a scenario needs is in its row of the table, `dr.plan.scenario`; most are a restore in a sandbox, and that row is
all there is of them. Those that are more have a driver here. docs/extending.md walks through one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dr.errors import UsageError
from dr.evidence.record import Drill
from dr.operations.ransomware_target import scratch_of
from dr.plan.declarations import Loaded
from dr.plan.scenario import SCENARIOS
from dr.queries.recovery_points import points_for
from dr.run.recovery.drill import run_drill
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.target import Target
    from dr.tools.store import ObjectStore


class ScenarioDriver:
    """A scenario that is a restore in a sandbox; others override."""

    def refuse(self, session: Session, loaded: Loaded, request: RecoveryRequest) -> None:
        """Raise `UsageError`, with nothing touched, when such a drill cannot be held as it is asked for."""

    def hold(self, session: Session, loaded: Loaded, request: RecoveryRequest) -> Drill:
        """Hold the drill and return its record; a `DrError` is a drill that could not begin, and is recorded too."""
        toolbox = session.toolbox(loaded)
        return run_drill(toolbox, points_for(session, loaded, toolbox, request.point), request)


class RansomwareDriver(ScenarioDriver):
    """A copy is attacked on the scratch target, which must be safe to attack."""

    def refuse(self, session: Session, loaded: Loaded, request: RecoveryRequest) -> None:
        """See `ScenarioDriver`."""
        from dr.run.recovery.scenario_ransomware import refuse_unready

        refuse_unready(_opened(session, scratch_of(session, loaded, request.scratch)))

    def hold(self, session: Session, loaded: Loaded, request: RecoveryRequest) -> Drill:
        """Hold it alone in its scratch place: a second of the same system waits for another time."""
        from dr.run.recovery.scenario_ransomware import refuse_unready, run_ransomware

        scratch, system = scratch_of(session, loaded, request.scratch), loaded.plan.system
        refuse_unready(_opened(session, scratch))
        with session.state.hold(f"{system}.ransomware", what=f"a ransomware drill of {system} is at work"):
            return run_ransomware(session.toolbox(loaded), session.points(loaded), request, scratch)


def _opened(session: Session, target: Target) -> ObjectStore:
    from dr.targets.kinds import driver_of

    return driver_of(target, session.state).open().store


class ControlLossDriver(ScenarioDriver):
    """It begins in a clean room, with the recovery kit alone."""

    def refuse(self, session: Session, loaded: Loaded, request: RecoveryRequest) -> None:
        """See `ScenarioDriver`."""
        from dr.operations.control_loss import refuse_unfit

        refuse_unfit(request.kit, request.shares, keep=request.keep)

    def hold(self, session: Session, loaded: Loaded, request: RecoveryRequest) -> Drill:
        """See `ScenarioDriver`."""
        from dr.operations.control_loss import hold

        return hold(session, loaded, request)


_SANDBOXED = ScenarioDriver()
#: The scenarios that are more than a restore in a sandbox.
DRIVERS: dict[str, ScenarioDriver] = {"ransomware": RansomwareDriver(), "control-loss": ControlLossDriver()}


def driver_of(scenario: str) -> ScenarioDriver:
    """Return how a scenario holds its drill."""
    return DRIVERS.get(scenario, _SANDBOXED)


def refuse_unfit(session: Session, loaded: Loaded, request: RecoveryRequest) -> None:
    """Raise `UsageError`, with nothing touched, for what does not go together with the scenario of a drill."""
    scenario, plan = SCENARIOS[request.assumes], loaded.plan
    if scenario.loses_primary and request.target == plan.targets[0]:
        raise UsageError(
            f"{request.target} is the primary of {plan.system}, which {scenario.name} takes for lost",
            "--target",
            hint="name another target, or leave the choice to the drill",
        )
    if scenario.finds_point and request.point:
        what = f"the scenario {scenario.name} finds its point by itself"
        raise UsageError(what, "--point", hint="leave it out")
    if scenario.finds_time and request.at:
        raise UsageError(f"a {scenario.name} drill finds the time itself", "--at", hint="omit --at")
    if not scenario.begins_with_kit and (request.kit or request.shares):
        able = " or ".join(name for name, each in SCENARIOS.items() if each.begins_with_kit)
        what = f"the scenario {scenario.name} has no use for a kit"
        raise UsageError(what, "--kit", hint=f"say --scenario {able}")
    driver_of(scenario.name).refuse(session, loaded, request)
