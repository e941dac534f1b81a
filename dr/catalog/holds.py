"""Holds, read from the chain itself: a row that went missing in an index could not lift one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dr.evidence.acts import Hold, HoldEvent
from dr.evidence.seal import Sealed


def held(records: Iterable[Sealed]) -> list[Hold]:
    """Return the holds that records tell of, oldest first; the released and those that ran out too."""
    found: dict[str, Hold] = {}
    for record in records:
        fact = record.fact
        if isinstance(fact, HoldEvent):
            _note(found, fact)
    return list(found.values())


def _note(found: dict[str, Hold], event: HoldEvent) -> None:
    """Bring the holds up to date with what happened to one of them."""
    if event.act == "placed":
        found[event.hold_id] = Hold(
            hold_id=event.hold_id,
            system=event.system,
            reason=event.reason,
            placed=event.started,
            until=event.until,
            point=event.point,
        )
    elif event.hold_id in found:
        released = replace(found[event.hold_id], released=event.started, released_reason=event.reason)
        found[event.hold_id] = released
