"""A recovery kit in use: opened on an empty machine, and tested on a day when nothing has happened."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError, UsageError, code_of, every_error
from dr.evidence.acts import KitAct, KitRepository
from dr.evidence.record import Outcome
from dr.evidence.seal import Sealed
from dr.late_dataclass import dataclass
from dr.operations.lifecycle import put_on_record
from dr.plan.declarations import Loaded
from dr.run.keys import escrow
from dr.run.keys.recipient import recipient_of
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.contents import CONTROL, target_file, unfold
from dr.run.kit.kit import SELF_COPY, KitFolder, find_kit, identity_of, read_shares
from dr.run.kit.self_backup import SelfCopy
from dr.run.recovery.place.sandbox import Sandbox
from dr.run.workspace.toolbox import Place
from dr.session import Session, new_id
from dr.tools import age
from dr.tools.disk import AbsentError
from dr.tools.restic_keys import with_passphrase
from dr.tools.secrets import write_private
from dr.tools.shares import Share
from dr.tools.state_dir import StateDir


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A configuration and a state made from a self-copy. `taken_from` is a target, or "kit"."""

    config: Path
    state: StateDir
    copy: SelfCopy
    taken_from: str
    systems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KitTested:
    """The fact of a test and its sealed record."""

    fact: KitAct
    sealed: Sealed

    @property
    def exit_code(self) -> int:
        """As its outcome."""
        return code_of(self.fact.outcome)


# -- opening -------------------------------------------------------------------------------------------


def open_kit(path: Path, share_files: Sequence[Path], to: Path, *, kit_alone: bool = False) -> Opened:
    """Make `to/config` and `to/state` from a kit and its shares, and from the newest self-copy that a target has.

    Needs nothing of this machine. A self-copy on a target counts only when it bears the code that the kit's own
    knows; with `kit_alone` no target is asked. Raises `UsageError` when `to` is in use, `RefusedError` for shares
    that do not open the kit; what it made until then is removed.
    """
    folder = find_kit(path)
    identity = identity_of(folder.kit, read_shares(share_files))
    opened = open_with(kit_copy(folder, identity), identity, to, targets_too=not kit_alone)
    if opened.taken_from != "kit":
        return opened
    return replace(opened, notes=(*opened.notes, *_renewed(opened, identity)))


def _renewed(opened: Opened, identity: str) -> Iterator[str]:
    """Where a passphrase was changed since the kit was made, put the escrow passphrase in its place, and say so."""
    session = Session(opened.config, opened.state)
    try:
        for place in [place for item in session.usable()[0] for place in session.toolbox(item).places]:
            where = f"{place.system} on {place.name}"
            try:
                place.store.reachable()
                place.repository.snapshots()
            except InterruptedRunError:
                raise
            except RefusedError as error:
                sealed = opened.copy.contents.get(f"escrow/{place.system}@{place.name}.age")
                mended = _by_escrow(place, [sealed, _beside(place)], identity, opened.state)
                yield f"{where} is opened by its escrow passphrase" if mended else f"{where}: {error.what}"
            except DrError:
                continue  # it is down: the recovery uses another, and says so
    finally:
        session.close()


def _by_escrow(place: Place, sealings: Sequence[bytes | None], identity: str, state: StateDir) -> bool:
    for sealed in sealings:
        if sealed and _opens(place, sealed, identity) is not None:
            write_private(state.carried_passphrase(place.system, place.name), age.unseal(sealed, identity))
            return True
    return False


def _beside(place: Place) -> bytes | None:
    try:
        return escrow.load_sealed_there(place)
    except DrError:
        return None


def kit_copy(folder: KitFolder, identity: str) -> SelfCopy:
    """Return the self-copy that lies in a kit."""
    return selfcopy.unpack(folder.read(SELF_COPY), identity=identity, key=None, name=folder.kit.self_copy)


