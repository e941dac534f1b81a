"""`dr target`: how targets are kept, what their keys could destroy, and making a bucket the right way."""

from __future__ import annotations

from dataclasses import dataclass

from dr.errors import DEGRADED, OK, UsageError
from dr.plan.target import Credentials, Target
from dr.run.immutability.provision import BucketPlan, build_bucket, plan_bucket
from dr.session import Session

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
    if target.s3 is None:
        raise UsageError(
            f"the target {target.target!r} is a directory", hint="it is made by the first backup; see `dr target check`"
        )
    return Making(target.target, plan_bucket(target.s3, credentials=credentials, principal=principal))


def create(making: Making) -> Making:
    """Do what was foreseen. May be called twice; killed in between, the next call does the rest."""
    build_bucket(making.plan)
    return Making(making.target, making.plan, done=True)
