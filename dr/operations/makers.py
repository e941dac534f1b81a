"""Who made a point that was found on a target: this installation, or another that stores in the same place.

Each snapshot bears the id of the installation that made it. A rebuilt or restored host goes on as the one that made
what it finds: an empty catalog takes over the id of the newest point of the chain of evidence that it adopts. Where
two installations stored, the other's points stay strangers: they are told, and taken over only when a person says so.
What was made before snapshots bore an id is this installation's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dr.catalog.values import AdoptedPoint
from dr.evidence.look import Stranger
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.run.points.left_behind import OwnRuns
from dr.session import Session


@dataclass(frozen=True)
class Makers:
    """`own` are the ids whose points are ours; of the points that were found `known` are the runs that were on record
    before, `beside` those of which only another chain of evidence tells.
    """

    own: frozenset[str]
    known: Collection[str]
    beside: Collection[str]

    def is_own(self, point: Point) -> bool:
        """Whether a point is this installation's."""
        if point.run_id in self.known or not point.maker:
            return True
        return point.maker in self.own and point.run_id not in self.beside

    def met(self, points: Iterable[Point]) -> list[Stranger]:
        """Return the snapshots of those that are not."""
        return [
            Stranger(snapshot=each, run_id=point.run_id, installation=point.maker, machine=point.machine)
            for point in points
            if not self.is_own(point)
            for copy in point.copies
            for each in copy.ids
        ]


def makers_of(
    session: Session,
    points: Sequence[Point],
    *,
    known: Collection[str] | None,
    beside: Collection[str],
    adopt: Collection[str] = (),
) -> Makers:
    """Tell whose points are whose; an empty catalog becomes the installation that it takes over.

    `known` are the runs of these points that were on record before the rebuild, None where no point was; `beside`
    those of which a record on the targets tells that is not of its chain.
    """
    taken = frozenset(adopt)
    if known is None:  # and which of two chains is its own nobody knows: what bears one id is one's own
        beside = ()
        marked = [point for point in points if point.maker]
        chain = session.catalog.known_of(point.run_id for point in marked)
        of_chain = [point for point in marked if point.run_id in chain]
        newest = max(of_chain or marked, key=lambda point: point.consistency_time, default=None)
        if newest and not any(point.maker == session.installation for point in marked):
            session.take_over(newest.maker)
    own = frozenset({session.installation, *taken})
    return Makers(own, known or (), () if taken else beside)


def own_runs(session: Session, system: str, targets: Iterable[str]) -> OwnRuns:
    """Return who stores in a system's repositories as far as it is known here, for the holder of the system's lock."""
    catalog = session.catalog
    at_work = {run.run_id for run in catalog.open_runs(system)}
    return OwnRuns(
        installation=session.installation,
        is_known=catalog.is_known,
        is_over=lambda run_id: run_id not in at_work and catalog.is_known(run_id),
        met={target: tuple(catalog.strangers(system, target)) for target in targets},
    )


def adopted(point: Point) -> AdoptedPoint:
    """Return a point recognised on one target as the catalog takes it."""
    copy = point.copies[0]
    return AdoptedPoint(
        run_id=point.run_id,
        consistency_time=point.consistency_time,
        finished=point.finished,
        complete=copy.complete,
        kinds=point.kinds,
        snapshots=copy.snapshots,
        manifests=copy.manifests,
        bytes=point.bytes,
    )
