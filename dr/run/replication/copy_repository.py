"""A repository's objects, copied to another place: the same repository there, with the same passphrase.

What makes it valid at every instant is the order: keys and `config`, then data, then index, then snapshots. The
source is listed the other way round, snapshots first, so that whatever a listed snapshot needs was listed too, while
backups go on adding. A prune takes away: it writes a new index before it deletes the old one, and deletes packs only
then. So a pass holds only when no index file vanished from just before the snapshots were listed until all data was
copied; else all is listed again. `locks/` stay where they are. Nothing is ever deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import field
from types import MappingProxyType
from typing import Protocol

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError, TargetDownError
from dr.late_dataclass import dataclass
from dr.tools import activity, command
from dr.tools.store import ObjectStore, is_unfinished

#: Objects on their way at once. Each is held whole on its way into a bucket: at most 24 MiB of it in memory.
THREADS = 8
#: How often a source that loses index files meanwhile is listed anew.
PASSES = 5
#: So many of the objects copied are looked at once more.
SAMPLE = 5
_CONFIG = "config"


class Insight(Protocol):
    """What only the passphrase tells of the source: what its index names, and what needs it."""

    def named(self) -> Collection[str]:
        """Return the ids of the packs that the source's index names."""

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
    proven: Mapping[str, str] = MappingProxyType({}),
    done: Copied | None = None,
    threads: int = THREADS,
) -> Copied:
    """Copy what is missing at `to`, by name and size, and return what was done. May be called again after any death.

    A corrupt object is named and never written; the snapshots that need it are held back, all new ones when there is
    no `insight`. `again` names objects that are damaged at `to` and are written again, `proven` the versions (an ETag
    each, by name) in which the source's objects were last read and found whole. `done` is filled on the way, for
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
        proven: Mapping[str, str],
        threads: int,
    ) -> None:
        self._source, self._to, self._done, self._proven = source, to, done, proven
        self._insight, self._again, self._threads = insight, frozenset(again), threads
        self._there: dict[str, int] = {}
        self._wanted = (0, 0)  # bytes and objects that are to be copied

    def run(self) -> None:
        """Copy; `_VanishedError` when the source lost something meanwhile that the copy might need."""
        before = set(self._listed("index/"))
        snapshots, index = self._listed("snapshots/"), self._listed("index/")
        keys, data = self._listed("keys/"), self._listed("data/")
        if not before <= index.keys():
            raise _VanishedError("index files vanished", hint="list again")
        parts = (keys, data, index, snapshots)
        self._done.objects = 1 + sum(map(len, parts))
        self._there = {item.name: item.size for item in self._to.list() if not item.name.startswith("locks/")}
        config = self._config()
        self._done.bytes = sum(sum(part.values()) for part in parts) + len(config)
        lacking = [size for part in parts for name, size in part.items() if self._there.get(name) != size]
        self._wanted = sum(lacking), len(lacking)
        with ThreadPoolExecutor(1) as pool:  # restic takes its time: it looks while objects are on their way
            curious = self._insight and not snapshots.keys() <= self._there.keys()
            named = pool.submit(self._insight.named) if self._insight and curious else None
            self._copy(keys)
            if _CONFIG not in self._there:
                self._to.put(_CONFIG, config)
                self._note(_CONFIG, len(config))
            self._copy(data)
            packs, untold = _told(named)
            if not index.keys() <= set(self._listed("index/")):
                raise _VanishedError("index files vanished", hint="list again")
        self._done.missing = {name for name in packs - self._there.keys() if not self._source.exists(name)}
        self._copy(index)
        if untold and not self._done.corrupt:
            raise untold
        self._done.held = self._held_back(snapshots, blind=untold is not None)
        self._copy({name: size for name, size in snapshots.items() if _id(name) not in self._done.held})
        self._done.snapshots = {_id(name) for name in self._there if name.startswith("snapshots/")}

    def _listed(self, prefix: str) -> dict[str, int]:
        return {item.name: item.size for item in self._source.list(prefix) if not is_unfinished(item.name)}

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

    def _copy(self, objects: dict[str, int]) -> None:
        """Bring over what is missing, many at a time."""
        todo = [n for n, size in sorted(objects.items()) if self._there.get(n) != size or n in self._again]
        with ThreadPoolExecutor(self._threads) as pool:
            for name, good in _in_flight(pool, activity.carried(self._one), todo, at_once=self._threads * 2):
                if good:
                    self._note(name, objects[name])
                else:
                    self._done.corrupt.add(name)

    def _one(self, name: str) -> tuple[str, bool]:
        command.raise_if_stopping()
        try:
            return name, self._to.take(name, self._source, sha256=_id(name), version=self._proven.get(name, ""))
        except DamageError:
            if self._source.exists(name):
                raise
            raise _VanishedError("an object vanished", hint="list again") from None

    def _note(self, name: str, size: int) -> None:
        self._there[name] = size
        self._done.objects_copied += 1
        self._done.bytes_copied += size
        total, objects = self._wanted
        activity.progress(self._done.bytes_copied, total, files=self._done.objects_copied, total_files=objects)
        if len(self._done.written) < SAMPLE:
            self._done.written.append(name)

    def _held_back(self, snapshots: dict[str, int], *, blind: bool) -> set[str]:
        """Return the snapshots, of those not there yet, that need what could not be brought; all, when `blind`."""
        new = {_id(name) for name in snapshots if name not in self._there}
        lacking = [name for name in sorted(self._done.corrupt | self._done.missing) if not self._is_there_whole(name)]
        if not new or not (lacking or blind):
            return set()
        packs = [_id(name) for name in lacking if name.startswith("data/")]
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
        return name in self._there and self._to.sha256(name)[0] == _id(name)


def _told(named: Future[Collection[str]] | None) -> tuple[set[str], DrError | None]:
    """Return the packs that the index names; or none, and why, when a damaged one cannot be read."""
    try:
        return {_data(pack) for pack in named.result()} if named else set(), None
    except (InterruptedRunError, RefusedError, TargetDownError):
        raise
    except DrError as error:
        return set(), error


def _in_flight(
    pool: ThreadPoolExecutor, act: Callable[[str], tuple[str, bool]], names: Iterable[str], *, at_once: int
) -> Iterator[tuple[str, bool]]:
    """Keep a bounded number going; after the first error nothing more is begun, and what is under way ends."""
    waiting: set[Future[tuple[str, bool]]] = set()
    try:
        for name in names:
            waiting.add(pool.submit(act, name))
            if len(waiting) >= at_once:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in waiting)
    finally:
        for future in waiting:
            future.cancel()


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _data(pack: str) -> str:
    return f"data/{pack[:2]}/{pack}"
