"""The verb verify: a ladder of proof on what is stored, and which points it holds for.

Level 1: the structure (`restic check`). Level 2: every stored byte, without the passphrase. Level 3: a
decrypted share that rotates, so that so many runs have read everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from dr.errors import DrError, InterruptedRunError, LockedError, RefusedError, TargetDownError
from dr.evidence.look import Look
from dr.evidence.record import Damage, Outcome, Point, Proof
from dr.plan.units import counted
from dr.run.points.presence import ExchangedError, look, missing_snapshots, require_repository
from dr.run.verification import object_hashes as inventory
from dr.run.verification.object_hashes import Inventory
from dr.run.verification.rebuilt_index import rebuilt
from dr.run.workspace.stale_locks import unlock
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools import activity
from dr.tools.restic_events import Checked, Index

#: So many level-3 runs read everything; a small repository is read whole each time.
SHARES = 10
_SMALL = 100_000_000


@dataclass(frozen=True)
class VerifyMemory:
    """What one verify run leaves for the next: names and sizes, the hash of `config`, index and share."""

    objects: dict[str, int] = field(default_factory=dict)
    config_hash: str = ""
    share: int = 0
    packs: dict[str, int] = field(default_factory=dict)
    indexes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Return what was kept; nothing, when nothing usable was."""
        try:
            kept = json.loads(text or "{}")
            return cls(**{**kept, "indexes": tuple(kept.get("indexes", ()))})
        except (ValueError, TypeError, AttributeError):
            return cls()

    @property
    def index(self) -> Index:
        """What the index named."""
        return Index(self.packs, self.indexes)

    @property
    def needed(self) -> dict[str, int]:
        """The objects that must still be there: what no index named may be cleaned away at any time."""
        packs = {_data(pack) for pack in self.packs}
        return {name: size for name, size in self.objects.items() if not name.startswith("data/") or name in packs}

    def without_keys(self, removed: Collection[str]) -> Self:
        """Return it without the keys that are on record as removed: they are not missing."""
        gone = {f"keys/{key}" for key in removed}
        return replace(self, objects={name: size for name, size in self.objects.items() if name not in gone})

    def without(self, names: Collection[str]) -> Self:
        """Return it without objects that are taken away on record."""
        gone = frozenset(names)
        return replace(
            self,
            objects={name: size for name, size in self.objects.items() if name not in gone},
            packs={pack: size for pack, size in self.packs.items() if _data(pack) not in gone},
            indexes=tuple(index for index in self.indexes if f"index/{index}" not in gone),
        )

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(vars(self), separators=(",", ":"))


