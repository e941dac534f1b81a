"""Crypto-shredding: a system's copies made unreadable by destroying the keys to them.

Cryptographic erase as NIST SP 800-88r1 (2.6) has it: the target data stay, encrypted, and the keys that they were
encrypted with are sanitised. Here the one master key of a repository exists only wrapped, in its `keys/*` objects;
with all of these gone, every version of them too, what is left cannot be read by who has a passphrase.
Nothing is begun while a hold is in force, or while a lock on any object of a copy runs: a lock is a promise to keep.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dr.errors import DrError, InterruptedRunError, RefusedError
from dr.evidence.acts import Hold, KeyChange
from dr.evidence.record import Point
from dr.late_dataclass import dataclass
from dr.plan.plan import Plan
from dr.run.keys.escrow import escrow_store, sealed_path
from dr.run.keys.key_versions import last_of
from dr.run.keys.rotation import secret_files
from dr.run.points.presence import refuse_exchanged
from dr.run.workspace.key_record import record_path
from dr.run.workspace.toolbox import Place, Toolbox
from dr.tools.erase import Trace
from dr.tools.restic_keys import keys_of, repository_id
from dr.tools.s3_versions import Protection
from dr.tools.secrets import shred, write_private
from dr.tools.state_dir import StateDir

log = logging.getLogger("dr.keys")
#: What a destruction cannot show, whatever was done.
LIMITS = (
    "it cannot be proven that no other copy of a passphrase or of a key exists: in a replica, a backup, notes",
    "what was overwritten may survive in journals, snapshots or worn cells of the disk below",
    "recovery kits, and this program's own sealed copies, may still hold the passphrase: no key is left that it opens",
    "who read data or the master key before keeps what was read",
)


@dataclass(frozen=True, kw_only=True)
class Condemned:
    """One repository that would die: its keys, with every version of them, and what forbids it."""

    target: str
    keys: int
    traces: int
    points: tuple[Point, ...]
    protected: tuple[Protection, ...] = ()  # of each version that may not be deleted now

    @property
    def locked_until(self) -> datetime | None:
        """When the last lock on it runs out."""
        last = last_of(self.protected)
        return last.until if last else None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What `dr keys destroy` would do. `obstacles` forbid it, in words; `warnings` do not."""

    system: str
    repositories: tuple[Condemned, ...]
    obstacles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def examine(
    toolbox: Toolbox, points: Sequence[Point], holds: Sequence[Hold], others: Sequence[Plan], *, now: datetime
) -> Verdict:
    """Ask every target of the plan what would die there, and what stands in the way. Changes nothing.

    Raises when a target cannot be asked: a copy that is out of reach would live on.
    """
    found = tuple(_condemned(place, points, now) for place in toolbox.everywhere)
    system = toolbox.plan.system
    obstacles = [
        f"the hold {hold.hold_id} is in force{f' until {hold.until:%Y-%m-%d}' if hold.until else ''}: {hold.reason}"
        for hold in holds
        if hold.holds(now)
    ]
    return Verdict(
        system=system,
        repositories=found,
        obstacles=(*obstacles, *(text for each in found for text in _locked(each))),
        warnings=tuple(_warnings(toolbox, points, others)),
    )


def _condemned(place: Place, points: Sequence[Point], now: datetime) -> Condemned:
    place.store.reachable()
    refuse_exchanged(place)
    traces, found = _asked(place)
    there = [p for p in points if any(c.target == place.name and not c.destroyed for c in p.copies)]
    live = filter(None, (each.at(now) for each in found))
    names = {trace.name for trace in traces if not trace.marker}
    return Condemned(target=place.name, keys=len(names), traces=len(traces), points=tuple(there), protected=tuple(live))


def _asked(place: Place) -> tuple[list[Trace], list[Protection]]:
    """Return every version of every key, and what protects anything there is."""
    eraser = place.driver.eraser(place.store)
    try:
        return eraser.traces("keys/"), eraser.protections(eraser.traces(""))
    except RefusedError as error:
        needed = "credentials that back up may not see and delete versions: destroying needs some that may"
        error.hint = "; ".join(filter(None, (error.hint, needed)))
        raise


def _locked(each: Condemned) -> list[str]:
    told = []
    if each.locked_until:
        what = f"{sum(one.lock is not None for one in each.protected)} object versions on {each.target} are locked"
        told.append(f"{what}; the last lock runs out on {each.locked_until:%Y-%m-%d %H:%M} UTC, and not before")
    if any(one.legal_hold for one in each.protected):
        told.append(f"objects on {each.target} are under a legal hold of the service")
    return told


