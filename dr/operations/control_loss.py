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
from pathlib import Path
from typing import Any

from dr.errors import FAILED, INTERRUPTED, DrError, InterruptedRunError, UsageError
from dr.evidence.record import Drill
from dr.evidence.seal import decode
from dr.plan.declarations import Loaded
from dr.plan.secret import SecretPlace
from dr.run.keys import host_keys
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.kit import find_kit, identity_of, read_shares
from dr.run.recovery.place.sandbox import ROOM, Sandbox
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session
from dr.sources.secret import read_secret
from dr.tools import command, shares
from dr.tools.secrets import write_private

#: What a clean machine has in its environment too: no place and no secret of ours.
_KEPT = ("LANG", "TZ", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR")


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
