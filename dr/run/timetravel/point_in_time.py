"""Time travel: a target seen as it was at a time, for a recovery that must not depend on what it is now.

A target that keeps no versions is used as it is, and that is noted. Nothing is written to any target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import field, replace
from datetime import datetime, timedelta

from dr.errors import DrError, InterruptedRunError, RefusedError
from dr.evidence.record import Copy, Point
from dr.late_dataclass import dataclass
from dr.run.points.choose import candidates, in_words
from dr.run.points.discover import points_in
from dr.run.workspace.serve_view import seen_through
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.s3_versions import S3Versions
from dr.tools.state_dir import StateDir
from dr.tools.store import Version
from dr.tools.view import View, ViewStore, shows

#: A `Date` header tells whole seconds; a difference below this is none.
_AGREE = timedelta(seconds=3)
#: So often is a service asked for its time that answers slowly.
_ASKED = 3


def versions_of(place: Place) -> S3Versions | None:
    """Return a place with the versions it keeps; None for one that keeps none. Raises as the target does."""
    versions = place.driver.versions(place.store)
    return versions if versions and versions.keeps() else None


@dataclass
class Travel:
    """The views of one run, each shown to restic until `close`.

    `at` is the time asked for; where that must be found first, `find` does it.
    """

    at: datetime | None
    state: StateDir
    clock: Callable[[], datetime]
    find: Callable[[], datetime] | None = None
    say: Callable[[str], None] = lambda text: None
    _open: ExitStack = field(default_factory=ExitStack, repr=False)
    _said: set[str] = field(default_factory=set, repr=False)
    _stores: list[ViewStore] = field(default_factory=list, repr=False)
    _listed: dict[str, list[Version]] = field(default_factory=dict, repr=False)

    @property
    def moment(self) -> datetime:
        """The time travelled to; found now when it was not given."""
        if self.at is None:
            if self.find is None:
                raise DrError("no time was named to travel to", hint="name one with --at")
            self.at = self.find()
            self.say(f"time travelled to: {in_words(self.at)}")
        return self.at

    def depart(
        self, toolbox: Toolbox, known: Sequence[Point], *, target: str | None
    ) -> tuple[datetime, Sequence[Point]]:
        """Return the time, and the points to choose from: those known, and those that the targets held then.

        The targets are asked only where the record may be wrong: when it has no usable point of before that time, or a
        newer one that it holds for lost or incomplete, or names snapshots that were not there. What attacked a target
        may have misled the record, or poisoned it.
        """
        best = next(candidates(known, self.moment, target), None)
        before = [point for point in known if point.consistency_time <= self.moment]
        newer = best and any(point.consistency_time > best[0].consistency_time for point in before)
        if best and not newer and self._bears_out(toolbox, *best):
            return self.moment, known
        found = {point.run_id: point for point in known}
        for place in toolbox.everywhere if target is None else [toolbox.place(target)]:
            held = self._own(self._held(place, toolbox.plan.system), toolbox, found)
            found = found if held is None else _corrected(found, place.name, held)
        if best is None and not any(point.usable for point in found.values()):
            return self.moment, known  # of these, the error can name the time at which there was one
        last = max((point.consistency_time for point in found.values()), default=self.moment)
        order = {name: number for number, name in enumerate(toolbox.plan.places)}
        # A time that was found is the service's own; what was there then is there by either clock.
        latest = max(self.moment, last) if self.find else self.moment
        return latest, [_in_order(point, order) for point in found.values()]

    def _bears_out(self, toolbox: Toolbox, point: Point, copy: Copy) -> bool:
        """Whether a target held the snapshots that the record names. A record may be poisoned."""
        place = next((place for place in toolbox.everywhere if place.name == copy.target), None)
        try:
            store = self._store(place, point.finished) if place else None
        except InterruptedRunError:
            raise
        except DrError:
            return True  # whoever uses the target says so
        named = [f"snapshots/{name}" for name in copy.ids]
        return store is None or all(map(store.exists, named))

    def _own(self, held: list[Point] | None, toolbox: Toolbox, known: dict[str, Point]) -> list[Point] | None:
        """Leave out, of what a target held, what another installation made; say so."""
        if held is None or not toolbox.installation:
            return held
        own = [p for p in held if p.run_id in known or p.maker in ("", toolbox.installation)]
        if len(own) < len(held):
            self._say_once(f"{len(held) - len(own)} point(s) there were made by another installation: not used")
        return own

    def _held(self, place: Place, system: str) -> list[Point] | None:
        """Return the points that a target held; None when it keeps no versions, or cannot be asked."""
        try:
            seen = self.seen(place)
            return points_in(seen, system) if shows(seen.store) else None
        except InterruptedRunError:
            raise
        except DrError as error:
            self.say(f"{place.name} could not be asked for the points it held: {error}")
            return None

    def of_point(self, place: Place, point: Point) -> Place:
        """Return the place as it was from the time travelled to until the point's end."""
        return self.seen(place, point.finished)

    def lost(self) -> dict[str, str]:
        """Return what was asked for, and of which no version is left; by name, with the reason."""
        return {name: why for store in self._stores for name, why in store.refused.items()}

    def junk(self) -> set[str]:
        """Return the names under which there was nothing but bytes that do not deserve them."""
        return {name for store in self._stores for name in store.junk}

    def seen(self, place: Place, until: datetime | None = None, *, evidence: bool = False) -> Place:
        """Return a place as it was from `at` until a later moment, such as a point's end: read only.

        With its `evidence` as it was, when asked for. The place itself when it keeps no versions. Raises as the target
        does.
        """
        store = self._store(place, until)
        if store is None:
            return place
        first = not self._stores
        self._stores.append(store)
        if first:
            count = f"{len(store.view.objects):,} objects"
            self.say(f"{place.name} is seen as it was at {in_words(self.moment)}: {count}")
        where = f"{place.repository.where} as of {in_words(self.moment)}"
        repository = seen_through(store, place.repository, where=where, state=self.state, until=self._open)
        beside = place.evidence
        if evidence and (kept := place.driver.versions(beside)):
            beside = ViewStore(kept, self._view(kept, until))
        return replace(place, repository=repository, store=store, evidence=beside)

    def _store(self, place: Place, until: datetime | None) -> ViewStore | None:
        """Return the objects of a place as they were; None, and a word, for one whose versions cannot be seen."""
        place.store.reachable()
        try:
            versions = versions_of(place)
            if versions is not None:
                return ViewStore(versions, _with_key_in_use(self._view(versions, until), place))
            why = "keeps no versions"
        except RefusedError:
            why = "lets these keys list no versions (s3:ListBucketVersions, s3:GetObjectVersion)"
        self._say_once(f"{place.name} {why}: it is read as it is now")
        return None

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self.say(text)

    def close(self) -> None:
        """Show the views no more. May be called twice."""
        self._open.close()

    def _view(self, versions: S3Versions, until: datetime | None) -> View:
        """Choose what was there in the span, by either clock where the service's differs from ours."""
        last = max(self.moment, until or self.moment)
        off = clock_difference(versions.now, self.clock)
        if versions.where not in self._listed:
            self._listed[versions.where] = list(versions.versions())
        return View.of(self._listed[versions.where], self.moment + min(off, timedelta()), last + max(off, timedelta()))


