"""`dr expire`: the plan's retention where backups write, by recovery point; then space is freed, the rest proven.

To expire and to prune are two runs, each on record. What a run that was cut off removed is noted before it goes, so
that the next one puts it on record.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from dr.errors import LOCKED, DrError, InterruptedRunError, LockedError, every_error
from dr.evidence.acts import Expiration, ExpiredPoint, Pruning
from dr.evidence.record import Outcome, Point
from dr.late_dataclass import dataclass
from dr.operations.expiry_situation import BEGUN, situation
from dr.operations.lifecycle import (
    Finished,
    Run,
    Verb,
    across,
    carry_out,
    foresee,
    not_begun,
    outcome_of,
    run_of,
)
from dr.operations.verify import prove
from dr.plan.declarations import Loaded
from dr.plan.retention import RULES
from dr.plan.units import counted
from dr.queries.schedule import due_now, expiring_targets
from dr.run.expiry.expire import Removed, expire
from dr.run.expiry.prune import prune, size_of
from dr.run.expiry.rules import Decision, decide
from dr.run.points.left_behind import in_words as left_in_words
from dr.run.points.presence import require_repository
from dr.run.replication.retention.forget import locked_versions
from dr.run.verification.rotation import ReadingRule
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session
from dr.tools import command, process

#: The two verbs, in the order in which they are done.
EXPIRY: tuple[Literal["expire", "prune"], ...] = ("expire", "prune")
#: What is asked of a repository after a prune.
_LEVEL = 1


@dataclass(frozen=True, kw_only=True)
class ExpireOptions:
    """What was asked for: which of the two verbs, and whether many points may go at once (`confirmed`)."""

    expire: bool = True
    prune: bool = True
    confirmed: bool = False
    dry_run: bool = False


@dataclass(frozen=True)
class ExpireResult:
    """What came of one target: of either verb, where it ran; `decision` says of each point why it stays."""

    system: str
    target: str
    expiration: Finished[Expiration] | None = None
    pruning: Finished[Pruning] | None = None
    decision: Decision | None = None


def expire_all(session: Session, items: Sequence[Loaded], options: ExpireOptions) -> list[ExpireResult]:
    """Do it for several systems side by side, and for each on the targets that backups write to, one by one."""
    found = across(session, items, lambda loaded: expire_one(session, loaded, options))
    return [result for results in found for result in results]


def expire_one(
    session: Session, loaded: Loaded, options: ExpireOptions, *, targets: Sequence[str] = ()
) -> list[ExpireResult]:
    """Expire and prune one system, on some targets or all that backups write to. One that fails stops no other."""
    wanted = [name for name in loaded.plan.targets if not targets or name in targets]
    if loaded.plan.retention is None:
        return []
    results: list[ExpireResult] = []
    try:
        with every_error(), session.locked(loaded.plan.system):
            _refuse_readers(session, loaded.plan.system)
            toolbox = session.toolbox(loaded)
            for place in (toolbox.place(name) for name in wanted):
                if not command.stopping():
                    results.append(_on_target(session, loaded, toolbox, place, options))
            return results
    except InterruptedRunError:
        raise
    except DrError as error:
        done = {result.target for result in results}
        return [*results, *(_untried(session, loaded, x, error, options) for x in wanted if x not in done)]


def expire_due(session: Session, items: Sequence[Loaded], *, dry_run: bool = False) -> list[ExpireResult]:
    """Expire and prune what is due of either."""
    wanted = {verb: [x.plan.system for x in due_now(session, list(items), verb)] for verb in EXPIRY}
    some = [loaded for loaded in items if any(loaded.plan.system in names for names in wanted.values())]

    def act(loaded: Loaded) -> list[ExpireResult]:
        due = {verb: loaded.plan.system in names for verb, names in wanted.items()}
        return expire_due_of(session, loaded, ExpireOptions(**due, dry_run=dry_run))

    return [result for results in across(session, some, act) for result in results] if some else []


def expire_due_of(session: Session, loaded: Loaded, options: ExpireOptions) -> list[ExpireResult]:
    """Do of one system what the options name, on the targets where dr may remove something; nothing where none is."""
    targets = expiring_targets(loaded.plan, session.declarations.targets)
    return (
        expire_one(session, loaded, options, targets=targets) if targets and (options.expire or options.prune) else []
    )


def _refuse_readers(session: Session, system: str) -> None:
    """Raise `LockedError` while a run that may read an older point is at work."""
    for run in session.catalog.open_runs(system):
        if run.verb in ("drill", "recovery", "replicate") and process.alive(run.process):
            raise LockedError(f"a {run.verb} of {system} is under way", system, hint="wait until it ends")


def _untried(session: Session, loaded: Loaded, target: str, error: DrError, options: ExpireOptions) -> ExpireResult:
    """What could not be begun: on record, unless another run is at work."""
    verb = _expiring(target)
    run = run_of(session, loaded, verb)

    def raised(_: Run) -> Expiration:
        raise error

    if error.exit_code == LOCKED:
        finished = not_begun(run, verb, error)
    else:
        finished = (foresee if options.dry_run else carry_out)(run, verb, raised)
    return ExpireResult(loaded.plan.system, target, finished)


def _on_target(
    session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, options: ExpireOptions
) -> ExpireResult:
    held: list[Decision] = []
    expiration = pruning = None
    if options.expire:
        verb = _expiring(place.name)
        run = run_of(session, loaded, verb)
        act = foresee if options.dry_run else carry_out
        expiration = act(run, verb, lambda run: _expired(run, toolbox, place, options, held))
    worked = expiration is None or expiration.record.outcome == "ok"
    if options.prune and worked and place.target.expires and not options.dry_run and not command.stopping():
        verb_ = _pruning(place.name)
        pruning = carry_out(run_of(session, loaded, verb_), verb_, lambda run: _pruned(run, toolbox, place))
    return ExpireResult(loaded.plan.system, place.name, expiration, pruning, held[0] if held else None)


# -- expiring ------------------------------------------------------------------------------------------


def _expired(run: Run, toolbox: Toolbox, place: Place, options: ExpireOptions, held: list[Decision]) -> Expiration:
    began, session = time.monotonic(), run.session
    here = situation(session, run.loaded, place, confirmed=options.confirmed)
    found = decide(here)
    held.append(found)
    fact = _begin(run, toolbox, place, found)
    if found.going and not found.blocked and not place.target.expires:
        found.blocked.append(_needs_keys(place))
    run.reached.append(place)
    if here.left:
        run.problems.append(left_in_words(here.left, place.name, ahead=options.dry_run))
    if found.blocked or options.dry_run:
        fact = replace(fact, outcome="degraded" if found.blocked else "ok", blocked=tuple(found.blocked))
        removed = Removed(points={} if options.dry_run else dict(found.gone))
    else:
        versions = locked_versions(place, {f"snapshots/{each}" for each in found.ids(found.may)})
        fact = replace(fact, versions_stay=versions[0], destroyable_from=_until(found, versions[1], here.now))
        removed = expire(place, found, noted=lambda: _note(session, place, found))
        run.problems += removed.notes
    if removed.points and not options.dry_run:
        run.once_kept(lambda: _settled(session, place, removed))
    return _ended(run, replace(fact, seconds=round(time.monotonic() - began, 3)), found, removed)


def _until(found: Decision, sampled: datetime | None, now: datetime) -> datetime | None:
    """Return until when the last version of what goes is locked, by a sample there and by what is on record."""
    ends = [end for end in (sampled, *(x.locked_until for x in found.copies(found.may))) if end and end > now]
    return max(ends, default=None)


def _needs_keys(place: Place) -> str:
    return (
        f"{place.name} names no keys that may delete: name some that may read, list, write and delete under "
        "`delete_credentials` in its file, other ones than the backup keys"
    )


def _begin(run: Run, toolbox: Toolbox, place: Place, found: Decision) -> Expiration:
    """Return what is known before anything goes."""
    rules = {rule: getattr(run.loaded.plan.keeps, rule) for rule in RULES}
    notes = (f"{counted(found.here.strangers, 'snapshot')} there of no point on record: they stay",)
    return Expiration(
        run_id=run.run_id,
        system=run.system,
        target=place.name,
        started=run.started,
        finished=run.started,
        outcome="ok",
        points=len(found.kept) + len(found.going),
        kept=dict(sorted(Counter(found.kept.values()).items())),
        retention=rules,
        confirmed=found.here.confirmed,
        stored_bytes=size_of(place).bytes,
        left_behind=found.here.left,
        healed=(left_in_words(found.here.left, place.name),) if found.here.left else (),
        notes=notes if found.here.strangers else (),
        plan_digest=run.loaded.digest,
        versions=dict(toolbox.versions),
    )


def _note(session: Session, place: Place, found: Decision) -> None:
    begun = {**found.here.begun, **found.may}
    session.catalog.remember(place.system, place.name + BEGUN, json.dumps(begun))
    going = {f"snapshots/{each}" for each in found.ids(found.may)}
    session.catalog.forget_stored_objects(place.system, place.name, going)


def _settled(session: Session, place: Place, removed: Removed) -> None:
    """What is on record now needs no note any more."""
    begun = json.loads(session.catalog.memory(place.system, place.name + BEGUN) or "{}")
    left = {run_id: rule for run_id, rule in begun.items() if run_id not in removed.points}
    session.catalog.remember(place.system, place.name + BEGUN, json.dumps(left))


def _ended(run: Run, fact: Expiration, found: Decision, removed: Removed) -> Expiration:
    points = {point.run_id: point for point in found.here.points}
    gone = [
        ExpiredPoint(
            run_id=run_id, consistency_time=points[run_id].consistency_time, rule=rule,
            left_on=_left_on(points[run_id], fact.target),
        )
        for run_id, rule in removed.points.items()
    ]  # fmt: skip
    problem = removed.problem
    if problem:
        run.exit_code = problem.exit_code
        fact = replace(fact, outcome=outcome_of(problem), error=str(problem), error_hint=problem.hint)
        if gone and fact.outcome == "failed" and run.exit_code == 1:
            fact, run.exit_code = replace(fact, outcome="degraded"), None
    gone.sort(key=lambda each: (each.consistency_time, each.run_id))
    return replace(
        fact, expired=tuple(gone), snapshots=tuple(removed.snapshots), finished=run.session.clock(),
        notes=(*fact.notes, *removed.notes),
    )  # fmt: skip


def _left_on(point: Point, target: str) -> tuple[str, ...]:
    return tuple(copy.target for copy in point.usable if copy.target != target)


def _expiring(target: str) -> Verb[Expiration]:
    """Return the verb of expiring one target."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Expiration:
        return Expiration(
            run_id=run.run_id, system=run.system, target=target, started=run.started,
            finished=run.session.clock(), outcome=outcome, error=str(error), error_hint=error.hint,
            plan_digest=run.loaded.digest,
        )  # fmt: skip

    return Verb(name="expire", prefix="expire-", nothing=nothing)


