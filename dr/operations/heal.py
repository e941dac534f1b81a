"""What an earlier process left behind when it was killed: found at the start of each run, put right, and said once.

Each step looks at one kind of remains, and takes only what nobody alive holds: a process is known by its boot, number
and start, a directory by the lock that its owner holds as long as it lives. What is done here costs a look into the
state directory; what lies on targets (stale locks, unfinished files) the verb looks for that goes there anyway. A
sentence for each goes to standard error, and into the record of the run that found it (`healed`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from dr.catalog.aborted import OpenRun
from dr.errors import DrError, LockedError
from dr.evidence.fact import Fact
from dr.plan.units import counted
from dr.session import Session

log = logging.getLogger("dr.heal")

F = TypeVar("F", bound=Fact)
#: The system that remains were of ("" where nobody can tell), and what was done about them.
Healed = tuple[str, str]
#: By the id of a run that was killed, its system.
Owners = Mapping[str, str]
Step = Callable[[Session, Owners], Iterator[Healed]]


def heal(session: Session, system: str | None = None, *, far: bool = False) -> None:
    """Put right what earlier processes left: the runs of one system, or of all, and once a session all else.

    `far`: sandboxes on other hosts too, which takes those hosts' time. Notes in the session what was done. Never
    raises for what cannot be put right: that is tried again by the next run.
    """
    dead = session.catalog.close_abandoned(system, now=session.clock())
    known = [_of_run(run) for run in dead]
    owners = {run.run_id: run.system for run in dead}
    steps = (*(_STEPS if session.once("heal") else ()), *([_far_sandboxes] if far else []))
    for step in steps:
        known += _safely(session, owners, step)
    for whose, text in known:
        log.warning("%s%s", f"{whose}: " if whose else "", text)
        session.healed.append((whose, text))


def with_healed(session: Session, record: F, system: str) -> F:
    """Return a record with what was put right of its system, or of nobody's, since the last; it is noted once."""
    if not any(each.name == "healed" for each in fields(record)):
        return record
    taken = session.take_healed(system)
    more: Any = {"healed": (*taken, *getattr(record, "healed", ()))}  # not every kind of record has it
    return replace(record, **more) if taken else record


def _safely(session: Session, owners: Owners, step: Step) -> list[Healed]:
    try:
        return list(step(session, owners))
    except (DrError, OSError) as error:
        log.warning("what an earlier process left could not be put right: %s", error)
        return []


def _of_run(run: OpenRun) -> Healed:
    begun = f"{run.started:%Y-%m-%d %H:%M:%S}Z"
    return run.system, f"the {run.verb} {run.run_id} of {begun} was killed: it is on record as aborted"


def _sandboxes(session: Session, owners: Owners) -> Iterator[Healed]:
    """Sandboxes whose drill is dead: what still runs in them is ended, and they are removed."""
    yield from _swept(session, owners, far=False)


def _far_sandboxes(session: Session, owners: Owners) -> Iterator[Healed]:
    yield from _swept(session, owners, far=True)


def _swept(session: Session, owners: Owners, *, far: bool) -> Iterator[Healed]:
    if not _holds(session.state.sandboxes):
        return
    from dr.run.recovery.place.sandbox import sweep

    for name in dict.fromkeys(name.partition(".")[0] for name in sweep(session.state, far=far)):  # and its cache
        yield owners.get(name, ""), f"the sandbox of {name} was left behind: it is destroyed"


def _work(session: Session, owners: Owners) -> Iterator[Healed]:
    """Scratch directories that no run is at work in."""
    for path in sorted(session.state.work.glob("*")):
        try:
            with session.state.hold(path.name, what="in use"):
                import shutil

                shutil.rmtree(path, ignore_errors=True)
        except LockedError:
            continue
        if not path.exists():
            yield path.name, "the scratch directory of a killed run was left behind: it is removed"


def _views(session: Session, owners: Owners) -> Iterator[Healed]:
    """Sockets on which nobody listens any more."""
    if not _holds(session.state.views):
        return
    from dr.run.workspace.serve_view import sweep_views

    if count := sweep_views(session.state):
        yield "", f"{counted(count, 'socket')} of killed recoveries removed"


def _secrets(session: Session, owners: Owners) -> Iterator[Healed]:
    """A recovery kit that was being written."""
    if not (session.state.escrow / "unfinished").exists():
        return
    from dr.run.keys import host_keys

    try:
        with session.state.hold("kit", what="in use"):
            if host_keys.sweep_noted(session.state):
                yield "", "a recovery kit that was half written is removed"
    except LockedError:
        return


def _holds(folder: Path) -> bool:
    """Whether anything lies in a directory but locks: what puts it right is loaded only then."""
    return folder.is_dir() and any(path.name != ".lock" for path in folder.iterdir())


_STEPS: tuple[Step, ...] = (_sandboxes, _work, _views, _secrets)
