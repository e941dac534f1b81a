"""A repository's objects, copied to another place: the same repository there, with the same passphrase.

What makes it valid at every instant is the order: keys and `config`, then data, then index, then snapshots. The
source is listed the other way round, snapshots first, so that whatever a listed snapshot needs was listed too, while
backups go on adding. A prune takes away: it writes a new index before it deletes the old one, and deletes packs only
then. So a pass holds only when no index file vanished from just before the snapshots were listed until all data was
copied; else all is listed again. `locks/` stay where they are. Nothing is ever deleted.

What either end lists is held packed, and passes by in the order of names: there may be a million objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import field
from itertools import chain
from typing import Protocol

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError, TargetDownError
from dr.evidence.stored_object import HeldObjects, KnownObjects, side_by_side
from dr.late_dataclass import dataclass
from dr.run.verification.inventory import PARTS, Inventory, Listed, id_of
from dr.tools import activity, command
from dr.tools.store import ObjectStore

#: Objects on their way at once. Each is held whole on its way into a bucket: at most 24 MiB of it in memory.
THREADS = 8
#: How often a source that loses index files meanwhile is listed anew.
PASSES = 5
#: So many of the objects copied are looked at once more.
SAMPLE = 5
_CONFIG = "config"
#: In which the source is listed.
_ORDER = ("snapshots/", "index/", "keys/", "data/")
#: An object to be copied, and the version in which the source's bytes were last found whole.
_Todo = tuple[Listed, str]


class Insight(Protocol):
    """What only the passphrase tells of the source: what its index names, and what needs it."""

    def named(self) -> Inventory:
        """Return the packs that the source's index names."""

    def needing(self, packs: Sequence[str]) -> Collection[str]:
        """Return the ids of the snapshots that need any of these packs."""


@dataclass
class Copied:
    """What one copying did. `objects` and `bytes` are all that the source listed, copied now or before.

    `corrupt` names source objects whose bytes are not what their names say, `missing` those that its index names
    and that are nowhere; `held` are the snapshots that were not copied for that. `snapshots` are those now
    there, `lacking` those of them that cannot be read there (`keyless`: since no key there opens it), `written` the
    names of some objects that were copied now.
    """

    objects: int = 0
    bytes: int = 0
    objects_copied: int = 0
    bytes_copied: int = 0
    passes: int = 0
    seconds: float = 0.0
    corrupt: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    snapshots: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    keyless: bool = False
    written: list[str] = field(default_factory=list)


@dataclass
class _VanishedError(DrError):
    """What was listed is gone: a prune is at work at the source."""


def copy_repository(
    source: ObjectStore,
    to: ObjectStore,
    *,
    insight: Insight | None = None,
    again: Collection[str] = (),
    proven: KnownObjects | None = None,
    done: Copied | None = None,
    threads: int = THREADS,
) -> Copied:
    """Copy what is missing at `to`, by name and size, and return what was done. May be called again after any death.

    A corrupt object is named and never written; the snapshots that need it are held back, all new ones when there is
    no `insight`. `again` names objects that are damaged at `to` and are written again, `proven` the versions (an ETag
    each) in which the source's objects were last read and found whole. `done` is filled on the way, for
    the caller to see what was done before an error. Raises `DrError` when either end cannot be used, when another
    repository is at `to`, or when the source never stood still; what is there by then is valid.
    """
    done = done if done is not None else Copied()
    began = time.monotonic()
    try:
        for done.passes in range(1, PASSES + 1):
            try:
                _Pass(source, to, done, insight=insight, again=again, proven=proven, threads=threads).run()
            except _VanishedError:
                continue
            return done
        raise DrError(
            "the source lost objects while it was copied, each time again: is a prune running?",
            source.where,
            hint="wait until it ends, then replicate again: what is there is valid",
            retryable=True,
        )
    finally:
        done.seconds = round(time.monotonic() - began, 3)


