"""`dr points trust SYSTEM RUN_ID --because TEXT`: a person says that a suspect point holds what it should."""

from __future__ import annotations

import getpass

from dr.errors import UsageError
from dr.evidence.acts import Trust
from dr.evidence.record import Point
from dr.evidence.seal import Sealed
from dr.operations.lifecycle import put_on_record
from dr.operations.self_backup import save_self
from dr.plan.declarations import Loaded
from dr.session import Session, new_id


def trust(session: Session, loaded: Loaded, run_id: str, *, because: str) -> Sealed:
    """Record it, in the chain and on the targets that answer; retention is free again unless a later point is suspect.

    Raises `UsageError`, with nothing recorded, for an unknown point or one that nothing is held against.
    """
    point = _suspect(session, loaded, run_id)
    started = session.clock()
    fact = Trust(
        run_id=new_id("trust-", started),
        system=point.system,
        point=point.run_id,
        consistency_time=point.consistency_time,
        because=because.strip(),
        by=who(),
        suspect=point.suspect,
        started=started,
        finished=started,
    )
    if not fact.because:
        raise UsageError("no reason was given", "--because", hint="say in a few words why the change was expected")
    sealed = put_on_record(session, fact, lambda: session.toolbox(loaded).places)
    save_self(session)
    return sealed


def _suspect(session: Session, loaded: Loaded, run_id: str) -> Point:
    system = loaded.plan.system
    points = session.points(loaded)
    point = next((point for point in points if point.run_id == run_id), None)
    if point is None:
        raise UsageError(
            f"{system} has no recovery point {run_id!r}", "dr points trust", hint=f"see `dr points {system}`"
        )
    if point.suspect is None:
        raise UsageError(
            f"nothing is held against the point {run_id}",
            "dr points trust",
            hint=f"see `dr points {system}` for those suspect",
        )
    return point


def who() -> str:
    """Return the name of the user who runs the program; "" for one without."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return ""
