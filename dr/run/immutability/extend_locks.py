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
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime, timedelta

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError
from dr.evidence.posture import LockState
from dr.late_dataclass import dataclass
from dr.plan.target_kind import Immutability
from dr.plan.units import format_duration
from dr.run.immutability.lock_state import LockMemory, ObjectLockState
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
    def _ends(self) -> tuple[list[datetime], list[datetime]]:
        """When objects were written, in order, and until when the last of those written by then is locked."""
        ordered = sorted((held.modified, held.until) for held in self.needed.values() if held.until)
        return [written for written, _ in ordered], list(itertools.accumulate((end for _, end in ordered), max))

    def of_snapshots(self, ids: Collection[str]) -> tuple[datetime, datetime] | None:
        """Return when the first and the last lock run out on what these snapshots need; None when one has no lock.

        They need nothing that was written after them. The first is that of the whole repository: not later than
        their own, since they may need any part of it.
        """
        there = [self.needed.get(f"snapshots/{each}") for each in ids]
        if not ids or None in there or self.state.protected_until is None:
            return None
        written, last = self._ends
        place = bisect.bisect_right(written, max(held.modified for held in there if held))
        return self.state.protected_until, last[place - 1]


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
    versions = [version for version in work.bucket.versions() if not version.name.startswith("locks/")]
    kept = originals(work.bucket, versions)
    work.memory.take(kept)
    _infer(work)
    limit = work.now + timedelta(days=work.rules.margin)
    due = [name for name, held in work.memory.objects.items() if held.until is None or held.until < limit]
    scope = _KNOWN
    if due:
        heads = {version.name for version in versions if version.latest and not version.marker}
        work.memory.spare, scope = _spare(work, place, heads, live)
        work.memory.spare |= _dropped(work, heads, dropped) if scope == _EXACT else frozenset()
    needed = [name for name in due if name not in work.memory.spare]
    needed.sort(key=lambda name: work.memory.objects[name].until or _never(work.now))
    try:
        _lengthen(work, needed[: max(0, work.rules.max_calls - work.bucket.calls)])
    except DrError as error:
        work.failed(error)
    work.memory.save()
    _count(work, needed)
    return _told(work, place, scope, due=len(needed))


def _count(work: _Work, needed: Sequence[str]) -> None:
    """Say what was done of what was due, and what was not."""
    ends = {name: work.memory.objects[name].until for name in needed}
    done = [name for name, end in ends.items() if end is not None and end >= work.until - _SLACK]
    gone = sum(work.memory.objects[name].gone for name in needed)
    work.extended, work.left = len(done), len(needed) - len(done) - gone
    if gone:
        work.notes.append(f"{gone:,} objects went away before they could be locked")
    bare = sum(end is None or end <= work.now for end in ends.values()) - gone
    limit = f"a run may make {work.rules.max_calls:,} requests (immutability.max_calls)"
    if bare and not work.error:
        work.error = f"{bare:,} needed objects have no lock now: {limit}"
    elif work.left and not work.error:
        work.notes.append(f"{work.left:,} objects due are left for the next run: {limit}")


def _never(now: datetime) -> datetime:
    return now - timedelta(days=36_500)


def _told(work: _Work, place: Place, scope: str, *, due: int) -> LockExtension:
    needed = {name: held for name, held in work.memory.objects.items() if name not in work.memory.spare}
    ends = [held.until for held in needed.values()]
    whole = bool(ends) and None not in ends
    known = [end for end in ends if end]
    ceiling = in_days(work.now, work.rules.max_lock_days) + timedelta(days=1)
    if over := sum(end > ceiling for end in known):
        work.notes.append(f"{over:,} objects are locked past the ceiling of {work.rules.max_lock_days} days")
    state = LockState(
        target=place.name,
        mode=work.rules.mode,
        outcome="ok",
        scope=scope,
        needed=len(needed),
        due=due,
        left=work.left,
        protected_until=min(known) if whole else None,
        locked_until=max(known, default=None),
    )
    return LockExtension(state=state, needed=needed)


