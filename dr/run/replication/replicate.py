"""The verb replicate, for one replica of one system: the primary's objects copied there, and what that gave.

Deletions are not copied, and a backup may be at work meanwhile: see `dr.run.replication.copy_repository`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta

from dr.errors import DEGRADED, FAILED, INTERRUPTED, OK, DamageError, DrError, InterruptedRunError
from dr.evidence.look import Known, Look
from dr.evidence.record import Outcome, Point, Replication
from dr.evidence.stored_object import KnownObjects
from dr.late_dataclass import dataclass
from dr.plan.units import counted
from dr.run.immutability.extend_all import said_of
from dr.run.immutability.extend_locks import LockExtension
from dr.run.points.presence import in_words, is_there, look_at, require_repository
from dr.run.replication.copy_repository import Copied, copy_repository
from dr.run.verification.inventory import Inventory, id_of
from dr.run.verification.memory import Named, VerifyMemory, pack_name
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools import activity, command
from dr.tools.store import ids, is_object

log = logging.getLogger("dr.heal")


@dataclass(frozen=True, kw_only=True)
class ReplicateRequest:
    """What the caller knows before. `points` is asked after the copying: a backup may end meanwhile.

    `again` names objects found damaged at the replica; `proven` is what proofs saw of the primary's objects; `known`
    what was read of its index before; `spent` are the points that the plan's retention has no use for.
    """

    run_id: str
    clock: Callable[[], datetime]
    points: Callable[[], Sequence[Point]]
    again: Collection[str] = ()
    proven: KnownObjects | None = None
    known: VerifyMemory = field(default_factory=VerifyMemory)
    spent: Collection[str] = ()


@dataclass(frozen=True)
class Replicated:
    """The fact, the exit code it deserves, and what is now known of the primary's index, where it was asked."""

    fact: Replication
    exit_code: int
    index: Named | None = None


@dataclass
class _Insight:
    """What restic tells of the primary."""

    place: Place
    known: VerifyMemory
    index: Named | None = None

    def named(self) -> Inventory:
        there = ids(self.place.store, "index/")
        self.index = self.known.named_by(there, lambda each: self.place.repository.indexed({each}).packs.items())
        return self.index.packs

    def needing(self, packs: Sequence[str]) -> Collection[str]:
        return self.place.repository.find_pack(packs)


def replicate(toolbox: Toolbox, to: Place, request: ReplicateRequest) -> Replicated:
    """Bring a replica up to date; every failure is part of the fact returned. Only one at a time for each replica."""
    source, started, done = toolbox.places[0], request.clock(), Copied()
    problem: DrError | None = None
    points: tuple[str, ...] | None = None
    looks: list[Look] = []
    lock, unordered, healed, insight = "", "", "", _Insight(source, request.known)
    try:
        source.reach()
        to.reach()
        if left := to.driver.tidy(to.store):
            healed = f"{counted(left, 'unfinished file')} of a killed run removed from {to.name}"
            log.warning("%s: %s", toolbox.plan.system, healed)
        lock = to.object_lock()
        before = request.points()
        is_there(to)  # whether it is the same the copying asks
        if (known := require_repository(source)) is None:
            raise DrError("there is no repository yet", source.repository.where, hint="run `dr backup` first")
        _require_config(source, known)
        looks.append(look_at(source, before, at=request.clock(), useless=request.spent))
        with activity.step("copy objects", target=to.name):
            copy_repository(
                source.store, to.store, insight=insight, again=request.again, proven=request.proven, done=done
            )
        if _lacks_key(source, to, done):
            done.keyless, done.lacking = True, set(done.snapshots)
        else:
            _look_for_gaps(source, to, insight, request, done)
        points = tuple(points_on(request.points(), (source.name, to.name), done.snapshots - done.lacking))
        unordered = _unordered(to, done.written, now=request.clock())
    except DrError as error:
        problem = error
    robbed = [text for look in looks if (text := in_words(look, before))]
    ending = _Ending(started, points, problem, lock, unordered, tuple(looks), robbed, healed)
    learned = None if done.lacking else insight.index  # a gap is known by what the index was before
    return replace(_outcome(toolbox, to, request, done, ending), index=learned)


def _require_config(source: Place, known: Known) -> None:
    """Raise `DamageError` where the source's `config` is not the one on record: a copy of it opens nowhere."""
    if known.config and source.store.sha256("config")[0] != known.config:
        raise DamageError(
            "the repository's `config` is damaged: nothing there can be opened", source.repository.where,
            hint="put `config` back from another copy of this repository; until then recover from another target",
        )  # fmt: skip


def _lacks_key(source: Place, to: Place, done: Copied) -> bool:
    """Whether nothing opens the replica: it has no key, or not ours, as the source's own is spoilt."""
    there, ours = ids(to.store, "keys/"), source.repository.env.get("RESTIC_KEY_HINT", "")
    return not there or (f"keys/{ours}" in done.corrupt and ours not in there)


def _unordered(to: Place, names: Sequence[str], *, now: datetime) -> str:
    """Say which locks on some of what was written nobody ordered: past the ceiling, or a legal hold; nothing for none.

    A lock of compliance cannot be shortened: it is to be known at once where one comes from.
    """
    days = to.target.locks.max_lock_days
    locks = [to.driver.lock_on_top(to.store, name) for name in names]
    long = max((until for until, _ in locks if until and until > now + timedelta(days=days + 1)), default=None)
    if long:
        return (
            f"what was written is locked until {long:%Y-%m-%d}, past max_lock_days ({days}): see the bucket's default"
        )
    if any(held for _, held in locks):
        return "what was written is under a legal hold that nobody ordered: see the service"
    return ""


