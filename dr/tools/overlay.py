"""An overlay: a repository's objects as they lie in a place, with what restic writes kept here and not there.

So restic may make an index anew of a repository that nobody may, or should, write to, and what that would give is seen
before it is done: nothing of the place is ever changed, and the overlay is gone with its process. It takes locks and
index files alone: what is written is small, and held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from dr.errors import DamageError
from dr.tools.store import ObjectStore, Stored, is_object

#: What may be written: an index made anew, and the lock that restic holds meanwhile.
WRITTEN = ("index/", "locks/")


class OverlayStore:
    """A store's objects but for those `hidden`, and what was written since. Safe for several threads.

    `written` has the bytes of what was written, by name.
    """

    def __init__(self, base: ObjectStore, *, hidden: Collection[str] = ()) -> None:
        self._base = base
        self._hidden = set(hidden)
        self.written: dict[str, bytes] = {}
        self._listed: dict[str, Stored] | None = None

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what is there and not hidden, and what was written."""
        for name, item in self._there().items():
            if name.startswith(prefix) and name not in self._hidden:
                yield item
        for name, data in list(self.written.items()):
            if name.startswith(prefix):
                yield Stored(name, len(data), datetime.now(UTC))

    def sound(self, prefix: str) -> Sequence[Stored]:
        """Return the small objects below a prefix whose bytes are what their names promise; restic stops at others."""
        return [item for item in self.list(prefix) if item.name in self.written or self._is_sound(item.name)]

    def _is_sound(self, name: str) -> bool:
        try:
            return self._base.sha256(name)[0] == name.rpartition("/")[2]
        except DamageError:
            return False

    def size(self, name: str) -> int | None:
        """Return an object's size; None when it is not there."""
        item = None if name in self._hidden else self._there().get(name)
        return item.size if item else None

    def get(self, name: str) -> bytes:
        """Return an object's bytes. Raises `DamageError` when it is not there."""
        if (data := self.written.get(name)) is not None:
            return data
        if name in self._hidden:
            raise DamageError(f"{name} is not there", self._base.where, hint="run `dr verify` to see all")
        return self._base.get(name)

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """Yield some of an object's bytes."""
        return self._base.part(name, start, end)

    def write(self, name: str, data: bytes) -> bool:
        """Keep what restic writes; False for what may not be, or is not what its name promises."""
        if not name.startswith(WRITTEN) or hashlib.sha256(data).hexdigest() != name.rpartition("/")[2]:
            return False
        self.written[name] = data
        self._hidden.discard(name)
        return True

    def drop(self, name: str) -> bool:
        """Show an object no more; False for what may not be taken away."""
        if not name.startswith(WRITTEN):
            return False
        self.written.pop(name, None)
        self._hidden.add(name)
        return True

    def _there(self) -> dict[str, Stored]:
        """What the place holds, listed once; its locks are others' and hold nobody here."""
        if self._listed is None:
            items = (item for item in self._base.list() if not item.name.startswith("locks/"))
            self._listed = {item.name: item for item in items if is_object(item.name)}
        return self._listed
