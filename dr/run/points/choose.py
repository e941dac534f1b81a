"""Which recovery point, and which copy of it: the newest complete point that was consistent in time.

Copies come in the plan's order of targets. When a target cannot be used, or does not list the snapshots of a point,
the next copy is; when a point has no copy that can be used at all, the next older point. A target that was named is
never replaced by another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from datetime import UTC, datetime

from dr.errors import FAILED, REFUSED, DrError, InterruptedRunError, RefusedError
from dr.evidence.record import Copy, Point
from dr.late_dataclass import dataclass
from dr.run.points.presence import holds, listed, require_repository
from dr.run.workspace.toolbox import Place, Toolbox

Say = Callable[[str, DrError], None]
See = Callable[[Place, Point], Place]
#: So many snapshots are looked for one by one, before all are listed.
_FEW = 8


@dataclass(frozen=True)
class RecoveryStep:
    """One copy of one point that a recovery may use, in the place in which to look for it.

    `how` says in words what is done to read it, nothing for a copy as it lies there; `seen_at` the moment at which its
    place is seen, where that is not now. `salvage`: it is not whole, and a person named it.
    """

    point: Point
    copy: Copy
    place: Place
    how: str = ""
    seen_at: datetime | None = None
    salvage: bool = False

    @property
    def where(self) -> str:
        """The target, and how it is read."""
        return f"{self.copy.target} {self.how}".rstrip()


Below = Callable[[Point], Iterator[RecoveryStep]]


@dataclass
class LostError(DrError):
    """A target does not list the snapshots of a point that it should hold: the point is lost there, not the target."""

    point: str = ""


@dataclass
class _Asked:
    """The targets asked so far: those that cannot be used or can, and what these list, where that was asked for."""

    down: dict[str, DrError] = field(default_factory=dict)
    lost: dict[str, DrError] = field(default_factory=dict)
    usable: set[str] = field(default_factory=set)
    lists: dict[str, frozenset[str]] = field(default_factory=dict)

    def require(self, place: Place, point: Point, copy: Copy, *, anew: bool) -> None:
        """Raise unless the target can be used, and holds the snapshots of this copy.

        The first copy's few are looked for one by one: as a rule they are there. In a view (`anew`) its listing tells
        junk from snapshots.
        """
        if anew or place.name not in self.usable:
            ready(place)
            self.usable.add(place.name)
            self.lists.pop(place.name, None)
            if not anew and len(copy.ids) <= _FEW and holds(place, copy.ids):
                return
        if place.name not in self.lists:
            self.lists[place.name] = listed(place)
        absent = set(copy.ids) - self.lists[place.name]
        if absent:
            raise LostError(
                f"the point {point.run_id} is not there: the target does not list {len(absent)} of its "
                f"{len(copy.ids)} snapshots",
                place.repository.where,
                hint=f"see with `dr verify {place.system}` what else is lost there, or use another target",
                point=point.run_id,
            )


def choose(points: Sequence[Point], at: datetime, target: str | None = None) -> tuple[Point, Copy]:
    """Return the best point and copy as recorded, without asking any target whether it is there.

    Raises `DrError` when no complete point was consistent at `at` or before.
    """
    for pair in candidates(points, at, target):
        return pair
    raise none_usable(points, at, target)


def candidates(points: Sequence[Point], at: datetime, target: str | None = None) -> Iterator[tuple[Point, Copy]]:
    """Yield every point and copy that could serve, best first; also what was lost when a target was last looked at."""
    newest_first = sorted(points, key=lambda point: point.consistency_time, reverse=True)
    for point in newest_first:
        if point.consistency_time <= at:
            yield from ((point, copy) for copy in point.held if target in (None, copy.target))


def find_usable(
    toolbox: Toolbox, points: Sequence[Point], at: datetime, *, target: str | None, say: Say, through: See | None = None
) -> tuple[Point, Copy, Place]:
    """Return the best point and copy whose target answers: the first of `in_turn`. Raises as that does."""
    step = next(in_turn(toolbox, points, at, target=target, say=say, through=through))
    return step.point, step.copy, step.place


def in_turn(
    toolbox: Toolbox,
    points: Sequence[Point],
    at: datetime,
    *,
    target: str | None,
    say: Say,
    through: See | None = None,
    below: Below | None = None,
) -> Iterator[RecoveryStep]:
    """Yield the points and copies whose targets answer, best first; `say` hears of each target passed over.

    `through` shows the place in which to look for a point, such as one as it was at a time; absent: as it is now.
    `below` gives what else there is of a point, once each copy of it was yielded. Raises the named target's own error,
    or a `DrError` when there was nothing to yield.
    """
    places = {place.name: place for place in toolbox.everywhere}
    asked, found = _Asked(), False
    for point in sorted(points, key=lambda point: point.consistency_time, reverse=True):
        if point.consistency_time > at:
            continue
        for copy in point.held:
            place = places.get(copy.target)
            if place is None or copy.target in asked.down or target not in (None, copy.target):
                continue
            try:
                place = through(place, point) if through else place
                asked.require(place, point, copy, anew=through is not None)
            except InterruptedRunError:
                raise
            except LostError as error:
                asked.lost.setdefault(copy.target, error)
                if not copy.missing:  # what was known before is not told again
                    say(copy.target, error)
            except DrError as error:
                if target is not None:
                    raise
                asked.down[copy.target] = error
                say(copy.target, error)
            else:
                found = True
                yield RecoveryStep(point, copy, place)
        for step in below(point) if below else ():
            found = True
            yield step
    if not found:
        raise _none(toolbox, points, at, target=target, down=asked.lost | asked.down)


def _none(
    toolbox: Toolbox, points: Sequence[Point], at: datetime, *, target: str | None, down: dict[str, DrError]
) -> DrError:
    """Return the error that says why nothing was found."""
    known = {place.name for place in toolbox.everywhere}
    elsewhere = sorted({copy.target for _, copy in candidates(points, at, target)} - known)
    if not down:
        if elsewhere:
            return DrError(
                f"the recovery points lie on {', '.join(elsewhere)}, which the plan does not name",
                hint="name it again under targets, or back up to those that it names now",
            )
        return _unfilled(toolbox, points, target) or none_usable(points, at, target)
    reasons = "; ".join(f"{name}: {error.what}" for name, error in down.items())
    refused = all(isinstance(error, RefusedError) for error in down.values())
    hints = {error.hint for error in down.values()}
    general = "see what is wrong with the targets by `dr doctor`, then try again"
    hint = hints.pop() or general if len(hints) == 1 else general
    if elsewhere:
        named = ", ".join(elsewhere)
        hint = f"name {named} again under targets, where copies lie that the plan does not name any more; or {hint}"
    return DrError(
        "no target with a usable copy accepts the login" if refused else "no target with a usable copy answers",
        toolbox.plan.system,
        reasons,
        hint=hint,
        exit_code=REFUSED if refused else FAILED,
    )


def _unfilled(toolbox: Toolbox, points: Sequence[Point], target: str | None) -> DrError | None:
    """Return the error that says that the target is a replica to which nothing was brought; None when it is not."""
    if not points or target not in {place.name for place in toolbox.replicas}:
        return None
    if any(copy.target == target for point in points for copy in point.copies):
        return None
    hint = f"run `dr replicate {toolbox.plan.system}`, or name another target"
    return DrError(f"nothing was replicated to {target} yet", hint=hint)


def ready(place: Place) -> None:
    """Raise unless the target answers, lets us in, and has the repository that is on record."""
    place.reach()
    if require_repository(place) is None:
        raise DrError(
            "there is no repository here",
            place.repository.where,
            hint="see with `dr verify` what is left of it, or use another target",
        )


def last_unsuspected(points: Sequence[Point], before: Point) -> Point | None:
    """Return the newest usable point older than one, against which nothing is held; None when there is none."""
    older = [p for p in points if p.usable and not p.suspect and p.consistency_time < before.consistency_time]
    return max(older, key=lambda point: point.consistency_time, default=None)


def suspect_in_words(points: Sequence[Point], point: Point) -> str | None:
    """Return what to know of a suspect point, and which to use instead; None when nothing is held against it."""
    if not point.suspect:
        return None
    clean = last_unsuspected(points, point)
    instead = (
        f"the last one before it that is not: {clean.run_id} (--at '{in_words(clean.consistency_time)}')"
        if clean
        else "there is no earlier one that is not"
    )
    return f"the point {point.run_id} is suspect: {point.suspect}; {instead}"


def none_usable(points: Sequence[Point], at: datetime, target: str | None) -> DrError:
    """Return the error that says why no point can be used, and what would help."""
    where = f" on {target}" if target else ""
    whole = [p for p in points if any(target in (None, copy.target) for copy in p.usable)]
    if whole:
        oldest = in_words(min(point.consistency_time for point in whole))
        return DrError(
            f"there is no complete recovery point{where} from {in_words(at)} or before",
            hint=f"the oldest one is from {oldest}: name a later time with --at",
        )
    if left := [point for point in points if any(target in (None, copy.target) for copy in point.copies)]:
        newest = max(left, key=lambda point: point.consistency_time)
        return DrError(
            f"no recovery point{where} is complete and undamaged; the newest, of {in_words(newest.consistency_time)},"
            f" {condition(newest)}",
            hint=f"recover what is in it by name with `{by_name(newest)}`; see all with `dr points`",
        )
    if points:
        return DrError(
            f"no recovery point{where} is complete and undamaged",
            hint="see `dr points`; run `dr backup`, or name another target with --target",
        )
    return DrError(
        "there is no recovery point yet",
        hint="run `dr backup`, or `dr points rebuild` if the catalog is new",
    )


def condition(point: Point) -> str:
    """Return what ails a point that no recovery chooses by itself, in words that follow its name."""
    if any(copy.doubtful for copy in point.copies):
        return "is doubtful: its index alone is damaged"
    if any(copy.complete for copy in point.copies):
        return "is damaged"
    if any(copy.destroyed for copy in point.copies):
        return "cannot be read any more: its keys were destroyed"
    return "is incomplete" if point.copies else "is on no target any more"


def by_name(point: Point) -> str:
    """Return what to type to recover a point that no recovery chooses by itself."""
    return f"dr recover {point.system} --point {point.run_id} --to DIR"


def in_words(moment: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
