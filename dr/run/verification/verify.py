"""The verb verify: a ladder of proof on what is stored, and which points it holds for.

Level 1: the structure (`restic check`). Level 2: every stored byte, without the passphrase. Level 3: a
decrypted share that rotates, so that so many runs have read everything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime

from dr.errors import DrError
from dr.evidence.record import Damage, Point, Proof
from dr.run.points.presence import ExchangedError, look, missing_snapshots, require_repository
from dr.run.verification.conclude import conclude
from dr.run.verification.decrypted_share import decrypt_share
from dr.run.verification.findings import NO_KEY, PUT_KEYS_BACK, Findings, snapshots_of
from dr.run.verification.inventory import Inventory, id_of, listed
from dr.run.verification.memory import VerifyMemory
from dr.run.verification.object_hashes import keys_gone
from dr.run.verification.rotation import ReadingRule
from dr.run.verification.stored_bytes import prove_bytes
from dr.run.verification.structure import prove_structure, told_apart
from dr.run.workspace.stale_locks import unlock
from dr.run.workspace.toolbox import Place, Toolbox


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
    rule: ReadingRule = ReadingRule(),  # noqa: B008 - it is frozen
    keep: Callable[[VerifyMemory], None] = lambda memory: None,
) -> tuple[Proof, VerifyMemory]:
    """Prove a repository up to a level; damage is a result. Raises when the target cannot be used at all.

    `found_before` is damage that the caller saw; `rule` says how much is read: all, unless it is given.
    `keep` is given what was read by a run that ends before its time.

    `spent` are the points that retention has no use for: that all snapshots of one of them are gone is no damage.
    That those of any other whole point are not listed is, whatever was proven before.
    """
    started, began, found = clock(), time.monotonic(), Findings()
    memory = previous
    if is_unfilled(place, points, previous):
        raise DrError("there is no repository yet", place.repository.where, hint="run `dr backup` first")
    stored = listed(place.store)
    _look(place, found, stored, points, at=started, spent=spent)
    if _is_the_one(place, found, stored):
        gone = keys_gone(stored, previous)
        keyless = _has_no_key(found, stored, gone)
        if stored.locks and not keyless:
            found.healed = unlock(place)
            stored = listed(place.store)
        checked = None if keyless else prove_structure(place, found, gone)
        found.damage = list({item.object: item for item in (*found.damage, *found_before)}.values())
        if level >= 2:
            memory = prove_bytes(place, found, stored, checked, previous, rule=rule, clock=clock, keep=keep)
        found.apart = told_apart(toolbox, place, found, checked)
        if level >= 3 and found.level == 2:  # what nothing names harms nothing
            memory = decrypt_share(place, found, memory, stored, rule=rule, clock=clock)
        if not _holds(stored, "snapshots/"):
            found.level = 0
            found.notes.append("no snapshot is stored there, so nothing is proven")
    proof = conclude(toolbox, place, found, points, started=started, finished=clock(), asked=level, run_id=run_id)
    return replace(proof, seconds=round(time.monotonic() - began, 3)), memory


def is_unfilled(place: Place, points: Sequence[Point], previous: VerifyMemory) -> bool:
    """Whether there is nothing at a place, and nothing on record says that there ever was. Asks the target."""
    known = not previous.empty or any(copy.target == place.name for point in points for copy in point.copies)
    return not (known or place.known.held) and not place.store.exists("config")


def _look(
    place: Place,
    found: Findings,
    stored: Inventory,
    points: Sequence[Point],
    *,
    at: datetime,
    spent: Collection[str],
) -> None:
    """Hold the points on record against the listing: what they need and is not there is damage."""
    there = {id_of(item.name) for item in stored.in_order("snapshots/")}
    found.look = look(place, points, there, at=at, useless=spent)
    found.on_record = frozenset(name for point in points for name in snapshots_of(place, point))
    found.expired = [point for point in points if point.run_id in found.look.expired]
    found.damage += missing_snapshots(found.look, points, there)


def _is_the_one(place: Place, found: Findings, stored: Inventory) -> bool:
    """Whether the repository there is the one on record, or what is left of it: of another nothing is proven."""
    try:
        known = require_repository(place)
    except ExchangedError as error:
        found.problems.append(str(error))
        found.hint, found.exchanged = error.hint, True
        if "config" in stored or not _holds(stored, "snapshots/"):
            found.damage += [Damage(object="config", problem="missing")] * ("config" not in stored)
            return False
        return True
    if found.look and known:
        found.look = replace(found.look, repository=known.id, config=known.config)
    return True


def _holds(stored: Inventory, part: str) -> bool:
    return next(stored.in_order(part), None) is not None


def _has_no_key(found: Findings, stored: Inventory, gone: Sequence[str]) -> bool:
    """Whether no key is stored there at all: whatever the passphrase, nothing opens it, and restic blames that."""
    if _holds(stored, "keys/"):
        return False
    found.damage += [Damage(object=name, problem="missing") for name in gone or ["keys"]]
    found.problems.append(NO_KEY)
    found.hint, found.keyless = PUT_KEYS_BACK, True
    return True
