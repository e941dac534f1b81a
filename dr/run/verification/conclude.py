"""What a verification found, made into the fact: the level it reached, and the points that it holds for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from dr.errors import DrError
from dr.evidence.record import Damage, Outcome, Point, Proof
from dr.plan.units import counted
from dr.run.verification.findings import Findings, snapshots_of
from dr.run.workspace.toolbox import Place, Toolbox


def conclude(
    toolbox: Toolbox,
    place: Place,
    found: Findings,
    points: Sequence[Point],
    *,
    started: datetime,
    finished: datetime,
    asked: int,
    run_id: str,
) -> Proof:
    """Return the fact. Asks the target, through restic, which points need what is damaged."""
    gone = {point.run_id for point in found.expired if snapshots_of(place, point)}
    away = {*gone, *(found.look.lost if found.look else ()), *(found.look.gone if found.look else ())}
    here = [p for p in points if p.run_id not in away and any(copy.target == place.name for copy in p.copies)]
    real = found.real
    hit, doubtful = _hit(place, here, found)
    outcome: Outcome = "failed" if real or found.problems else "degraded" if not found.level or found.behind else "ok"
    level = found.level if outcome == "ok" else min(found.level, 1) if not found.problems else 0
    error = found.problems[0] if found.problems and (found.exchanged or found.keyless or not real) else None
    error = found.notes[-1] if outcome == "degraded" else error
    return Proof(
        run_id=run_id,
        system=toolbox.plan.system,
        target=place.name,
        started=started,
        finished=finished,
        outcome=outcome,
        level_asked=asked,
        level_reached=level if not real else 0,
        objects=found.objects,
        bytes=found.bytes,
        damage=tuple(found.damage),
        points=tuple(p.run_id for p in here if p.run_id not in hit),
        damaged_points=tuple(p.run_id for p in here if p.run_id in hit),
        doubtful_points=tuple(p.run_id for p in here if p.run_id in doubtful),
        expired=tuple(sorted(gone)),
        share=found.share,
        notes=tuple(found.notes),
        error=_index_damaged(len(hit), len(doubtful)) if found.apart else error,
        error_hint=found.hint if error and not found.apart else "",
        versions=dict(toolbox.versions),
        object_lock=place.object_lock(),
        looks=(found.look,) if found.look else (),
        healed=(found.healed,) if found.healed else (),
        coverage=found.coverage,
    )


def _index_damaged(hit: int, doubtful: int) -> str:
    """Say what index damage means: what restic cannot find is there, or not."""
    if not doubtful:
        return f"data that {counted(hit, 'point')} need is lost"
    if doubtful == hit:
        return f"the index is damaged, the data is not: {counted(hit, 'point')} doubtful until it is repaired"
    return (
        f"the index is damaged: of the {counted(hit, 'point')} hit {doubtful} have all their data, and are doubtful "
        "until it is repaired"
    )


def _hit(place: Place, points: Sequence[Point], found: Findings) -> tuple[set[str], set[str]]:
    """Return the points that damage keeps from being used, and those of them whose data is all there."""
    if found.apart is None:
        return _need(place, points, found.real, everything=bool(found.problems)), set()
    snapshots = {item.object.rpartition("/")[2] for item in found.real if item.object.startswith("snapshots/")}
    lost = _of(place, points, snapshots | found.apart.lacking)
    hit = {point.run_id for point in points} if found.apart.hit is None else _of(place, points, found.apart.hit)
    return hit | lost, hit - lost


def _of(place: Place, points: Sequence[Point], snapshots: Collection[str]) -> set[str]:
    """Return the points of which a copy there has any of these snapshots."""
    wanted = set(snapshots)
    copies = ((point, copy) for point in points for copy in point.copies if copy.target == place.name)
    return {point.run_id for point, copy in copies if not wanted.isdisjoint(copy.ids)}


def _need(place: Place, points: Sequence[Point], damage: Sequence[Damage], *, everything: bool) -> set[str]:
    """Return the points that need a damaged object: all, when what opens the repository is damaged."""
    if everything and not damage:
        return {point.run_id for point in points}
    vital = [item for item in damage if item.object.startswith(("config", "keys", "index/"))]
    if vital:
        return {point.run_id for point in points}
    snapshots = {item.object.rpartition("/")[2] for item in damage if item.object.startswith("snapshots/")}
    packs = [item.object.rpartition("/")[2] for item in damage if item.object.startswith("data/")]
    try:
        snapshots |= place.repository.find_pack(packs)
    except DrError:
        return {point.run_id for point in points}  # what cannot be told apart is not vouched for
    return _of(place, points, snapshots)
