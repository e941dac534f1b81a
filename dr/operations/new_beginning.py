"""`dr target begin TARGET --because TEXT`: a person gives up what a target held, so that it begins again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from dr.errors import UsageError
from dr.evidence.acts import NewBeginning
from dr.evidence.look import NOTHING
from dr.evidence.seal import Sealed
from dr.operations.lifecycle import put_on_record
from dr.operations.self_backup import save_self
from dr.operations.trust import who
from dr.plan.declarations import Loaded
from dr.run.points.presence import listed, look, require_repository
from dr.run.workspace.toolbox import Place
from dr.session import Session, new_id


def begin(session: Session, target: str, systems: Sequence[str], *, because: str) -> list[Sealed]:
    """Record for each system what its target has lost and is given up; return the records.

    What is there stays, and nothing is written there now: the next backup makes a repository where none is. Without
    `systems` for all that have lost something there; nothing is recorded of those that have not. May be called twice.
    """
    if not because.strip():
        raise UsageError("no reason was given", "--because", hint="say in a few words what became of the target")
    items = _concerned(session, target, systems)
    found = [(loaded, _lost(session, loaded, target, because.strip())) for loaded in items]
    sealed = [
        put_on_record(session, fact, partial(_places, session, loaded)) for loaded, fact in found if fact is not None
    ]
    save_self(session)
    return sealed


def _places(session: Session, loaded: Loaded) -> tuple[Place, ...]:
    return session.toolbox(loaded).places


def _concerned(session: Session, target: str, systems: Sequence[str]) -> list[Loaded]:
    if target not in session.declarations.targets:
        known = ", ".join(sorted(session.declarations.targets))
        raise UsageError(f"there is no target {target!r}", hint=f"targets: {known}")
    items = session.chosen(systems, everything=not systems)
    for loaded in items:
        if systems and target not in loaded.plan.places:
            raise UsageError(
                f"the plan of {loaded.plan.system} does not name {target}",
                "--system",
                hint=f"its targets are {', '.join(loaded.plan.places)}",
            )
    return [loaded for loaded in items if target in loaded.plan.places]


def _lost(session: Session, loaded: Loaded, target: str, because: str) -> NewBeginning | None:
    """Look at the target, and return what is to be given up there; None when it holds what it should."""
    system, started = loaded.plan.system, session.clock()
    with session.locked(system):
        place = session.toolbox(loaded).place(target)
        place.store.reachable()
        points = session.catalog.points([system])
        seen = look(place, points, listed(place), at=started)
        there = _there(place)
        if there != place.known.id or there == "":
            given_up = [point.run_id for point in points if any(copy.target == target for copy in point.copies)]
        else:
            given_up = [*seen.lost, *seen.gone]
        if not given_up and (there == place.known.id or not place.known.held):
            return None
    return NewBeginning(
        run_id=new_id(f"begin-{system}-", started),
        system=system,
        target=target,
        found="nothing" if not there else "the same repository" if there == place.known.id else "another repository",
        because=because,
        points=tuple(given_up),
        repository=there,
        by=who(),
        started=started,
        finished=session.clock(),
    )


def _there(place: Place) -> str:
    """Return the id of the repository that is there; nothing where none is. Raises when it cannot be opened."""
    known = require_repository(replace(place, known=NOTHING))
    return known.id if known else ""
