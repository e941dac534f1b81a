"""The keyless proof: every stored object's SHA-256 is its name. Needs no passphrase.

Only `config` has no name to hold against; its hash is remembered instead. `locks/` come and go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import field

from dr.errors import DamageError
from dr.evidence.record import Damage
from dr.late_dataclass import dataclass
from dr.tools import activity, command
from dr.tools.store import ObjectStore, Stored, is_unfinished

THREADS = min(32, 8 * (os.cpu_count() or 1))
PARTS = ("data/", "index/", "keys/", "snapshots/")


@dataclass
class Inventory:
    """What is stored, by name: sizes, when written (seconds since 1970) and versions, as listed.

    `left` was never written whole. Of what was read there are the hashes of the bytes, and their number (`lengths`).
    """

    left: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    locks: tuple[Stored, ...] = ()
    modified: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)  # of those that the place tells a version of

    @property
    def bytes(self) -> int:
        """All that was read."""
        return sum(self.lengths.values())

    def as_listed(self, name: str) -> tuple[int, int, str]:
        """Return the size, the time (microseconds since 1970) and the version of an object, as the place listed it."""
        return self.sizes[name], round(self.modified[name] * 1e6), self.versions.get(name, "")


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
                if item.version:
                    found.versions[item.name] = item.version
    found.locks, found.left = tuple(locks), tuple(left)
    return found


def hash_all(
    store: ObjectStore,
    found: Inventory,
    names: Collection[str] | None = None,
    *,
    go_on: Callable[[], bool] = lambda: True,
) -> set[str]:
    """Hash some objects in their order, or all, many at a time; begin with no other once `go_on` says so.

    Return the names of those that went away meanwhile: they are left without a hash.
    """
    wanted = found.sizes.keys() if names is None else names
    total, done, count, gone = sum(found.sizes[name] for name in wanted), 0, 0, set()
    with ThreadPoolExecutor(THREADS) as pool:
        for name, digest, size in _in_flight(pool, store, _while(go_on, wanted)):
            done, count = done + size, count + 1
            activity.progress(done, total, files=count, total_files=len(wanted))
            if digest:
                found.hashes[name], found.lengths[name] = digest, size
            else:
                gone.add(name)
    return gone


def _while(go_on: Callable[[], bool], names: Iterable[str]) -> Iterator[str]:
    """Yield the first name in any case."""
    for number, name in enumerate(names):
        if number and not go_on():
            return
        yield name


def _in_flight(pool: ThreadPoolExecutor, store: ObjectStore, names: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """Keep a bounded number of reads going, so that a million objects make no million futures.

    What was read is yielded before an error is raised.
    """

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
            yield from _results(done)
    yield from _results(waiting)


def _results(reads: Iterable[Future[tuple[str, str, int]]]) -> Iterator[tuple[str, str, int]]:
    for read in sorted(reads, key=lambda read: read.exception() is not None):
        yield read.result()


def damage_in(
    found: Inventory, *, before: Mapping[str, int], config_hash: str, gone: Iterable[str] = ()
) -> list[Damage]:
    """Return what is missing, truncated or corrupt, held against names and against what was there before.

    `gone` was listed, and was not there when it was to be read.
    """
    damage = [Damage(object=name, problem="missing") for name in before if name not in found.sizes]
    damage += [Damage(object=name, problem="missing") for name in gone]
    for name, digest in found.hashes.items():
        if is_sound(name, digest, config_hash=config_hash):
            continue
        length = found.lengths[name]
        short = (name in before and length < before[name]) or length == 0
        damage.append(Damage(object=name, problem="truncated" if short else "corrupt"))
    if "config" not in found.sizes and "config" not in before:
        damage.append(Damage(object="config", problem="missing"))
    return sorted(damage, key=lambda item: item.object)


def is_sound(name: str, digest: str, *, config_hash: str) -> bool:
    """Whether bytes of that SHA-256 (hex) are what a name promises; `config` is held against what it was before."""
    return digest == (config_hash or digest if name == "config" else name.rpartition("/")[2])


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
