"""A repository as it will be: shown to restic without some of its objects, before any of them is taken away."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from dr.errors import DamageError
from dr.evidence.stored_object import moment
from dr.run.verification.inventory import Inventory
from dr.run.workspace.serve_view import seen_through
from dr.run.workspace.toolbox import Place
from dr.tools.restic import Repository
from dr.tools.state_dir import StateDir
from dr.tools.store import ObjectStore, Posture, Stored, Version
from dr.tools.view import View, ViewStore

#: Objects kept whole while parts of them are asked for.
_KEPT = 8


class _Head:
    """A place as it is now, whose objects have one version each. Safe for several threads."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._whole: OrderedDict[str, bytes] = OrderedDict()
        self._guard = threading.Lock()

    @property
    def where(self) -> str:
        """See `Versioned`."""
        return self._store.where

    def reachable(self) -> None:
        """See `Versioned`."""
        self._store.reachable()

    def preflight(self) -> Posture:
        """See `Versioned`."""
        return self._store.preflight()

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See `Versioned`."""
        return (version_of(item) for item in self._store.list(prefix))

    def read(self, version: Version, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `Versioned`."""
        if start == 0 and (end is None or end >= version.size):
            return self._store.blocks(version.name)
        return iter([self._kept(version.name)[start:end]])

    def _kept(self, name: str) -> bytes:
        with self._guard:
            data = self._whole.pop(name, None)
        if data is None:
            data = self._store.get(name)
        with self._guard:
            self._whole[name] = data
            while len(self._whole) > _KEPT:
                self._whole.popitem(last=False)
        return data


def version_of(item: Stored) -> Version:
    """Return an object as the only version of its name."""
    return Version(item.name, "", item.size, item.modified, latest=True)


class _Shown(Mapping[str, tuple[Version, ...]]):
    """What is listed and not hidden, each as the only version of its name; made when it is asked for."""

    def __init__(self, there: Inventory, hidden: Collection[str]) -> None:
        self._there, self._hidden = there, hidden

    def __getitem__(self, name: str) -> tuple[Version, ...]:
        item = None if name in self._hidden else self._there.find(name)
        if item is None:
            raise KeyError(name)
        return (Version(name, "", item.size, moment(item.modified), latest=True),)

    def __iter__(self) -> Iterator[str]:
        return (item.name for item in self._there if item.name not in self._hidden)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@contextmanager
def without(place: Place, there: Inventory, hidden: Collection[str], *, state: StateDir) -> Iterator[Repository]:
    """Show a place to restic as if the `hidden` of its objects were gone; read only.

    Raises `DamageError` in the end when one of those shown has not the bytes that its name promises.
    """
    now = moment(max(item.modified for item in there))
    store = ViewStore(_Head(place.store), View(now, now, _Shown(there, hidden)))
    where = f"{place.repository.where} as it will be"
    with ExitStack() as until:
        yield seen_through(store, place.repository, where=where, state=state, until=until)
    if store.junk:
        raise DamageError(f"{min(store.junk)} is damaged", place.store.where, hint=f"run `dr verify {place.system}`")
