"""Whether a target has what the record says: the repository that was there, and the snapshots of each point.

Asked of the target itself, each time: one listing of `snapshots/`, which needs no passphrase, and one small object,
`config`, by whose bytes a repository is known. A place that is empty, another disk and another repository all answer
well; only what is on record tells them from the one that was meant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from dr.errors import DamageError, DrError, NoRepositoryError, RefusedError
from dr.evidence.look import NOTHING, Known, LeftBehind, Look, Stranger
from dr.evidence.record import Copy, Damage, Point
from dr.late_dataclass import dataclass
from dr.plan.units import counted, first_few
from dr.run.points.left_behind import OwnRuns
from dr.run.workspace.toolbox import Place
from dr.tools.restic_events import Snapshot
from dr.tools.store import ids


@dataclass
class ExchangedError(DrError):
    """A target holds no repository, or another one, where it held one by the record."""


def require_repository(place: Place) -> Known | None:
    """Return what is known of the repository that is there; None where none is, and none has to be.

    Raises `ExchangedError` where none is there, or another, although the record says that there was one. What is
    damaged is no other repository: whoever opens it says so.
    """
    known = place.known
    if not is_there(place):
        return None
    try:
        digest = place.store.sha256("config")[0]
    except DamageError:
        return known  # it went away just now, or cannot be read: the next step says so
    if known.config == digest:
        return known
    try:
        found = place.repository.identity()
    except RefusedError:
        if known.config:
            raise _exchanged(place, f"another repository is there{_what_it_held(known)}") from None
        raise
    except DamageError:
        return known
    if known.id and found != known.id:
        raise _exchanged(place, f"another repository is there{_what_it_held(known)}")
    return replace(known, id=found, config=digest, begun=False)


def refuse_exchanged(place: Place) -> None:
    """Raise `ExchangedError` where the repository on record is gone, or another is in its place.

    What cannot be opened, so that nobody can tell, is for the next step to say; nor is anything asked of a place of
    which nothing is on record.
    """
    if place.known == NOTHING:
        return
    try:
        require_repository(place)
    except (RefusedError, NoRepositoryError):
        return


def is_there(place: Place) -> bool:
    """Whether a repository is there, whichever. Raises `ExchangedError` where none is and one has to be."""
    if place.store.exists("config"):
        return True
    if place.known.held:
        raise _exchanged(place, f"the repository is gone{_what_it_held(place.known)}")
    return False


def _what_it_held(known: Known) -> str:
    if not known.points:
        return ""
    seen = f", last seen there {known.seen:%Y-%m-%d %H:%M}Z" if known.seen else ""
    return f": by the record it holds {counted(known.points, 'recovery point')}{seen}"


def _exchanged(place: Place, what: str) -> ExchangedError:
    return ExchangedError(
        what,
        place.repository.where,
        hint="mount its disk, or correct its path, bucket or prefix; "
        f"only if it is really lost: {begin_again(place.system, place.name)}",
    )


def begin_again(system: str, target: str) -> str:
    """Return what a person types who gives up what a target held."""
    return f"dr target begin {target} --system {system} --because TEXT"


# -- points ------------------------------------------------------------------------------------------


def listed(place: Place) -> frozenset[str]:
    """Return the ids of the snapshots that a target lists now. Needs no passphrase."""
    return frozenset(ids(place.store, "snapshots/"))


def is_explained(place: Place, points: Sequence[Point]) -> bool:
    """Whether every snapshot that a target lists now is of one of these points. Few are seen at a glance."""
    known = _ids_on(place.name, points)
    seen = place.driver.names(place.store, "snapshots/")
    return (listed(place) if seen is None else seen) <= known


def holds(place: Place, ids: Iterable[str]) -> bool:
    """Whether a target has each of these snapshots now. Needs no passphrase, and no listing."""
    return all(place.store.exists(f"snapshots/{each}") for each in ids)


def look(
    place: Place, points: Sequence[Point], there: Collection[str], *, at: datetime, useless: Collection[str] = ()
) -> Look:
    """Hold the points on record against what a target lists. `points` must be from before the listing.

    `useless` are those that the plan's retention does not keep: that all snapshots of one are gone is no loss.
    """
    pairs = list(_copies_on(place.name, points))
    absent = [(point.run_id, copy) for point, copy in pairs if not set(copy.ids) <= set(there)]
    expired = {run_id for run_id, copy in absent if run_id in useless and set(copy.ids).isdisjoint(there)}
    missed = [(run_id, copy) for run_id, copy in absent if run_id not in expired]
    return Look(
        target=place.name,
        at=at,
        lost=tuple(run_id for run_id, copy in missed if copy.complete),
        noticed=tuple(run_id for run_id, copy in missed if copy.complete and not copy.missing),
        gone=tuple(run_id for run_id, copy in missed if not copy.complete),
        found=tuple(point.run_id for point, copy in pairs if copy.missing and set(copy.ids) <= set(there)),
        expired=tuple(sorted(expired)),
    )


def _copies_on(target: str, points: Iterable[Point]) -> Iterable[tuple[Point, Copy]]:
    """Yield the copies on a target that somebody may still read."""
    for point in points:
        yield from ((point, copy) for copy in point.copies if copy.target == target and not copy.destroyed)


def _ids_on(target: str, points: Iterable[Point]) -> set[str]:
    """Return the ids of all snapshots of those copies."""
    return {each for _, copy in _copies_on(target, points) for each in copy.every_id}


def live_ids_on(points: Iterable[Point], target: str) -> frozenset[str]:
    """Return the ids of all snapshots that points have on a target."""
    copies = [copy for point in points for copy in point.copies if copy.target == target and _lives(copy)]
    return frozenset(each for copy in copies for each in copy.ids)


def _lives(copy: Copy) -> bool:
    """Whether a copy may still be needed: not where its keys were destroyed."""
    return not copy.damaged and not copy.destroyed


@dataclass(frozen=True)
class PresenceSeen:
    """A look, and what was met that is of no run on record; `new` is what nobody had read before.

    `left`: what runs of ours left behind there.
    """

    look: Look
    met: tuple[Stranger, ...] = ()
    new: tuple[Stranger, ...] = ()
    left: tuple[LeftBehind, ...] = ()


def look_at(place: Place, points: Sequence[Point], *, at: datetime, useless: Collection[str] = ()) -> Look:
    """Look without asking whose the rest is. As `look_closely`."""
    return _looked(place, points, at=at, useless=useless)[0]


def look_closely(
    place: Place,
    points: Sequence[Point],
    *,
    at: datetime,
    useless: Collection[str] = (),
    own_runs: OwnRuns,
) -> PresenceSeen:
    """Look, and read what no point on record explains: what a run of ours left behind, or what others store there.

    What others stored is read once. Reading takes the passphrase.
    """
    seen, there = _looked(place, points, at=at, useless=useless)
    ours = _ids_on(place.name, points)
    before = [each for each in own_runs.met.get(place.name, ()) if each.snapshot in there]
    unread = there - ours - {each.snapshot for each in before}
    again = any(own_runs.may_be_ours(each) for each in before)
    read = place.repository.snapshots(()) if unread or again else []
    new = [_stranger(each) for each in read if each.id in unread]
    strange = tuple(each for each in (*before, *new) if each.run_id and not own_runs.is_known(each.run_id))
    runs = tuple(sorted({each.run_id for each in strange}))
    left = own_runs.left_behind(read, points, system=place.system, target=place.name)
    return PresenceSeen(replace(seen, strangers=runs), strange, tuple(new), left)


def _stranger(snapshot: Snapshot) -> Stranger:
    tags = snapshot.tags
    return Stranger(
        snapshot=snapshot.id,
        run_id=tags.get("run", ""),
        installation=tags.get("installation", ""),
        machine=tags.get("on", ""),
    )


def strangers_in_words(system: str, target: str, met: Iterable[Stranger], *, own: str) -> str | None:
    """Say that another installation stores in the same place, and what that calls for; None when none does.

    `own` is the id of this one: by what bears it an older state, or a clone of this one, is known.
    """
    runs = {each.run_id: each for each in met if each.run_id}
    if not runs:
        return None
    newest = runs[max(runs)]
    if newest.installation == own:
        return (
            f"{target} holds {counted(len(runs), 'recovery point')} of {system} that no record here tells of, the "
            f"newest {newest.run_id}, although they bear the id {own} of this installation: its state was brought back "
            f"from an older copy, or a clone of it stores there too; see `dr points {system}`"
        )
    by = f" by the installation {newest.installation}" if newest.installation else ""
    on = f" on {newest.machine}" if newest.machine else ""
    return (
        f"{target} holds {counted(len(runs), 'recovery point')} of {system} that this installation did not make, the "
        f"newest {newest.run_id}{by}{on}: two machines must not share one repository; see `dr points {system}`"
    )


def _looked(
    place: Place, points: Sequence[Point], *, at: datetime, useless: Collection[str]
) -> tuple[Look, frozenset[str]]:
    """Ask a target which repository is there, and hold the points on record against what it lists.

    Raises `ExchangedError` for another repository than the one on record, or where the record knows of none and all
    that it knows of is missing.
    """
    known, there = require_repository(place), listed(place)
    seen = look(place, points, there, at=at, useless=useless)
    if known and not place.known.id and seen.lost and len(seen.lost) == place.known.points:
        raise _exchanged(place, f"the repository there holds nothing of what is on record{_what_it_held(place.known)}")
    return (replace(seen, repository=known.id, config=known.config) if known else seen), there


def missing_snapshots(seen: Look, points: Sequence[Point], there: Collection[str]) -> list[Damage]:
    """Return what is missing of the points that were lost, object by object."""
    ids = {each for point, copy in _copies_on(seen.target, points) if point.run_id in seen.lost for each in copy.ids}
    return [Damage(object=f"snapshots/{each}", problem="missing") for each in sorted(ids - set(there))]


def in_words(seen: Look, points: Sequence[Point]) -> str | None:
    """Say which points a target lost that were believed to be there; None when it lost none."""
    if not seen.noticed:
        return None
    copies = [copy for point, copy in _copies_on(seen.target, points) if point.run_id in seen.noticed]
    last = max((copy.seen for copy in copies if copy.seen), default=None)
    when = f", last seen there {last:%Y-%m-%d %H:%M}Z" if last else ""
    some = first_few(seen.noticed)
    return f"{seen.target} has lost {counted(len(seen.noticed), 'recovery point')} that should be there: {some}{when}"


def found_in_words(seen: Look) -> str | None:
    """Say which points that were lost a target has again; None when there are none."""
    if not seen.found:
        return None
    return f"{seen.target} has {counted(len(seen.found), 'recovery point')} again that were lost there"
