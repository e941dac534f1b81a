"""What `dr mount` tells: its document, and its lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dr.evidence.point_there import PointThere
from dr.evidence.seal import encode
from dr.plan.units import counted


def mounted_document(system: str, target: str, at: str, points: Sequence[PointThere]) -> dict[str, Any]:
    """The `mount` of the document: where it was, and the folder of each point, the newest first."""
    return {
        "system": system,
        "target": target,
        "directory": at,
        "points": [
            {
                "run_id": each.run_id,
                "consistency_time": encode(each.point.consistency_time),
                "folder": each.folder,
                "condition": each.condition or "ok",
                "sources": each.point.kinds,
            }
            for each in points
        ],
    }


def mounted_lines(system: str, target: str, at: str, points: Sequence[PointThere]) -> list[str]:
    """Return what is told once it can be looked at."""
    newest = points[0]
    time = f"{newest.point.consistency_time:%Y-%m-%d %H:%M:%S} UTC"
    lines = [
        f"{system} on {target} is mounted at {at}, to be read only: {counted(len(points), 'recovery point')}",
        f"  newest     {newest.folder}, of {time}",
    ]
    kinds = {source: kind for each in reversed(points) for source, kind in each.point.kinds.items()}
    lines += [f"  {source:<10} {_what(kind)}" for source, kind in sorted(kinds.items())]
    if not_whole := [each for each in points if each.condition]:
        names = ", ".join(each.folder for each in not_whole[:3])
        lines += [f"  take care  {len(not_whole)} not to be relied on, as their names tell: {names}"]
    return lines


def _what(kind: str) -> str:
    if kind == "files":
        return "files and folders, below their whole paths"
    return f"{kind}: as it was stored, in a file; `dr recover` loads it into its place"
