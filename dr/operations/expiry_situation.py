"""What `dr expire` looks at before anything goes: what is on record, and what the target itself lists."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from dr.errors import DrError
from dr.evidence.acts import Expiration
from dr.evidence.look import LeftBehind
from dr.evidence.record import Point, Proof
from dr.operations.makers import own_runs
from dr.plan.declarations import Loaded
from dr.run.expiry.rules import PROVEN, ExpirySituation, bound
from dr.run.points.left_behind import on_record, with_left
from dr.run.points.presence import listed, require_repository
from dr.run.replication.retention.forget import wrong_clock
from dr.run.workspace.toolbox import Place
from dr.session import Session

#: Behind the name of a target: where the catalog keeps which points a run has begun to remove.
BEGUN = "/expire"


def situation(session: Session, loaded: Loaded, place: Place, *, confirmed: bool = False) -> ExpirySituation:
    """Return what is on record and what the target lists. Raises as the target does, or when it is another one."""
    catalog, system, now = session.catalog, loaded.plan.system, session.clock()
    place.reach()
    if require_repository(place) is None:
        raise DrError("there is no repository yet", place.repository.where, hint="run `dr backup` first")
    points, there = catalog.points([system]), listed(place)
    left = _left_behind(session, place, points, there)
    points = with_left(points, left, system=system)
    state = catalog.place_states([system], now=now).get(system, {}).get(place.name)
    return ExpirySituation(
        plan=loaded.plan,
        target=place.name,
        points=points,
        listed=there,
        now=now,
        holds=catalog.holds(system),
        frozen=catalog.retention_frozen(system),
        clock=_clock(session, place, now),
        proof=state.proof if state else None,
        proven_lately=_proven_lately(session, loaded, place.name, now),
        last=last_expiration(session, system, place.name),
        begun=json.loads(catalog.memory(system, place.name + BEGUN) or "{}"),
        left=left,
        strangers=len(there - on_record(points, place.name)),
        confirmed=confirmed,
    )


def _clock(session: Session, place: Place, now: datetime) -> str | None:
    """Return why this machine's clock is not believed; None when nothing speaks against it."""
    if off := wrong_clock([place], now):
        return f"{off}: nothing expires until they agree"
    newest = session.catalog.newest_start()
    if newest and newest > now:
        return f"a run on record began at {newest:%Y-%m-%d %H:%M}Z, which is still to come: set this machine's clock"
    return None


def _proven_lately(session: Session, loaded: Loaded, target: str, now: datetime) -> bool:
    """Whether every stored byte of a target was verified within the time that the plan bears.

    What was proven by reading in turn counts while what waits longest was read within the plan's bound, as it is now.
    """
    since = now - timedelta(seconds=bound(loaded.plan))
    facts = (x.fact for x in session.catalog.facts(("verify",), systems=[loaded.plan.system], since=since))
    proofs = [x for x in facts if isinstance(x, Proof) and x.target == target and x.finished <= now]
    within = loaded.plan.proof.whole_within
    whole = [x for x in proofs if x.outcome == "ok" and x.level_reached >= PROVEN]
    return any(x.coverage is None or x.coverage.holds(now, within=max(within, bound(loaded.plan))) for x in whole)


def last_expiration(session: Session, system: str, target: str) -> Expiration | None:
    """Return the last expiration of a target that worked."""
    records = session.catalog.facts(("expire",), systems=[system])
    facts = (record.fact for record in reversed(records))
    return next((x for x in facts if isinstance(x, Expiration) and x.target == target and x.outcome == "ok"), None)


def _left_behind(
    session: Session, place: Place, points: Sequence[Point], there: Collection[str]
) -> tuple[LeftBehind, ...]:
    """Return what runs of ours left behind there and is on no record yet. Read only where something is of no record."""
    if on_record(points, place.name).issuperset(there):
        return ()
    own = own_runs(session, place.system, [place.name])
    return own.left_behind(place.repository.snapshots(()), points, system=place.system, target=place.name)
