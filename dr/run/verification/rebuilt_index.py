"""A repository with its index made anew beside it: what `restic repair index` would give, seen before it is done.

Packs say in their own headers what is in them; the index only gathers it. So where index files are lost or spoilt
their packs need not be, and what is whole is found by making the index anew: here, in an overlay, while nothing is
written to the place. By this index damage is told from data damage, and a point is recovered from a place that may
not, or must not, be written to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.run.workspace.serve_view import seen_through
from dr.run.workspace.toolbox import Place
from dr.tools.overlay import OverlayStore
from dr.tools.state_dir import StateDir
from dr.tools.view import shows

#: How a copy is read, after the name of its target.
HOW = "with its index made again beside it"


@dataclass(frozen=True)
class Rebuilt:
    """A place with its index made anew, and the snapshots that need what is not even then there."""

    place: Place
    lacking: frozenset[str]


@contextmanager
def rebuilt(place: Place, state: StateDir, *, hidden: Collection[str] = ()) -> Iterator[Rebuilt]:
    """Give the place with its index made anew, but for the `hidden` objects, and what is lacking even then.

    Raises `DrError` where that cannot be.
    """
    with ExitStack() as until:
        anew = rebuild(place, state, until=until, hidden=hidden)
        checked = anew.repository.check()
        yield Rebuilt(anew, frozenset() if checked.clean else frozenset(anew.repository.lacking(checked)))


def rebuild(place: Place, state: StateDir, *, until: ExitStack, hidden: Collection[str] = ()) -> Place:
    """Return the place with its index made anew, until a stack is closed. Raises `DrError` where that cannot be."""
    if shows(place.store):
        raise DrError("an index is made again of a place as it is now", place.repository.where, hint="leave out --at")
    overlay = OverlayStore(place.store, hidden=hidden)
    repository = seen_through(overlay, place.repository, where=place.repository.where, state=state, until=until)
    repository = replace(repository, cache=state.cache / "rebuilt")
    repository.repair_index()
    return replace(place, repository=repository)
