"""What `dr points` tells: its documents, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from dr.evidence.look import Stranger
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.plan.units import format_bytes
from dr.report.documents import point_document
from dr.report.protection import guard_of


@dataclass(frozen=True)
class ListedPoint:
    """A point, the ids of the holds on it, and whether the plan's retention has no use for it any more."""

    point: Point
    holds: tuple[str, ...] = ()
    spent: bool = False


@dataclass(frozen=True)
class MetThere:
    """What another installation stores on a target where a system's copies are."""

    system: str
    target: str
    stranger: Stranger


def listed_document(listed: ListedPoint) -> dict[str, Any]:
    """One point of `dr points`."""
    kept = "spent" if listed.spent else "kept"
    return {**point_document(listed.point), "holds": list(listed.holds), "retention": kept}


def strange_document(met: MetThere) -> dict[str, Any]:
    """One of the `strangers` of `dr points`."""
    seen = met.stranger
    return {
        "system": met.system,
        "target": met.target,
        "run_id": seen.run_id,
        "installation": seen.installation,
        "machine": seen.machine,
    }


def strange_in_words(met: MetThere) -> str:
    """Say what was met."""
    seen = met.stranger
    by = f" by the installation {seen.installation} on {seen.machine}" if seen.installation else ""
    return f"{met.system}: {seen.run_id} on {met.target} was made{by} and is on no record here: it is not used"


def points_table(points: Sequence[ListedPoint], now: datetime) -> list[dict[str, str]]:
    """Return the rows of the list, under their heads."""
    return [
        {
            "system": each.point.system,
            "as of": f"{each.point.consistency_time:%Y-%m-%d %H:%M:%S}Z",
            "point": each.point.run_id,
            "outcome": _ended(each.point) + (", on hold" if each.holds else ""),
            "size": format_bytes(each.point.bytes),
            "proof": str(each.point.proof_level),
            "targets": ", ".join(copy.target for copy in each.point.usable) or "none",
            **_guarded(each.point, now),
        }
        for each in points
    ]


def _ended(point: Point) -> str:
    destroyed = bool(point.copies) and all(copy.destroyed for copy in point.copies)
    lacking = "its keys were destroyed" if destroyed else _lacking(point)
    if not destroyed and any(copy.complete and not copy.missing for copy in point.copies):
        lacking = "doubtful" if any(copy.doubtful for copy in point.copies) else "damaged"
    flaws = [*([] if point.complete else [lacking]), *(["suspect"] if point.suspect else [])]
    return ", ".join([point.outcome, *flaws])


def _lacking(point: Point) -> str:
    """Say why a point is not complete: where it was lost, and when it was last seen there."""
    if point.lost:
        return "; ".join(
            f"lost on {copy.target}" + (f", last seen {copy.seen:%Y-%m-%d %H:%M}Z" if copy.seen else "")
            for copy in point.lost
        )
    return "not complete" if point.copies else "on no target any more"


def _guarded(point: Point, now: datetime) -> dict[str, str]:
    guard = guard_of(point)
    free = guard.destroyable_from
    return {
        "protected": guard.in_words(now),
        "destroyable": f"from {free:%Y-%m-%d}" if free and free > now else "now",
    }
