"""What stays of a key that was removed: a bucket with versions keeps the object, and a lock keeps the version."""

from __future__ import annotations

from collections.abc import Sequence

from dr.errors import DrError
from dr.run.workspace.toolbox import Place
from dr.tools.s3_versions import Lock, Protection


def kept_versions(place: Place, key_ids: Sequence[str]) -> tuple[str, ...]:
    """Say of each removed key until when a version of it stays; nothing where none does. Raises nothing."""
    notes = []
    for key in key_ids:
        try:
            eraser = place.driver.eraser(place.store)
            traces = [trace for trace in eraser.traces(f"keys/{key}") if not trace.marker]
            found = eraser.protections(traces)
        except DrError as error:
            notes.append(
                f"whether a version of the removed key {key[:8]} stays on {place.name}, it did not say: {error.what}"
            )
            continue
        if traces:
            notes.append(f"a version of the removed key {key[:8]} stays on {place.name}, {_how_long(found)}")
    return tuple(notes)


def _how_long(found: Sequence[Protection]) -> str:
    if any(each.legal_hold for each in found):
        return "under a legal hold: with the old passphrase it still opens what is stored there"
    last = last_of(found)
    if last is None:
        return "unlocked, until old versions are removed: with the old passphrase it still opens what is stored there"
    return (
        f"locked ({last.mode}) until {last.until:%Y-%m-%d %H:%M} UTC at least: until it is removed then, the old "
        "passphrase still opens what is stored there"
    )


def last_of(found: Sequence[Protection]) -> Lock | None:
    """Return the lock that runs out last; None when there is none."""
    return max((each.lock for each in found if each.lock), key=lambda lock: lock.until, default=None)
