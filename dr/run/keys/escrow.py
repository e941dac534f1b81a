"""Escrow: a second key of each repository, whose passphrase nobody here knows any more.

The passphrase is made, sealed for the recipient of the recovery kit, handed to restic and forgotten. What is sealed
lies in the state and beside the repository, as `_escrow/SYSTEM.age` in the target's root, so that the target and a
kit suffice. The key's user name says by digests what was sealed, and for whom: each tells whether the other is its
own, which makes every step safe against a kill. A key of ours whose sealing is gone is taken away.

In the state, under `escrow/`: `recipient` (public; the word `none` switches escrow off), `identity` (secret, until a
kit has taken it), and for each repository `SYSTEM@TARGET.age` and the record of its keys, `SYSTEM@TARGET.json`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from dr.errors import DamageError, DrError, InterruptedRunError, LockedError, TargetDownError
from dr.late_dataclass import dataclass
from dr.run.keys.recipient import recipient_of
from dr.run.workspace.key_record import KeyRecord, record_path
from dr.run.workspace.toolbox import Place
from dr.tools import age
from dr.tools.restic_keys import Key, add_key, describe, key_names, keys_of, remove_key
from dr.tools.secrets import shred, spoken_passphrase, write_private
from dr.tools.state_dir import StateDir
from dr.tools.store import ObjectStore

log = logging.getLogger("dr.escrow")
#: What the user name of an escrow key begins with; two digests follow: of what was sealed, and of the recipient.
MARK = "dr-escrow-"


@dataclass(frozen=True)
class Ensured:
    """What became of one repository's escrow key; `notes` say in words what is not as it should be."""

    done: Literal["off", "kept", "made", "adopted"]
    record: KeyRecord = field(default_factory=KeyRecord)
    notes: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()  # older escrow keys


def escrow_store(place: Place) -> ObjectStore:
    """Return where what is sealed lies on the target: `SYSTEM.age`, one for each repository."""
    if place.root is None:
        raise DrError("the target has no root", place.name, hint="open it by its plan")
    return place.root.child("_escrow")


# -- for whom ----------------------------------------------------------------------------------------


def take_identity(state: StateDir) -> None:
    """Overwrite and remove the identity: custodians have it now. May be called twice."""
    shred(state.escrow / "identity")


def new_recipient(state: StateDir) -> tuple[str, str]:
    """Begin a new pair, for instance when a custodian was lost; return identity and recipient.

    From now on `ensure_escrow` makes every escrow passphrase anew, since those sealed before cannot be opened here.
    """
    secret, recipient = age.new_identity()
    write_private(state.escrow / "identity", secret.encode() + b"\n")
    write_private(state.escrow / "recipient", recipient.encode() + b"\n")
    return secret, recipient


# -- the key -----------------------------------------------------------------------------------------


def sealed_path(state: StateDir, system: str, target: str) -> Path:
    """Return where the state keeps what is sealed for one repository."""
    return state.escrow / f"{system}@{target}.age"


def load_sealed(state: StateDir, system: str, target: str) -> bytes | None:
    """Return what is sealed for one repository, from the state; None when nothing is."""
    return _bytes(sealed_path(state, system, target))


def load_sealed_there(place: Place) -> bytes | None:
    """Return what is sealed for one repository, from beside it on the target; None when nothing is."""
    try:
        return escrow_store(place).get(f"{place.system}.age")
    except DamageError:
        return None


def hand_on_sealed(primary: Place, replica: Place, state: StateDir) -> None:
    """Put what is sealed for a repository beside its replica too, which opens with the same escrow key."""
    sealed = load_sealed(state, primary.system, primary.name)
    if sealed and load_sealed_there(replica) != sealed:
        escrow_store(replica).put(f"{primary.system}.age", sealed)


def ensure_escrow(place: Place, state: StateDir) -> Ensured:
    """See that the repository has an escrow key whose sealing lies here and on the target. May be called any time.

    One listing and one read when all is well. Only the holder of the system's lock may ask. Raises what reading or
    adding keys raises; what could not be taken away is in the notes.
    """
    recipient = recipient_of(state)
    if recipient is None:
        return Ensured("off")
    known, there = KeyRecord.read(_record(place, state)), key_names(place.store)
    foreign = known is not None and known.recipient not in ("", recipient)
    if known and known.escrow and there == known.ids and not foreign and _is_settled(place, state, known):
        return Ensured("kept", known, _notes(place, known))
    return _put_right(place, state, recipient, renew=foreign, listed=there)


def renew_escrow(place: Place, state: StateDir, recipient: str | None = None) -> Ensured:
    """Make the repository's escrow passphrase and key anew, then take the old key away: it counts until then.

    Needed when the identity was lost or a custodian replaced. Killed at any instant, `ensure_escrow` finishes it.
    """
    whom = recipient or recipient_of(state)
    return Ensured("off") if whom is None else _put_right(place, state, whom, renew=True)


