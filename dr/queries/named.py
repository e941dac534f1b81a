"""The points that a drill or a recovery chooses from; and one of another installation, where a person names it."""

from __future__ import annotations

from dataclasses import replace

from dr.evidence.record import Point
from dr.plan.declarations import Loaded
from dr.run.points.discover import points_in
from dr.run.points.left_behind import OwnRuns
from dr.run.workspace.toolbox import Toolbox
from dr.session import Session


def points_for(session: Session, loaded: Loaded, toolbox: Toolbox, run_id: str | None) -> list[Point]:
    """Return the points on record; with that of another installation when `run_id` names it, which is held against it.

    It is read from the targets now. Raises as they do.
    """
    points = session.points(loaded)
    if run_id is None or any(point.run_id == run_id for point in points):
        return points
    stranger = _stranger(session, loaded, toolbox, run_id)
    return [*points, stranger] if stranger else points


def known_here(session: Session) -> OwnRuns:
    """Return which installation this is, and which runs are on record here."""
    return OwnRuns(installation=session.installation, is_known=session.catalog.is_known)


def _stranger(session: Session, loaded: Loaded, toolbox: Toolbox, run_id: str) -> Point | None:
    system, found = loaded.plan.system, None
    for place in toolbox.everywhere:
        if not any(each.run_id == run_id for each in session.catalog.strangers(system, place.name)):
            continue
        for point in points_in(place, system):
            if point.run_id == run_id:
                found = replace(found, copies=(*found.copies, *point.copies)) if found else point
    if found is None:
        return None
    by = f" ({found.maker} on {found.machine})" if found.maker else ""
    return replace(found, suspect=f"another installation made it{by}")
