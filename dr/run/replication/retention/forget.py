"""The verb forget, for one replica: what its primary's retention took away goes there too, once that is long ago.

It goes object by object, in the reverse order of copying: snapshots, then index files, then packs. Nothing is written
but restic's own lock, so the replica stays a late mirror of the primary and a valid repository at every instant. What
it will be is shown to restic and checked before anything is taken away: an index may lie about what a pack holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path

from dr.errors import DamageError, DrError, RefusedError
from dr.evidence.forgetting import Absence
from dr.evidence.record import Proof
from dr.late_dataclass import dataclass
from dr.plan.units import format_duration
from dr.run.immutability.extend_locks import SKEW_SECONDS, WALK_SECONDS
from dr.run.replication.retention.decide import Chosen, Judgement, Situation, choose, obstacles
from dr.run.replication.retention.garbage import sweepable
from dr.run.replication.retention.pending_deletion import ripe
from dr.run.replication.retention.preview import without
from dr.run.verification.inventory import Inventory, SizesByName, listed
from dr.run.workspace.toolbox import Place
from dr.tools import command
from dr.tools.state_dir import StateDir
from dr.tools.store import ObjectStore

#: Objects taken away at once.
THREADS = 8
#: Versions of snapshots that are asked for their lock.
_SAMPLE = 20


@dataclass(frozen=True)
class Look:
    """What the primary and the replica hold at one time: the replica's first, so that nothing new seems absent."""

    there: Inventory
    primary: Inventory

    @property
    def sizes(self) -> SizesByName:
        """The replica's objects: names and sizes."""
        return SizesByName(self.there)

    @property
    def at_primary(self) -> SizesByName:
        """The primary's objects."""
        return SizesByName(self.primary)


def look(primary: ObjectStore, replica: ObjectStore) -> Look:
    """List both, but for locks. Raises as the stores do."""
    there = listed(replica)
    return Look(there, listed(primary))


def wrong_clock(places: Sequence[Place], now: datetime) -> str | None:
    """Return in words how far this machine's clock is off that of a service; None when it agrees, or none tells."""
    for place in places:
        if versions := place.driver.versions(place.store):
            there = versions.now()
            off = abs((now - there).total_seconds()) if there else 0.0
            if off > SKEW_SECONDS:
                return f"this machine's clock is {format_duration(off)} off that of {place.name}"
    return None


@dataclass
class ForgetIntent:
    """What is to go, in the order of going, and what was found on the way to that."""

    chosen: Chosen = field(default_factory=Chosen)
    snapshots: set[str] = field(default_factory=set)
    indexes: set[str] = field(default_factory=set)
    packs: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)
    judged: str = ""

    @property
    def names(self) -> set[str]:
        """All that goes."""
        return self.snapshots | self.indexes | self.packs

    def marked(self, absences: Sequence[Absence]) -> list[Absence]:
        """Return the absences with what was found to be needed noted."""
        needed = self.needed
        return [replace(absence, judged=self.judged) if absence.name in needed else absence for absence in absences]


def intend(
    place: Place,
    seen: Look,
    here: Situation,
    judged: Judgement,
    *,
    absences: Sequence[Absence],
    proofs: Sequence[Proof],
    state: StateDir,
) -> ForgetIntent:
    """Find what may go, and try on a view of the replica what it will be. Nothing is changed.

    What stands in the way is in `chosen.kept`. Raises `DrError` when the replica cannot be read, and `DamageError`
    when it would not be whole afterwards.
    """
    found = ForgetIntent(choose(here, judged, absences))
    old = [absence for absence in absences if ripe(absence, here.delay) and not absence.name.startswith("snapshots/")]
    found.judged = _digest(
        x.name for x in absences if x.name.startswith("snapshots/") and x.name not in found.chosen.snapshots
    )
    if not found.chosen.snapshots and all(absence.judged == found.judged for absence in old):
        return found
    if why := [*obstacles(here, judged, found.chosen.points), *_unverified(proofs)]:
        return _nothing(found, why)
    found.snapshots = set(found.chosen.snapshots)
    _sweep(place, seen, found, old, state)
    since = max(absence.since for absence in absences if absence.name in found.names) if found.names else None
    if since is None:
        return found
    read = _read_since(proofs, since)
    if read is not None and place.target.declared.directory is None:
        how = f"`dr verify {place.system} --level 3` reads it, a share a run"
        return _nothing(found, [f"{read} since {since:%Y-%m-%d}: {how}"])
    with without(place, seen.there, found.names, state=state) as outlook:
        checked = outlook.check(read_data_subset="1/1" if read is not None else None)
    if not checked.clean:
        raise DamageError(
            "it would not be whole without what the primary no longer has: nothing is forgotten",
            place.store.where,
            checked.errors[0][:300] if checked.errors else "",
            hint=f"run `dr verify {place.system} --level 3`: the primary's index names objects that are not there",
        )
    return found


