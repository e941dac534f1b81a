"""Locks kept alive: a pack uploaded a hundred days ago is still needed by last night's point.

An object lock runs out by itself. After each backup the locks on exactly the objects that the snapshots of a
repository need are lengthened, once less than the declared margin is left, oldest first, with bounded calls.
What is needed is restic's own answer (`Repository.unneeded_packs`, one process); where it cannot be had, all that
is stored is kept, and the record says so: a lock too many costs a request, one too few costs the data.

Locks go on the *original* version of an object: the one whose SHA-256 is its name, whatever was written over it or
deleted at its head since. What is known of each lock is kept in a file, so that an unchanged repository costs one
request for a thousand objects; the lock of new objects is inferred from a sample of them.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import logging
import time
from array import array
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime, timedelta

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError
from dr.evidence.posture import LockState
from dr.evidence.stored_object import micros, moment
from dr.late_dataclass import dataclass
from dr.plan.target_kind import Immutability
from dr.plan.units import format_duration
from dr.run.immutability.lock_state import LockMemory, NeededLocks, ObjectLockState
from dr.run.immutability.original_versions import object_name, originals
from dr.run.workspace.toolbox import Place
from dr.tools import command
from dr.tools.s3_bucket import S3Bucket
from dr.tools.s3_versions import Lock, in_days
from dr.tools.state_dir import StateDir

log = logging.getLogger("dr.locks")
#: Requests at once; objects in a batch; new objects asked for their lock.
THREADS, BATCH, SAMPLE = 16, 500, 3
#: What is known is written so often while locks are lengthened.
SAVE_SECONDS = 5.0
#: So long restic may walk before everything stored is taken for needed.
WALK_SECONDS = 600.0
#: A clock further off than this locks nothing: a compliance lock of the wrong length cannot be taken back.
SKEW_SECONDS = 3600.0
#: Lock times are compared with this much patience.
_SLACK = timedelta(minutes=2)
_EXACT = "exactly what the snapshots need, as restic finds it"
_KNOWN = "nothing was due"
_ALL = "all that is stored"
#: What restic itself takes away when it forgets, prunes or rewrites.
_TAKEN = ("data/", "index/", "snapshots/")


@dataclass(frozen=True, kw_only=True)
class LockExtension:
    """The fact, and the locks on all that is needed: name -> when it was written, and until when it is locked."""

    state: LockState
    needed: Mapping[str, ObjectLockState] = field(default_factory=dict)

    @functools.cached_property
    def _ends(self) -> tuple[array[int], array[int]]:
        """When objects were written, in order, and until when the last of those written by then is locked."""
        written, ends = array("q"), array("q")
        for held in self.needed.values():
            if held.until:
                written.append(micros(held.modified))
                ends.append(micros(held.until))
        order = sorted(range(len(written)), key=written.__getitem__)
        last = itertools.accumulate((ends[each] for each in order), max)
        return array("q", (written[each] for each in order)), array("q", last)

    def of_snapshots(self, ids: Collection[str]) -> tuple[datetime, datetime] | None:
        """Return when the first and the last lock run out on what these snapshots need; None when one has no lock.

        They need nothing that was written after them. The first is that of the whole repository: not later than
        their own, since they may need any part of it.
        """
        there = [self.needed.get(f"snapshots/{each}") for each in ids]
        if not ids or None in there or self.state.protected_until is None:
            return None
        written, last = self._ends
        place = bisect.bisect_right(written, micros(max(held.modified for held in there if held)))
        return self.state.protected_until, moment(last[place - 1])


@dataclass
class _Work:
    """One run of it."""

    bucket: S3Bucket
    rules: Immutability
    now: datetime
    memory: LockMemory
    extended: int = 0
    left: int = 0
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    hint: str = ""

    def failed(self, error: DrError) -> None:
        """Note what went wrong, and what to do about it."""
        stopped = isinstance(error, InterruptedRunError)
        self.error, self.hint = ("interrupted: the next run goes on", "") if stopped else (str(error), error.hint)

    @property
    def until(self) -> datetime:
        """Until when what is due is locked now: never past the ceiling."""
        return in_days(self.now, min(self.rules.days, self.rules.max_lock_days))


def extend_locks(
    place: Place,
    bucket: S3Bucket,
    *,
    state: StateDir,
    now: datetime,
    live: Collection[str] | None,
    dropped: Collection[str] = (),
) -> LockExtension:
    """Lengthen what is due on one target; whatever goes wrong is in the fact returned.

    `bucket` lies at the repository, with keys that may lock. `live` are the ids of the snapshots that recovery
    points on record have here; None when the repository was gone and has been made anew: what was there before is
    then kept locked for `max_lock_days`, time to find out who took it away. `dropped` are the ids of keys whose
    removal is on record. Killed at any instant, the next call goes on where this one was.
    """
    began = time.monotonic()
    target = place.target
    rules = target.locks
    path = state.cache / "locks" / f"{place.repository.host}@{place.name}.json"
    work = _Work(bucket, rules, now, LockMemory.load(path, place=target.place))
    found = LockExtension(state=LockState(target=place.name, mode=rules.mode, outcome="ok"))
    if live is None:
        work.memory.frozen = in_days(now, rules.max_lock_days)
    try:
        _refuse_wrong_clock(bucket, now)
        found = _keep(work, place, live or (), dropped)
    except DrError as error:
        work.failed(error)
    calls, seconds = bucket.calls, round(time.monotonic() - began, 3)
    cost = None if rules.price_per_1000 is None else round(calls * rules.price_per_1000 / 1000, 6)
    fact = replace(found.state, calls=calls, seconds=seconds, cost=cost, extended=work.extended)
    fact = replace(fact, notes=tuple(work.notes), error=work.error, error_hint=work.hint)
    fact = replace(fact, outcome="degraded" if work.error else "ok")
    return LockExtension(state=fact, needed=found.needed)


def _refuse_wrong_clock(bucket: S3Bucket, now: datetime) -> None:
    there = bucket.now()
    off = (now - there).total_seconds() if there else 0.0
    if abs(off) > SKEW_SECONDS:
        raise DrError(
            f"no object lock was extended: this machine's clock is {format_duration(abs(off))} off the target's",
            hint="set the clock: a lock of the wrong length cannot be taken back",
        )


def _keep(work: _Work, place: Place, live: Collection[str], dropped: Collection[str]) -> LockExtension:
    memory = work.memory
    _take(work)
    _infer(work)
    due = memory.due(work.now + timedelta(days=work.rules.margin))
    scope = _KNOWN
    if due:
        spare, scope = _spare(work, place, live)
        memory.spare((*spare, *_dropped(work, dropped)) if scope == _EXACT else ())
    needed = memory.first_to_run_out(due)
    try:
        _lengthen(work, needed[: max(0, work.rules.max_calls - work.bucket.calls)])
    except DrError as error:
        work.failed(error)
    memory.save()
    _count(work, needed)
    return _told(work, place, scope, due=len(needed))


def _take(work: _Work) -> None:
    """Find the version of each object that is to be kept locked."""
    bucket = work.bucket
    there = (version for version in bucket.versions() if not version.name.startswith("locks/"))
    if not work.memory.take(originals(bucket, there)):  # a service that lists them in no order
        there = (version for version in bucket.versions() if not version.name.startswith("locks/"))
        work.memory.take(originals(bucket, sorted(there, key=lambda version: version.name)))


def _count(work: _Work, needed: Sequence[int]) -> None:
    """Say what was done of what was due, and what was not."""
    memory, now, wanted = work.memory, micros(work.now), micros(work.until - _SLACK)
    done = bare = gone = 0
    for row in needed:
        _, end = memory.times(row)
        done += end is not None and end >= wanted
        bare += end is None or end <= now
        gone += memory.gone(row)
    work.extended, work.left, bare = done, len(needed) - done - gone, bare - gone
    if gone:
        work.notes.append(f"{gone:,} objects went away before they could be locked")
    limit = f"a run may make {work.rules.max_calls:,} requests (immutability.max_calls)"
    if bare and not work.error:
        work.error = f"{bare:,} needed objects have no lock now: {limit}"
    elif work.left and not work.error:
        work.notes.append(f"{work.left:,} objects due are left for the next run: {limit}")


def _told(work: _Work, place: Place, scope: str, *, due: int) -> LockExtension:
    ceiling = micros(in_days(work.now, work.rules.max_lock_days) + timedelta(days=1))
    over, bare, first, last = 0, False, None, None
    for row in work.memory.needed():
        _, end = work.memory.times(row)
        if end is None:
            bare = True
            continue
        over += end > ceiling
        first, last = end if first is None else min(first, end), end if last is None else max(last, end)
    if over:
        work.notes.append(f"{over:,} objects are locked past the ceiling of {work.rules.max_lock_days} days")
    needed = NeededLocks(work.memory)
    state = LockState(
        target=place.name,
        mode=work.rules.mode,
        outcome="ok",
        scope=scope,
        needed=len(needed),
        due=due,
        left=work.left,
        protected_until=None if bare or first is None else moment(first),
        locked_until=None if last is None else moment(last),
    )
    return LockExtension(state=state, needed=needed)


def _spare(work: _Work, place: Place, live: Collection[str]) -> tuple[Sequence[int], str]:
    """Return what is stored that nothing needs, and how that is known.

    What is no longer at the head of a sound repository was taken away by restic, and needs no lock; but when a snapshot
    of a recovery point on record is missing, or the repository was made anew, somebody else did it, and all is kept.
    Keys are, unless their removal is on record.
    """
    memory, frozen = work.memory, work.memory.frozen
    if frozen and work.now < frozen:
        return (), f"{_ALL}, until {frozen:%Y-%m-%d}: the repository was gone and has been made again"
    lost = [each for each in live if not _is_head(memory, f"snapshots/{each}")]
    if lost:
        return (), f"{_ALL}: {len(lost)} snapshots of recovery points are missing at the head"
    try:
        short = place.repository.unneeded_packs(timeout=WALK_SECONDS)
    except InterruptedRunError:
        raise
    except DrError as error:
        return (), f"{_ALL}: {error.what}"
    unneeded = [row for digits in short if (row := memory.pack(digits)) is not None]
    taken = [row for row in range(len(memory)) if not memory.is_head(row) and memory.name(row).startswith(_TAKEN)]
    return [*unneeded, *taken], _EXACT


def _is_head(memory: LockMemory, name: str) -> bool:
    row = memory.find(name)
    return row is not None and memory.is_head(row)


def _dropped(work: _Work, ids: Collection[str]) -> Sequence[int]:
    """The keys that were removed on record, and are: one that somebody else took away is still kept."""
    rows = (work.memory.find(f"keys/{each}") for each in ids)
    return [row for row in rows if row is not None and not work.memory.is_head(row)]


def _infer(work: _Work) -> None:
    """Give new objects the lock that a sample of them has: so many days from when each was written.

    One without a lock in the sample, and all count as without: they are then locked, not believed.
    """
    memory = work.memory
    new = memory.new()
    if not new:
        return
    sample = [(memory.name(row), memory.at(row)) for row in new[:: max(1, len(new) // SAMPLE)][:SAMPLE]]
    locks: list[Lock | None] = [None]
    with suppress(RefusedError, DamageError):
        locks = [work.bucket.lock_of(object_name(name), held.version) for name, held in sample]
    known = [lock.until - held.modified for lock, (_, held) in zip(locks, sample, strict=False) if lock]
    alike = len(known) == len(sample) and max(known) - min(known) <= _SLACK
    if not alike:
        log.info("%s: new objects have no lock, or not one lock: each is locked", work.bucket.where)
    for row in new:
        memory.locked(row, memory.at(row).modified + min(known) if alike else None)


# -- the lengthening ---------------------------------------------------------------------------------


def _lengthen(work: _Work, rows: Sequence[int]) -> None:
    """Lock in batches, and keep what was done every few seconds: that much work a kill costs, and no lock."""
    saved = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            first = 1 if start == 0 else 0  # the right to do it shows with one
            _batch(work, pool, part[:first])
            _batch(work, pool, part[first:])
            if time.monotonic() - saved > SAVE_SECONDS:
                work.memory.save()
                saved = time.monotonic()
            command.raise_if_stopping()


def _batch(work: _Work, pool: ThreadPoolExecutor, rows: Sequence[int]) -> None:
    """Lock these side by side; after the first error nothing more is begun, and what was done is known."""
    errors: list[DrError] = []

    def guarded(row: int) -> tuple[int, datetime | None] | None:
        if errors or command.stopping():
            return None
        try:
            return row, _one(work, row)
        except DrError as error:
            errors.append(error)
            return None

    for found in pool.map(guarded, rows):
        if found:
            row, until = found
            work.memory.locked(row, until) if until else work.memory.went(row)
    if errors:
        raise errors[0]


def _one(work: _Work, row: int) -> datetime | None:
    """Lock one version, and return until when it is; None when it is gone."""
    name, held = object_name(work.memory.name(row)), work.memory.at(row)
    wanted = Lock(work.rules.mode, work.until)
    try:
        work.bucket.lock(name, held.version, wanted)
    except DamageError:
        return None
    except DrError as error:
        if error.retryable:
            raise
        return _despite(work, name, held, wanted, error)
    return work.until


def _despite(work: _Work, name: str, held: ObjectLockState, wanted: Lock, error: DrError) -> datetime:
    """What was refused may be locked longer already, or in the other mode: then that one is lengthened.

    Returns until when it is locked.
    Services call it by several names: some refuse a shorter lock as access denied, some as an invalid request.
    """
    with suppress(RefusedError):
        there = work.bucket.lock_of(name, held.version)
        if there and there.until >= wanted.until - _SLACK:
            return there.until
        if there and there.mode != wanted.mode:
            work.bucket.lock(name, held.version, Lock(there.mode, wanted.until))
            return wanted.until
    if not isinstance(error, RefusedError):
        raise error
    raise RefusedError(
        "these keys may not extend locks (PutObjectRetention), so locks will run out",
        work.bucket.where,
        hint="name keys that may under immutability.credentials",
    )
