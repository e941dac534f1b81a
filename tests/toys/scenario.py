"""A scenario in one file: `newest-lost`, the newest recovery point is lost. docs/extending.md walks through it."""

from __future__ import annotations

from dataclasses import replace

from dr.evidence.record import Drill
from dr.operations.scenarios import ScenarioDriver
from dr.plan.declarations import Loaded
from dr.plan.scenario import Scenario
from dr.run.recovery.drill import run_drill
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session

# begin row
NEWEST_LOST = Scenario(name="newest-lost", assumed="the newest recovery point is lost", finds_point=True)
# end row


# begin driver
class NewestLostDriver(ScenarioDriver):
    """Recovers from the point before the newest."""

    def hold(self, session: Session, loaded: Loaded, request: RecoveryRequest) -> Drill:
        newest, *older = session.points(loaded)
        assumed = replace(request, assumed=f"the point {newest.run_id} is taken for lost")
        return run_drill(session.toolbox(loaded), older, assumed)


# end driver
