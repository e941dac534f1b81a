"""What a backup rests on: the objects that a target held at the last look, held against its listing now.

restic stores nothing again that its index names, and believes the index: where a pack was lost meanwhile, a new
snapshot names it in vain. So each run lists the repository once, with sizes and times, and holds that against the
last look: what is written once is there, and as it was. Only where something is gone, was written again, or is less
than restic says that it added, is the index itself asked, by the same proof as in `dr verify`. What retention or a
prune took away, the index no longer names.

The look is kept in the cache; where none is, what the last proof saw counts, and after that the index is asked once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dr.errors import DamageError
from dr.evidence.record import Copy, Damage, Point
from dr.late_dataclass import dataclass
from dr.plan.units import counted, first_few
from dr.run.backup.last_look import Difference, compare, keep, kept
from dr.run.backup.progress import BackupRequest
from dr.run.verification.inventory import Inventory, id_of, listed
from dr.run.verification.memory import VerifyMemory
from dr.run.verification.verify import verify
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.state_dir import StateDir

#: So much of what was written again is read at most in one backup: the rest is for a proof of all bytes.
_READ_OBJECTS, _READ_BYTES = 100, 200_000_000


@dataclass(frozen=True)
class Stock:
    """What a look showed: the points, by run id, that rest on what is not whole there; of those, the doubtful ones."""

    harmed: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    damage: tuple[Damage, ...] = ()
    note: str = ""


def take_stock(
    toolbox: Toolbox, place: Place, request: BackupRequest, ours: Point, *, added: int, began: bool
) -> Stock:
    """Hold what a target lists against what was there; `ours` is the point that was stored just now.

    `added` are the bytes that restic says it added, `began` whether the repository was made in this run. Raises when
    the target cannot be asked.
    """
    path = kept_at(toolbox.state, place)
    there = listed(place.store)
    seen = compare((), there, most=_READ_OBJECTS) if began else _against_last(path, place, request, there)
    spoilt, note = _spoilt(place, seen)
    if (began or seen.known) and not spoilt and not seen.gone and seen.grown >= added:
        keep(path, there)
        return Stock(note=note)
    proof, _ = verify(
        toolbox,
        place,
        level=1,
        points=(ours, *request.points),
        previous=VerifyMemory(),
        clock=request.clock,
        run_id=request.run_id,
        spent=request.spent,
        found_before=spoilt,
    )
    damage = tuple(item for item in proof.damage if item.problem != "unreferenced" and not _is_lost_point(item))
    if not damage and not proof.damaged_points:
        keep(path, there)
    return Stock(proof.damaged_points, proof.doubtful_points, damage, note)


def kept_at(state: StateDir, place: Place) -> Path:
    """Return where the last look at a place is kept."""
    return state.cache / "stock" / f"{place.system}@{place.name}.look"


def point_of(request: BackupRequest, place: Place, snapshots: Mapping[str, str], manifests: Mapping[str, str]) -> Point:
    """Return what a run stored on a target as a point."""
    now = request.clock()
    copy = Copy(target=place.name, complete=True, snapshots=dict(snapshots), manifests=dict(manifests))
    return Point(
        run_id=request.run_id,
        system=place.system,
        consistency_time=now,
        finished=now,
        outcome="ok",
        kinds={},
        copies=(copy,),
    )


def in_vain(found: Stock, place: Place) -> DamageError:
    """Return what keeps a point that was stored just now from being whole."""
    return DamageError(
        f"the new point rests on what is not there whole ({_in_words(found.damage)}): restic's index still names it",
        place.repository.where,
        hint=_mend(place.system, place.name),
    )


def notes(found: Stock, target: str, system: str, harmed: Sequence[str]) -> list[str]:
    """Say which earlier points rest on the same, and what else is to be said."""
    told = [found.note] if found.note else []
    if harmed:
        some = first_few(harmed)
        told.append(
            f"{counted(len(harmed), 'earlier recovery point')} on {target} cannot be used as it is there "
            f"({_in_words(found.damage)}): {some}; {_mend(system, target)}"
        )
    return told


def _mend(system: str, target: str) -> str:
    return f"run `dr repair {system} --target {target}`, then `dr backup {system}`: it stores again what is lost"


def _in_words(damage: tuple[Damage, ...]) -> str:
    gone = sum(item.problem == "missing" for item in damage)
    bad = len(damage) - gone
    parts = [f"{counted(gone, 'object')} missing"] * bool(gone) + [f"{counted(bad, 'object')} damaged"] * bool(bad)
    return ", ".join(parts) or "its index or structure is damaged"


def _is_lost_point(item: Damage) -> bool:
    return item.object.startswith("snapshots/") and item.problem == "missing"


def _against_last(path: Path, place: Place, request: BackupRequest, there: Inventory) -> Difference:
    """Hold a listing against the last look; where none is kept that can be used, against what the last proof saw."""
    with suppress(OSError, ValueError):
        seen = compare(kept(path), there, most=_READ_OBJECTS)
        if seen.known:
            return seen
    proven = ((name, size, None) for name, size in request.proven(place.name))
    return compare(proven, there, most=_READ_OBJECTS)


def _spoilt(place: Place, seen: Difference) -> tuple[list[Damage], str]:
    """Read what was written again since the last look: its SHA-256 is its name, or it is spoilt."""
    spoilt, read, done = [], 0, 0
    for item, was in seen.again:
        read += item.size
        if read > max(_READ_BYTES, item.size):
            break
        done += 1
        try:
            whole = place.store.sha256(item.name)[0] == id_of(item.name)
        except DamageError:
            continue  # it went away just now: the next look says so
        if not whole:
            spoilt.append(Damage(object=item.name, problem="truncated" if item.size < was else "corrupt"))
    if not (left := seen.number - done):
        return spoilt, ""
    return spoilt, (
        f"{counted(seen.number, 'object')} on {place.name} were written again since the last backup, and {left} of "
        f"them were not read: run `dr verify {place.system} --level 2`"
    )
