"""Recovery points recognised in a repository by the tags of its snapshots alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from dr.evidence.record import Copy, Point
from dr.run.workspace.toolbox import Place
from dr.tools.restic_events import Snapshot


def points_in(place: Place, system: str) -> list[Point]:
    """Return the points that a place holds, newest first; none where no repository is. Raises as restic does."""
    if not place.store.exists("config"):
        return []
    return points_from(place.repository.snapshots((f"dr-system={system}",)), system=system, target=place.name)


def points_from(snapshots: Iterable[Snapshot], *, system: str, target: str) -> list[Point]:
    """Return the points that these snapshots of one system on one target make, newest first."""
    runs: dict[str, list[Snapshot]] = {}
    for snapshot in snapshots:
        if {"run", "source", "part"} <= set(snapshot.tags):
            runs.setdefault(snapshot.tags["run"], []).append(snapshot)
    points = [_point(run_id, parts, system, target) for run_id, parts in runs.items()]
    return sorted(points, key=lambda point: point.consistency_time, reverse=True)


def _point(run_id: str, parts: list[Snapshot], system: str, target: str) -> Point:
    data = {s.tags["source"]: s for s in parts if s.tags["part"] == "data"}
    apart = {s.tags["source"]: s.id for s in parts if s.tags["part"] in ("manifest", "amend")}
    tags = parts[0].tags
    sources = int(tags.get("sources", "0") or 0)
    # What has its manifest apart and lacks it, or a tree that was not read whole, makes no point complete.
    listed_apart = {name for name, s in data.items() if _listed_apart(s.tags)}
    whole = not any(s.tags.get("whole") == "no" for s in parts) and listed_apart <= set(apart)
    complete = whole and sources > 0 and len(data) == sources
    return Point(
        run_id=run_id,
        system=system,
        consistency_time=_consistency(tags, parts),
        finished=max(s.time for s in parts).astimezone(UTC),
        outcome="ok" if complete else "degraded",
        kinds={name: s.tags.get("kind", "files") for name, s in data.items()},
        bytes=_size(data.values()),
        maker=tags.get("installation", ""),
        machine=tags.get("on", ""),
        copies=(Copy(target=target, complete=complete, snapshots={n: s.id for n, s in data.items()}, manifests=apart),),
    )


def _listed_apart(tags: Mapping[str, str]) -> bool:
    """Whether a source's manifest is a snapshot of its own. What 0.1 made tells it by its kind."""
    return tags.get("form") in ("agent", "stream") or tags.get("kind") == "command"


def _size(data: Collection[Snapshot]) -> int | None:
    """Return the bytes of a point's sources, without the manifests that lie beside them; None where nobody says."""
    counted = [None if s.bytes is None else s.bytes - _beside(s.tags) for s in data]
    return None if not counted or None in counted else max(0, sum(filter(None, counted)))


def _beside(tags: Mapping[str, str]) -> int:
    """Return the bytes of ours in a source's snapshot. Snapshots from before these were noted count them as data."""
    noted = tags.get("beside", "")
    return int(noted) if noted.isdecimal() else 0


def _consistency(tags: Mapping[str, str], parts: list[Snapshot]) -> datetime:
    try:
        return datetime.strptime(tags["consistency"], "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)
    except (KeyError, ValueError):
        return min(s.time for s in parts).astimezone(UTC)