def _nothing(found: ForgetIntent, why: Sequence[str]) -> ForgetIntent:
    """Keep all, and say why."""
    found.chosen.kept += why
    found.chosen.points.clear()
    found.chosen.begun.clear()
    return ForgetIntent(found.chosen)


def _digest(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def _sweep(place: Place, seen: Look, found: ForgetIntent, old: Sequence[Absence], state: StateDir) -> None:
    """Find which index files and packs go with the snapshots: restic tells what those that stay need."""
    if not old:
        return
    with without(place, seen.there, found.snapshots, state=state) as outlook:
        short = outlook.unneeded_packs(timeout=WALK_SECONDS)
        files = outlook.index_files()
    packs_of: dict[str, list[str]] = {each: [] for each in short}
    for item in seen.there.in_order("data/"):
        if (begin := _id(item.name)[:8]) in packs_of:
            packs_of[begin].append(item.name)
    unneeded = {names[0] for names in packs_of.values() if len(names) == 1}
    packs = {_id(absence.name) for absence in old if absence.name in unneeded}
    there = (seen.there.find(absence.name) for absence in old if absence.name.startswith("index/"))
    written = [(each.modified, each.name) for each in there if each]
    indexes, packs = sweepable(files, [_id(name) for _, name in sorted(written)], packs)
    found.indexes = {f"index/{each}" for each in indexes}
    found.packs = {absence.name for absence in old if _id(absence.name) in packs}
    found.needed = {absence.name for absence in old} - found.names


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _unverified(proofs: Sequence[Proof]) -> list[str]:
    """Return that the last verification of the replica was not ok; nothing when it was, or there is none."""
    last = max(proofs, key=lambda proof: proof.finished, default=None)
    return [f"its last verification was not ok ({last.run_id})"] if last and last.outcome != "ok" else []


def _read_since(proofs: Sequence[Proof], since: datetime) -> str | None:
    """Return how much of the replica was decrypted by verifications begun since a time; None when all of it was."""
    read: dict[int, set[int]] = {}
    for proof in proofs:
        if proof.started > since and proof.outcome == "ok" and proof.level_reached >= 3 and proof.share:
            if proof.coverage and proof.coverage.oldest_decrypted and proof.coverage.oldest_decrypted > since:
                return None
            number, _, of = proof.share.partition("/")
            read.setdefault(int(of), set()).add(int(number))
    if any(len(numbers) == of for of, numbers in read.items()):
        return None
    best = max(read, key=lambda of: len(read[of]) / of, default=None)
    return f"{len(read[best])} of {best} shares were decrypted" if best else "nothing was decrypted"


# -- the act -----------------------------------------------------------------------------------------


@dataclass
class Gone:
    """What was taken away so far, by name."""

    names: set[str] = field(default_factory=set)


def carry_out(place: Place, intent: ForgetIntent, gone: Gone, *, work: Path) -> None:
    """Take away what is intended, each stage whole before the next, under restic's own lock there.

    May be called again after any death. Raises `RefusedError` where that is not permitted, or as the store does;
    `gone` then tells what went.
    """
    with place.repository.occupied(work):
        for names in (intent.snapshots, intent.indexes, intent.packs):
            _take_away(place.store, sorted(names), gone)


def _take_away(store: ObjectStore, names: Sequence[str], gone: Gone) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for name in pool.map(_removing(store), names):
            gone.names.add(name)


def _removing(store: ObjectStore) -> Callable[[str], str]:
    failed: list[DrError] = []

    def remove(name: str) -> str:
        command.raise_if_stopping()
        if failed:
            raise failed[0]
        try:
            store.remove(name)
        except RefusedError as error:
            failed.append(_may_not(store, error))
            raise failed[-1] from error
        except DrError as error:
            failed.append(error)
            raise
        return name

    return remove


def _may_not(store: ObjectStore, error: RefusedError) -> DrError:
    what = "these keys may not delete there, so nothing more is forgotten"
    hint = "give the target keys that may, or remove `forget_after`"
    return DrError(what, store.where, error.cause, hint=hint, exit_code=error.exit_code)


def locked_versions(place: Place, snapshots: Collection[str]) -> tuple[bool, datetime | None]:
    """Return whether a place keeps the versions of what is taken away, and until when those of snapshots are locked."""
    versions = place.driver.versions(place.store)
    if versions is None or not versions.keeps():
        return False, None
    sample = [each for each in versions.versions("snapshots/") if each.name in snapshots and not each.marker][:_SAMPLE]
    ends = []
    for each in sample:
        with suppress(DamageError, RefusedError):
            ends += [lock.until] if (lock := versions.lock_of(each.name, each.id)) else []
    return True, max(ends, default=None)