def _look_for_gaps(source: Place, to: Place, insight: _Insight, request: ReplicateRequest, done: Copied) -> None:
    """See whether the replica is whole, where the source's index may have gaps: what it does not name is not copied in
    vain, but no snapshot that needs it can be read.

    Data that no index names is there while a backup is at work too: then a check at the replica finds nothing.
    """
    vanished = _vanished(source, request.known)
    if not (vanished or (insight.index and _strays(source, insight.index))):
        return
    checked = to.repository.check()
    if checked.clean:
        return
    done.lacking = done.snapshots if checked.index_broken else to.repository.lacking(checked)
    done.lacking |= to.repository.find_pack(checked.missing) if not checked.index_broken else set()
    done.missing |= {f"index/{name}" for name in vanished}


def _vanished(source: Place, known: VerifyMemory) -> set[str]:
    """Return index files that the source had: a prune or a repair put others in their place, or they are lost."""
    return set(known.indexes) - ids(source.store, "index/")


def _strays(source: Place, index: Named) -> bool:
    """Whether the source holds data that its index does not name."""
    packs = (id_of(item.name) for item in source.store.list("data/") if is_object(item.name))
    return any(pack_name(pack) not in index.packs for pack in packs)


def points_on(points: Iterable[Point], targets: Collection[str], snapshots: Collection[str]) -> list[str]:
    """Return the run ids of the points of which a copy on one of these targets has all its snapshots among these."""
    there = set(snapshots)
    return [
        point.run_id
        for point in points
        if any(copy.target in targets and there.issuperset(copy.ids) for copy in point.copies)
    ]


@dataclass(frozen=True)
class _Ending:
    started: datetime
    points: tuple[str, ...] | None
    problem: DrError | None
    lock: str
    unordered: str
    looks: tuple[Look, ...] = ()
    robbed: Sequence[str] = ()
    healed: str = ""


def _outcome(toolbox: Toolbox, to: Place, request: ReplicateRequest, done: Copied, ending: _Ending) -> Replicated:
    parts = [*ending.robbed, _said(done, toolbox), ending.unordered]
    said = str(ending.problem) if ending.problem else "; ".join(filter(None, parts)) or None
    outcome: Outcome = "degraded" if said else "ok"
    code = DEGRADED if said else OK
    if ending.problem:
        stopped = isinstance(ending.problem, InterruptedRunError)
        outcome = "aborted" if stopped and command.stopping() else "failed"
        code = INTERRUPTED if outcome == "aborted" else FAILED if stopped else ending.problem.exit_code
    fact = Replication(
        run_id=request.run_id,
        system=toolbox.plan.system,
        source=toolbox.places[0].name,
        target=to.name,
        started=ending.started,
        finished=request.clock(),
        outcome=outcome,
        objects=done.objects,
        bytes=done.bytes,
        objects_copied=done.objects_copied,
        bytes_copied=done.bytes_copied,
        skipped=max(0, done.objects - done.objects_copied) if ending.points is not None else 0,
        seconds=done.seconds,
        corrupt=tuple(sorted(done.corrupt)),
        missing=tuple(sorted(done.missing)),
        held=tuple(sorted(done.held)),
        points=ending.points,
        error=said,
        error_hint=ending.problem.hint if ending.problem else "",
        object_lock=ending.lock,
        looks=ending.looks,
        healed=(ending.healed,) if ending.healed else (),
        plan_digest=toolbox.digest,
        versions=dict(toolbox.versions),
    )
    return Replicated(fact, code)


def with_lock(done: Replicated, kept: LockExtension | None) -> Replicated:
    """Return it with what became of the locks there: one that cannot be kept makes it degraded."""
    if kept is None:
        return done
    state = kept.state
    fact = replace(done.fact, locks=(state,), notes=(*done.fact.notes, *said_of(state)))
    if fact.outcome == "ok" and state.outcome != "ok":
        return replace(done, fact=replace(fact, outcome="degraded"), exit_code=DEGRADED)
    return replace(done, fact=fact)


def _said(done: Copied, toolbox: Toolbox) -> str | None:
    """Say in a sentence what could not be brought, or cannot be read where it was brought."""
    system, source = toolbox.plan.system, toolbox.places[0].name
    if done.keyless:
        return (
            f"{source} has no key that opens the repository, so the {len(done.snapshots)} snapshot(s) copied count for "
            f"nothing: put `keys/` of {system} back from another copy, then `dr replicate {system}` again"
        )
    if done.lacking:
        mend = f"run `dr repair {system} --target {source}`, then `dr replicate {system}` again"
        return f"{len(done.lacking)} snapshot(s) need what no index of {source} names, and count for nothing: {mend}"
    bad = [f"{len(done.corrupt)} corrupt"] * bool(done.corrupt) + [f"{len(done.missing)} missing"] * bool(done.missing)
    if not bad:
        return None
    held = f", so {len(done.held)} snapshot(s) that need them were held back" if done.held else ""
    return f"the source has {' and '.join(bad)} object(s), which were not copied{held}"
