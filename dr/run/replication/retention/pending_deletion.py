"""How long a replica's objects have been absent at the primary: counted from when that was first seen. Pure.

The dates of objects say nothing, and a clock may be wrong. So what counts is the time between one look and the next,
by the clock of this machine; no step counts for more than a third of the delay, however far the clock jumped, and
after a step back the count begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from dr.evidence.forgetting import Absence
from dr.tools.view import hash_in

#: What may go. Keys, `config` and locks never do.
PARTS = ("snapshots/", "index/", "data/")
#: At least so many looks after the first, however long ago that was.
LOOKS = 3
#: Steps are added up: they may lack this much.
_SLACK = 1.0


def looked(
    before: Iterable[Absence],
    there: Mapping[str, int],
    primary: Collection[str],
    *,
    now: datetime,
    delay: float,
    anew: Collection[str] = (),
    counts: bool = True,
) -> list[Absence]:
    """Return what is absent now, each with the time that counts. `there` is the replica: names and sizes.

    What came back is left out; the count of those named in `anew` begins now. Unless it `counts`, the time since the
    last look is lost.
    """
    known = {absence.name: absence for absence in before if absence.name not in anew}
    gone = [name for name in there if name.startswith(PARTS) and hash_in(name) and name not in primary]
    most = delay / LOOKS if counts else 0.0
    return [_next(known.get(name), name, there[name], now=now, most=most) for name in sorted(gone)]


def _next(known: Absence | None, name: str, size: int, *, now: datetime, most: float) -> Absence:
    step = (now - known.seen).total_seconds() if known else 0.0
    if known is None or step < 0:
        return Absence(name=name, size=size, since=now, seen=now)
    return replace(known, size=size, seen=now, waited=known.waited + min(step, most))


def ripe(absence: Absence, delay: float) -> bool:
    """Whether it has been absent for long enough; for good once its removal was begun."""
    return absence.state == "going" or absence.waited >= delay - _SLACK


def due(absence: Absence, delay: float) -> datetime:
    """Return when it may go at the earliest."""
    return absence.seen + timedelta(seconds=max(0.0, delay - absence.waited))
