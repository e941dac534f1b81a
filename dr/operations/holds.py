"""`dr hold`: what must be kept, whatever else is due. Each hold, and its release, is a record of the chain."""

from __future__ import annotations

from datetime import datetime

from dr.errors import UsageError
from dr.evidence.acts import Hold, HoldEvent
from dr.operations.lifecycle import put_on_record
from dr.plan.declarations import Loaded
from dr.run.points.presence import refuse_exchanged
from dr.run.workspace.toolbox import Place
from dr.session import Session, new_id


def place_hold(
    session: Session, loaded: Loaded, *, reason: str, until: datetime | None = None, point: str | None = None
) -> Hold:
    """Place a hold on a system, or on one of its points. `UsageError` for an unknown point or a time gone by."""
    now, system = session.clock(), loaded.plan.system
    if not reason.strip():
        raise UsageError("a hold needs a reason", "--reason", hint="say who asked for it, and why")
    if until is not None and until <= now:
        raise UsageError("the hold would be over already", "--until", hint="name a time to come, or leave it out")
    known = {found.run_id for found in session.catalog.points([system])}
    if point is not None and point not in known:
        raise UsageError(f"there is no point {point!r} of {system}", "--point", hint=f"`dr points {system}` lists them")
    hold_id = new_id("hold-", now)
    event = HoldEvent(
        run_id=hold_id,
        hold_id=hold_id,
        system=system,
        act="placed",
        reason=reason.strip(),
        started=now,
        finished=now,
        until=until,
        point=point,
    )
    return _recorded(session, event, loaded)


def release_hold(session: Session, hold_id: str, *, reason: str) -> Hold:
    """Release a hold. `UsageError` when there is none of that id in force."""
    now = session.clock()
    found = next((hold for hold in session.catalog.holds() if hold.hold_id == hold_id), None)
    if found is None or found.released is not None:
        what = f"there is no hold {hold_id!r}" if found is None else f"the hold {hold_id} was released already"
        raise UsageError(what, "dr hold release", hint="`dr hold list` lists them")
    if not reason.strip():
        raise UsageError("a release needs a reason", "--reason", hint="say who allowed it, and why")
    event = HoldEvent(
        run_id=new_id("release-", now),
        hold_id=hold_id,
        system=found.system,
        act="released",
        reason=reason.strip(),
        started=now,
        finished=now,
        until=found.until,
        point=found.point,
    )
    return _recorded(session, event, session.declarations.plans.get(found.system))


def _as_on_record(session: Session, loaded: Loaded) -> list[Place]:
    """Return the places that hold the repository on record: of another, a hold says nothing, and that is a problem."""
    found: list[Place] = []
    for place in session.toolbox(loaded).places:
        with session.beside(place.repository.where):
            place.store.reachable()
            refuse_exchanged(place)
            found.append(place)
    return found


def _recorded(session: Session, event: HoldEvent, loaded: Loaded | None) -> Hold:
    """Put it on the chain, and beside the repositories at once: a hold must outlive this machine."""
    put_on_record(session, event, lambda: _as_on_record(session, loaded) if loaded else ())
    return next(hold for hold in session.catalog.holds(event.system) if hold.hold_id == event.hold_id)
