"""The verb expire, of one target: what retention does not keep goes by recovery point, and is on record as gone.

What a run that was cut off removed is noted before it goes, so that the next one puts it on record."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime

from dr.errors import DrError
from dr.evidence.acts import Expiration, ExpiredPoint
from dr.evidence.record import Outcome, Point
from dr.late_dataclass import dataclass
from dr.operations.expiry_situation import BEGUN, situation
from dr.operations.lifecycle import (
    Run,
    Verb,
    came_to_nothing,
    outcome_of,
)
from dr.plan.retention import RULES
from dr.plan.units import counted
from dr.run.expiry.expire import Removed, expire
from dr.run.expiry.prune import size_of
from dr.run.expiry.rules import Decision, decide
from dr.run.points.left_behind import in_words as left_in_words
from dr.run.replication.retention.forget import locked_versions
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session


@dataclass(frozen=True, kw_only=True)
class ExpireOptions:
    """What was asked for: which of the two verbs, and whether many points may go at once (`confirmed`)."""

    expire: bool = True
    prune: bool = True
    confirmed: bool = False
    dry_run: bool = False


def expired_of(run: Run, toolbox: Toolbox, place: Place, options: ExpireOptions, held: list[Decision]) -> Expiration:
    """Expire on one target what may go there. The decision is added to `held`, whatever stands in the way."""
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
        fact = replace(fact, outcome="degraded" if found.is_odd else "ok", blocked=tuple(found.blocked))
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


def expiring(target: str) -> Verb[Expiration]:
    """Return the verb of expiring one target."""

    def nothing(run: Run, error: DrError, outcome: Outcome) -> Expiration:
        return came_to_nothing(Expiration, run, error, outcome, target=target)

    return Verb(name="expire", prefix="expire-", nothing=nothing)
