"""Self-protection: after each run, what a recovery without this host needs is saved on every target reached."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from dr.errors import AbsentError, DrError, InterruptedRunError, Problem, every_error
from dr.queries.self_backup import MEMORY, Saved, material_of, saved_on
from dr.run.keys import host_keys
from dr.run.keys.recipient import recipient_of
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.contents import CATALOG, gather
from dr.session import Session
from dr.tools import age
from dr.tools.store import ObjectStore

#: A catalog larger than this goes along once a day only: it can be made again from what lies on the targets.
_SMALL_CATALOG = 4 << 20
_LARGE_EVERY = timedelta(days=1)
_TIDY_EVERY = 10


def save_self(session: Session) -> None:
    """Save a self-copy on each target that this command reached, where anything changed since the last.

    What went wrong is a problem of the session; raises nothing: no run fails by it. Without a change no target is
    asked.
    """
    reached, session.reached = session.reached, {}
    if not reached:
        return
    try:
        with every_error():
            _save(session, {name: place.root for name, place in reached.items() if place.root})
    except InterruptedRunError:
        return  # the next run does it
    except DrError as error:
        what = f"no self-copy could be made: {error}"
        session.problem(Problem(what, hint=error.hint or _AGAIN))


_AGAIN = "fix it; the next run saves one"


def save_everywhere(session: Session) -> None:
    """Save a self-copy on every target that answers; what went wrong is a problem of the session."""
    for toolbox in material_of(session).toolboxes:
        for place in toolbox.everywhere:
            if place.root is None or place.name in session.reached:
                continue
            try:
                place.root.reachable()
                session.reached[place.name] = place
            except InterruptedRunError:
                raise
            except AbsentError:
                continue  # a disk that is taken away
            except DrError as error:
                _unsaved(session, place.name, error)
    save_self(session)


def _unsaved(session: Session, target: str, error: DrError) -> None:
    what = f"no self-copy could be put on {target}: {error.sentence}"
    session.problem(Problem(what, hint=error.hint or _AGAIN))


def _save(session: Session, reached: Mapping[str, ObjectStore]) -> None:
    recipient = recipient_of(session.state)
    if recipient is None:
        return
    contents = gather(material_of(session))
    digest = f"{selfcopy.digest_of(contents)} {session.catalog.head()[1]} {recipient}"
    known = {name: saved_on(session, name) for name in reached}
    stale = {name: root for name, root in reached.items() if known[name].digest != digest}
    if not stale:
        return
    now = session.clock()
    full = _with_catalog(session, contents, [known[name] for name in stale], now)
    name, sealed = _packed(session, contents, recipient, now)
    for target, root in stale.items():
        count = known[target].count + 1
        try:
            with every_error():
                selfcopy.put(root, name, sealed, tidy=count % _TIDY_EVERY == 0)
        except InterruptedRunError:
            raise
        except DrError as error:
            _unsaved(session, target, error)
            continue
        last = now.isoformat() if full else known[target].full
        memory = Saved(digest=digest, at=now.isoformat(), full=last, count=count)
        session.catalog.remember(MEMORY, target, json.dumps(vars(memory)))


def make_copy(session: Session) -> tuple[str, bytes]:
    """Return a self-copy of now, with the catalog: its name and its sealed bytes.

    Raises `DrError` when escrow is switched off, so that nobody could open it.
    """
    recipient = recipient_of(session.state)
    if recipient is None:
        raise DrError("escrow is switched off", "escrow/recipient", hint="take the word `none` out of that file")
    contents = gather(material_of(session))
    contents[CATALOG] = session.catalog.copy()
    return _packed(session, contents, recipient, session.clock())


def _packed(session: Session, contents: Mapping[str, bytes], recipient: str, now: datetime) -> tuple[str, bytes]:
    host = age.recipient_of(host_keys.host_identity(session.state))
    key = host_keys.control_key(session.state)
    return selfcopy.pack(contents, made=now, key=key, recipients=[recipient, host])


def _with_catalog(session: Session, contents: dict[str, bytes], known: list[Saved], now: datetime) -> bool:
    """Put the catalog in, unless it is large and went along not long ago; return whether it is in."""
    large = session.state.catalog.stat().st_size > _SMALL_CATALOG
    recent = all(each.full and now - datetime.fromisoformat(each.full) < _LARGE_EVERY for each in known)
    if large and recent:
        return False
    contents[CATALOG] = session.catalog.copy()
    return True