def open_with(copy: SelfCopy, identity: str, to: Path, *, targets_too: bool, taken_from: str = "kit") -> Opened:
    """Make a configuration and a state from a self-copy that is trusted, or from a newer one on its targets."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UsageError("the directory is not empty", str(to), hint="name a new or empty directory")
    state, notes = StateDir(to / "state"), list[str]()
    try:
        to.mkdir(mode=0o700, parents=True, exist_ok=True)
        to.chmod(0o700)
        unfold(copy.contents, {}, to)
        newer = _newer(copy, identity, to, notes) if targets_too else None
        if newer:
            for part in ("config", "state"):
                shutil.rmtree(to / part)
            unfold(newer[1].contents, copy.contents, to)
        used = newer[1] if newer else copy
        _fill_from_escrow(used, identity, state, notes)
    except OSError as error:
        raise DrError(
            "the directory cannot be written", str(to), error.strerror or "", hint="see its rights and free space"
        ) from error
    except BaseException:
        for part in ("config", "state"):
            shutil.rmtree(to / part, ignore_errors=True)
        raise
    listed = used.json(CONTROL).get("systems")
    systems = [str(each["system"]) for each in listed] if isinstance(listed, list) else []
    notes += [f"not in the copy: {text}" for text in _texts(used.json(CONTROL).get("left_out"))]
    return Opened(
        config=to / "config",
        state=state,
        copy=used,
        taken_from=newer[0] if newer else taken_from,
        systems=tuple(systems),
        notes=tuple(notes),
    )


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


def _newer(copy: SelfCopy, identity: str, to: Path, notes: list[str]) -> tuple[str, SelfCopy] | None:
    """Return the newest self-copy on any target of the one that is open, and which target, when it is newer."""
    key = bytes.fromhex(copy.contents.get("escrow/control.key", b"").decode("ascii", "replace").strip())
    if not key:
        notes.append("the kit's own copy has no key to know newer ones by: it is used as it is")
        return None
    session = Session(to / "config", StateDir(to / "state"))
    try:
        roots = {place.name: place.root for place in _places(session, notes) if place.root is not None}
    finally:
        session.close()
    found = selfcopy.newest(roots, identity=identity, key=key, say=notes)
    return found if found and found[1].made > copy.made else None


def _places(session: Session, notes: list[str]) -> Iterator[Place]:
    """Yield the places of all plans, each target once."""
    seen: set[str] = set()
    for loaded in session.usable()[0]:
        try:
            toolbox = session.toolbox(loaded)
        except InterruptedRunError:
            raise
        except DrError as error:
            notes.append(f"{loaded.plan.system}: {error}")
            continue
        yield from (place for place in toolbox.everywhere if place.name not in seen)
        seen |= {place.name for place in toolbox.everywhere}


def _fill_from_escrow(copy: SelfCopy, identity: str, state: StateDir, notes: list[str]) -> None:
    """Where a copy lacks a repository's passphrase, take its escrow passphrase."""
    listed = copy.json(CONTROL).get("systems")
    for each in listed if isinstance(listed, list) else []:
        for target in each["targets"]:
            name = f"{each['system']}@{target}"
            carried = state.carried_passphrase(each["system"], target)
            if carried.exists() or state.passphrase(each["system"], target).exists():
                continue
            if sealed := copy.contents.get(f"escrow/{name}.age"):
                try:
                    write_private(carried, age.unseal(sealed, identity))
                    notes.append(f"{name} is opened by its escrow passphrase")
                except RefusedError as error:
                    notes.append(f"{name}: {error.what}")


# -- testing -------------------------------------------------------------------------------------------


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
    stale = tuple(differences(session, folder))
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
        if sealed and (count := _opens(place, sealed, identity)) is not None:
            return replace(told, opened=True, key="escrow", snapshots=count)
        newer = escrow.load_sealed_there(place)
        if newer and newer != sealed and (count := _opens(place, newer, identity)) is not None:
            notes.append(f"{where}: the escrow key was made again since; the one beside the repository opens it")
            return replace(told, opened=True, key="escrow", snapshots=count)
        count = len(place.repository.snapshots())
        notes.append(f"{where}: no escrow key of the kit opens it; its own passphrase in the kit does")
        return replace(told, opened=True, key="passphrase", snapshots=count)
    except (InterruptedRunError, AbsentError):
        raise
    except DrError as error:
        what = f"{error.what} ({error.cause})" if error.cause else error.what
        return replace(told, error=what, error_hint=error.hint)


def _opens(place: Place, sealed: bytes, identity: str) -> int | None:
    """Return how many snapshots a sealed passphrase shows; None when it is not for this identity, or opens nothing."""
    try:
        passphrase = age.unseal(sealed, identity).decode("utf-8", "replace").strip()
        return len(with_passphrase(place.repository, passphrase).snapshots())
    except RefusedError:
        return None


def _outcome(found: Sequence[KitRepository], *, clean: bool) -> Outcome:
    by_system: dict[str, list[bool]] = {}
    for each in found:
        by_system.setdefault(each.system, []).append(each.opened)
    if not found or not all(any(opened) for opened in by_system.values()):
        return "failed"
    return "ok" if clean and all(each.opened for each in found) else "degraded"


def _error(found: Sequence[KitRepository]) -> str | None:
    return "; ".join(f"{each.system} on {each.target}: {each.error}" for each in found if each.error) or None


def differences(session: Session, folder: KitFolder) -> Iterator[str]:
    """Yield what differs between a kit and the plans and targets here. Nothing where there are none."""
    try:
        items, _ = session.usable()
    except DrError:
        return
    then = {each.system: each for each in folder.kit.systems}
    now: Mapping[str, Loaded] = {item.plan.system: item for item in items}
    for name in sorted(now.keys() - then.keys()):
        yield f"the system {name} is not in the kit"
    for name in sorted(then.keys() - now.keys()):
        yield f"the system {name} of the kit has no plan any more"
    for name in sorted(then.keys() & now.keys()):
        if then[name].digest != now[name].digest:
            yield f"the plan of {name} has changed"
    yield from _target_differences(session, folder, now.values())
    if (recipient := recipient_of(session.state)) != folder.kit.recipient:
        yield "the organisation's identity is another by now" if recipient else "escrow is switched off by now"


def _target_differences(session: Session, folder: KitFolder, items: Iterable[Loaded]) -> Iterator[str]:
    used = sorted({name for item in items for name in item.plan.places})
    for name in used:
        data = target_file(session.declarations.targets[name], session.config / "targets")
        then = folder.kit.targets.get(name)
        if then is None:
            yield f"the target {name} is not in the kit"
        elif then != selfcopy.digest_of({"": data}):
            yield f"the target {name} has changed"
