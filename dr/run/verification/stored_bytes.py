"""Level 2: stored bytes against the names they are stored under, and what is stored that nothing names.

What the target lists is held against what it held before, all of it; what is then read, `rotation` says. The memory
keeps what was last seen whole: what is damaged, or changed and not yet read, is before all else in the next run too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from dr.errors import DrError
from dr.evidence.record import Damage
from dr.evidence.stored_object import StoredObject, micros
from dr.plan.units import counted, format_bytes, format_duration
from dr.run.verification import object_hashes as inventory
from dr.run.verification.findings import Findings, snapshots_of
from dr.run.verification.memory import VerifyMemory, pack_name, with_index
from dr.run.verification.object_hashes import Inventory
from dr.run.verification.rotation import ReadingRule, coverage_of, is_read, to_read
from dr.run.workspace.toolbox import Place
from dr.tools import activity
from dr.tools.restic_events import Checked, Index
from dr.tools.store import ObjectStore


def prove_bytes(
    place: Place,
    found: Findings,
    stored: Inventory,
    checked: Checked | None,
    previous: VerifyMemory,
    *,
    rule: ReadingRule,
    clock: Callable[[], datetime],
    keep: Callable[[VerifyMemory], None],
) -> VerifyMemory:
    """Read what is this run's part, judge what is listed and what was read, and return what is known now.

    What was read when a run ends before its time, `keep` is given: the next one goes on from there.
    """
    began = micros(clock())
    try:
        with activity.step("read stored bytes"):
            gone = read_part(place.store, stored, previous, rule, now=began)
    except DrError:
        if stored.hashes and not found.exchanged:
            keep(_read_so_far(stored, previous, began))
        raise
    found.objects, found.bytes = len(stored.hashes), stored.bytes
    needed = _unpruned(place, found, stored, checked, previous)
    expected = needed | {pack_name(pack): size for pack, size in _expected(checked).items()}
    bad = judged(stored, previous, expected, gone)
    names = {item.object for item in bad}
    found.damage = sorted(
        [item for item in found.damage if item.object not in names] + bad, key=lambda item: item.object
    )
    sound = not found.damage and not found.problems
    index = _index(place, found, stored, previous)
    if index:
        strays = inventory.unreferenced(stored, index.packs)
        found.damage += [item for item in strays if item.object not in names]
    if found.exchanged:
        return previous
    memory = remembered(stored, previous, needed, bad=names, now=began)
    found.coverage = coverage_of(stored, memory.objects, rule, micros(clock()), bad=names)
    if not sound:
        return memory
    memory = replace(memory, config_hash=previous.config_hash or stored.hashes.get("config", ""))
    if found.coverage.holds(clock()) or rule.reads_all(found.coverage.bytes):
        found.level = 2
    else:
        _tell_what_waits(place, found)
    return replace(memory, objects=with_index(memory.objects, index))


def _read_so_far(stored: Inventory, previous: VerifyMemory, now: int) -> VerifyMemory:
    bad = {item.object for item in inventory.damage_in(stored, before={}, config_hash=previous.config_hash)}
    return remembered(stored, previous, previous.needed, bad=bad, now=now)


def read_part(
    store: ObjectStore, stored: Inventory, previous: VerifyMemory, rule: ReadingRule, *, now: int
) -> set[str]:
    """Read and hash a run's part of what is stored; return the names of what went away meanwhile."""
    began = time.monotonic()
    names = to_read(stored, previous.objects, rule, now)
    return inventory.hash_all(
        store, stored, names, go_on=lambda: rule.limit is None or time.monotonic() - began < rule.limit
    )


def judged(
    stored: Inventory, previous: VerifyMemory, expected: Mapping[str, int], gone: Collection[str]
) -> list[Damage]:
    """Return what is missing, truncated or corrupt, by what was read and by what is listed."""
    bad = inventory.damage_in(stored, before=expected, config_hash=previous.config_hash, gone=gone)
    return bad + list(_resized(stored, previous, but={item.object for item in bad}))


