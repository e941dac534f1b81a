"""The scenario `control-loss`: this host and all it knew are gone, and recovery starts from the recovery kit.

The drill begins a process of its own in an empty directory, with an empty state and an environment that names nothing
of ours. It is given a kit and custodians' shares; there it opens the kit, rebuilds the catalog from the targets and
drills. Nothing is sent to a target, and nothing of this state is touched but the record that is made in the end.
Where no shares are at hand the newest self-copy is opened by this host's own key, and the evidence says so.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dr.errors import FAILED, INTERRUPTED, DrError, InterruptedRunError, RefusedError, UsageError
from dr.evidence.record import CleanRoom, Drill, Event
from dr.evidence.seal import decode, encode
from dr.operations.open_kit import Opened, kit_copy, open_with
from dr.operations.rebuild import rebuild
from dr.plan.declarations import Loaded
from dr.plan.secret import SecretPlace
from dr.run.keys import host_keys
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.kit import KitFolder, find_kit, identity_of, read_shares
from dr.run.kit.self_backup import SelfCopy
from dr.run.recovery.drill import run_drill
from dr.run.recovery.place.sandbox import ROOM, Sandbox
from dr.run.recovery.request import RecoveryRequest
from dr.run.workspace.toolbox import Toolbox
from dr.session import Session, utc_now
from dr.sources.secret import read_secret
from dr.tools import command, shares
from dr.tools.secrets import write_private

SCENARIO = "control-loss"
#: What a clean machine has in its environment too: no place and no secret of ours.
_KEPT = ("LANG", "TZ", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")
#: A recovery from the kit shows this when all of it equals the manifest; without the custodians' shares, no more
#: than any other drill.
_CLEAN_ROOM, _EQUAL, _SERVICE = 6, 4, 5
_WHERE = "begun in an empty directory with an empty state, on this machine: that another can be had is not shown"


def refuse_unfit(kit: Path | None, share_files: Sequence[Path], *, keep: bool) -> None:
    """Raise `UsageError` for what cannot be: a kit without shares, shares without a kit, a clean room that stays."""
    if bool(kit) != bool(share_files):
        raise UsageError(
            "a kit needs its shares, and shares their kit",
            "--kit" if share_files else "--share",
            hint="say both; or neither, and this host's own key opens the newest self-copy",
        )
    if keep:
        raise UsageError("a clean room holds every secret of the kit and is not kept", "--keep", hint="leave it out")


def hold(session: Session, loaded: Loaded, request: RecoveryRequest) -> Drill:
    """Drill one system from the kit alone, in a clean room below the sandboxes; return the fact."""
    refuse_unfit(request.kit, request.shares, keep=request.keep)
    sandbox = Sandbox(session.state, request.drill_id)
    try:
        root = sandbox.make(0)
        fact = _held(session, loaded, request, root)
    finally:
        fate = sandbox.finish()
    return fact if fate == "destroyed" else replace(fact, sandbox=fate)


def _held(session: Session, loaded: Loaded, request: RecoveryRequest, root: Path) -> Drill:
    room = root / ROOM
    for part in ("home", "bin", "given"):
        (room / part).mkdir(mode=0o700, parents=True)
    (room / "bin" / "restic").symlink_to(shutil.which(session.restic) or session.restic)
    start = _hand_in(session, loaded, request, room / "given")
    order = {
        "system": loaded.plan.system,
        "drill_id": request.drill_id,
        "t_loss": request.t_loss.isoformat(),
        "at": request.at.isoformat() if request.at else None,
        "target": request.target,
        "plan_digest": loaded.digest,
        **start,
    }
    write_private(room / "given" / "order.json", json.dumps(order).encode())
    argv = [sys.executable, "-m", "dr", "--json", "kit", "rehearse", str(room)]
    done = command.run(argv, env=_environment(room), cwd=room, death="TERM")
    return _fact(done, request.drill_id)


def _hand_in(session: Session, loaded: Loaded, request: RecoveryRequest, place: Path) -> dict[str, Any]:
    """Lay down what the clean room begins with: a kit's place and shares, or a self-copy and this host's key."""
    declared = loaded.plan.drill
    if kit := request.kit or declared.kit:
        folder = find_kit(kit.expanduser().absolute())
        parts = read_shares(request.shares) if request.kit else [_share(each) for each in declared.shares]
        identity_of(folder.kit, parts)  # raises now, and not in the clean room, when they do not open it
        for number, part in enumerate(parts, 1):
            write_private(place / f"share-{number}.txt", f"{part.mnemonic}\n".encode())
        return {"kit": str(folder.path), "shares": len(parts)}
    target, copy_name, sealed = _newest(session, loaded)
    write_private(place / "self-copy.age", sealed)
    write_private(place / "identity", host_keys.host_identity(session.state).encode())
    return {"kit": None, "shares": 0, "self_copy": copy_name, "taken_from": target}


def _share(place: SecretPlace) -> shares.Share:
    if place.file:
        return read_shares([place.file])[0]
    return shares.parse(read_secret(place, "drill: shares"), "drill: shares")


def _newest(session: Session, loaded: Loaded) -> tuple[str, str, bytes]:
    """Return the newest self-copy that is ours, and the target that has it."""
    said: list[str] = []
    places = session.toolbox(loaded).everywhere
    roots = {place.name: place.root for place in places if place.root is not None}
    identity, key = host_keys.host_identity(session.state), host_keys.control_key(session.state)
    found = selfcopy.newest(roots, identity=identity, key=key, say=said)
    if found is None:
        raise DrError(
            "no target has a self-copy that this host can open",
            loaded.plan.system,
            "; ".join(said),
            hint="run `dr backup`, which saves one; or name a kit and its shares",
        )
    target, copy = found
    return target, copy.name, roots[target].child(selfcopy.PLACE).get(copy.name)


def _environment(room: Path) -> dict[str, str]:
    """Return what the clean room's process gets: its own home, and the programs that a clean machine would have."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    program = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    path = f"{room / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    return {**kept, **program, "PATH": path, "HOME": str(room / "home")}


def _fact(done: command.Done, drill_id: str) -> Drill:
    """Return the fact that the clean room tells; raises its error when it has none."""
    try:
        told = json.loads(done.stdout)
    except ValueError:
        told = {}
    if done.code == INTERRUPTED or command.stopping():
        raise InterruptedRunError("stopped on request", drill_id, hint="start the drill again")
    if isinstance(told.get("fact"), dict):
        fact = decode("drill", told["fact"])
        if isinstance(fact, Drill):
            return fact
    errors = [x for x in told.get("errors", ()) if isinstance(x, dict)]
    first: Mapping[str, Any] = errors[0] if errors else {}
    raise DrError(
        str(first.get("what") or f"the clean room ended with exit code {done.code}"),
        str(first.get("where") or "clean room"),
        "" if errors else done.last_words,
        hint=str(first.get("hint") or "try `dr kit open` by hand"),
        exit_code=done.code if done.code > 0 else FAILED,
    )


# -- inside the clean room -----------------------------------------------------------------------------


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
