"""What a backup rests on: the objects that a target held at the last look, held against its listing now.

restic stores nothing again that its index names, and believes the index: where a pack was lost meanwhile, a new
snapshot names it in vain. So each run lists the repository once, with sizes and times, and holds that against the
last look: what is written once is there, and as it was. Only where something is gone, was written again, or is less
than restic says that it added, is the index itself asked, by the same proof as in `dr verify`. What retention or a
prune took away, the index no longer names.

The look is kept in the cache; where none is, what the last proof saw counts, and after that the index is asked once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dr.errors import DamageError
from dr.evidence.record import Copy, Damage, Point
from dr.late_dataclass import dataclass
from dr.plan.units import counted
from dr.run.backup.capture import BackupRequest
from dr.run.verification.inventory import Inventory, Listed, id_of, listed
from dr.run.verification.memory import VerifyMemory
from dr.run.verification.verify import verify
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.state_dir import StateDir

#: What is written once and never again. That snapshots are gone is seen by who looks for points.
_ONCE = ("data/", "index/", "snapshots/")
_NEEDED = ("data/", "index/")
#: So much of what was written again is read at most in one backup: the rest is for a proof of all bytes.
_READ_OBJECTS, _READ_BYTES = 100, 200_000_000

#: By name: the size in bytes, and when it was written in seconds since 1970; None where only the size is known.
Known = Mapping[str, tuple[int, float | None]]


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
    before = {} if began else _read(path) or {name: (size, None) for name, size in request.proven(place.name).items()}
    there = listed(place.store)
    spoilt, note = _spoilt(place, before, there)
    known = began or bool(before)
    if known and not spoilt and not _is_any_gone(before, there) and _grown(before, there) >= added:
        _write(path, there)
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
        _write(path, there)
    return Stock(proof.damaged_points, proof.doubtful_points, damage, note)


def kept_at(state: StateDir, place: Place) -> Path:
    """Return where the last look at a place is kept."""
    return state.cache / "stock" / f"{place.system}@{place.name}.json"


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
        some = ", ".join(harmed[:3]) + (f" and {len(harmed) - 3} more" if len(harmed) > 3 else "")
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


def _is_any_gone(before: Known, there: Inventory) -> bool:
    left = {name for name in before if name.startswith(_NEEDED)}
    left.difference_update(item.name for item in there)
    return bool(left)


def _grown(before: Known, there: Inventory) -> int:
    """Return the bytes of data that were not there before."""
    return sum(item.size for item in there.in_order("data/") if item.name not in before)


def _spoilt(place: Place, before: Known, there: Inventory) -> tuple[list[Damage], str]:
    """Read what was written again since the last look: its SHA-256 is its name, or it is spoilt."""
    again, spoilt, read, left = _again(before, there), [], 0, 0
    for number, item in enumerate(again):
        read += item.size
        if number >= _READ_OBJECTS or read > max(_READ_BYTES, item.size):
            left = len(again) - number
            break
        try:
            whole = place.store.sha256(item.name)[0] == id_of(item.name)
        except DamageError:
            continue  # it went away just now: the next look says so
        if not whole:
            shorter = item.size < before[item.name][0]
            spoilt.append(Damage(object=item.name, problem="truncated" if shorter else "corrupt"))
    if not left:
        return spoilt, ""
    return spoilt, (
        f"{counted(len(again), 'object')} on {place.name} were written again since the last backup, and {left} of them "
        f"were not read: run `dr verify {place.system} --level 2`"
    )


def _again(before: Known, there: Inventory) -> list[Listed]:
    """Return what has another size or time than before, those of another size first."""
    found = []
    for item in there:
        if item.name in before and item.name.startswith(_ONCE):
            was, written = before[item.name]
            if item.size != was or (written is not None and item.modified / 1e6 != written):
                found.append((item.size == was, item))
    return [item for _, item in sorted(found)]


def _read(path: Path) -> dict[str, tuple[int, float | None]]:
    """Return the last look; nothing where none is kept, or what is kept cannot be understood."""
    try:
        kept = json.loads(path.read_text("utf-8"))
        return {str(name): (int(size), float(written)) for name, (size, written) in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, there: Inventory) -> None:
    """Keep a look. A cache that cannot be written costs the next run a proof, and no more."""
    seen = {item.name: (item.size, item.modified / 1e6) for item in there if item.name.startswith(_ONCE)}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".new")
        made.write_text(json.dumps(seen, separators=(",", ":")), "utf-8")
        made.replace(path)
