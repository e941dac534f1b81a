"""A recovery point as a target lists it, by its own snapshots, with what is to be known before it is read."""

from __future__ import annotations

from typing import Literal

from dr.evidence.record import Point
from dr.late_dataclass import dataclass

Condition = Literal["", "incomplete", "damaged", "suspect"]


@dataclass(frozen=True)
class PointThere:
    """A point on one target: its time and its sources with their kinds (`point`), and what is wrong with it."""

    point: Point
    condition: Condition = ""

    @property
    def run_id(self) -> str:
        """The run that made it."""
        return self.point.run_id

    @property
    def snapshots(self) -> dict[str, str]:
        """Source -> the whole id of its snapshot."""
        return self.point.copies[0].snapshots

    @property
    def folder(self) -> str:
        """The name of its folder: the run id, and what is wrong with it."""
        return f"{self.run_id}.{self.condition}" if self.condition else self.run_id
