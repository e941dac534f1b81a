"""`dr target`: how targets are kept, what their keys could destroy, and making a bucket the right way."""

from __future__ import annotations

from dr.errors import DEGRADED, OK
from dr.late_dataclass import dataclass
from dr.plan.target import Target
from dr.plan.target_kind import Credentials
from dr.session import Session
from dr.targets.kinds import driver_of
from dr.targets.making import BucketPlan, build_bucket

# -- making ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Making:
    """What `dr target create` would do, or did, for one target."""

    target: str
    plan: BucketPlan
    done: bool = False

    @property
    def exit_code(self) -> int:
        """Degraded when something stays as it should not be."""
        return DEGRADED if self.plan.stays else OK


def foresee(session: Session, target: Target, *, credentials: Credentials | None, principal: str | None) -> Making:
    """Return what would be made or changed, and what differs and cannot be; changes nothing."""
    driver = driver_of(target, session.state)
    return Making(target.target, driver.plan_bucket(credentials=credentials, principal=principal))


def create(making: Making) -> Making:
    """Do what was foreseen. May be called twice; killed in between, the next call does the rest."""
    build_bucket(making.plan)
    return Making(making.target, making.plan, done=True)
