"""The verb recover: the real thing. The engine of a drill, onto the real place (`dr.run.recovery.destination`).

Files come back into the directory that was named, databases into the server that the plan names: beside the
live ones, which are replaced only when all mandatory checks have passed, and only when they were named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dr.errors import DrError, UsageError
from dr.evidence.record import Drill, Point
from dr.run.points.choose import choose
from dr.run.recovery import under_way
from dr.run.recovery.destination import Destination, Marker, read_marker, refuse_small, refuse_unfit
from dr.run.recovery.engine import carry_out
from dr.run.recovery.place.restore_host import MANIFESTS
from dr.run.recovery.place.sandbox import CACHE, Sandbox, sweep
from dr.run.recovery.recover_tables import refuse_no_tables, run_tables
from dr.run.recovery.request import RecoveryRequest
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Toolbox
from dr.sources.driver import RestoredSource, RestoreSlot


def run_recover(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> Drill:
    """Recover one system and return the fact; run again after an interruption, it goes on.

    Raises `UsageError` with nothing touched when `to` is unfit, `LockedError` when another recovery is at
    work there; `refuse_live` is the caller's to ask first. Everything else that goes wrong is in the fact.
    """
    if request.in_place:
        return _put_back(toolbox, points, request)
    if request.tables:
        return run_tables(toolbox, suitable(points, request), request)
    begun, again = read_marker(request.into), request.typed(toolbox.plan.system)
    request = replace(resumed(request), again=again, token=begun.drill_id if begun else request.drill_id)
    if request.at:
        request = replace(request, travel=Travel(request.at, toolbox.state, request.clock))
    destination = Destination(request, toolbox.plan.system)
    with destination.held():
        refuse_unfit(request.into, system=toolbox.plan.system, force=request.force)
        if begun:  # that one alone: a recovery does not wait for what drills left behind
            sweep(toolbox.state, only=begun.drill_id + CACHE)
        with under_way.written_down(toolbox.state, toolbox.plan.system, request.into, again):
            return carry_out(toolbox, suitable(points, request), request, destination)


def _put_back(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> Drill:
    """Recover files by way of a sandbox, and put them back where they were; one recovery of a system at a time."""
    if request.at:
        request = replace(request, travel=Travel(request.at, toolbox.state, request.clock))
    system = toolbox.plan.system
    with toolbox.state.hold(f"{system}.in-place", what=f"files of {system} are being put back"):
        return carry_out(toolbox, suitable(points, request), request, Sandbox(toolbox.state, request.drill_id))


def refuse_live(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest) -> list[RestoredSource]:
    """Raise `UsageError` when the directory is unfit, a live database in the way, its server out of reach, or a table
    that was named is in none of the points.

    Nothing is touched.

    Return what the restore will make of the plan's sources.
    """
    if request.in_place:
        return []
    if request.tables:
        refuse_no_tables(toolbox, points, request)
        return []
    refuse_unfit(request.into, system=toolbox.plan.system, force=request.force)
    if request.paths:
        refuse_small(request.into, request.size or 0)
        return []
    if not request.as_files:
        under_way.refuse_other(toolbox.state, toolbox.plan.system, request.into)

    def nowhere(kind: str) -> Path:
        raise DrError(f"no place for {kind} is made before the recovery begins", hint="recover without --dry-run")

    found = []
    for name in toolbox.plan.sources:
        room = RestoreSlot(
            root=request.into / name,
            apart=request.into / MANIFESTS / name,
            annex=nowhere,
            token=request.drill_id,
            real=True,
            replace=request.replaced,
        )
        instance = toolbox.source(name).restored(room)
        if not (instance.takes_stream and request.as_files):
            instance.preflight()
            found.append(instance)
    return found


def resumed(request: RecoveryRequest) -> RecoveryRequest:
    """Return the request with the time that the recovery begun there travelled to, unless another is named."""
    if request.in_place or request.tables:
        return request
    marker = read_marker(request.into)
    return replace(request, at=marker.moment) if marker and request.at is None else request


def suitable(points: Sequence[Point], request: RecoveryRequest) -> Sequence[Point]:
    """Return the points to choose from: all, or the one whose recovery was begun here."""
    marker = None if request.in_place or request.tables else read_marker(request.into)
    if request.point:
        return _only(points, request, marker)
    if marker is None:
        return points
    begun = [point for point in points if point.run_id == marker.run_id]
    if request.at and request.at == marker.moment:
        return begun  # what the record lacks, the view of that time has
    other = request.at and choose(points, request.at, request.target)[0].run_id != marker.run_id
    if (other or not begun) and not request.force:
        raise UsageError(
            f"an unfinished recovery of another point, {marker.run_id}, is here",
            str(request.into),
            hint="leave out --at to finish it, name another directory, or say --force to write over it",
        )
    return points if other or not begun else begun


def _only(points: Sequence[Point], request: RecoveryRequest, marker: Marker | None) -> Sequence[Point]:
    """Return the point that was named; `UsageError` when the recovery of another was begun here."""
    if marker and marker.run_id != request.point and not request.force:
        raise UsageError(
            f"an unfinished recovery of another point, {marker.run_id}, is here",
            str(request.into),
            hint="leave out --point to finish it, name another directory, or say --force to write over it",
        )
    return [point for point in points if point.run_id == request.point]
