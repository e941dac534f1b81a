"""Whether a recovery would be possible without this host: the kit, and the self-copies."""

from __future__ import annotations

from datetime import datetime, timedelta

from dr.errors import DrError, InterruptedRunError, every_error
from dr.evidence.acts import KitAct
from dr.queries.doctor.finding import Finding
from dr.queries.self_backup import material_of, saved_on
from dr.run.keys.recipient import identity_here, recipient_of
from dr.run.kit import self_backup as selfcopy
from dr.session import Session
from dr.tools.store import ObjectStore


def copy_findings(session: Session) -> list[Finding]:
    """Say for `dr doctor` of each target whether the last self-copy is there, and no older than what was done there."""
    roots: dict[str, ObjectStore] = {}
    for toolbox in material_of(session).toolboxes:
        roots |= {place.name: place.root for place in toolbox.places if place.root is not None}
    users: dict[str, list[str]] = {}
    for item in session.usable()[0]:
        for name in item.plan.targets:
            users.setdefault(name, []).append(item.plan.system)
    return [_copy_finding(session, name, roots.get(name), systems) for name, systems in sorted(users.items())]


def _copy_finding(session: Session, name: str, root: ObjectStore | None, systems: list[str]) -> Finding:
    what, saved = f"self-copy on {name}", saved_on(session, name)
    if not saved.at:
        return Finding(what, "degraded", "none was saved there yet", _SAVE)
    at, told = datetime.fromisoformat(saved.at), f"saved {saved.at[:16].replace('T', ' ')}Z"
    try:
        with every_error():
            there = root is None or any(selfcopy.when(each) == at for each in selfcopy.names(root))
    except InterruptedRunError:
        raise
    except DrError as error:
        return Finding(what, "degraded", f"{told}, and could not be looked for: {error}", error.hint or _SAVE)
    if not there:
        return Finding(what, "degraded", f"the last one ({told}) is not there any more", _SAVE)
    tried = session.catalog.attempts(systems, now=session.clock())
    done = [each.worked for (_, verb), each in tried.items() if verb in _REACHING and each.worked]
    if done and max(done) > at:
        newest = f"the newest run there is of {max(done):%Y-%m-%d %H:%M}Z"
        return Finding(what, "degraded", f"{told}, but {newest}: that is not in it", _SAVE)
    return Finding(what, "ok", told)


_SAVE = "run `dr backup --all`, which saves one, or says why it cannot"


#: The verbs that reach every target of a system, and save a self-copy there.
_REACHING = ("backup", "verify", "keys")


def findings(session: Session) -> list[Finding]:
    """Say for `dr doctor` whether a recovery would be possible without this host: the kit, and the self-copies."""
    if recipient_of(session.state, make=False) is None:
        return []
    return [_kit_finding(session), *copy_findings(session)]


def _kit_finding(session: Session) -> Finding:
    acts = [record.fact for record in session.catalog.facts(("kit",))]
    known = [fact for fact in acts if isinstance(fact, KitAct) and fact.outcome in ("ok", "degraded")]
    if not known:
        return Finding("recovery kit", "degraded", "there is none: nobody could recover without this host", _MAKE)
    if identity_here(session.state):
        return Finding("recovery kit", "degraded", "its secret still lies on this host", _MAKE)
    last = max(fact.finished for fact in known)
    told = f"{known[-1].kit_id}, made or tested {last:%Y-%m-%d}"
    if session.clock() - last > _TEST_EVERY:
        return Finding("recovery kit", "degraded", f"{told}: more than a year ago", "run `dr kit test` with its shares")
    return Finding("recovery kit", "ok", told)


_MAKE = "make one with `dr kit`, and hand its shares to their custodians"


_TEST_EVERY = timedelta(days=366)
