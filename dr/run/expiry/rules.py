"""Which recovery points of one target expire now, which stay and why, and what stands in the way. Pure.

By point, never by single snapshot; by what the target lists, never by the record alone. What retention has no use for
stays all the same while anything is odd: then points are all that is left to look at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime

from dr.evidence.acts import Expiration, Hold
from dr.evidence.look import LeftBehind
from dr.evidence.record import Copy, Outcome, Point
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.plan.retention import RULES
from dr.plan.units import counted, first_few, format_duration
from dr.run.points.retention import expired, rules

#: A point counts as proven once every stored byte of its repository was read; as restored once a drill brought it back.
PROVEN, RESTORED = 2, 4
#: More than this share of a target's points never goes at once, unless the same retention did so before.
MOST = 0.5
#: A proof may be this many times as old as the plan's longest time between two; where it names none, so many seconds.
PROOFS, UNPLANNED = 2, 31 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class ExpirySituation:
    """What is on record of a system, and what one of its targets lists.

    `points` are all on record, `listed` the ids of the snapshots there, `strangers` those of them on no record.
    `left`: what runs of ours left behind there, among the `points`, and on no record until now.
    `frozen`: why no point may expire now; `clock`: how the clock is wrong; None when nothing is known against it.
    `proof`: the outcome of the target's last verification; `proven_lately`: one within `bound` showed every byte there
    to be whole, and none was read longer ago than the plan's `whole_within`. `last`: the last expiration there that
    worked; `begun`: points, with the rule, whose removal was begun by a run that was cut off. `confirmed`: a person
    said that many may go at once.
    """

    plan: Plan
    target: str
    points: Sequence[Point]
    listed: Collection[str]
    now: datetime
    holds: Sequence[Hold] = ()
    frozen: str | None = None
    clock: str | None = None
    proof: Outcome | None = None
    proven_lately: bool = False
    last: Expiration | None = None
    begun: Mapping[str, str] = field(default_factory=dict)
    left: tuple[LeftBehind, ...] = ()
    strangers: int = 0
    confirmed: bool = False

    def copy_of(self, point: Point) -> Copy:
        """Return a point's copy there."""
        return next(copy for copy in point.copies if copy.target == self.target)


@dataclass
class Decision:
    """What stays and why, by run id; what expires, oldest first, with the rule; and what stands in the way of all.

    `held` is what of that are holds on the whole system: a person ordered those, and nothing is wrong.
    """

    here: ExpirySituation
    kept: dict[str, str] = field(default_factory=dict)
    going: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    @property
    def is_odd(self) -> bool:
        """Whether anything is in the way that somebody should look at."""
        return self.blocked != self.held

    @property
    def may(self) -> dict[str, str]:
        """What may go now: nothing, while anything stands in the way."""
        return {} if self.blocked else self.going

    def copies(self, run_ids: Collection[str]) -> list[Copy]:
        """Return the copies of some points there."""
        return [self.here.copy_of(point) for point in self.here.points if point.run_id in run_ids]

    def ids(self, run_ids: Collection[str]) -> list[str]:
        """Return the ids of the snapshots of some points that the target lists."""
        copies = self.copies(run_ids)
        return sorted({each for copy in copies for each in copy.every_id} & set(self.here.listed))


def decide(here: ExpirySituation) -> Decision:
    """Return what expires now at one target, and what stays."""
    found = Decision(here)
    there = [seen for point in here.points if (seen := _there(here, point))]
    left = [point for point in there if not here.copy_of(point).missing]
    found.gone = {p.run_id: here.begun[p.run_id] for p in there if p.run_id in here.begun and _all_gone(here, p)}
    useless = expired(here.plan, here.points) & expired(here.plan, there)
    by_rule, newest = rules(here.plan, there), _newest(left)
    guarded, waiting = _guarded(here, left), ""
    for point in sorted(there, key=lambda point: point.consistency_time):
        run_id = point.run_id
        if _all_gone(here, point):
            continue
        if why := guarded.get(run_id):
            found.kept[run_id] = ", ".join((*by_rule.get(run_id, ()), why))
        elif run_id not in useless:
            found.kept[run_id] = ", ".join(by_rule.get(run_id, ())) or _otherwise(point)
        elif newest and point.consistency_time > newest:
            found.kept[run_id] = waiting = "newer than the last proven"
        else:
            found.going[run_id] = here.begun.get(run_id) or _rule(here.plan, point)
    if found.going or waiting:
        found.held = [f"the system is on hold ({x.hold_id})" for x in here.holds if not x.point and x.holds(here.now)]
        found.blocked = [*found.held, *_obstacles(here, there, {} if found.held else found.going)]
    return found


