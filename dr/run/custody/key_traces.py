"""What stays of a key that was removed: a bucket with versions keeps the object, and a lock keeps the version."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dr.errors import DrError
from dr.run.toolbox import Place
from dr.tools.erase import Lock, eraser_of


def kept_versions(place: Place, key_ids: Sequence[str]) -> tuple[str, ...]:
    """Say of each removed key until when a version of it stays; nothing where none does. Raises nothing."""
    notes = []
    for key in key_ids:
        try:
            eraser = eraser_of(place.store)
            traces = [trace for trace in eraser.traces(f"keys/{key}") if not trace.marker]
            locks = eraser.locks(traces)
        except DrError as error:
            notes.append(
                f"whether a version of the removed key {key[:8]} stays on {place.name}, it did not say: {error.what}"
            )
            continue
        if traces:
            notes.append(f"a version of the removed key {key[:8]} stays on {place.name}, {_how_long(locks)}")
    return tuple(notes)


def _how_long(locks: Sequence[Lock]) -> str:
    until = last_of(locks)
    if any(lock.until is None for lock in locks):
        return "under a legal hold: with the old passphrase it still opens what is stored there"
    if until is None:
        return "unlocked, until old versions are removed: with the old passphrase it still opens what is stored there"
    mode = next(lock.mode for lock in locks if lock.until == until)
    return (
        f"locked ({mode}) until {until:%Y-%m-%d %H:%M} UTC at least: until it is removed then, the old passphrase "
        "still opens what is stored there"
    )


def last_of(locks: Sequence[Lock]) -> datetime | None:
    """Return when the last of the locks runs out; None without any that has an end."""
    return max((lock.until for lock in locks if lock.until), default=None)