def _resized(stored: Inventory, previous: VerifyMemory, *, but: Collection[str]) -> Iterator[Damage]:
    """Yield what was whole, has another size now and was not read: bytes of one hash have one size."""
    for name, size in stored.sizes.items():
        was = previous.objects.get(name)
        if was is None or was.read is None or was.size == size or name in stored.hashes or name in but:
            continue
        yield Damage(object=name, problem="truncated" if size < (was.size or 0) else "corrupt")


def remembered(
    stored: Inventory, previous: VerifyMemory, needed: Collection[str], *, bad: Collection[str], now: int
) -> VerifyMemory:
    """Return what is known after a run that began `now` (microseconds since 1970)."""
    objects = {name: _as_known(stored, name, previous.objects.get(name), name in bad, now) for name in stored.sizes}
    lost = (name for name in needed if name not in objects and name in previous.objects)
    objects |= {name: previous.objects[name]._replace(read=None, decrypted=None) for name in lost}
    return replace(previous, objects=objects)


def _as_known(stored: Inventory, name: str, was: StoredObject | None, bad: bool, now: int) -> StoredObject:
    """Return one object as it was last seen whole, or with no time of reading where it never was."""
    size, modified, version = stored.as_listed(name)
    if was is None or was.size is None:
        was = (was or StoredObject())._replace(size=size, modified=modified, version=version, since=now)
    if bad:
        return was._replace(modified=None, read=None, decrypted=None)
    if name in stored.hashes:
        same = is_read(stored, name, was, now)
        decrypted = was.decrypted if same and was.decrypted is not None and was.decrypted <= now else None
        return was._replace(size=size, modified=modified, version=version, read=now, decrypted=decrypted)
    return was


def _tell_what_waits(place: Place, found: Findings) -> None:
    """Say why level 2 is not reached although nothing is damaged."""
    seen = found.coverage
    assert seen is not None  # noqa: S101 - it was just put there
    within = format_duration(seen.whole_within_seconds)
    if seen.unread_objects:
        what = f"{counted(seen.unread_objects, 'object')} ({format_bytes(seen.unread_bytes)}) still to be read"
    else:
        what = f"some objects were read longer than {within} ago, the oldest on {seen.oldest_read:%Y-%m-%d}"
    found.behind = True
    found.notes.append(f"{what}: level 2 asks that all is read within {within}")
    found.hint = (
        f"the next runs go on; to read all now, run `dr verify {place.system} --whole`, or raise `budget` or `minutes` "
        "under `proof` in the plan"
    )


def _unpruned(
    place: Place, found: Findings, stored: Inventory, checked: Checked | None, previous: VerifyMemory
) -> dict[str, int]:
    """Return what must still be there: all that was, but for what retention took away.

    When restic finds a sound structure, an index file or pack that is gone is one that no snapshot there needs. Which
    snapshots must be there the record says.
    """
    needed = previous.needed
    gone = {name for point in found.expired for name in snapshots_of(place, point)}
    gone |= {name for name in needed if name.startswith("snapshots/") and name not in found.on_record}
    if checked and checked.clean:
        gone |= {name for name in needed if name.startswith(("index/", "data/")) and name not in stored.sizes}
    return {name: size for name, size in needed.items() if name not in gone}


def _expected(checked: Checked | None) -> dict[str, int]:
    return {pack: want for pack, (_, want) in checked.truncated.items()} if checked else {}


def _index(place: Place, found: Findings, stored: Inventory, previous: VerifyMemory) -> Index | None:
    """Return what the index names."""
    there, known = {name.rpartition("/")[2] for name in stored.sizes if name.startswith("index/")}, previous.index
    if there == set(known.indexes):
        return known
    if found.problems or any(item.object.startswith(("index/", "keys/", "config")) for item in found.damage):
        return None
    return place.repository.indexed(there, known=known)
