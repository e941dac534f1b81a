"""The keyless proof: every stored object's SHA-256 is its name. Needs no passphrase.

Only `config` has no name to hold against; its hash is remembered instead. `locks/` come and go.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from dr.errors import DamageError
from dr.evidence.record import Damage
from dr.tools import activity, command
from dr.tools.store import ObjectStore, Stored, is_unfinished

THREADS = min(32, 8 * (os.cpu_count() or 1))
PARTS = ("data/", "index/", "keys/", "snapshots/")


@dataclass
class Inventory:
    """What is stored: name to size, and to the hash of the bytes where it was taken; `left` was never written whole."""

    left: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    locks: tuple[Stored, ...] = ()
    modified: dict[str, float] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """All that was hashed."""
        return sum(self.sizes[name] for name in self.hashes)


def listed(store: ObjectStore) -> Inventory:
    """Return the objects of a repository, without their hashes."""
    found, locks, left = Inventory(), [], []
    for item in store.list():
        if item.name.startswith("locks/"):
            locks.append(item)
        elif item.name == "config" or item.name.startswith(PARTS):
            found.modified[item.name] = item.modified.timestamp()
            if is_unfinished(item.name):
                left.append(item.name)
            else:
                found.sizes[item.name] = item.size
    found.locks, found.left = tuple(locks), tuple(left)
    return found


def hash_all(store: ObjectStore, found: Inventory) -> None:
    """Hash every object, many at a time. One that is gone meanwhile is left without a hash."""
    total, done, count = sum(found.sizes.values()), 0, 0
    with ThreadPoolExecutor(THREADS) as pool:
        for name, digest, size in _in_flight(pool, store, list(found.sizes)):
            done, count = done + size, count + 1
            activity.progress(done, total, files=count, total_files=len(found.sizes))
            if digest:
                found.hashes[name], found.sizes[name] = digest, size


def _in_flight(pool: ThreadPoolExecutor, store: ObjectStore, names: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """Keep a bounded number of reads going, so that a million objects make no million futures."""

    @activity.carried
    def there(name: str) -> tuple[str, str, int]:
        try:
            return (name, *store.sha256(name))
        except DamageError:
            return name, "", 0

    waiting: set[Future[tuple[str, str, int]]] = set()
    for name in names:
        command.raise_if_stopping()
        waiting.add(pool.submit(there, name))
        if len(waiting) >= THREADS * 4:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in waiting)


def damage_in(found: Inventory, *, before: Mapping[str, int], config_hash: str) -> list[Damage]:
    """Return what is missing, truncated or corrupt, held against names and against what was there before."""
    damage = [Damage(object=name, problem="missing") for name in before if name not in found.sizes]
    damage += [Damage(object=name, problem="missing") for name in found.sizes if name not in found.hashes]
    for name, digest in found.hashes.items():
        expected = config_hash if name == "config" else name.rpartition("/")[2]
        if not expected or digest == expected:
            continue
        short = (name in before and found.sizes[name] < before[name]) or found.sizes[name] == 0
        damage.append(Damage(object=name, problem="truncated" if short else "corrupt"))
    if "config" not in found.sizes and "config" not in before:
        damage.append(Damage(object="config", problem="missing"))
    return sorted(damage, key=lambda item: item.object)


def keys_gone(found: Inventory, before: Iterable[str]) -> list[str]:
    """Return the keys that were there before, and are not listed now."""
    return [name for name in before if name.startswith("keys/") and name not in found.sizes]


def unreferenced(found: Inventory, packs: Iterable[str]) -> list[Damage]:
    """Return the data objects that no index names. Those younger than a running upload are not judged."""
    known = set(packs)
    began = min((lock.modified.timestamp() for lock in found.locks), default=float("inf"))
    strays = [name for name in found.sizes if name.startswith("data/") and name.rpartition("/")[2] not in known]
    return [
        Damage(object=name, problem="unreferenced")
        for name in sorted((*strays, *found.left))
        if found.modified[name] < began
    ]
