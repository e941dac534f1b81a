"""The way through the copies: what a recovery tries next when a copy turns out not to be whole.

In this order: the next target's copy of the same point, replicas last; the copies as they were when the point was
made, from the versions that a bucket keeps below; the copies with their index made anew beside them; the next older
point. A target that was named stays. Of a point that was named no other is tried, and in the end what is there of it
is brought back. Nothing is written to any target.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import field
from datetime import datetime

from dr.errors import DamageError, DrError, InterruptedRunError, NoRepositoryError, RefusedError, TargetDownError
from dr.evidence.record import Copy, PassedOver, Point
from dr.late_dataclass import dataclass
from dr.run.points.choose import (
    RecoveryStep,
    Say,
    See,
    by_name,
    condition,
    in_turn,
    in_words,
    last_unsuspected,
    ready,
    suspect_in_words,
)
from dr.run.points.later import later_in_words
from dr.run.points.presence import holds, is_explained
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.state import Recovery
from dr.run.timetravel.point_in_time import Travel
from dr.run.verification.rebuilt_index import HOW, rebuild
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.store import Version
from dr.tools.view import View, shows

log = logging.getLogger("dr.recover")

#: So many points are tried; when none of them is whole, `dr verify` tells sooner which is.
MOST_POINTS = 5
#: What restic cannot go past where it is not what its name says; a view leaves it out.
_SLIPPED_IN = re.compile(r"<(?:key|snapshot)/")
_INDEX = re.compile(r"index|not found in (repository|index)|unknown blob", re.IGNORECASE)


@dataclass
class Route:
    """The copies of some points, one after the other, until `close`. `say` hears of targets passed over."""

    toolbox: Toolbox
    points: Sequence[Point]
    before: datetime
    clock: Callable[[], datetime]
    say: Say
    target: str | None = None
    named: bool = False  # the point was named by a person
    through: See | None = None
    _steps: Iterator[RecoveryStep] | None = None
    _tried: set[str] = field(default_factory=set)
    _whys: list[str] = field(default_factory=list)
    _refusing: set[str] = field(default_factory=set)  # the targets that denied these keys something
    _until: ExitStack = field(default_factory=ExitStack)
    _anew: dict[str, Place | None] = field(default_factory=dict)
    _listed: dict[str, list[Version]] = field(default_factory=dict)

    def begin(self) -> RecoveryStep:
        """Return the best there is. Raises `DrError` when there is nothing."""
        self._steps = in_turn(
            self.toolbox, self.points, self.before, target=self.target, say=self._hear, through=self.through,
            below=self._below,
        )  # fmt: skip
        return next(self._steps)

    def after(self, step: RecoveryStep, why: str) -> RecoveryStep | None:
        """Return what to try after a copy that is not whole, for that reason; None when there is nothing more."""
        self._tried.add(step.point.run_id)
        self._whys.append(why)
        following = next(self._steps, None) if self._steps else None
        if following and following.point.run_id not in self._tried:
            far = len(self._tried) >= MOST_POINTS or self.target is not None
            return None if far else following
        return following

    def refused(self, target: str) -> None:
        """Note that a target denied these keys something amid a restore."""
        self._refusing.add(target)

    def close(self) -> None:
        """Show nothing more. May be called twice."""
        self._until.close()

    def _hear(self, target: str, error: DrError) -> None:
        if isinstance(error, RefusedError):
            self._refusing.add(target)
        self.say(target, error)

    # -- what else there is of a point -------------------------------------------------------------

    def _below(self, point: Point) -> Iterator[RecoveryStep]:
        if self.through is None and (self.named or self.target is None):
            yield from self._as_it_was(point)
            yield from self._with_index_anew(point)
        if self.named:
            yield from self._what_is_there(point)

    def _places(self, point: Point) -> Iterator[tuple[Copy, Place]]:
        places = {place.name: place for place in self.toolbox.everywhere}
        for copy in point.copies:
            if copy.target in places and self.target in (None, copy.target):
                yield copy, places[copy.target]

    def _as_it_was(self, point: Point) -> Iterator[RecoveryStep]:
        for copy, place in self._places(point):
            if not copy.complete:
                continue
            travel = Travel(point.finished, self.toolbox.state, self.clock, _listed=self._listed)
            self._until.callback(travel.close)
            try:
                seen = travel.seen(place, point.finished)
                view = shows(seen.store)
                if view is None or not (self._may_serve(copy.target) or _differs(view.view)):
                    continue  # it keeps no versions, or nothing there was ever overwritten or deleted
                ready(seen)
                if not holds(seen, copy.ids):
                    continue
            except InterruptedRunError:
                raise
            except DrError as error:
                self.say(copy.target, error)
                continue
            yield RecoveryStep(point, copy, seen, f"as it was at {in_words(point.finished)}", point.finished)

    def _may_serve(self, target: str) -> bool:
        """Whether versions may serve though nothing was overwritten or deleted.

        An object was slipped in, which the view leaves out; or these keys may read versions, but not what is on top:
        services ask for another right (GetObjectVersion) there.
        """
        return target in self._refusing or any(map(_SLIPPED_IN.search, self._whys))

    def _with_index_anew(self, point: Point) -> Iterator[RecoveryStep]:
        """What is said of a copy tells whether it is the index that is damaged."""
        spoilt = any(map(_INDEX.search, self._whys))
        for copy, place in self._places(point):
            if copy.complete and (copy.doubtful or (spoilt and not copy.damaged)) and (anew := self._made_anew(place)):
                yield RecoveryStep(point, copy, anew, HOW)

    def _made_anew(self, place: Place) -> Place | None:
        if place.name not in self._anew:
            try:
                ready(place)
                self._anew[place.name] = rebuild(place, self.toolbox.state, until=self._until)
            except InterruptedRunError:
                raise
            except DrError as error:
                self.say(place.name, error)
                self._anew[place.name] = None
        return self._anew[place.name]

    def _what_is_there(self, point: Point) -> Iterator[RecoveryStep]:
        """The copies that are not whole, those that hold most first."""
        for copy, place in sorted(self._places(point), key=lambda pair: len(pair[0].snapshots), reverse=True):
            anew = self._anew.get(place.name) or (self._made_anew(place) if copy.doubtful else None)
            try:
                seen = anew or (self.through(place, point) if self.through else place)
                ready(seen)
            except InterruptedRunError:
                raise
            except DrError as error:
                self.say(copy.target, error)
                continue
            yield RecoveryStep(point, copy, seen, HOW if anew else "", salvage=True)


def _differs(view: View) -> bool:
    """Whether what was there then is not what is on top now."""
    return any(len(versions) > 1 or not versions[0].latest for versions in view.objects.values())


def is_of_copy(error: DrError, place: Place) -> bool:
    """Whether an error is the copy's fault, so that another copy may serve."""
    if isinstance(error, InterruptedRunError) or "disk is full" in error.what:
        return False
    if isinstance(error, DamageError | NoRepositoryError):
        return True
    of_place = error.where in (place.repository.where, place.store.where)
    return of_place or (isinstance(error, TargetDownError | RefusedError) and error.where.startswith("s3:"))


