"""From a target to the driver of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dr.targets.driver import TargetDriver

if TYPE_CHECKING:
    from dr.plan.target import Target
    from dr.tools.meter import Meter
    from dr.tools.state_dir import StateDir


def _s3() -> type[TargetDriver]:
    from dr.targets.s3.driver import S3Driver

    return S3Driver


def _local() -> type[TargetDriver]:
    from dr.targets.local import LocalDriver

    return LocalDriver


def _sftp() -> type[TargetDriver]:
    from dr.targets.sftp import SftpDriver

    return SftpDriver


def _rest() -> type[TargetDriver]:
    from dr.targets.rest import RestDriver

    return RestDriver


def _rclone() -> type[TargetDriver]:
    from dr.targets.rclone import RcloneDriver

    return RcloneDriver


_DRIVERS: dict[str, Callable[[], type[TargetDriver]]] = {
    "s3": _s3,
    "local": _local,
    "sftp": _sftp,
    "rest": _rest,
    "rclone": _rclone,
}


def driver_of(target: Target, state: StateDir | None = None, *, meter: Meter | None = None) -> TargetDriver:
    """Return the driver of a target. With `state`, what a recovery kit left there comes before what it names.

    What passes to and from the target is counted by `meter`.
    """
    made = _DRIVERS[target.kind]()(target, state)
    made.meter = meter
    return made


def register(driver: type[TargetDriver]) -> None:
    """Add a kind of target: what it declares, and its driver."""
    from dr.plan import target as declared

    declared.register(driver.declares)
    _DRIVERS[driver.declares.key] = lambda: driver
