"""Level 2: stored bytes against the names they are stored under, and what is stored that nothing names.

What the target lists is held against what it held before, all of it; what is then read, `rotation` says. The memory
keeps what was last seen whole: what is damaged, or changed and not yet read, is before all else in the next run too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from dr.errors import DrError
from dr.evidence.stored_object import micros
from dr.plan.units import counted, format_bytes, format_duration
from dr.run.verification import object_hashes as inventory
from dr.run.verification.comparison import ListingComparison, unsound
from dr.run.verification.findings import Findings, snapshots_of
from dr.run.verification.inventory import Inventory, id_of
from dr.run.verification.memory import Expected, Named, Seen, VerifyMemory, pack_name
from dr.run.verification.rotation import ReadingRule, coverage_of, to_read
from dr.run.workspace.toolbox import Place
from dr.tools import activity
from dr.tools.restic_events import Checked
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
    against = ListingComparison(stored, previous.objects, began)
    try:
        with activity.step("read stored bytes"):
            read_part(place.store, against, rule, now=began)
    except DrError:
        if stored.read_objects and not found.exchanged:
            keep(replace(previous, objects=_read_so_far(stored, previous, began)))
        raise
    found.objects, found.bytes = stored.read_objects, stored.read_bytes
    expected = _expected(place, found, checked)
    bad = against.damage(expected, config_hash=previous.config_hash)
    names = {item.object for item in bad}
    found.damage = sorted(
        [item for item in found.damage if item.object not in names] + bad, key=lambda item: item.object
    )
    sound = not found.damage and not found.problems
    named = _named(place, found, stored, previous)
    if named:
        strays = inventory.unreferenced(stored, against.strays(named))
        found.damage += [item for item in strays if item.object not in names]
    if found.exchanged:
        return previous
    found.coverage = coverage_of(against, rule, micros(clock()), began=began, bad=names)
    seen = Seen(stored, previous.objects, expected, bad=names, now=began, named=named if sound else None)
    if not sound:
        return replace(previous, objects=seen)
    if found.coverage.holds(clock()) or rule.reads_all(found.coverage.bytes):
        found.level = 2
    else:
        _tell_what_waits(place, found)
    return VerifyMemory(seen, previous.config_hash or stored.hashes.get("config", ""))


def _read_so_far(stored: Inventory, previous: VerifyMemory, now: int) -> Seen:
    """Return what is known where a run ends before its time: nothing but what was read is judged."""
    return Seen(stored, previous.objects, bad=unsound(stored, config_hash=previous.config_hash), now=now)


def read_part(store: ObjectStore, against: ListingComparison, rule: ReadingRule, *, now: int) -> None:
    """Read and hash a run's part of what is stored."""
    began = time.monotonic()
    rows = to_read(against, rule, now)
    inventory.hash_all(
        store, against.stored, rows, go_on=lambda: rule.limit is None or time.monotonic() - began < rule.limit
    )


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


def _expected(place: Place, found: Findings, checked: Checked | None) -> Expected:
    """Return what must still be there: all that was, but for what retention took away.

    When restic finds a sound structure, an index file or pack that is gone is one that no snapshot there needs. Which
    snapshots must be there the record says.
    """
    expired = {name for point in found.expired for name in snapshots_of(place, point)}
    return Expected(
        gone=lambda name: name in expired or (name.startswith("snapshots/") and name not in found.on_record),
        pruned=bool(checked and checked.clean),
        sizes={pack_name(pack): want for pack, (_, want) in checked.truncated.items()} if checked else {},
    )


def _named(place: Place, found: Findings, stored: Inventory, previous: VerifyMemory) -> Named | None:
    """Return what the index names; None where it cannot be asked."""
    there, known = {id_of(item.name) for item in stored.in_order("index/")}, frozenset(previous.indexes)
    if there == known:
        return Named(before=True)
    if found.problems or any(item.object.startswith(("index/", "keys/", "config")) for item in found.damage):
        return None
    grown, ask = known <= there, place.repository.indexed
    packs = (pack for each in sorted(there - known if grown else there) for pack in ask({each}).packs.items())
    return Named.of(packs, frozenset(there), before=grown)