# -- along it ------------------------------------------------------------------------------------------


def route_of(recovery: Recovery, points: Sequence[Point]) -> Route:
    """Return the way through the copies that serve what is asked; the caller closes it."""
    request, travel, through = recovery.request, recovery.request.travel, None
    before = request.at or request.t_loss
    if travel:
        travel.say, through = recovery.journal.note, travel.of_point
        before, points = travel.depart(recovery.toolbox, points, target=request.target)
    if request.point:
        points = [point for point in points if point.run_id == request.point]
        before = max((point.consistency_time for point in points), default=before)
    named, say = request.point is not None, recovery.passed
    return Route(
        recovery.toolbox, points, before, request.clock, say, target=request.target, named=named, through=through
    )


def choose_step(recovery: Recovery, points: Sequence[Point], step: RecoveryStep) -> None:
    """Take a copy in hand, and note what is to be known of it and its point."""
    journal, point, copy, declared = recovery.journal, step.point, step.copy, recovery.toolbox.plan.sources
    first, recovery.step = recovery.step is None, step
    when = in_words(point.consistency_time)
    journal.note(f"point {point.run_id} of {when} on {step.where} chosen", timed=True)
    if copy.doubtful and step.how:
        journal.note(f"the index on {copy.target} is damaged: it is made again beside it", outcome="degraded")
    if warning := suspect_in_words(points, point):
        recovery.unsuspected = last_unsuspected(points, point)
        journal.note(warning, outcome="degraded")
    told = (newer_unusable(recovery.request, step, points), later_than(recovery.request, step, points)) if first else ()
    for said in filter(None, told):
        log.warning("%s", said)
        journal.note(said)
    if recovery.request.real and recovery.request.selected:
        return  # what was named is in the point, whatever else is
    for name in sorted(set(declared) - set(copy.snapshots)):
        journal.note(f"the point does not hold the plan's source {name}", outcome="degraded")
    for name in sorted(set(copy.snapshots) - set(declared)):
        journal.note(f"the point holds {name}, which the plan no longer names: restored too")