def _there(here: ExpirySituation, point: Point) -> Point | None:
    """Return a point with its copy at the target alone, as the target lists it; None where it has none there."""
    for copy in point.copies:
        if copy.target == here.target and not copy.destroyed:
            return replace(point, copies=(replace(copy, missing=not set(copy.ids) <= set(here.listed)),))
    return None


def _all_gone(here: ExpirySituation, point: Point) -> bool:
    return set(here.copy_of(point).every_id).isdisjoint(here.listed)


def _newest(points: Sequence[Point]) -> datetime | None:
    """Return the time of the newest point that is whole and proven there: only older ones may go."""
    return max((p.consistency_time for p in points if p.complete and p.proof_level >= PROVEN), default=None)


def _guarded(here: ExpirySituation, points: Sequence[Point]) -> dict[str, str]:
    """Return what never goes, whatever retention says, and why."""
    found: dict[str, str] = {}
    whole = sorted((p for p in points if p.complete), key=lambda point: point.consistency_time)
    wanted = {
        "the last that a drill restored": [p for p in whole if p.proof_level >= RESTORED],
        "the last that is not suspect": [p for p in whole if not p.suspect],
        "the last proven": [p for p in whole if p.proof_level >= PROVEN],
        "the last complete": whole,
    }
    for why, some in wanted.items():
        found |= {some[-1].run_id: why} if some else {}
    return found | {x.point: f"on hold ({x.hold_id})" for x in here.holds if x.point and x.holds(here.now)}


def _rule(plan: Plan, point: Point) -> str:
    if not point.complete:
        return "not whole, and a newer point is"
    return f"no longer kept by {plan.keeps.in_words()}"


def _otherwise(point: Point) -> str:
    return "kept by the plan" if point.complete else "not whole, and no newer point is"


# -- what stands in the way ----------------------------------------------------------------------------


def _obstacles(here: ExpirySituation, there: Sequence[Point], going: Collection[str]) -> Iterator[str]:
    """Yield why nothing at all may go now, beside holds."""
    if here.frozen:
        yield f"retention is frozen: {here.frozen}"
    if here.clock:
        yield here.clock
    if lost := _lost(here, there):
        named = first_few(lost)
        yield f"{here.target} has lost {named}, which the plan's retention keeps: see `dr verify {here.plan.system}`"
    if here.proof and here.proof != "ok":
        yield f"the last verification of {here.target} was not ok: see `dr verify {here.plan.system}`"
    yield from _unproven(here, there)
    if not here.confirmed and (many := _many(here, there, going)):
        yield many


def _lost(here: ExpirySituation, there: Sequence[Point]) -> list[str]:
    """Return the points that retention keeps and that the target does not list whole."""
    wanted = rules(here.plan, there)
    return [p.run_id for p in there if p.run_id in wanted and p.lost and p.run_id not in here.begun]


def _unproven(here: ExpirySituation, there: Sequence[Point]) -> Iterator[str]:
    """Yield that nothing there is proven, or that the newest proof is older than the plan bears."""
    todo = f"run `dr verify {here.plan.system}`"
    if _newest([point for point in there if not here.copy_of(point).missing]) is None:
        yield f"no recovery point on {here.target} is proven: {todo}"
    elif not here.proven_lately:
        yield f"the newest proof on {here.target} is older than {format_duration(bound(here.plan))}: {todo}"


def bound(plan: Plan) -> float:
    """Return how old a proof may be while points expire, in seconds: twice the plan's time between verifications."""
    between = plan.verify_seconds
    return UNPLANNED if between is None else PROOFS * between


def _many(here: ExpirySituation, there: Sequence[Point], going: Collection[str]) -> str | None:
    """Return that too many would go at once; None when they are few, or went by the same rules before."""
    whole = [point for point in there if not _all_gone(here, point)]
    if len(going) <= MOST * len(whole):
        return None
    now = {rule: getattr(here.plan.keeps, rule) for rule in RULES}
    if here.last and dict(here.last.retention) == now:
        return None
    return (
        f"{len(going)} of {counted(len(whole), 'recovery point')} on {here.target} would expire at once, more than "
        f"{MOST:.0%}: if the plan's retention is meant so, run `dr expire {here.plan.system} --confirm-many`"
    )
