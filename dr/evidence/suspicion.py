"""What is held against a system's recovery points, and how long: pure, from the marks that runs and people left.

A suspect point casts doubt on every later one, since these hold what was changed, until a person says of one of
them that it holds what it should (`Trust`). Earlier points that were suspect stay so.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One point that is suspect (`reason`), trusted by a person (`trusted`: why), or first the one, then the other."""

    run_id: str
    system: str
    consistency_time: datetime
    reason: str | None = None
    trusted: str | None = None


def held_against(marks: Iterable[Mark], run_id: str, consistency_time: datetime) -> str | None:
    """Return why a point is suspect; None when nothing is held against it."""
    until = [mark for mark in marks if mark.consistency_time <= consistency_time]
    first = _first_of_episode(until)
    if first is None:
        return None
    own = next((mark.reason for mark in until if mark.run_id == run_id), None)
    return own or f"taken after the suspect point {first.run_id} ({first.reason})"


def frozen(marks: Iterable[Mark]) -> str | None:
    """Return why no point of a system may be expired now; None when they may."""
    first = _first_of_episode(marks)
    if first is None:
        return None
    when = f"{first.consistency_time:%Y-%m-%d %H:%M:%S} UTC"
    return f"the point {first.run_id} of {when} is suspect ({first.reason}), and nobody has said that it was expected"


def frozen_since(marks: Iterable[Mark]) -> datetime | None:
    """Return as of when the first point is that freezes retention now; None when nothing does."""
    first = _first_of_episode(marks)
    return first.consistency_time if first else None


def _first_of_episode(marks: Iterable[Mark]) -> Mark | None:
    """Return the first suspect point since the last trusted one; None when there is none."""
    first = None
    for mark in sorted(marks, key=lambda mark: (mark.consistency_time, mark.run_id)):
        first = None if mark.trusted is not None else first or mark
    return first
