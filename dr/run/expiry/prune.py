"""The verb prune, on one target: the space of what expired is freed, and what is left is counted, not believed."""

from __future__ import annotations

from dataclasses import field

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.run.expiry.expire import past_stale_locks
from dr.run.workspace.toolbox import Place, deleting


@dataclass(frozen=True)
class Size:
    """How much a repository holds on top: objects, and their bytes."""

    objects: int
    bytes: int


@dataclass
class Freed:
    """What one prune came to; `notes` say what was put right on the way."""

    before: Size
    after: Size
    notes: list[str] = field(default_factory=list)


def size_of(place: Place) -> Size:
    """Return what the target lists of the repository, but for locks."""
    sizes = [item.size for item in place.store.list() if not item.name.startswith("locks/")]
    return Size(len(sizes), sum(sizes))


def prune(place: Place, *, max_repack: int | None, notes: list[str]) -> Freed:
    """Free what no snapshot needs, by the keys that may delete; may be called again after any death.

    Where the disk is too full to store anything again, only what is not in use at all is freed. `notes` gets what is
    put right also when an error is raised: those of restic, and `LockedError` where another program holds the place.
    """
    before = size_of(place)
    door = deleting(place)
    try:
        past_stale_locks(place, lambda: door.prune(max_repack=max_repack), notes)
    except DrError as error:
        if max_repack == 0 or not error.what.endswith("the disk is full"):
            raise
        door.prune(max_repack=0)
        notes.append("the disk is full: only what is not in use at all was freed")
    return Freed(before, size_of(place), notes)