def newer_unusable(request: RecoveryRequest, step: RecoveryStep, points: Sequence[Point]) -> str | None:
    """Say which newer point is on record and cannot be used, where a person recovers and asked for no older one."""
    if not request.real or request.at or request.point or request.travel or step.how:
        return None
    newer = [p for p in points if p.consistency_time > step.point.consistency_time and p.copies and not p.usable]
    if not newer:
        return None
    newest = max(newer, key=lambda point: point.consistency_time)
    when, lost = in_words(newest.consistency_time), all(copy.missing for copy in newest.copies)
    ails = "is lost: its target does not list it any more" if lost else condition(newest)
    way = f"`dr verify {newest.system}` tells more" if lost else f"what is left of it comes back by `{by_name(newest)}`"
    return f"the newest point, {newest.run_id} of {when}, {ails}, so an older one is used; {way}"


def later_than(request: RecoveryRequest, step: RecoveryStep, points: Sequence[Point]) -> str | None:
    """Say what later points are there of which nothing is known here, where nobody asked for an older one."""
    own = request.own_runs
    if request.at or request.point or request.travel or step.how or not own.installation:
        return None
    try:
        return None if is_explained(step.place, points) else later_in_words(step.place, step.point, own)
    except InterruptedRunError:
        raise
    except DrError as error:
        return f"whether later points are on {step.place.name} is not known: {error}"


def pass_over(recovery: Recovery, route: Route, why: DrError) -> RecoveryStep | None:
    """Return what to restore in the place of a copy that is not whole; None when there is nothing else.

    What was restored of it is taken away then.
    """
    step = recovery.chosen
    withheld = isinstance(why, RefusedError)  # which says nothing of what is stored
    if withheld:
        route.refused(step.copy.target)
    following = route.after(step, "" if withheld else str(why))
    if following is None:
        return None
    recovery.close_instances()
    same = following.point.run_id == step.point.run_id
    if not recovery.site.empty(sorted(step.copy.snapshots), same=same):
        return None
    how = "is not whole" if isinstance(why, DamageError | NoRepositoryError) else "could not be used"
    what = f"the copy of {step.point.run_id} on {step.where} {how} ({why.what})"
    recovery.journal.note(f"{what}: going on with {_in_words(following, same=same)}", outcome="degraded")
    reason = " ".join(filter(None, (step.how, why.what)))
    recovery.passed_over.append(PassedOver(run_id=step.point.run_id, target=step.copy.target, reason=reason))
    recovery.instances.clear()
    recovery.restored = {}
    return following


def _in_words(step: RecoveryStep, *, same: bool) -> str:
    if step.salvage:
        return f"what is left of it on {step.where}"
    if same:
        return f"the copy on {step.where}"
    when = in_words(step.point.consistency_time)
    return f"the older point {step.point.run_id} of {when} on {step.where}"