def same_repository(source: ObjectStore, to: ObjectStore) -> bool:
    """Whether `to` holds a copy of the source, or nothing yet. Raises `DamageError` when the source has none."""
    return not to.exists(_CONFIG) or to.get(_CONFIG) == source.get(_CONFIG)


class _Pass:
    """One pass over the source."""

    def __init__(
        self,
        source: ObjectStore,
        to: ObjectStore,
        done: Copied,
        *,
        insight: Insight | None,
        again: Collection[str],
        proven: KnownObjects | None,
        threads: int,
    ) -> None:
        self._source, self._to, self._done, self._proven = source, to, done, proven or HeldObjects()
        self._insight, self._again, self._threads = insight, frozenset(again), threads

    def run(self) -> None:
        """Copy; `_VanishedError` when the source lost something meanwhile that the copy might need."""
        before = self._indexes()
        self._stored = Inventory(chain.from_iterable(map(self._source.list, _ORDER)))
        if not before <= {item.name for item in self._stored.in_order("index/")}:
            raise _VanishedError("index files vanished", hint="list again")
        self._there = Inventory(self._to.list())
        self._come = bytearray(len(self._stored))  # by row: whether it was copied in this pass
        config = self._config()
        self._done.objects, self._done.bytes = 1 + len(self._stored), self._stored.bytes + len(config)
        self._measure()
        with ThreadPoolExecutor(1) as pool:  # restic takes its time: it looks while objects are on their way
            curious = self._insight and any(there is None for _, there in self._both("snapshots/"))
            named = pool.submit(self._insight.named) if self._insight and curious else None
            self._copy("keys/")
            if _CONFIG not in self._there:
                self._to.put(_CONFIG, config)
                self._note(_CONFIG, len(config))
            self._copy("data/")
            packs, untold = _told(named)
            if not {item.name for item in self._stored.in_order("index/")} <= self._indexes():
                raise _VanishedError("index files vanished", hint="list again")
        self._done.missing = {name for name in self._lost(packs) if not self._source.exists(name)}
        self._copy("index/")
        if untold and not self._done.corrupt:
            raise untold
        self._done.held = self._held_back(blind=untold is not None)
        self._copy("snapshots/", but=self._done.held)
        self._done.snapshots = {id_of(name) for (name,) in self._present("snapshots/")}

    def _measure(self) -> None:
        """Note the bytes and objects that are to be copied, and the parts of which none are."""
        lacking = dict.fromkeys(PARTS, (0, 0))
        for item, there in self._both():
            if there is None or there.size != item.size:
                part = f"{item.name.partition('/')[0]}/"
                size, number = lacking[part]
                lacking[part] = size + item.size, number + 1
        self._wanted = sum(size for size, _ in lacking.values()), sum(number for _, number in lacking.values())
        self._idle = {part for part, (_, number) in lacking.items() if not number}

    def _indexes(self) -> set[str]:
        """Return the names of the source's index files as it lists them now."""
        return {item.name for item in Inventory(self._source.list("index/"))}

    def _both(self, part: str = "") -> Iterator[tuple[Listed, Listed | None]]:
        """Yield the source's objects with what the place listed of the same name, in the order of names."""
        for _, item, there in side_by_side(self._stored.in_order(part), self._there.in_order(part)):
            if item is not None:
                yield item, there

    def _present(self, part: str) -> Iterator[tuple[str]]:
        """Yield the names of what is at the place now, in their order."""
        for name, item, there in side_by_side(self._stored.in_order(part), self._there.in_order(part)):
            if there is not None or (item is not None and self._come[item.row]):
                yield (name,)

    def _lost(self, packs: Inventory) -> Iterator[str]:
        """Yield the names of packs that are not at the place now."""
        present = self._present("data/") if len(packs) else iter(())
        both = side_by_side(packs.in_order("data/"), present)
        return (name for name, pack, there in both if pack and not there)

    def _is_there(self, name: str) -> bool:
        item = self._stored.find(name)
        return name in self._there or (item is not None and bool(self._come[item.row]))

    def _config(self) -> bytes:
        """Return the source's `config`, which bears no hash; what is there must be the same.

        Asked before anything is written: a strange key with the same passphrase would lock its owner out.
        """
        config = self._source.get(_CONFIG)
        if _CONFIG in self._there and self._to.get(_CONFIG) != config:
            raise DrError(
                "another repository is there, or the source's own was overwritten",
                self._to.where,
                hint="give the replica an empty place; if the source was made again, this is the copy of what was lost",
            )
        return config

    def _copy(self, part: str, *, but: Collection[str] = ()) -> None:
        """Bring over what is missing of a part, but for some ids, many at a time."""
        if part in self._idle and not self._again:
            return
        with ThreadPoolExecutor(self._threads) as pool:
            act = activity.carried(self._one)
            for item, good in _in_flight(pool, act, self._todo(part, but), at_once=self._threads * 2):
                if good:
                    self._come[item.row] = 1
                    self._note(item.name, item.size)
                else:
                    self._done.corrupt.add(item.name)

    def _todo(self, part: str, but: Collection[str]) -> Iterator[_Todo]:
        both = ((item.name, item, there) for item, there in self._both(part))
        for name, each, known in side_by_side(both, self._proven.in_order(part)):
            if each is None or id_of(name) in but:
                continue
            _, item, there = each
            if there is None or there.size != item.size or name in self._again:
                yield item, known[1].version if known and known[1].read is not None else ""

    def _one(self, todo: _Todo) -> tuple[Listed, bool]:
        item, version = todo
        command.raise_if_stopping()
        try:
            return item, self._to.take(item.name, self._source, sha256=id_of(item.name), version=version)
        except DamageError:
            if self._source.exists(item.name):
                raise
            raise _VanishedError("an object vanished", hint="list again") from None

    def _note(self, name: str, size: int) -> None:
        self._done.objects_copied += 1
        self._done.bytes_copied += size
        total, objects = self._wanted
        activity.progress(self._done.bytes_copied, total, files=self._done.objects_copied, total_files=objects)
        if len(self._done.written) < SAMPLE:
            self._done.written.append(name)

    def _held_back(self, *, blind: bool) -> set[str]:
        """Return the snapshots, of those not there yet, that need what could not be brought; all, when `blind`."""
        new = {id_of(item.name) for item, there in self._both("snapshots/") if there is None}
        lacking = [name for name in sorted(self._done.corrupt | self._done.missing) if not self._is_there_whole(name)]
        if not new or not (lacking or blind):
            return set()
        packs = [id_of(name) for name in lacking if name.startswith("data/")]
        if blind or any(name.startswith("index/") for name in lacking) or (packs and self._insight is None):
            return new
        if not packs or self._insight is None:
            return set()
        try:
            return new & set(self._insight.needing(packs))
        except (InterruptedRunError, RefusedError, TargetDownError):
            raise
        except DrError:
            return new  # what cannot be told apart is not vouched for

    def _is_there_whole(self, name: str) -> bool:
        """Whether the place holds what the source has lost: it was copied while it was good."""
        return self._is_there(name) and self._to.sha256(name)[0] == id_of(name)


def _told(named: Future[Inventory] | None) -> tuple[Inventory, DrError | None]:
    """Return the packs that the index names; or none, and why, when a damaged one cannot be read."""
    try:
        return named.result() if named else Inventory(), None
    except (InterruptedRunError, RefusedError, TargetDownError):
        raise
    except DrError as error:
        return Inventory(), error


def _in_flight(
    pool: ThreadPoolExecutor,
    act: Callable[[_Todo], tuple[Listed, bool]],
    items: Iterable[_Todo],
    *,
    at_once: int,
) -> Iterator[tuple[Listed, bool]]:
    """Keep a bounded number going; after the first error nothing more is begun, and what is under way ends."""
    waiting: set[Future[tuple[Listed, bool]]] = set()
    try:
        for item in items:
            waiting.add(pool.submit(act, item))
            if len(waiting) >= at_once:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in waiting)
    finally:
        for future in waiting:
            future.cancel()
