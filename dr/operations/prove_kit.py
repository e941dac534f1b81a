"""A kit proven: it opens every repository today, by its escrow keys, in a room that goes away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dr.errors import AbsentError, DamageError, DrError, InterruptedRunError, UsageError, code_of, every_error
from dr.evidence.acts import KitAct, KitRepository
from dr.evidence.record import Outcome
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.operations.lifecycle import put_on_record
from dr.operations.open_kit import kit_copy, open_with, opens
from dr.queries.kit_differences import differences_from
from dr.run.keys import escrow
from dr.run.kit.kit import KitFolder, find_kit, identity_of, read_shares
from dr.run.recovery.place.sandbox import Sandbox
from dr.run.workspace.toolbox import Place
from dr.session import Session, new_id
from dr.tools.shares import Share


@dataclass(frozen=True, kw_only=True)
class KitTested:
    """The fact of a test and its sealed record."""

    fact: KitAct
    sealed: Sealed

    @property
    def exit_code(self) -> int:
        """As its outcome."""
        return code_of(self.fact.outcome)


def prove_kit(session: Session, path: Path, share_files: Sequence[Path]) -> KitTested:
    """Prove that a kit opens every repository today, by its escrow keys; record the fact, whatever came of it.

    Degraded: something changed since the kit was made, or a repository could be asked on another target only.
    Raises what is wrong with the kit or the shares, recorded too, and `UsageError` when there is no kit.
    """
    started = session.clock()
    folder = find_kit(path)
    fact = KitAct(
        run_id=new_id("kit-test-", started),
        act="tested",
        outcome="failed",
        started=started,
        finished=started,
        kit_id=folder.kit.kit_id,
        threshold=folder.kit.threshold,
        custodians=folder.kit.custodians,
    )
    try:
        with every_error():
            given = read_shares(share_files)
            identity = identity_of(folder.kit, given)
            if damage := folder.damage():
                raise DamageError(
                    f"the kit is damaged: {'; '.join(damage[:5])}", str(folder.path), hint="use another copy"
                )
            with _room(session, fact.run_id) as room:
                fact = _tested(session, folder, identity, replace(fact, shares=_numbers(given)), room)
    except UsageError:
        raise
    except DrError as error:
        aborted = isinstance(error, InterruptedRunError)
        failed = replace(fact, error=str(error), outcome="aborted" if aborted else "failed", finished=session.clock())
        put_on_record(session, failed)
        raise
    fact = replace(fact, finished=session.clock(), versions=session.versions_here)
    return KitTested(fact=fact, sealed=put_on_record(session, fact))


def _numbers(given: Sequence[Share]) -> tuple[int, ...]:
    return tuple(sorted({share.index for share in given}))


@contextmanager
def _room(session: Session, name: str) -> Iterator[Path]:
    """Lend a directory that goes away, as a drill's does, also after a kill."""
    sandbox = Sandbox(session.state, name)
    _ = session.catalog  # makes the state
    try:
        yield sandbox.make(0)
    finally:
        sandbox.finish()


def _tested(session: Session, folder: KitFolder, identity: str, fact: KitAct, room: Path) -> KitAct:
    opened = open_with(kit_copy(folder, identity), identity, room / "opened", targets_too=False)
    theirs = Session(opened.config, opened.state)
    found: list[KitRepository] = []
    notes: list[str] = []
    away: list[str] = []
    try:
        for loaded in theirs.usable()[0]:
            for place in theirs.toolbox(loaded).everywhere:
                key_of = place.name if place.name in loaded.plan.targets else loaded.plan.targets[0]
                found += _ask(place, folder.escrow.get(f"{place.system}@{key_of}"), identity, notes, away)
    finally:
        theirs.close()
    clean = not notes
    notes += away
    if folder.shares_beside:
        notes.append(f"share files still lie beside the kit, in {folder.path.parent}/shares: hand them out")
    stale = tuple(differences_from(session, folder))
    return replace(
        fact,
        repositories=tuple(found),
        stale=stale,
        notes=tuple(notes),
        outcome=_outcome(found, clean=clean and not stale),
        error=_error(found),
    )


def _ask(
    place: Place, sealed: bytes | None, identity: str, notes: list[str], away: list[str]
) -> Iterator[KitRepository]:
    """Open one repository with what the kit holds for it; nothing is asked of a disk that is taken away."""
    try:
        yield _opened(place, sealed, identity, notes)
    except AbsentError as error:
        away.append(f"{place.system} on {place.name} was not asked: {error.what}")


def _opened(place: Place, sealed: bytes | None, identity: str, notes: list[str]) -> KitRepository:
    """Open one repository: by escrow, else by its own passphrase."""
    where = f"{place.system} on {place.name}"
    told = KitRepository(system=place.system, target=place.name, opened=False)
    try:
        place.store.reachable()
        if sealed and (count := opens(place, sealed, identity)) is not None:
            return replace(told, opened=True, key="escrow", snapshots=count)
        newer = escrow.load_sealed_there(place)
        if newer and newer != sealed and (count := opens(place, newer, identity)) is not None:
            notes.append(f"{where}: the escrow key was made again since; the one beside the repository opens it")
            return replace(told, opened=True, key="escrow", snapshots=count)
        count = len(place.repository.snapshots())
        notes.append(f"{where}: no escrow key of the kit opens it; its own passphrase in the kit does")
        return replace(told, opened=True, key="passphrase", snapshots=count)
    except (InterruptedRunError, AbsentError):
        raise
    except DrError as error:
        what = error.sentence
        return replace(told, error=what, error_hint=error.hint)


def _outcome(found: Sequence[KitRepository], *, clean: bool) -> Outcome:
    by_system: dict[str, list[bool]] = {}
    for each in found:
        by_system.setdefault(each.system, []).append(each.opened)
    if not found or not all(any(opened) for opened in by_system.values()):
        return "failed"
    return "ok" if clean and all(each.opened for each in found) else "degraded"


def _error(found: Sequence[KitRepository]) -> str | None:
    return "; ".join(f"{each.system} on {each.target}: {each.error}" for each in found if each.error) or None
