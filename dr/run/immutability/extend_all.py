"""After a backup: the locks on every target that declares some, and what that means for the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from dr.errors import DrError
from dr.evidence.posture import LockState
from dr.evidence.record import BackupRun
from dr.late_dataclass import dataclass
from dr.run.immutability.extend_locks import LockExtension, extend_locks
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.toolbox import Place, Toolbox


@dataclass(frozen=True, kw_only=True)
class Needed:
    """What lives on each target: the snapshots `held` by name of target, the targets that are `ready`, those that were
    `renewed` (begun again, so that nobody knows what lives there), and the keys that are on record as removed.
    """

    ready: Collection[str]
    renewed: Collection[str]
    held: Mapping[str, frozenset[str]]
    dropped_keys: frozenset[str]


def keep_all_locked(toolbox: Toolbox, needed: Needed, *, now: datetime) -> dict[str, LockExtension]:
    """Lengthen what is due on each target that declares a lock and answers; by target what came of it.

    On targets that could not take the backup too: who makes backups fail must not make locks run out.
    """
    declared = {place.name: place for place in toolbox.places if _mode(place) != "none"}
    places = {name: place for name, place in declared.items() if name in needed.ready or _answers(place)}
    if not places:
        return {}

    def keep(place: Place) -> LockExtension:
        live = None if place.name in needed.renewed else needed.held.get(place.name, frozenset())
        return _keep(toolbox, place, now=now, live=live, dropped=needed.dropped_keys)

    done = everywhere(places, keep)
    return {
        name: found if isinstance(found, LockExtension) else _undone(places[name], found)
        for name, found in done.items()
    }


def _answers(place: Place) -> bool:
    try:
        place.reach()
    except DrError:
        return False
    return True


def keep_replica_locked(
    toolbox: Toolbox, place: Place, *, now: datetime, live: Collection[str], dropped: Collection[str]
) -> LockExtension | None:
    """Lengthen what is due on a replica; None where it declares no lock. An interruption is part of the fact."""
    if _mode(place) == "none":
        return None
    try:
        return _keep(toolbox, place, now=now, live=live, dropped=dropped)
    except DrError as error:
        return _undone(place, error)


def _keep(
    toolbox: Toolbox, place: Place, *, now: datetime, live: Collection[str] | None, dropped: Collection[str]
) -> LockExtension:
    bucket = place.driver.locks()
    assert bucket is not None  # noqa: S101 - `_mode` says so
    bucket = bucket.child(toolbox.plan.system)
    return extend_locks(place, bucket, state=toolbox.state, now=now, live=live, dropped=dropped)


def _mode(place: Place) -> str:
    return place.target.locks.mode


def _undone(place: Place, error: DrError) -> LockExtension:
    state = LockState(target=place.name, mode=_mode(place), outcome="degraded", error=str(error), error_hint=error.hint)
    return LockExtension(state=state)


def with_locks(run: BackupRun, kept: Mapping[str, LockExtension]) -> BackupRun:
    """Return the run with what became of the locks: one that cannot be kept makes it degraded."""
    states = tuple(each.state for each in kept.values())
    notes = [text for state in states for text in said_of(state)]
    bad = run.outcome == "ok" and any(state.outcome != "ok" for state in states)
    return replace(run, locks=states, notes=(*run.notes, *notes), outcome="degraded" if bad else run.outcome)


def said_of(state: LockState) -> list[str]:
    """Return what is to be said of the locks on a target: nothing when all is well."""
    error = f"{state.error}; {state.error_hint}" if state.error and state.error_hint else state.error
    return [f"locks on {state.target}: {text}" for text in (*state.notes, error) if text]
