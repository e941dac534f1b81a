"""The verb expire, on one target: the snapshots of what retention has no use for are removed, and looked for again.

Points are looked at in `snapshots/` before and after: that restic ended well proves nothing. Whatever cuts it off, the
next run finds by the same look what went, and puts it on record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from dr.errors import DrError, LockedError, every_error
from dr.late_dataclass import dataclass
from dr.run.expiry.rules import Decision
from dr.run.points.presence import listed
from dr.run.workspace.stale_locks import locks, take_away
from dr.run.workspace.toolbox import Place, deleting


@dataclass
class Removed:
    """What one expiration came to: points that are gone, by run id, with the rule; the ids of their snapshots."""

    points: dict[str, str] = field(default_factory=dict)
    snapshots: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    problem: DrError | None = None


def healed(place: Place) -> list[str]:
    """Remove restic's locks that nobody holds any more; say how many went. A living holder's lock stays."""
    there = locks(place)
    gone = take_away(place, there) if there else 0
    if not gone:
        return []
    what = "a stale lock" if gone == 1 else f"{gone} stale locks"
    return [f"{what} of restic on {place.name} removed: the process that held it is dead, or it is half an hour old"]


def past_stale_locks(place: Place, act: Callable[[], None], notes: list[str]) -> None:
    """Do something under restic's lock, and remove stale ones first; `notes` gets what was removed.

    A process that was killed a moment ago may still pass for alive: so once more where that changed meanwhile.
    """
    notes += healed(place)
    try:
        act()
    except LockedError:
        late = healed(place)
        if not late:
            raise
        notes += late
        act()


def expire(place: Place, decision: Decision, *, noted: Callable[[], None]) -> Removed:
    """Remove what may go on one target, and see what went. `noted` is called just before the first is removed.

    An error is part of the result, with what went all the same. Raises only where the target cannot be asked.
    """
    found = Removed(points=dict(decision.gone))
    if decision.may:
        try:
            with every_error():
                door = deleting(place)
                noted()
                past_stale_locks(place, lambda: door.forget(decision.ids(decision.may)), found.notes)
        except DrError as error:
            found.problem = error
        there = listed(place)
        found.left = sorted({*decision.ids(decision.may)} & there)
        went = [run_id for run_id in decision.may if not {*decision.ids([run_id])} & there]
        found.points |= {run_id: decision.may[run_id] for run_id in went}
    found.snapshots = sorted(each for copy in decision.copies(found.points) for each in copy.every_id)
    if found.left and found.problem is None:
        found.problem = DrError(
            f"restic ended well, but {place.name} still lists {len(found.left)} of the snapshots that it was to remove",
            place.repository.where,
            hint="see whether the target is append-only, and name credentials that may delete",
        )
    return found