def _spare(work: _Work, place: Place, heads: Collection[str], live: Collection[str]) -> tuple[frozenset[str], str]:
    """Return the stored names that nothing needs, and how that is known.

    What is no longer at the head of a sound repository was taken away by restic, and needs no lock; but when a snapshot
    of a recovery point on record is missing, or the repository was made anew, somebody else did it, and all is kept.
    Keys are, unless their removal is on record.
    """
    stored, frozen = work.memory.objects, work.memory.frozen
    if frozen and work.now < frozen:
        return frozenset(), f"{_ALL}, until {frozen:%Y-%m-%d}: the repository was gone and has been made again"
    lost = [each for each in live if f"snapshots/{each}" not in heads]
    if lost:
        return frozenset(), f"{_ALL}: {len(lost)} snapshots of recovery points are missing at the head"
    try:
        short = place.repository.unneeded_packs(timeout=WALK_SECONDS)
    except InterruptedRunError:
        raise
    except DrError as error:
        return frozenset(), f"{_ALL}: {error.what}"
    packs: dict[str, list[str]] = {}
    for name in stored:
        if name.startswith("data/"):
            packs.setdefault(name.rpartition("/")[2][:8], []).append(name)
    unneeded = [names[0] for digits in short if len(names := packs.get(digits, [])) == 1]
    taken = [name for name in stored if name.startswith(_TAKEN) and name not in heads]
    return frozenset((*unneeded, *taken)), _EXACT


def _dropped(work: _Work, heads: Collection[str], ids: Collection[str]) -> frozenset[str]:
    """The keys that were removed on record, and are: one that somebody else took away is still kept."""
    return frozenset(name for each in ids if (name := f"keys/{each}") in work.memory.objects and name not in heads)


def _infer(work: _Work) -> None:
    """Give new objects the lock that a sample of them has: so many days from when each was written.

    One without a lock in the sample, and all count as without: they are then locked, not believed.
    """
    new = {name: held for name, held in work.memory.objects.items() if held.until is None and not held.asked}
    if not new:
        return
    sample = sorted(new)[:: max(1, len(new) // SAMPLE)][:SAMPLE]
    try:
        locks = [(work.bucket.lock_of(object_name(name), new[name].version), new[name]) for name in sample]
    except (RefusedError, DamageError):
        locks = [(None, held) for held in new.values()]
    spans = [lock.until - held.modified if lock else None for lock, held in locks]
    known = [span for span in spans if span is not None]
    if len(known) < len(spans) or max(known) - min(known) > _SLACK:
        log.info("%s: new objects have no lock, or not one lock: each is locked", work.bucket.where)
        work.memory.update({name: replace(held, asked=True) for name, held in new.items()})
        return
    work.memory.update(
        {name: replace(held, until=held.modified + min(known), asked=True) for name, held in new.items()}
    )


# -- the lengthening ---------------------------------------------------------------------------------


def _lengthen(work: _Work, names: Sequence[str]) -> None:
    """Lock in batches, and keep what was done every few seconds: that much work a kill costs, and no lock."""
    saved = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(names), BATCH):
            part = names[start : start + BATCH]
            first = 1 if start == 0 else 0  # the right to do it shows with one
            _batch(work, pool, part[:first])
            _batch(work, pool, part[first:])
            if time.monotonic() - saved > SAVE_SECONDS:
                work.memory.save()
                saved = time.monotonic()
            command.raise_if_stopping()


def _batch(work: _Work, pool: ThreadPoolExecutor, names: Sequence[str]) -> None:
    """Lock these side by side; after the first error nothing more is begun, and what was done is known."""
    errors: list[DrError] = []

    def guarded(name: str) -> tuple[str, ObjectLockState] | None:
        if errors or command.stopping():
            return None
        try:
            return _one(work, name)
        except DrError as error:
            errors.append(error)
            return None

    work.memory.update(dict(found for found in pool.map(guarded, names) if found))
    if errors:
        raise errors[0]


def _one(work: _Work, name: str) -> tuple[str, ObjectLockState]:
    held = work.memory.objects[name]
    wanted = Lock(work.rules.mode, work.until)
    try:
        work.bucket.lock(object_name(name), held.version, wanted)
    except DamageError:
        return name, replace(held, gone=True)
    except DrError as error:
        if error.retryable:
            raise
        return name, _despite(work, name, held, wanted, error)
    return name, replace(held, until=work.until, asked=True)


def _despite(work: _Work, name: str, held: ObjectLockState, wanted: Lock, error: DrError) -> ObjectLockState:
    """What was refused may be locked longer already, or in the other mode: then that one is lengthened.

    Services call it by several names: some refuse a shorter lock as access denied, some as an invalid request.
    """
    with suppress(RefusedError):
        there = work.bucket.lock_of(object_name(name), held.version)
        if there and there.until >= wanted.until - _SLACK:
            return replace(held, until=there.until, asked=True)
        if there and there.mode != wanted.mode:
            work.bucket.lock(object_name(name), held.version, Lock(there.mode, wanted.until))
            return replace(held, until=wanted.until, asked=True)
    if not isinstance(error, RefusedError):
        raise error
    raise RefusedError(
        "these keys may not extend locks (PutObjectRetention), so locks will run out",
        work.bucket.where,
        hint="name keys that may under immutability.credentials",
    )
