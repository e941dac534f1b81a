"""The steps by which a place is made as a target declares it, before they are taken."""

from __future__ import annotations

from collections.abc import Callable

from dr.late_dataclass import dataclass


@dataclass(frozen=True)
class SettingChange:
    """One step, in words, and what does it."""

    what: str
    act: Callable[[], None]


@dataclass(frozen=True)
class BucketPlan:
    """Whether the bucket is new, the steps in order, and what differs and stays as it is."""

    where: str
    new: bool
    changes: tuple[SettingChange, ...]
    stays: tuple[str, ...]


def build_bucket(plan: BucketPlan) -> None:
    """Take the steps, in order; the first that fails is raised."""
    for change in plan.changes:
        change.act()