def clock_difference(there: Callable[[], datetime | None], here: Callable[[], datetime]) -> timedelta:
    """Return by how much a service's clock is ahead of ours at least; nothing when they agree, or it does not say.

    Its answer was made some time between the question and the answer: how long that took is no difference. One that
    came slowly is asked for again, as it tells little.
    """
    found: list[tuple[timedelta, timedelta]] = []
    for _ in range(_ASKED):
        before = here()
        told = there()
        after = here()
        if told is None:
            return timedelta()
        low, high = told - after, told - before
        least = min((low, high), key=abs) if (low > timedelta()) == (high > timedelta()) else timedelta()
        found.append((high - low, least if abs(least) >= _AGREE else timedelta()))
        if high - low < _AGREE:
            break
    return min(found, key=lambda each: each[0])[1]


# -- which points there were -------------------------------------------------------------------------


def _corrected(known: dict[str, Point], target: str, held: Sequence[Point]) -> dict[str, Point]:
    """Return the points with what a target held of them, in place of what the record says of that target."""
    before = {run_id: copy for run_id, p in known.items() for copy in p.copies if copy.target == target}
    found = {
        run_id: replace(point, copies=tuple(copy for copy in point.copies if copy.target != target))
        for run_id, point in known.items()
    }
    for point in held:
        rest = found.get(point.run_id, replace(point, copies=()))
        copy = _undamaged(before.get(point.run_id), point.copies[0])
        found[point.run_id] = replace(rest, copies=(*rest.copies, copy))
    return found


def _undamaged(known: Copy | None, held: Copy) -> Copy:
    return replace(known, damaged=False) if known and known.complete and known.snapshots == held.snapshots else held


def _in_order(point: Point, order: dict[str, int]) -> Point:
    return replace(point, copies=tuple(sorted(point.copies, key=lambda copy: order.get(copy.target, len(order)))))


def _with_key_in_use(view: View, place: Place) -> View:
    """Show the key in use too, where it was made since by a rotation: keys of all times wrap the same master key."""
    name = f"keys/{place.repository.env.get('RESTIC_KEY_HINT', '')}"
    if name not in view.objects and (versions := view.of_name(name)):
        return replace(view, objects={**view.objects, name: versions})
    return view
