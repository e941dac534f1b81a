"""What a target alone gives: a repository read without anything that restic kept of it on this machine.

restic keeps snapshots, indexes and trees in a cache, and answers from there without asking whether the target still
has them: what was lost at the target would come back in a drill, and on no other machine. So a drill and a recovery
begin with an empty cache of their own. Not without any: each tree would then be one request more.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dr.run.recovery.place.sandbox import Sandbox
from dr.run.workspace.toolbox import Place

#: Behind the id of the drill or recovery: the name of the place where its cache lies, swept as a sandbox is.
SUFFIX = ".cache"


class FreshCache:
    """The caches of one drill or recovery, one for each place. `close` must follow `seen`, and may be called twice."""

    def __init__(self, state: Path, drill_id: str) -> None:
        self._home = Sandbox(state, drill_id + SUFFIX)
        self._root: Path | None = None
        self._number = 0

    def seen(self, place: Place) -> Place:
        """Return the place, read with nothing but what it gives from now on. `DrError` when there is no room.

        A replica is the same repository to restic, and would be answered from what the primary gave: hence one each.
        """
        self._root, self._number = self._root or self._home.make(0), self._number + 1
        cache = self._root / str(self._number)
        return replace(place, repository=replace(place.repository, cache=cache))

    def close(self) -> None:
        """Remove the cache."""
        self._home.finish()
