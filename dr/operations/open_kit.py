"""A recovery kit opened on an empty machine: a configuration and a state are made of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dr.errors import DrError, InterruptedRunError, RefusedError, UsageError
from dr.late_dataclass import dataclass
from dr.run.keys import escrow
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.contents import CONTROL, unfold
from dr.run.kit.kit import SELF_COPY, KitFolder, find_kit, identity_of, read_shares
from dr.run.kit.self_backup import SelfCopy
from dr.run.workspace.toolbox import Place
from dr.session import Session
from dr.tools import age
from dr.tools.restic_keys import with_passphrase
from dr.tools.secrets import write_private
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
        if sealed and opens(place, sealed, identity) is not None:
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


def opens(place: Place, sealed: bytes, identity: str) -> int | None:
    """Return how many snapshots a sealed passphrase shows; None when it is not for this identity, or opens nothing."""
    try:
        passphrase = age.unseal(sealed, identity).decode("utf-8", "replace").strip()
        return len(with_passphrase(place.repository, passphrase).snapshots())
    except RefusedError:
        return None
