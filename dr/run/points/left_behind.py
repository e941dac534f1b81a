"""What a run of this installation left behind on a target: snapshots that it stored before it was killed or gave up.

No record names them, so that nothing would ever remove them. They are taken on record as what they are, a point that
is not whole; from then on they are listed, held and expired like one. Only what is provably ours is taken: by the ids
of this installation and this host on it, of a run that is on record here and has ended. While anything there bears our
id and is of a run that nobody here knows, another installation goes by the same id: then nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import field, replace

from dr.evidence.look import LeftBehind, Stranger
from dr.evidence.record import Copy, Point
from dr.late_dataclass import dataclass
from dr.plan.units import counted
from dr.run.points.discover import points_from
from dr.run.workspace.machine import machine_name
from dr.tools.restic_events import Snapshot


def on_record(points: Iterable[Point], target: str) -> set[str]:
    """Return the ids of all snapshots on a target that points on record name."""
    return {each for point in points for copy in point.copies if copy.target == target for each in copy.every_id}


@dataclass(frozen=True, kw_only=True)
class OwnRuns:
    """Who stores in a system's repositories: this installation (its id), and which runs it knows.

    `is_known`: whether a run is on record here; `is_over`: and has ended, whatever it came to. `met`: by target, the
    snapshots of no point on record that were read before.
    """

    installation: str = ""
    is_known: Callable[[str], bool] = lambda run_id: False
    is_over: Callable[[str], bool] = lambda run_id: False
    met: dict[str, tuple[Stranger, ...]] = field(default_factory=dict)

    @property
    def marks(self) -> dict[str, str]:
        """The tags by which what is stored says who stored it."""
        return {"installation": self.installation, "on": machine_name()} if self.installation else {}

    def may_be_ours(self, met: Stranger) -> bool:
        """Whether what was read before is to be looked at again: it bears our ids, and its run is known."""
        return self._is_marked(met.installation, met.machine) and self.is_over(met.run_id)

    def _is_marked(self, installation: str, machine: str) -> bool:
        return bool(self.installation) and (installation, machine) == (self.installation, machine_name())

    def left_behind(
        self, snapshots: Iterable[Snapshot], points: Sequence[Point], *, system: str, target: str
    ) -> tuple[LeftBehind, ...]:
        """Return what of these snapshots of a target runs of ours left behind, the oldest first.

        `points` are those on record.
        """
        named = on_record(points, target)
        own = [each for each in snapshots if each.tags.get("installation") == self.installation]
        if not self.installation or any(run and not self.is_known(run) for run in (x.tags.get("run") for x in own)):
            return ()
        marked = [
            each
            for each in own
            if each.id not in named
            and each.tags.get("system") == system
            and self._is_marked(each.tags["installation"], each.tags.get("on", ""))
            and self.is_over(each.tags.get("run", ""))
        ]
        found = points_from(marked, system=system, target=target)
        return tuple(_left(point, marked) for point in reversed(found))


def _left(point: Point, snapshots: Iterable[Snapshot]) -> LeftBehind:
    copy = point.copies[0]
    every = {each.id for each in snapshots if each.tags.get("run") == point.run_id}
    return LeftBehind(
        run_id=point.run_id,
        target=copy.target,
        consistency_time=point.consistency_time,
        finished=point.finished,
        snapshots=copy.snapshots,
        manifests=copy.manifests,
        more=tuple(sorted(every - set(copy.ids))),
        kinds=point.kinds,
        bytes=point.bytes,
    )


def with_left(points: Sequence[Point], left: Iterable[LeftBehind], *, system: str) -> list[Point]:
    """Return the points as they are on record once what was left behind is: none of that makes a copy whole."""
    known = {point.run_id: point for point in points}
    for each in left:
        point = known.get(each.run_id) or _incomplete(each, system)
        before = next((copy for copy in point.copies if copy.target == each.target), None)
        if before is None:
            copy = Copy(
                target=each.target, complete=False, snapshots=each.snapshots, manifests=each.manifests, more=each.more
            )
        else:
            copy = replace(before, more=tuple(sorted({*before.more, *each.ids} - set(before.ids))))
        others = tuple(copy for copy in point.copies if copy.target != each.target)
        known[each.run_id] = replace(point, copies=(*others, copy))
    return sorted(known.values(), key=lambda point: (point.consistency_time, point.run_id), reverse=True)


def _incomplete(left: LeftBehind, system: str) -> Point:
    return Point(
        run_id=left.run_id, system=system, consistency_time=left.consistency_time, finished=left.finished,
        outcome="aborted", kinds=left.kinds, bytes=left.bytes,
    )  # fmt: skip


def in_words(left: Collection[LeftBehind], target: str, *, ahead: bool = False) -> str:
    """Say what lay there, and that it is on record now; `ahead`: that it will be."""
    snapshots = counted(sum(len(each.ids) for each in left), "snapshot")
    runs, points = ", ".join(each.run_id for each in left), "a point that is" if len(left) == 1 else "points that are"
    taken = "to be put on record" if ahead else "on record now"
    return f"{snapshots} on {target} of {runs}, which ended before they were noted: {taken} as {points} not whole"
