"""When a replica is due."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from dr.evidence.system_status import PlaceState
from dr.plan import cadence
from dr.plan.load import Loaded
from dr.plan.window import opens
from dr.session import Session

#: After a failure, or damage at the source, a replica is tried again so much later, not by every `dr run`.
_AGAIN: Mapping[str, timedelta] = {"degraded": timedelta(days=1)}


_SOON = timedelta(minutes=30)


def due(
    loaded: Loaded, states: Mapping[str, PlaceState], now: datetime, *, but: Collection[str] = ()
) -> datetime | None:
    """Return when a replica of a system is or was first due; None when the next backup decides, or for never.

    `but` names replicas that are left out.
    """
    names = [name for name in loaded.plan.replicas if name not in but]
    moments = [_due(loaded, states.get(name), states.get(loaded.plan.targets[0]), now) for name in names]
    return min((moment for moment in moments if moment), default=None)


def in_window(loaded: Loaded, moment: datetime | None) -> datetime | None:
    """Return when what is due at a moment may be replicated, by the windows of the site."""
    return moment and opens(loaded.site.windows.get("replicate", ()), loaded.plan.cadence.timezone, moment)


def due_replicas(session: Session, loaded: Loaded) -> list[str]:
    """Return the replicas of a system that are due now."""
    now, names = session.clock(), loaded.plan.replicas
    states = session.catalog.replication_states({loaded.plan.system: loaded.plan.places}, now=now)[loaded.plan.system]
    moments = {name: _due(loaded, states.get(name), states.get(loaded.plan.targets[0]), now) for name in names}
    return [name for name, moment in moments.items() if moment and moment <= now]


def _by_now(moment: datetime | None, now: datetime) -> datetime | None:
    """What bears a time still to come is from before the clock was set back, and puts nothing off."""
    return moment if moment and moment <= now else None


def _due(loaded: Loaded, there: PlaceState | None, primary: PlaceState | None, now: datetime) -> datetime | None:
    text = loaded.plan.cadence.replicate
    if text == "never" or primary is None or primary.newest is None:
        return None
    tried = _by_now(there.replicated, now) if there else None
    worked = _by_now(there.worked, now) if there else None
    if text is not None:
        due = cadence.parse(text, loaded.plan.cadence.timezone).due(worked, now)
        return max(due, tried + _SOON) if tried and tried != worked else due
    if there and there.newest and there.newest >= primary.newest:
        return None
    if not tried or tried < primary.newest:
        return primary.newest
    return tried + _AGAIN.get(there.replication or "", _SOON) if there else None