@dataclass
class _Findings:
    """What a run finds on its way up the ladder."""

    level: int = 0
    damage: list[Damage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    hint: str = ""  # of the first problem
    notes: list[str] = field(default_factory=list)
    objects: int = 0
    bytes: int = 0
    share: str = ""
    expired: list[Point] = field(default_factory=list)
    on_record: frozenset[str] = frozenset()  # the snapshots of the points on record, by name
    apart: _Apart | None = None
    look: Look | None = None
    exchanged: bool = False  # it is not the repository on record
    healed: str = ""  # what a killed process left there, and was put right

    @property
    def real(self) -> list[Damage]:
        """What is damage, and not only of no use."""
        return [item for item in self.damage if item.problem != "unreferenced"]


@dataclass(frozen=True)
class _Apart:
    """Index damage told from data damage, by snapshots: those that cannot be read as it is, None for all; and those
    that need data which is not there.
    """

    hit: frozenset[str] | None
    lacking: frozenset[str]


def verify(
    toolbox: Toolbox,
    place: Place,
    *,
    level: int,
    points: Sequence[Point],
    previous: VerifyMemory,
    clock: Callable[[], datetime],
    run_id: str,
    spent: Collection[str] = (),
    found_before: Sequence[Damage] = (),
) -> tuple[Proof, VerifyMemory]:
    """Prove a repository up to a level; damage is a result. Raises when the target cannot be used at all.

    `found_before` is damage that the caller saw.

    `spent` are the points that retention has no use for: that all snapshots of one of them are gone is no damage.
    That those of any other whole point are not listed is, whatever was proven before.
    """
    started, found = clock(), _Findings()
    memory = previous
    if is_unfilled(place, points, previous):
        raise DrError("there is no repository yet", place.repository.where, hint="run `dr backup` first")
    stored = inventory.listed(place.store)
    _look(place, found, stored, points, at=started, spent=spent)
    if _is_the_one(place, found, stored):
        gone = inventory.keys_gone(stored, previous.needed)
        keyless = _has_no_key(found, stored, gone)
        if stored.locks and not keyless:
            found.healed = unlock(place)
            stored = inventory.listed(place.store)
        checked = None if keyless else _structure(place, found, gone)
        found.damage = list({item.object: item for item in (*found.damage, *found_before)}.values())
        if level >= 2:
            memory = _bytes(place, found, stored, checked, previous)
        found.apart = _told_apart(toolbox, place, found, checked)
        if level >= 3 and found.level == 2:  # what nothing names harms nothing
            memory = _sample(place, found, memory, stored)
        if not any(name.startswith("snapshots/") for name in stored.sizes):
            found.level = 0
            found.notes.append("no snapshot is stored there, so nothing is proven")
    return _proof(toolbox, place, found, points, started=started, finished=clock(), asked=level, run_id=run_id), memory


def is_unfilled(place: Place, points: Sequence[Point], previous: VerifyMemory) -> bool:
    """Whether there is nothing at a place, and nothing on record says that there ever was. Asks the target."""
    known = previous.objects or any(copy.target == place.name for point in points for copy in point.copies)
    return not (known or place.known.held) and not place.store.exists("config")


def _look(
    place: Place,
    found: _Findings,
    stored: Inventory,
    points: Sequence[Point],
    *,
    at: datetime,
    spent: Collection[str],
) -> None:
    """Hold the points on record against the listing: what they need and is not there is damage."""
    there = {name.rpartition("/")[2] for name in stored.sizes if name.startswith("snapshots/")}
    found.look = look(place, points, there, at=at, useless=spent)
    found.on_record = frozenset(name for point in points for name in _snapshots(place, point))
    found.expired = [point for point in points if point.run_id in found.look.expired]
    found.damage += missing_snapshots(found.look, points, there)


def _is_the_one(place: Place, found: _Findings, stored: Inventory) -> bool:
    """Whether the repository there is the one on record, or what is left of it: of another nothing is proven."""
    try:
        known = require_repository(place)
    except ExchangedError as error:
        found.problems.append(str(error))
        found.hint, found.exchanged = error.hint, True
        if "config" in stored.sizes or not any(name.startswith("snapshots/") for name in stored.sizes):
            found.damage += [Damage(object="config", problem="missing")] * ("config" not in stored.sizes)
            return False
        return True
    if found.look and known:
        found.look = replace(found.look, repository=known.id, config=known.config)
    return True


def _snapshots(place: Place, point: Point) -> set[str]:
    """Return the names of the snapshots that a point has there, by what is on record."""
    copies = [copy for copy in point.copies if copy.target == place.name]
    return {f"snapshots/{each}" for copy in copies for each in copy.ids}


def _has_no_key(found: _Findings, stored: Inventory, gone: Sequence[str]) -> bool:
    """Whether no key is stored there at all: whatever the passphrase, nothing opens it, and restic blames that."""
    if any(name.startswith("keys/") for name in stored.sizes):
        return False
    found.damage += [Damage(object=name, problem="missing") for name in gone or ["keys"]]
    found.problems.append("no key is stored there, so no passphrase opens the repository")
    found.hint = "put `keys/` back from another copy of this repository; until then recover from another target"
    return True


def _structure(place: Place, found: _Findings, gone: Sequence[str]) -> Checked | None:
    """Level 1. A repository that cannot even be opened is damaged; the bytes are still looked at.

    restic checks with an empty cache of its own: what it finds is what the target gives. `gone` are keys that were
    there: a passphrase that opens nothing any more is not a wrong one then.
    """
    try:
        with activity.step("check structure"):
            checked = place.repository.check()
    except (InterruptedRunError, TargetDownError, LockedError):
        raise
    except RefusedError:
        if not gone:
            raise
        found.damage += [Damage(object=name, problem="missing") for name in gone]
        return None
    except DrError as error:
        found.problems.append(str(error))
        found.hint = error.hint
        return None
    if checked.clean:
        found.level = 1
        return checked
    found.damage += [Damage(object=_data(pack), problem="missing") for pack in checked.missing]
    found.damage += [
        Damage(object=_data(pack), problem="truncated" if got < want else "corrupt")
        for pack, (got, want) in checked.truncated.items()
    ]
    named = {*checked.missing, *checked.truncated}
    found.damage += [Damage(object=_data(p), problem="corrupt") for p in checked.broken_packs if p not in named]
    if not found.damage:
        found.problems.append(checked.errors[0][:300] if checked.errors else "the structure is not sound")
    return checked


def _data(pack: str) -> str:
    return f"data/{pack[:2]}/{pack}"


def _told_apart(toolbox: Toolbox, place: Place, found: _Findings, checked: Checked | None) -> _Apart | None:
    """Tell index damage from data damage, by making the index anew beside it; None where there is none, or no telling.

    What the packs hold stands in the packs themselves: an index file that is lost or spoilt loses nothing.
    """
    if checked is None or not (checked.index_broken or checked.blobs or checked.trees):
        return None
    bad = [item.object for item in found.real]
    try:
        hit = None if checked.index_broken else frozenset(place.repository.lacking(checked))
        with rebuilt(place, toolbox.state, hidden=bad) as there:
            return _Apart(hit, there.lacking)
    except (InterruptedRunError, RefusedError, TargetDownError):
        raise
    except DrError:
        return None  # what cannot be told apart is not vouched for


def _bytes(
    place: Place, found: _Findings, stored: Inventory, checked: Checked | None, previous: VerifyMemory
) -> VerifyMemory:
    """Level 2, and what is stored that nothing names."""
    with activity.step("read stored bytes"):
        inventory.hash_all(place.store, stored)
    found.objects, found.bytes = len(stored.hashes), stored.bytes
    needed = _unpruned(place, found, stored, checked, previous)
    expected = needed | {_data(pack): size for pack, size in _expected(checked).items()}
    bad = inventory.damage_in(stored, before=expected, config_hash=previous.config_hash)
    judged = {item.object for item in bad}
    found.damage = sorted(
        [item for item in found.damage if item.object not in judged] + bad, key=lambda item: item.object
    )
    sound = not found.damage and not found.problems
    index = _index(place, found, stored, previous)
    if index:
        stray = [item for item in inventory.unreferenced(stored, index.packs) if item.object not in judged]
        found.damage += stray
    if not sound:
        return previous
    found.level = 2
    return replace(
        previous,
        objects=stored.sizes,
        config_hash=stored.hashes.get("config", ""),
        packs=index.packs if index else {},
        indexes=index.indexes if index else (),
    )


def _unpruned(
    place: Place, found: _Findings, stored: Inventory, checked: Checked | None, previous: VerifyMemory
) -> dict[str, int]:
    """Return what must still be there: all that was, but for what retention took away.

    When restic finds a sound structure, an index file or pack that is gone is one that no snapshot there needs. Which
    snapshots must be there the record says.
    """
    gone = {name for point in found.expired for name in _snapshots(place, point)}
    gone |= {name for name in previous.needed if name.startswith("snapshots/") and name not in found.on_record}
    if checked and checked.clean:
        gone |= {name for name in previous.needed if name.startswith(("index/", "data/")) and name not in stored.sizes}
    return {name: size for name, size in previous.needed.items() if name not in gone}


def _expected(checked: Checked | None) -> dict[str, int]:
    return {pack: want for pack, (_, want) in checked.truncated.items()} if checked else {}


def _index(place: Place, found: _Findings, stored: Inventory, previous: VerifyMemory) -> Index | None:
    """Return what the index names."""
    there = {name.rpartition("/")[2] for name in stored.sizes if name.startswith("index/")}
    if there == set(previous.indexes):
        return previous.index
    if found.problems or any(item.object.startswith(("index/", "keys/", "config")) for item in found.damage):
        return None
    return place.repository.indexed(there, known=previous.index)


def _sample(place: Place, found: _Findings, memory: VerifyMemory, stored: Inventory) -> VerifyMemory:
    """Level 3: this run's share, decrypted."""
    shares = 1 if sum(stored.sizes.values()) < _SMALL else SHARES
    share = memory.share % shares + 1
    with activity.step("decrypt a share"):
        checked = place.repository.check(read_data_subset=f"{share}/{shares}")
    found.share = f"{share}/{shares}"
    if checked.clean:
        found.level = 3
        return replace(memory, share=share)
    found.damage += [Damage(object=_data(pack), problem="corrupt") for pack in checked.broken_packs]
    if not found.damage:
        found.problems.append(checked.errors[0][:300] if checked.errors else "the sample did not decrypt")
    return memory


# -- the fact ----------------------------------------------------------------------------------------


def _proof(
    toolbox: Toolbox,
    place: Place,
    found: _Findings,
    points: Sequence[Point],
    *,
    started: datetime,
    finished: datetime,
    asked: int,
    run_id: str,
) -> Proof:
    gone = {point.run_id for point in found.expired if _snapshots(place, point)}
    away = {*gone, *(found.look.lost if found.look else ()), *(found.look.gone if found.look else ())}
    here = [p for p in points if p.run_id not in away and any(copy.target == place.name for copy in p.copies)]
    real = found.real
    hit, doubtful = _hit(place, here, found)
    outcome: Outcome = "failed" if real or found.problems else "degraded" if not found.level else "ok"
    level = found.level if outcome == "ok" else min(found.level, 1) if not found.problems else 0
    error = found.problems[0] if found.problems and (found.exchanged or not real) else None
    error = found.notes[-1] if outcome == "degraded" else error
    return Proof(
        run_id=run_id,
        system=toolbox.plan.system,
        target=place.name,
        started=started,
        finished=finished,
        outcome=outcome,
        level_asked=asked,
        level_reached=level if not real else 0,
        objects=found.objects,
        bytes=found.bytes,
        seconds=round((finished - started).total_seconds(), 3),
        damage=tuple(found.damage),
        points=tuple(p.run_id for p in here if p.run_id not in hit),
        damaged_points=tuple(p.run_id for p in here if p.run_id in hit),
        doubtful_points=tuple(p.run_id for p in here if p.run_id in doubtful),
        expired=tuple(sorted(gone)),
        share=found.share,
        notes=tuple(found.notes),
        error=_index_damaged(len(hit), len(doubtful)) if found.apart else error,
        error_hint=found.hint if error and not found.apart else "",
        versions=dict(toolbox.versions),
        object_lock=place.object_lock(),
        looks=(found.look,) if found.look else (),
        healed=(found.healed,) if found.healed else (),
    )


def _index_damaged(hit: int, doubtful: int) -> str:
    """Say what index damage means: what restic cannot find is there, or not."""
    if not doubtful:
        return f"data that {counted(hit, 'point')} need is lost"
    if doubtful == hit:
        return f"the index is damaged, the data is not: {counted(hit, 'point')} doubtful until it is repaired"
    return (
        f"the index is damaged: of the {counted(hit, 'point')} hit {doubtful} have all their data, and are doubtful "
        "until it is repaired"
    )


def _hit(place: Place, points: Sequence[Point], found: _Findings) -> tuple[set[str], set[str]]:
    """Return the points that damage keeps from being used, and those of them whose data is all there."""
    if found.apart is None:
        return _need(place, points, found.real, everything=bool(found.problems)), set()
    snapshots = {item.object.rpartition("/")[2] for item in found.real if item.object.startswith("snapshots/")}
    lost = _of(place, points, snapshots | found.apart.lacking)
    hit = {point.run_id for point in points} if found.apart.hit is None else _of(place, points, found.apart.hit)
    return hit | lost, hit - lost


def _of(place: Place, points: Sequence[Point], snapshots: Collection[str]) -> set[str]:
    """Return the points of which a copy there has any of these snapshots."""
    wanted = set(snapshots)
    copies = ((point, copy) for point in points for copy in point.copies if copy.target == place.name)
    return {point.run_id for point, copy in copies if not wanted.isdisjoint(copy.ids)}


def _need(place: Place, points: Sequence[Point], damage: Sequence[Damage], *, everything: bool) -> set[str]:
    """Return the points that need a damaged object: all, when what opens the repository is damaged."""
    if everything and not damage:
        return {point.run_id for point in points}
    vital = [item for item in damage if item.object.startswith(("config", "keys", "index/"))]
    if vital:
        return {point.run_id for point in points}
    snapshots = {item.object.rpartition("/")[2] for item in damage if item.object.startswith("snapshots/")}
    packs = [item.object.rpartition("/")[2] for item in damage if item.object.startswith("data/")]
    try:
        snapshots |= place.repository.find_pack(packs)
    except DrError:
        return {point.run_id for point in points}  # what cannot be told apart is not vouched for
    return _of(place, points, snapshots)
