"""How much room is left on targets whose files declare a bound: by what is kept of the last listings there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dr.catalog.values import SIZE
from dr.evidence.size import KnownSize
from dr.report.bounds import BOUNDS, Rated, Room
from dr.session import Session

if TYPE_CHECKING:
    from dr.plan.target import Target

#: In the place of a system's name, where the catalog keeps what is known of a target as a whole.
WHOLE = "/target"


def rooms(session: Session) -> Iterator[Room]:
    """Yield the targets that declare a bound and of which something was listed. Reads the catalog alone."""
    for name, target in sorted(session.declarations.targets.items()):
        if (target.capacity or target.budget) and (room := room_of(session, target, name)):
            yield room


def room_of(session: Session, target: Target, name: str) -> Room | None:
    """Return the room of one target; None where no listing is known."""
    systems = [each for each, item in session.declarations.plans.items() if name in item.plan.places]
    kept, now = (session.catalog.memory(system, name + SIZE) for system in systems), session.clock()
    sizes = [size for text in kept if text and (size := KnownSize.of(text)) and size.seen.at <= now]
    if not sizes:
        return None
    whole = _whole_of(session, name)
    return Room(
        target=name,
        capacity=target.capacity,
        budget=target.budget,
        sizes=sizes,
        unlisted=len(systems) - len(sizes),
        rated=Rated(**whole["rated"]) if whole.get("rated") else None,
        since={bound: datetime.fromisoformat(whole[bound]) for bound in BOUNDS if whole.get(bound)},
    )


def _whole_of(session: Session, target: str) -> dict[str, Any]:
    """Return what is kept of a target as a whole: `rated`, and from when each bound is known to be near."""
    try:
        kept = json.loads(session.catalog.memory(WHOLE, target) or "{}")
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}
