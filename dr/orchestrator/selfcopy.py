"""Self-protection: after each run, what a recovery without this host needs is saved on every target reached."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dr.errors import DrError, InterruptedRunError
from dr.orchestrator.session import Session
from dr.run.custody import escrow, host_keys, selfcopy
from dr.run.custody.bundle import CATALOG, Material, gather
from dr.run.toolbox import Toolbox
from dr.tools import age
from dr.tools.disk import AbsentError
from dr.tools.store import ObjectStore

log = logging.getLogger("dr.selfcopy")

#: A catalog larger than this goes along once a day only: it can be made again from what lies on the targets.
_SMALL_CATALOG = 4 << 20
_LARGE_EVERY = timedelta(days=1)
_TIDY_EVERY = 10
_MEMORY = "_control"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What is remembered of the last self-copy on a target. `full` is when the catalog last went along."""

    digest: str = ""
    at: str = ""
    full: str = ""
    count: int = 0


def save_self(session: Session) -> list[str]:
    """Save a self-copy on each target that this command reached, where anything changed since the last.

    Return what went wrong, in words, which is warned about too; raises nothing: no run fails by it. Without a change
    no target is asked.
    """
    reached, session.reached = session.reached, {}
    if not reached:
        return []
    try:
        problems = _save(session, reached)
    except InterruptedRunError:
        return []  # the next run does it
    except (DrError, OSError) as error:
        problems = [f"no self-copy could be made: {error}"]
    for problem in problems:
        log.warning("%s", problem)
    return problems


def save_everywhere(session: Session) -> list[str]:
    """Save a self-copy on every target that answers; return what went wrong, in words."""
    problems = []
    for toolbox in material_of(session).toolboxes:
        for place in toolbox.everywhere:
            if place.root is None or place.name in session.reached:
                continue
            try:
                place.root.reachable()
                session.reached[place.name] = place.root
            except InterruptedRunError:
                raise
            except AbsentError:
                continue  # a disk that is taken away
            except DrError as error:
                problems.append(f"no self-copy could be put on {place.name}: {error.what}")
    return problems + save_self(session)


def _save(session: Session, reached: Mapping[str, ObjectStore]) -> list[str]:
    recipient = escrow.recipient_of(session.state)
    if recipient is None:
        return []
    contents = gather(material_of(session))
    digest = f"{selfcopy.digest_of(contents)} {session.catalog.head()[1]} {recipient}"
    known = {name: saved_on(session, name) for name in reached}
    stale = {name: root for name, root in reached.items() if known[name].digest != digest}
    if not stale:
        return []
    now = session.clock()
    full = _with_catalog(session, contents, [known[name] for name in stale], now)
    name, sealed = _packed(session, contents, recipient, now)
    problems = []
    for target, root in stale.items():
        count = known[target].count + 1
        try:
            selfcopy.put(root, name, sealed, tidy=count % _TIDY_EVERY == 0)
        except InterruptedRunError:
            raise
        except DrError as error:
            problems.append(f"no self-copy could be put on {target}: {error.what}")
            continue
        last = now.isoformat() if full else known[target].full
        memory = Saved(digest=digest, at=now.isoformat(), full=last, count=count)
        session.catalog.remember(_MEMORY, target, json.dumps(vars(memory)))
    return problems


def saved_on(session: Session, target: str) -> Saved:
    """Return what is remembered of the last self-copy on a target."""
    try:
        return Saved(**json.loads(session.catalog.memory(_MEMORY, target) or "{}"))
    except (ValueError, TypeError):
        return Saved()


def make_copy(session: Session) -> tuple[str, bytes]:
    """Return a self-copy of now, with the catalog: its name and its sealed bytes.

    Raises `DrError` when escrow is switched off, so that nobody could open it.
    """
    recipient = escrow.recipient_of(session.state)
    if recipient is None:
        raise DrError("escrow is switched off", "escrow/recipient", hint="take the word `none` out of that file")
    contents = gather(material_of(session))
    contents[CATALOG] = session.catalog.copy()
    return _packed(session, contents, recipient, session.clock())


def _packed(session: Session, contents: Mapping[str, bytes], recipient: str, now: datetime) -> tuple[str, bytes]:
    host = age.recipient_of(host_keys.host_identity(session.state))
    key = host_keys.control_key(session.state)
    return selfcopy.pack(contents, made=now, key=key, recipients=[recipient, host])


def material_of(session: Session) -> Material:
    """Return all that is declared and can be used, with the secrets that can be read."""
    items, _ = session.usable()
    toolboxes: list[Toolbox] = []
    unread: dict[str, str] = {}
    for loaded in items:
        try:
            toolboxes.append(session.toolbox(loaded))
        except InterruptedRunError:
            raise
        except DrError as error:
            unread[loaded.plan.system] = error.what
    return Material(
        config=session.config,
        state=session.state,
        plans=items,
        targets=session.declarations.targets,
        toolboxes=toolboxes,
        unread=unread,
    )


def _with_catalog(session: Session, contents: dict[str, bytes], known: list[Saved], now: datetime) -> bool:
    """Put the catalog in, unless it is large and went along not long ago; return whether it is in."""
    large = (session.state / CATALOG).stat().st_size > _SMALL_CATALOG
    recent = all(each.full and now - datetime.fromisoformat(each.full) < _LARGE_EVERY for each in known)
    if large and recent:
        return False
    contents[CATALOG] = session.catalog.copy()
    return True
