"""A drill of control-loss inside the clean room: it knows nothing but what it was handed in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dr.errors import RefusedError
from dr.evidence.record import CleanRoom, Drill, Event
from dr.evidence.seal import encode
from dr.operations.open_kit import Opened, kit_copy, open_with
from dr.operations.rebuild import rebuild
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.kit import KitFolder, find_kit, identity_of, read_shares
from dr.run.kit.self_backup import SelfCopy
from dr.run.recovery.drill import run_drill
from dr.run.recovery.request import RecoveryRequest
from dr.run.workspace.toolbox import Toolbox
from dr.session import Session, utc_now

SCENARIO = "control-loss"
#: A recovery from the kit shows this when all of it equals the manifest; without the custodians' shares, no more
#: than any other drill.
_CLEAN_ROOM, _EQUAL, _SERVICE = 6, 4, 5
_WHERE = "begun in an empty directory with an empty state, on this machine: that another can be had is not shown"


def rehearse(room: Path, session_of: Any = Session) -> dict[str, Any]:
    """Do the drill in the clean room and return the fact, encoded. Knows nothing but what lies in `room/given`."""
    order = json.loads((room / "given" / "order.json").read_bytes())
    events: list[Event] = []
    opened, clean = _open(order, room, events)
    session: Session = session_of(opened.config, opened.state)
    try:
        fact = _drill(session, order, opened, events)
    finally:
        session.close()
    return {"fact": encode(_graded(fact, clean, events, order))}


def _open(order: Mapping[str, Any], room: Path, events: list[Event]) -> tuple[Opened, CleanRoom]:
    given, now = room / "given", utc_now
    events.append(Event(at=now(), what=_WHERE))
    if order["kit"]:
        folder = find_kit(Path(order["kit"]))
        copy, identity, number = _by_shares(folder, sorted(given.glob("share-*.txt")))
        kit_id, threshold, from_where = folder.kit.kit_id, folder.kit.threshold, "kit"
        what = f"{kit_id} opened with {number} of {len(folder.kit.custodians)} custodians' shares"
    else:
        identity, from_where = (given / "identity").read_text().strip(), str(order["taken_from"])
        sealed = (given / "self-copy.age").read_bytes()
        copy = selfcopy.unpack(sealed, identity=identity, key=None, name=str(order["self_copy"]))
        kit_id, threshold, number = "", 0, 0
        what = "the self-copy was opened by the host's own key: the custodians' shares were not exercised"
    events.append(Event(at=now(), what=what))
    opened = open_with(copy, identity, room / "opened", targets_too=bool(order["kit"]), taken_from=from_where)
    events.append(Event(at=now(), what=f"self-copy {opened.copy.name} used, from {_place(opened.taken_from)}"))
    events += [Event(at=now(), what=note, outcome="degraded") for note in opened.notes if "not in the copy" not in note]
    return opened, CleanRoom(
        kit_id=kit_id, shares=number, threshold=threshold, self_copy=opened.copy.name, taken_from=opened.taken_from
    )


def _place(taken_from: str) -> str:
    return "the kit" if taken_from == "kit" else f"target {taken_from}"


def _by_shares(folder: KitFolder, files: Sequence[Path]) -> tuple[SelfCopy, str, int]:
    given = read_shares(files)
    identity = identity_of(folder.kit, given)
    return kit_copy(folder, identity), identity, len({share.index for share in given})


def _drill(session: Session, order: Mapping[str, Any], opened: Opened, events: list[Event]) -> Drill:
    """Rebuild the catalog from the targets, and run the one engine."""
    loaded = session.chosen([str(order["system"])])[0]
    if loaded.digest != order["plan_digest"]:
        events.append(Event(at=session.clock(), what="the plan in the copy is not today's", outcome="degraded"))
    done = rebuild(session, [loaded])
    told = f"catalog rebuilt from the targets: {done.fact.points} points"
    events.append(Event(at=session.clock(), what=told, outcome="ok" if not done.problems else "degraded"))
    if done.fact.outcome == "failed":
        raise done.problems[0][1] if done.problems else RefusedError("no target can be read", hint="see the targets")
    request = RecoveryRequest(
        drill_id=str(order["drill_id"]),
        scenario=SCENARIO,
        t_loss=datetime.fromisoformat(order["t_loss"]),
        clock=session.clock,
        at=datetime.fromisoformat(order["at"]) if order["at"] else None,
        target=order["target"],
    )
    return run_drill(_here(session.toolbox(loaded)), session.points(loaded), request)


def _here(toolbox: Toolbox) -> Toolbox:
    """The drill is held in the clean room, also where the plan names another host: its SSH key is not in the kit."""
    drill = toolbox.plan.drill.model_copy(update={"host": None})
    return replace(toolbox, plan=toolbox.plan.model_copy(update={"drill": drill}))


def _graded(fact: Drill, clean: CleanRoom, events: Sequence[Event], order: Mapping[str, Any]) -> Drill:
    """Count what was done before the engine began, and say what proof it is."""
    t_loss = datetime.fromisoformat(order["t_loss"])
    before = (fact.started - t_loss).total_seconds()
    phases = {**fact.phases, "declare": round(fact.phases.get("declare", 0.0) + before, 3)}
    level, outcome = min(fact.proof_level, _SERVICE), fact.outcome
    if outcome == "ok" and any(event.outcome == "degraded" for event in events):
        outcome = "degraded"
    if clean.shares and fact.proof_level >= _EQUAL and outcome in ("ok", "degraded"):
        level = _CLEAN_ROOM
    return replace(
        fact,
        started=t_loss,
        phases=phases,
        events=(*events, *fact.events),
        proof_level=level,
        outcome=outcome,
        clean_room=clean,
    )
