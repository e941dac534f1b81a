"""Several systems at once: what is put right before them, and what is told after them; and room for their restores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from dr.operations.heal import heal
from dr.plan.declarations import Loaded
from dr.session import Session

T = TypeVar("T")
#: Two drills that begin at once are counted together.
_one = threading.Lock()


@contextmanager
def restoring(session: Session, loaded: Loaded) -> Iterator[None]:
    """Hold the room that a drill needs, once there is enough beside the others of this command."""
    from dr.run.recovery.place.side_by_side import SideBySide, claim_of

    with _one:
        restores = session.restores = session.restores or SideBySide.of(loaded.site.limits)
    with restores.held(claim_of(loaded, session.catalog.last_that_worked([loaded.plan.system]), session.state)):
        yield


def across(session: Session, items: Sequence[Loaded], act: Callable[[Loaded], T]) -> list[T]:
    """Put right what was left, do one thing for several systems side by side, save the self-copy, and tell of it."""
    heal(session)
    found = session.each(items, act)
    from dr.operations.self_backup import save_self

    save_self(session)
    if session.declarations.site.notify:
        from dr.operations.tell import tell

        tell(session)
    if session.meters:
        from dr.operations.traffic import count_late

        for item in items:
            count_late(session, item.plan.system)
    return found
