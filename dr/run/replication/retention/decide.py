"""Which points a replica may forget: only what the plan's own retention has no use for, and not while anything is odd.

Whoever empties or overwrites the primary, or forgets its snapshots with the real passphrase, takes away what the
plan keeps: that is no retention, and then nothing goes, not even what could. Pure: everything is handed in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime

from dr.evidence.acts import Hold
from dr.evidence.forgetting import Absence, Waiting
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.plan.units import first_few
from dr.run.points.retention import expired
from dr.run.replication.retention.pending_deletion import due, ripe

#: So many whole points stay at a replica, whatever the plan's retention says.
LEAST = 3
#: A newer point must be proven so far before an older one goes: every stored byte of its repository was read.
PROVEN = 2


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is on record of a system, and what its primary and one replica hold: names there, names and sizes here.

    `frozen`: why no point may be expired now, as the catalog says; None when they may.
    """

    plan: Plan
    primary: str
    replica: str
    points: Sequence[Point]
    holds: Sequence[Hold]
    frozen: str | None
    at_primary: Collection[str]
    there: Mapping[str, int]
    now: datetime
    delay: float
    begun: Collection[str] = ()  # snapshots whose removal a run began that was cut off

    def snapshots_of(self, point: Point) -> set[str]:
        """Return the names of a point's snapshots that are at the replica, by either of its two copies on record."""
        copies = [copy for copy in point.copies if copy.target in (self.primary, self.replica)]
        ids = {each for copy in copies for each in copy.every_id}
        return {name for each in ids if (name := f"snapshots/{each}") in self.there}


@dataclass(frozen=True)
class Judgement:
    """What the primary lacks: `gone` by the plan's retention, with the snapshots of each; `alarm`: in no such way.

    `anew` are snapshots whose absence nothing explains: they stay, and their time does not count.
    """

    gone: Mapping[str, set[str]]
    alarm: str | None = None
    anew: Collection[str] = ()
    strangers: int = 0


@dataclass
class Chosen:
    """The points that may go now with their snapshots, those that wait, and why others stay.

    `begun` are snapshots of points that a run which was cut off left in part: they go, unless on hold.
    """

    points: dict[str, set[str]] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    waiting: list[Waiting] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def snapshots(self) -> set[str]:
        """The names of all snapshots that may go."""
        return self.begun.union(*self.points.values())

    def point_of(self, snapshot: str) -> str:
        """Return the point that a snapshot which may go is of; nothing when a run before knew it."""
        return next((run_id for run_id, names in self.points.items() if snapshot in names), "")


def judge(here: Situation) -> Judgement:
    """Compare the replica with the primary, and tell what retention explains from what it does not."""
    useless, gone, odd, known = expired(here.plan, here.points), {}, {}, set[str]()
    for point in here.points:
        names = here.snapshots_of(point)
        lost = {name for name in names if name not in here.at_primary}
        known |= names
        if lost and point.run_id not in useless:
            odd[point.run_id] = lost
        elif lost and lost == names:
            gone[point.run_id] = names
    absent = {name for name in here.there if name.startswith("snapshots/") and name not in here.at_primary}
    strangers = absent - known - set(here.begun)
    alarm = _alarm(here, sorted(odd)) if odd else None
    return Judgement(gone, alarm, {*strangers, *(name for names in odd.values() for name in names)}, len(strangers))


def _alarm(here: Situation, lost: Sequence[str]) -> str:
    named = first_few(lost)
    return f"{here.primary} has lost {named}, which the plan's retention keeps: nothing is forgotten at {here.replica}"


def choose(here: Situation, judged: Judgement, absences: Sequence[Absence]) -> Chosen:
    """Return what may go now, were nothing in the way (`obstacles`), and what has to wait."""
    by_name, found = {absence.name: absence for absence in absences}, Chosen()
    if judged.strangers:
        found.kept.append(f"{judged.strangers} snapshot(s) there are of no point on record")
    for point in sorted(here.points, key=lambda point: point.consistency_time):
        names = judged.gone.get(point.run_id, set())
        held = [hold for hold in here.holds if hold.holds(here.now) and hold.point == point.run_id]
        rows = [by_name[name] for name in names]
        if not rows:
            continue
        if held:
            found.kept.append(f"{point.run_id} is on hold ({held[0].hold_id})")
        elif all(ripe(row, here.delay) for row in rows):
            found.points[point.run_id] = names
        else:
            ends = max(due(row, here.delay) for row in rows)
            found.waiting.append(Waiting(point=point.run_id, since=max(row.since for row in rows), due=ends))
    _leave_some(here, found)
    on_hold = {hold.point for hold in here.holds if hold.holds(here.now)}
    found.begun = {row.name for row in absences if row.name in here.begun and row.point not in on_hold}
    return found


def _leave_some(here: Situation, found: Chosen) -> None:
    """Let no more go than leaves so many whole points at the replica."""
    whole = [point for point in here.points if _whole(here, point)]
    newest = sorted(whole, key=lambda point: point.consistency_time, reverse=True)[:LEAST]
    for point in newest:
        if found.points.pop(point.run_id, None):
            found.kept.append(f"{point.run_id} is one of the last {LEAST} there")


def _whole(here: Situation, point: Point) -> bool:
    """Whether the replica holds a whole, undamaged copy of it, by what is on record and by what is there."""
    copy = next((copy for copy in point.usable if copy.target == here.replica), None)
    names = {f"snapshots/{each}" for each in copy.ids} if copy else set()
    return bool(names) and names <= here.there.keys()


def obstacles(here: Situation, judged: Judgement, points: Collection[str]) -> Iterator[str]:
    """Yield why nothing at all may go now; `points` are those that would."""
    if judged.alarm:
        yield judged.alarm
    if here.frozen:
        yield f"retention is frozen: {here.frozen}"
    for hold in here.holds:
        if hold.point is None and hold.holds(here.now):
            yield f"the system is on hold ({hold.hold_id})"
    last = max((p.consistency_time for p in here.points if p.run_id in points), default=None)
    newer = [p for p in here.points if _whole(here, p) and (last is None or p.consistency_time > last)]
    at_both = [p for p in newer if all(name in here.at_primary for name in here.snapshots_of(p))]
    if not any(point.proof_level >= PROVEN for point in at_both):
        yield f"no newer point that {here.primary} and {here.replica} both hold is proven: run `dr verify`"
