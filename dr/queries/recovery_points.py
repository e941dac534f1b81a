"""The points that a drill or a recovery chooses from; those that only a person names, and what else there is."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dr.errors import UsageError
from dr.evidence.record import BackupRun, Drill, Point, SourceCapture
from dr.plan.declarations import Loaded
from dr.plan.units import counted
from dr.run.points.choose import in_words
from dr.run.points.discover import points_in
from dr.run.points.left_behind import OwnRuns
from dr.run.recovery.request import RecoveryRequest
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


def require_point(session: Session, items: list[Loaded], run_id: str | None) -> None:
    """Raise `UsageError` when none of these systems has such a recovery point, here or of another installation."""
    if run_id is None:
        return
    for loaded in items:
        system = loaded.plan.system
        met = [each for target in loaded.plan.places for each in session.catalog.strangers(system, target)]
        if run_id not in {*(point.run_id for point in session.points(loaded)), *(each.run_id for each in met)}:
            hint = f"see `dr points {system}`; `dr points rebuild` finds those that the record lacks"
            raise UsageError(f"{system} has no recovery point {run_id!r}", "--point", hint=hint)


def require_time(session: Session, items: list[Loaded], at: datetime | None) -> None:
    """Raise `UsageError` when every recovery point of one of these systems that is on record is newer than `at`.

    Where none is on record nothing is known: then the targets are asked.
    """
    if at is None:
        return
    for loaded in items:
        oldest = min((point.consistency_time for point in session.points(loaded)), default=None)
        if oldest and at < oldest:
            system = loaded.plan.system
            raise UsageError(
                f"{system} has no recovery point from {in_words(at)} or before; the oldest is of {in_words(oldest)}",
                "--at",
                hint=f"name a later time; `dr points {system}` lists the points",
            )


def lacks_of(session: Session, run_id: str | None) -> tuple[str, ...]:
    """Return what a point does not hold whole, by the record of the run that made it; nothing where none is."""
    if run_id is None:
        return ()
    facts = [record.fact for record in session.catalog.facts(("backup",), ref=run_id)]
    return tuple(line for run in facts if isinstance(run, BackupRun) for each in run.sources for line in _of(each))


def _of(capture: SourceCapture) -> Iterator[str]:
    if capture.whole:
        return
    if capture.snapshot_id is None or capture.outcome == "failed":
        yield f"{capture.source}: it was not captured ({capture.error or 'no reason is on record'})"
        return
    told = False
    for omission in capture.omissions:
        if omission.partial:
            told = True
            yield f"{capture.source}: {omission.what}"
    if capture.unreadable and not told:
        yield f"{capture.source}: {counted(capture.unreadable, 'file')} could not be read at capture"
    elif not told:
        yield f"{capture.source}: {capture.error or 'it was not captured whole'}"


def ways_on(session: Session, loaded: Loaded, request: RecoveryRequest, fact: Drill) -> str:
    """Return what to type when a recovery failed: the way back before an attack, or what else there is."""
    if (hint := back_before_attack(session, loaded, request)) or not request.real or request.tables:
        return hint
    if request.at is not None or request.to is None:
        return ""
    forced = request.target is not None or request.point is not None
    return _what_else(session, loaded, fact, to=request.to) if forced else _what_is_left(loaded, fact, to=request.to)


def back_before_attack(session: Session, loaded: Loaded, request: RecoveryRequest) -> str:
    """Return what to type when a recovery failed and a target was attacked; nothing when none was."""
    from dr.queries.attack_history import (
        attacked,
        way_back,
    )  # views of the past: a recovery that goes well asks for none

    if request.at:
        return ""
    places = loaded.plan.places if request.target is None else [request.target]
    to = str(request.to or "DIR")
    for target, _, before in attacked(session, loaded, places):
        typed = way_back(loaded.plan.system, target, before, to)
        return f"the objects on {target} were deleted or overwritten: go back to before that with `{typed}`"
    return ""


def _what_else(session: Session, loaded: Loaded, fact: Drill, *, to: Path) -> str:
    """Return the commands for another copy of the point that failed, or for an older one; nothing where none is."""
    points = session.points(loaded)
    used = next((point for point in points if point.run_id == fact.run_id), None)
    ways = []
    if used:
        for copy in used.usable:
            if copy.target != fact.target:
                ways.append(f"the same point is on {copy.target}: `{_typed(loaded, used.run_id, copy.target, to)}`")
        older = [point for point in points if point.usable and point.consistency_time < used.consistency_time]
        if newest := max(older, key=lambda point: point.consistency_time, default=None):
            beside = to.with_name(f"{to.name}-{newest.run_id}")  # never two points in one place
            typed = _typed(loaded, newest.run_id, newest.usable[0].target, beside)
            ways.append(f"an older point, of {in_words(newest.consistency_time)}: `{typed}`")
    return "; ".join(ways)


def _what_is_left(loaded: Loaded, fact: Drill, *, to: Path) -> str:
    """Return what to type when every copy that was tried is damaged; nothing when that is not what happened."""
    first = next(iter(fact.passed_over), None)
    if first is None:
        return ""
    system = loaded.plan.system
    typed = shlex.join(["dr", "recover", system, "--point", first.run_id, "--to", str(to)])
    return (
        f"no copy that was tried came back whole: `dr verify {system}` tells which points are, `dr repair {system}` "
        f"brings back what another copy has; what is left of the newest point comes back with `{typed}`"
    )


def _typed(loaded: Loaded, run_id: str, target: str, to: Path) -> str:
    return shlex.join(["dr", "recover", loaded.plan.system, "--point", run_id, "--target", target, "--to", str(to)])
