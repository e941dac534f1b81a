"""Catch-up: a target that was down gets the points it missed, copied from a target that has them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dr.errors import DrError, InterruptedRunError
from dr.evidence.look import LateCopy
from dr.evidence.record import Copy, Point
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.restic import Repository

log = logging.getLogger("dr.backup")


def catch_up(
    toolbox: Toolbox,
    ready: Mapping[str, Place],
    missed: Mapping[str, tuple[Point, ...]],
    *,
    work: Path,
    notes: list[str],
) -> tuple[LateCopy, ...]:
    """Copy to each ready target the points it lacks. A point that cannot be copied is noted and left."""
    done: list[LateCopy] = []
    for name, points in missed.items():
        for point in points:
            giver = next((copy for copy in point.usable if copy.target in ready), None)
            if name not in ready or giver is None:
                continue
            try:
                done.append(_copy(ready[giver.target], ready[name], point, giver, work=work))
            except InterruptedRunError:
                raise
            except DrError as error:
                notes.append(f"point {point.run_id} could not be copied to {name}: {error.what}")
                log.warning("%s: point %s not copied to %s: %s", toolbox.plan.system, point.run_id, name, error)
                break
    return tuple(done)


def _copy(giver: Place, taker: Place, point: Point, copy: Copy, *, work: Path) -> LateCopy:
    snapshots, manifests = copy_snapshots(giver, taker, copy.ids, run_id=point.run_id, work=work)
    if set(snapshots) != set(copy.snapshots):
        raise DrError("the copy is not whole", taker.name, hint="run the backup again")
    return LateCopy(run_id=point.run_id, target=taker.name, snapshots=snapshots, manifests=manifests)


def copy_snapshots(
    giver: Place, taker: Place, ids: Sequence[str], *, run_id: str, work: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Copy snapshots of a run; return what the taker then has of that run, by source: data, and manifests.

    What is there stays, so it may be called twice. Raises `DrError` when one of the two fails.
    """
    if giver.repository.location.startswith("s3:") and taker.repository.location.startswith("s3:"):
        between = _between(giver, work)
        between.copy_from(giver.repository, ids)
        taker.repository.copy_from(between, [snapshot.id for snapshot in between.snapshots()])
    else:
        taker.repository.copy_from(giver.repository, ids)
    found = taker.repository.snapshots((f"dr-run={run_id}",))
    snapshots = {s.tags["source"]: s.id for s in found if s.tags.get("part") == "data"}
    manifests = {s.tags["source"]: s.id for s in found if s.tags.get("part") in ("manifest", "amend")}
    return snapshots, manifests


def _between(giver: Place, work: Path) -> Repository:
    """A passing local repository: two S3 targets have two key pairs, and restic takes one at a time."""
    place = work / "between" / giver.name  # it opens with the giver's passphrase
    # Without the giver's keys: copy_from puts together what each step needs.
    middle = replace(giver.repository, location=str(place), where="a passing copy")
    if not (place / "config").exists():
        middle.init()
    return middle