def _warnings(toolbox: Toolbox, points: Sequence[Point], others: Sequence[Plan]) -> list[str]:
    system = toolbox.plan.system
    needing = sorted(plan.system for plan in others if system in plan.depends_on)
    told = [f"{', '.join(needing)} depends on {system}"] if needing else []
    named = {place.name for place in toolbox.everywhere}
    strays = sorted({copy.target for point in points for copy in point.copies} - named)
    if strays:
        told.append(f"there are copies on {', '.join(strays)}, which the plan does not name: they are not destroyed")
    return [*told, *_left_secret(toolbox.plan, others)]


def _left_secret(plan: Plan, others: Sequence[Plan]) -> list[str]:
    """Say what of the passphrase is not destroyed here."""
    named = plan.secrets.passphrase
    if named is None:
        return []
    if named.file is None:
        return ["the passphrase comes from where the plan names it: destroy it there yourself"]
    sharing = sorted(other.system for other in others if other.secrets.passphrase == named)
    if sharing:
        return [f"the passphrase file {named.file} stays: {', '.join(sharing)} uses it too"]
    return []


def destroy_on(place: Place, state: StateDir) -> KeyChange:
    """Destroy every key of one repository, and show that its passphrase opens nothing any more.

    Killed midway, the next call goes on. Raises when a key could not be removed: the copy is then still readable.
    """
    _note_cache(place, state)
    eraser = place.driver.eraser(place.store)
    traces = eraser.traces("keys/")
    for trace in traces:
        eraser.erase(trace)
    if left := eraser.traces("keys/"):
        raise DrError(
            f"{len(left)} versions of keys are still there", place.repository.where, hint="see the service, then go on"
        )
    shown = [f"no version of a key object is left ({len(traces)} removed)", _closed(place)]
    sealings = place.driver.eraser(escrow_store(place))
    for trace in sealings.traces(f"{place.system}.age"):
        sealings.erase(trace)
    ids = tuple(sorted({trace.name.rpartition("/")[2] for trace in traces if not trace.marker}))
    return KeyChange(target=place.name, outcome="ok", removed=ids, shown=tuple(shown))


def _closed(place: Place) -> str:
    """Try the passphrase once more: restic must refuse it."""
    try:
        keys_of(place.repository)
    except InterruptedRunError:
        raise
    except DrError as error:
        if isinstance(error, RefusedError) or "no key" in str(error):
            return "restic with the passphrase opens the repository no more"
        return f"restic does not open the repository ({error.what})"
    raise DrError(
        "the repository still opens", place.repository.where, hint="somebody adds keys meanwhile: stop the writers"
    )


def destroy_here(toolbox: Toolbox, others: Sequence[Plan], *, now: datetime) -> list[str]:
    """Destroy what this machine has: passphrases, sealings, caches. Return what of it stays, in words.

    After this no repository of the system is made any more: a tombstone stands in the place of the passphrase.
    """
    plan, state = toolbox.plan, toolbox.state
    for place in toolbox.everywhere:
        _forget_cache(place, state)
        sealed = sealed_path(state, plan.system, place.name)
        for path in (*secret_files(place), sealed, sealed.with_suffix(".next")):
            shred(path)
        record_path(state, plan.system, place.name).unlink(missing_ok=True)
    shutil.rmtree(state.manifests(plan.system), ignore_errors=True)
    left = _left_secret(plan, others)
    named = plan.secrets.passphrase
    if named and named.file and not left:
        shred(named.file)
    for place in toolbox.everywhere:
        told = f"{now:%Y-%m-%d %H:%M} UTC"
        write_private(state.tombstone(plan.system, place.name), told.encode() + b"\n")
    return left


def _cache_note(place: Place, state: StateDir) -> Path:
    return record_path(state, place.system, place.name).with_suffix(".cache")


def _note_cache(place: Place, state: StateDir) -> None:
    """Note the name of restic's cache, which is the repository's id: without a key nobody can read that any more."""
    try:
        write_private(_cache_note(place, state), repository_id(place.repository).encode())
    except InterruptedRunError:
        raise
    except DrError as error:
        log.info("%s: its cache is not known: %s", place.repository.where, error)


def _forget_cache(place: Place, state: StateDir) -> None:
    note = _cache_note(place, state)
    name = note.read_text("utf-8") if note.exists() else ""
    if re.fullmatch(r"[0-9a-f]{64}", name):
        shutil.rmtree(place.repository.cache / name, ignore_errors=True)
    note.unlink(missing_ok=True)
