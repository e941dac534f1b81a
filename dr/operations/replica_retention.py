"""A replica's own retention, after each replication that went well: what may be forgotten there is, and is recorded."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime

from dr.errors import DEGRADED, INTERRUPTED, DrError, InterruptedRunError, LockedError
from dr.evidence.forgetting import Absence, Forgetting
from dr.evidence.record import Point, Proof
from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.run.replication.replicate import Replicated
from dr.run.replication.retention.decide import Situation, judge
from dr.run.replication.retention.forget import (
    ForgetIntent,
    Gone,
    Look,
    carry_out,
    intend,
    locked_versions,
    look,
    wrong_clock,
)
from dr.run.replication.retention.pending_deletion import looked
from dr.run.workspace.toolbox import Place, Toolbox
from dr.session import Session
from dr.tools import command, process


@dataclass
class _RetentionWork:
    """One replica, and what was done there so far."""

    session: Session
    toolbox: Toolbox
    place: Place
    run_id: str
    delay: float
    found: Forgetting
    gone: Gone = field(default_factory=Gone)
    earlier: list[Absence] = field(default_factory=list)
    begun: list[Absence] = field(default_factory=list)
    sizes: Mapping[str, int] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    @property
    def system(self) -> str:
        return self.toolbox.plan.system


def forget(session: Session, loaded: Loaded, toolbox: Toolbox, place: Place, done: Replicated) -> Replicated:
    """Let a replica that was brought up to date forget what it may; whatever goes wrong is part of the fact returned.

    Only for the holder of the replica's lock. Where the target declares no `forget_after` nothing is looked at.
    """
    delay = place.target.forget_after
    if delay is None or done.fact.outcome != "ok":
        return done
    began, stopped, hint = time.monotonic(), False, ""
    work = _RetentionWork(session, toolbox, place, done.fact.run_id, delay, found=Forgetting(after_seconds=delay))
    try:
        _forget(work)
    except DrError as error:
        stopped = isinstance(error, InterruptedRunError) and command.stopping()
        said = "interrupted: the next run goes on" if stopped else str(error)
        work.found, hint = replace(work.found, error=said), error.hint
    fact = replace(
        done.fact, error_hint=hint, forgetting=_told(work, round(time.monotonic() - began, 3)), finished=session.clock()
    )
    return _judged(Replicated(fact, done.exit_code), stopped=stopped)


def _judged(done: Replicated, *, stopped: bool) -> Replicated:
    """Return it with the points that are left there, degraded by what went wrong."""
    found = done.fact.forgetting
    assert found is not None  # noqa: S101 - `forget` puts it there
    left = tuple(run_id for run_id in done.fact.points or () if run_id not in found.points)
    said = found.error or found.alarm
    fact = replace(done.fact, points=left, notes=(*done.fact.notes, *found.kept))
    if not said:
        return Replicated(fact, done.exit_code)
    return Replicated(replace(fact, outcome="degraded", error=said), INTERRUPTED if stopped else DEGRADED)


def _told(work: _RetentionWork, seconds: float) -> Forgetting:
    """Sum up what went, in this run and in one that was killed on the way."""
    earlier = {absence.name: absence.size for absence in work.earlier}
    names = work.gone.names | {absence.name for absence in work.earlier}
    begun = {each.name: each.point for each in (*work.begun, *work.earlier) if each.point}
    left = {point for name, point in begun.items() if name not in names}
    snapshots = {_id(name) for name in names if name.startswith("snapshots/")}
    return replace(
        work.found,
        points=tuple(sorted({point for name, point in begun.items() if name in names} - left)),
        snapshots=tuple(sorted(snapshots)),
        objects=len(names),
        bytes=sum(earlier.get(name) or work.sizes.get(name, 0) for name in names),
        seconds=seconds,
    )


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _forget(work: _RetentionWork) -> None:
    session, place, primary = work.session, work.place, work.toolbox.places[0]
    now = session.clock()
    work.points = session.catalog.points([work.system])
    before = session.catalog.absences(work.system, place.name)
    seen = look(primary.store, place.store)
    work.sizes = seen.sizes
    work.earlier = [replace(each, state="gone") for each in before if _is_gone(each, seen)]
    _note(work, [each for each in before if not _is_gone(each, seen)])
    if why := wrong_clock([primary, place], now):
        work.found = replace(work.found, kept=(f"{why}: no time was counted",))
        return
    here = _situation(work, seen, now, begun={each.name for each in before if each.point and each.name in seen.there})
    judged = judge(here)
    absences = looked(
        before, seen.sizes, seen.at_primary, now=now, delay=work.delay, anew=judged.anew, counts=not judged.alarm
    )
    _note(work, absences)
    if busy := _busy(work):
        work.found = replace(work.found, kept=(busy,), alarm=judged.alarm)
        return
    intent = intend(place, seen, here, judged, absences=absences, proofs=_proofs(work), state=work.toolbox.state)
    chosen = intent.chosen
    work.found = replace(work.found, kept=tuple(chosen.kept), waiting=tuple(chosen.waiting), alarm=judged.alarm)
    absences = intent.marked(absences)
    _note(work, absences)
    if intent.names:
        _carry_out(work, intent, absences, now)


def _is_gone(absence: Absence, seen: Look) -> bool:
    """Whether a run that was killed took it away, or one that could not say so any more."""
    return absence.state == "gone" or (absence.state == "going" and absence.name not in seen.there)


def _note(work: _RetentionWork, absences: Sequence[Absence]) -> None:
    """Keep what is known, with what is gone until a fact tells of it."""
    work.session.catalog.keep_absences(work.system, work.place.name, [*absences, *work.earlier])


def _situation(work: _RetentionWork, seen: Look, now: datetime, *, begun: Collection[str]) -> Situation:
    catalog, system = work.session.catalog, work.system
    return Situation(
        plan=work.toolbox.plan,
        primary=work.toolbox.places[0].name,
        replica=work.place.name,
        points=work.points,
        holds=catalog.holds(system),
        frozen=catalog.retention_frozen(system),
        at_primary=seen.at_primary,
        there=seen.sizes,
        now=now,
        delay=work.delay,
        begun=begun,
    )


def _proofs(work: _RetentionWork) -> list[Proof]:
    """Return what was ever proven, or not, of the replica."""
    facts = [sealed.fact for sealed in work.session.catalog.facts(("verify",), systems=[work.system])]
    return [fact for fact in facts if isinstance(fact, Proof) and fact.target == work.place.name]


def _carry_out(work: _RetentionWork, intent: ForgetIntent, absences: Sequence[Absence], now: datetime) -> None:
    """Take away what is intended while nobody reads there; what is begun is noted before, to be told after a kill."""
    try:
        with work.session.locked(work.system):
            if verb := _reader(work):
                raise LockedError(f"a {verb} of {work.system} is under way", hint="wait until it ends")
            _taken_away(work, intent, absences, now)
    except LockedError as error:
        work.found = replace(work.found, kept=(*work.found.kept, _put_off(error.what)))


def _busy(work: _RetentionWork) -> str | None:
    """Return that another run of the system is at work; None when none is. Asked first, as looking takes long."""
    if verb := _reader(work):
        return _put_off(f"a {verb} of {work.system} is under way")
    held = work.session.state.is_held(work.system)
    return _put_off(f"{work.system} is in use by another run") if held else None


def _put_off(why: str) -> str:
    return f"{why}: nothing is forgotten meanwhile, the next replication does it"


def _taken_away(work: _RetentionWork, intent: ForgetIntent, absences: Sequence[Absence], now: datetime) -> None:
    catalog, system, name = work.session.catalog, work.system, work.place.name
    stay, until = locked_versions(work.place, intent.snapshots)
    ends = [until, *(c.locked_until for p in work.points if p.run_id in intent.chosen.points for c in p.copies
                     if c.target == name)]  # fmt: skip
    last = max((end for end in ends if end and end > now), default=None)
    work.found = replace(work.found, versions_stay=stay, destroyable_from=last if stay else None)
    catalog.forget_stored_objects(system, name, intent.names)
    work.begun = [_begun(each, intent) for each in absences]
    _note(work, work.begun)
    try:
        carry_out(work.place, intent, work.gone, work=work.toolbox.work())
    finally:
        gone = work.gone.names
        _note(work, [replace(each, state="gone") if each.name in gone else each for each in work.begun])
        work.toolbox.sweep_work()


def _begun(absence: Absence, intent: ForgetIntent) -> Absence:
    if absence.name not in intent.names:
        return absence
    return replace(absence, state="going", point=absence.point or intent.chosen.point_of(absence.name))


def _reader(work: _RetentionWork) -> str | None:
    """Return the verb of another run of the system that may read at the replica now."""
    runs = work.session.catalog.open_runs(work.system)
    return next((run.verb for run in runs if run.verb != "replicate" and process.alive(run.process)), None)
