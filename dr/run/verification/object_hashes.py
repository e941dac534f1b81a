"""The keyless proof: every stored object's SHA-256 is its name. Needs no passphrase.

Only `config` has no name to hold against; its hash is remembered instead. `locks/` come and go.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from dr.errors import DamageError
from dr.evidence.record import Damage
from dr.run.verification.inventory import Inventory, Listed
from dr.run.verification.memory import VerifyMemory, is_needed
from dr.tools import activity, command
from dr.tools.store import ObjectStore

THREADS = min(32, 8 * (os.cpu_count() or 1))


def hash_all(
    store: ObjectStore,
    found: Inventory,
    rows: Sequence[int] | None = None,
    *,
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Hash some objects in their order, or all, many at a time; begin with no other once `go_on` says so.

    What went away meanwhile is noted as gone, and left without a hash.
    """
    wanted = range(len(found)) if rows is None else rows
    total = found.bytes if len(wanted) == len(found) else sum(found.at(row).size for row in wanted)
    done, count = 0, 0
    with ThreadPoolExecutor(THREADS) as pool:
        for item, digest, size in _in_flight(pool, store, map(found.at, _while(go_on, wanted))):
            done, count = done + size, count + 1
            activity.progress(done, total, files=count, total_files=len(wanted))
            found.note(item, digest, size)


def _while(go_on: Callable[[], bool], rows: Iterable[int]) -> Iterator[int]:
    """Yield the first row in any case."""
    for number, row in enumerate(rows):
        if number and not go_on():
            return
        yield row


def _in_flight(
    pool: ThreadPoolExecutor, store: ObjectStore, items: Iterable[Listed]
) -> Iterator[tuple[Listed, str, int]]:
    """Keep a bounded number of reads going, so that a million objects make no million futures.

    What was read is yielded before an error is raised.
    """

    @activity.carried
    def there(item: Listed) -> tuple[Listed, str, int]:
        try:
            return (item, *store.sha256(item.name))
        except DamageError:
            return item, "", 0

    waiting: set[Future[tuple[Listed, str, int]]] = set()
    for item in items:
        command.raise_if_stopping()
        waiting.add(pool.submit(there, item))
        if len(waiting) >= THREADS * 4:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from _results(done)
    yield from _results(waiting)


def _results(reads: Iterable[Future[tuple[Listed, str, int]]]) -> Iterator[tuple[Listed, str, int]]:
    for read in sorted(reads, key=lambda read: read.exception() is not None):
        yield read.result()


def keys_gone(found: Inventory, memory: VerifyMemory) -> list[str]:
    """Return the keys that were there before, and are not listed now."""
    before = memory.objects.in_order("keys/")
    return [name for name, item in before if is_needed(name, item) and name not in found]


def unreferenced(found: Inventory, strays: Iterable[Listed]) -> list[Damage]:
    """Return as damage the data objects that no index names, and what was never written whole.

    Those younger than a running upload are not judged.
    """
    began = min((lock.modified.timestamp() * 1e6 for lock in found.locks), default=float("inf"))
    written = found.left | {item.name: item.modified for item in strays}
    return [Damage(object=name, problem="unreferenced") for name in sorted(written) if written[name] < began]
