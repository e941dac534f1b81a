"""The scenario ransomware: a copy of a repository is attacked, then recovered from before the attack.

Before the clock starts: the repository is copied object by object below a place of this drill's own on the scratch
target, `PREFIX/ransomware/SYSTEM/DRILL/SYSTEM`, which must be empty; then, with the scratch target's keys, every object
there is overwritten or deleted, and the snapshots are expired with the real passphrase. Nothing outside that place is
ever written to. Then the clock starts, and all that a recovery needs is found from the versions alone: when the
attack began, which points there were, their data. What a lock keeps of the copy is left for a later drill to remove.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import field, replace
from datetime import datetime
from typing import Literal

from dr.errors import DamageError, DrError, RefusedError, UsageError
from dr.evidence.record import Drill, Event, Outcome, Point
from dr.late_dataclass import dataclass
from dr.plan.target import Target
from dr.plan.units import format_bytes
from dr.run.points.choose import find_usable, in_words
from dr.run.recovery.drill import rehearse
from dr.run.recovery.request import RecoveryRequest
from dr.run.replication.copy_repository import copy_repository
from dr.run.timetravel.attack_history import read_history
from dr.run.timetravel.point_in_time import Travel
from dr.run.workspace.toolbox import Place, Toolbox
from dr.targets.kinds import driver_of
from dr.tools import command
from dr.tools.s3_versions import S3Versions
from dr.tools.store import ObjectStore, Version

#: The folder below the scratch target's prefix to which a drill keeps.
FOLDER = "ransomware"
_THREADS = 8
#: What opens a repository, of a restic's environment: not what reaches it.
_OPENS = ("RESTIC_PASSWORD", "RESTIC_KEY_HINT")
#: Versions asked for their lock, of those that stay.
_ASKED = 20
#: Bytes of junk that the attack writes over an object.
_JUNK = b"your files are encrypted\n"
#: Versions are told apart by the second: so long nothing happens before the attack.
_STILL_SECONDS = 2.2


@dataclass
class _Prelude:
    """What was done before the engine's journal begins, for the timeline."""

    clock: Callable[[], datetime]
    events: list[Event] = field(default_factory=list)

    def note(self, what: str, *, outcome: Outcome = "ok", seconds: float | None = None) -> None:
        """Write one line."""
        self.events.append(Event(at=self.clock(), what=what, seconds=seconds, outcome=outcome))


def refuse_unready(home: ObjectStore) -> None:
    """Raise `UsageError` unless the scratch target at `home` is a bucket that keeps versions now. Reads only."""
    home.reachable()
    if home.preflight().versioning is not True:
        raise UsageError(
            "the scratch target keeps no versions: an attack on it could not be undone",
            home.where,
            hint="turn versioning on in that bucket, or name another target",
        )


def run_ransomware(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest, scratch: Target) -> Drill:
    """Hold the drill and return the fact. Raises `DrError` when it could not begin; the copy is put away all the same.

    Whether the scratch target is safe to attack is the caller's to ask first (`dr.plan.scratch`).
    """
    prelude = _Prelude(request.clock)
    source = _source(toolbox, points, request, prelude)
    system = toolbox.plan.system
    inner = f"{FOLDER}/{system}"
    home = _versions(scratch, driver_of(scratch, toolbox.state).open().store.child(inner))
    _clear(home, scratch.target, prelude, "earlier drills")
    place = _place(source, scratch, f"{inner}/{request.drill_id}/{system}", toolbox)
    with _put_away(home, scratch.target, prelude) as later:
        if next(_versions(place.target, place.store).versions(), None):
            raise UsageError("the scratch place is not empty", place.store.where, hint="run the drill again")
        _copy(source, place, prelude)
        time.sleep(_STILL_SECONDS)
        command.raise_if_stopping()
        t_loss = request.clock()
        attack(place, prelude)
        travel = Travel(None, toolbox.state, request.clock, find=lambda: _find(place))
        attacked = replace(request, at=None, target=None, t_loss=t_loss, noticed=request.clock(), travel=travel)
        there = replace(toolbox, places=(place,), replicas=())  # nothing but the copy that was attacked
        drill = rehearse(there, (), attacked)
    return replace(drill, events=(*prelude.events[: later[0]], *drill.events, *prelude.events[later[0] :]))


def _source(toolbox: Toolbox, points: Sequence[Point], request: RecoveryRequest, prelude: _Prelude) -> Place:
    """Return the target that the copy is made from: the one that a recovery would use now."""

    def say(target: str, error: DrError) -> None:
        prelude.note(f"target {target} cannot be used: {error}", outcome="degraded")

    return find_usable(toolbox, points, request.t_loss, target=request.target, say=say)[2]


def _find(place: Place) -> datetime:
    """Find the moment before the attack, by what the bucket itself tells."""
    before = read_history(_versions(place.target, place.store).versions()).before
    if before is None:
        raise DrError(
            "the versions in the bucket tell of no attack",
            place.store.where,
            hint="see whether the scratch target's keys may overwrite and delete",
        )
    return before


# -- the scratch place -------------------------------------------------------------------------------