def _record(place: Place, state: StateDir) -> Path:
    return record_path(state, place.system, place.name)


def _coming(place: Place, state: StateDir) -> Path:
    """Where it is kept what is sealed while its key is being made."""
    return sealed_path(state, place.system, place.name).with_suffix(".next")


def _is_settled(place: Place, state: StateDir, known: KeyRecord) -> bool:
    here, there = load_sealed(state, place.system, place.name), load_sealed_there(place)
    return here == there and here is not None and _digest(here) == known.sealed and not _coming(place, state).exists()


def _put_right(place: Place, state: StateDir, recipient: str, *, renew: bool, listed: Collection[str] = ()) -> Ensured:
    coming, here, beside = (
        _bytes(_coming(place, state)), load_sealed(state, place.system, place.name), load_sealed_there(place)
    )  # fmt: skip
    alone = len(listed) == 1 and not (coming or here or beside)
    keys = [_sole(*listed)] if alone else keys_of(place.repository)
    found = _found(keys, coming, here, beside)
    if found and renew and not (found[0] == coming and found[2] == _user_of(coming, recipient)):
        found = None
    sealed, key_id, user = found or _make(place, state, recipient)
    _settle(place, state, sealed, beside)
    old = [key for key in keys if key.user.startswith(MARK) and key.id != key_id]
    removed, stale = _take_away(place, old)
    own, known = next(key.id for key in keys if key.current), KeyRecord.read(_record(place, state)) or KeyRecord()
    there = {key.id: key.user for key in keys}
    removed = (*removed, *(old for old in known.stale if old not in there))  # by somebody who may
    kept = tuple(old for old in known.stale if old in there and not there[old].startswith(MARK))
    ours = {own, known.coming, *known.retiring, *kept}
    record = replace(
        known,
        own=own,
        escrow=key_id,
        sealed=_digest(sealed),
        recipient=recipient if user == _user_of(sealed, recipient) else "",
        stale=(*kept, *stale),
        strangers=tuple(key.id for key in keys if key.id not in ours and not key.user.startswith(MARK)),
    )
    record.write(_record(place, state))
    return Ensured("adopted" if found else "made", record, _notes(place, record), removed)


def _sole(key_id: str) -> Key:
    """Return the only key there is, as a new repository has it: nobody need open the repository to list it.

    It is ours: no other can let in who adds the next one, which fails otherwise.
    """
    return Key(key_id, user="", host="", created=datetime.min.replace(tzinfo=UTC), current=True)  # whoever asks lists


def _make(place: Place, state: StateDir, recipient: str) -> tuple[bytes, str, str]:
    """Seal a new passphrase, then make its key. In this order: a key without its sealing would be a key for nobody."""
    passphrase = spoken_passphrase()
    sealed = age.seal(passphrase.encode() + b"\n", [recipient])
    write_private(_coming(place, state), sealed)
    user = _user_of(sealed, recipient)
    return sealed, add_key(place.repository, passphrase, user=user), user


def _settle(place: Place, state: StateDir, sealed: bytes, there: bytes | None) -> None:
    """Put what is sealed where it belongs; the key that it replaces is still there."""
    if there != sealed:
        escrow_store(place).put(f"{place.system}.age", sealed)
    write_private(sealed_path(state, place.system, place.name), sealed)
    _coming(place, state).unlink(missing_ok=True)


def _take_away(place: Place, keys: Sequence[Key]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove keys of ours; return those removed, and those that may not be. What was only in the way now waits."""
    removed, stale = [], []
    for key in keys:
        try:
            remove_key(place.repository, key.id)
            removed.append(key.id)
        except (InterruptedRunError, TargetDownError):
            raise
        except LockedError as error:
            log.warning(
                "%s: the old key %s stays until the next run: %s", place.repository.where, key.id[:8], error.what
            )
        except DrError as error:
            log.warning("%s: the old key %s cannot be removed: %s", place.repository.where, describe([key]), error.what)
            stale.append(key.id)
    return tuple(removed), tuple(stale)


def _notes(place: Place, record: KeyRecord) -> tuple[str, ...]:
    notes = []
    if record.strangers:
        names = ", ".join(key[:8] for key in record.strangers)
        notes.append(f"keys on {place.name} that this program did not make open the repository: {names}")
    if record.stale:
        names = ", ".join(key[:8] for key in record.stale)
        notes.append(f"old keys on {place.name} may not be removed with its credentials: {names}")
    return tuple(notes)


def _found(keys: Sequence[Key], *sealings: bytes | None) -> tuple[bytes, str, str] | None:
    """Return the first sealing that has its key here, with the key's id and user name; None when none has."""
    for sealed in sealings:
        for key in keys if sealed else ():
            if sealed and key.user.startswith(MARK + _digest(sealed)[:16]):
                return sealed, key.id, key.user
    return None


def _user_of(sealed: bytes, recipient: str) -> str:
    return f"{MARK}{_digest(sealed)[:16]}-{_digest(recipient.encode())[:8]}"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