# -- pruning -------------------------------------------------------------------------------------------


def _pruned(run: Run, toolbox: Toolbox, place: Place) -> Pruning:
    """Free what is not needed, then prove the structure of what is left."""
    began, session, notes = time.monotonic(), run.session, list[str]()
    place.reach()
    if require_repository(place) is None:
        raise DrError("there is no repository yet", place.repository.where, hint="run `dr backup` first")
    stay, until = locked_versions(place, ())
    done = prune(place, max_repack=run.loaded.plan.keeps.max_repack, notes=notes)
    run.reached.append(place)
    less = max(0, done.before.bytes - done.after.bytes)
    proof = prove(session, run.loaded, toolbox, place, level=_LEVEL, rule=ReadingRule.of(run.loaded.plan))
    run.problems += (*notes, *proof.problems)
    told = proof.record
    sound = told.outcome == "ok"
    return Pruning(
        run_id=run.run_id,
        system=run.system,
        target=place.name,
        started=run.started,
        finished=session.clock(),
        outcome="ok" if sound else "failed",
        points=_expired_since(session, run.system, place.name),
        freed_bytes=0 if stay else less,
        hidden_bytes=less if stay else 0,
        stored_bytes=done.after.bytes,
        objects=max(0, done.before.objects - done.after.objects),
        destroyable_from=until,
        level_reached=told.level_reached,
        proof=told.run_id,
        seconds=round(time.monotonic() - began, 3),
        notes=tuple(notes),
        error=None if sound else f"what is left is not proven: {told.error or 'see the proof'}",
        error_hint="" if sound else told.error_hint or f"run `dr repair {run.system} --target {place.name}`",
        plan_digest=run.loaded.digest,
        versions=dict(toolbox.versions),
    )


def _expired_since(session: Session, system: str, target: str) -> tuple[str, ...]:
    """Return the points that expired on a target since the last prune there that worked."""
    found: list[str] = []
    for record in session.catalog.facts(("expire", "prune"), systems=[system]):
        fact = record.fact
        if isinstance(fact, Pruning) and fact.target == target and fact.outcome == "ok":
            found.clear()
        elif isinstance(fact, Expiration) and fact.target == target:
            found += [point.run_id for point in fact.expired]
    return tuple(found)


def _pruning(target: str) -> Verb[Pruning]:
    """Return the verb of pruning one target."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Pruning:
        return Pruning(
            run_id=run.run_id, system=run.system, target=target, started=run.started,
            finished=run.session.clock(), outcome=outcome, error=str(error), error_hint=error.hint,
            plan_digest=run.loaded.digest,
        )  # fmt: skip

    return Verb(name="prune", prefix="prune-", nothing=nothing)