def _place(source: Place, scratch: Target, inner: str, toolbox: Toolbox) -> Place:
    """Return the copy's place: the source's repository and passphrase, in the scratch target with its keys.

    With a cache apart: what the attack expires leaves the cache too.
    """
    opened = driver_of(scratch, toolbox.state).open()
    store = opened.store.child(inner)
    kept = {name: x for name, x in source.repository.env.items() if name.startswith(_OPENS)}
    repository = replace(
        source.repository,
        location=f"{opened.location}/{inner}",
        where=f"{source.repository.host} on {scratch.target}",
        env={**kept, **opened.env},
        cache=toolbox.state.cache / "view",
        options=opened.options,
    )
    return Place(scratch.target, scratch, repository, store, store.child("_evidence"))


def _versions(scratch: Target, store: ObjectStore) -> S3Versions:
    versions = driver_of(scratch).versions(store)
    if versions is None:
        raise UsageError("the scratch target is not a bucket", scratch.target, hint="name an s3 target")
    return versions


def _copy(source: Place, place: Place, prelude: _Prelude) -> None:
    """Copy the repository's objects, each checked on its way.

    Raises `DamageError` for one that is not what it should be: a damaged repository is mended, not drilled.
    """
    done = copy_repository(source.store, place.store)
    if bad := sorted(done.corrupt | done.missing):
        raise DamageError(f"{bad[0]} is corrupt", source.store.where, hint="see all with `dr verify`, then drill again")
    what = f"{done.objects_copied:,} objects, {format_bytes(done.bytes_copied)}"
    prelude.note(f"{what}, copied from {source.name} to {place.name}", seconds=done.seconds)


# -- the attack --------------------------------------------------------------------------------------


def attack(place: Place, prelude: _Prelude) -> None:
    """Expire the snapshots with the real passphrase, then overwrite every object and delete every other one.

    Keeps to the objects below the copy's own place. What the keys or a lock forbid is counted, not an error.
    """
    began, store = time.monotonic(), _versions(place.target, place.store)
    names = sorted(version.name for version in store.versions() if version.latest and not version.marker)
    expired = _expire(place)
    with ThreadPoolExecutor(_THREADS) as pool:
        did = list(pool.map(lambda pair: _harm(store, *pair), enumerate(names)))
    took, refused = round(time.monotonic() - began, 3), sum(did.count(word) for word in ("refused", "delete refused"))
    parts = [f"{len(names):,} objects attacked", "the snapshots expired with the passphrase" if expired else ""]
    parts += [f"{refused:,} times the target forbade it" if refused else ""]
    prelude.note("; ".join(filter(None, parts)), seconds=took)


def _expire(place: Place) -> bool:
    try:
        place.repository.forget([snapshot.id for snapshot in place.repository.snapshots()])
        return not place.repository.snapshots()  # restic 0.18.0 ends well where it was forbidden too
    except DrError:
        command.raise_if_stopping()
        return False


def _harm(store: S3Versions, number: int, name: str) -> Literal["done", "delete refused", "refused"]:
    command.raise_if_stopping()
    try:
        store.put(name, _JUNK + name.encode())
    except RefusedError:
        return "refused"
    if number % 2 == 0:
        return "done"
    try:
        store.remove(name)
    except RefusedError:
        return "delete refused"
    return "done"


# -- afterwards --------------------------------------------------------------------------------------


@contextmanager
def _put_away(home: S3Versions, name: str, prelude: _Prelude) -> Iterator[list[int]]:
    """Remove the copy when the block ends, however it ends; give where in the timeline that part begins."""
    later = [0]
    try:
        yield later
    finally:
        later[0] = len(prelude.events)
        _clear(home, name, prelude, "the scratch copy")


def _clear(home: S3Versions, name: str, prelude: _Prelude, what: str) -> None:
    """Remove every version there is of a system's scratch copies, as far as locks and rights permit; say what stays."""
    try:
        versions = list(home.versions())
        with ThreadPoolExecutor(_THREADS) as pool:
            stays = [version for version in pool.map(lambda each: _drop(home, each), versions) if version]
        if not versions:
            return
        if not stays:
            prelude.note(f"{what}: {len(versions):,} versions removed from {name}")
            return
        prelude.note(f"{what}: {len(stays):,} of {len(versions):,} versions stay on {name}: {_why(home, stays)}")
    except DrError as error:
        if command.stopping():
            return
        prelude.note(f"{what} could not be removed from {name}: {error}", outcome="degraded")


def _drop(home: S3Versions, version: Version) -> Version | None:
    try:
        home.delete_version(version.name, version.id)
    except RefusedError:
        return version
    return None


def _why(home: S3Versions, stays: Sequence[Version]) -> str:
    """Say what keeps them, by a few of what stays: data, not markers, which bear no lock."""
    some = [version for version in stays if not version.marker][:_ASKED]
    try:
        locks = [home.lock_of(version.name, version.id) for version in some]
    except (RefusedError, DamageError):
        return "the keys may not delete versions, nor ask for locks"
    until = max((lock.until for lock in locks if lock), default=None)
    return f"locked until {in_words(until)}" if until else "the keys may not delete versions"
