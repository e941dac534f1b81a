"""The keys there are: who can open what is stored, and what is not as it should be with them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.run.keys.escrow import MARK
from dr.run.points.presence import refuse_exchanged
from dr.run.workspace.each_target import everywhere
from dr.run.workspace.key_record import KeyRecord, record_path
from dr.run.workspace.toolbox import Place, is_detached
from dr.session import Session
from dr.tools.restic_keys import Key, keys_of


@dataclass(frozen=True)
class KeyRow:
    """One key of one repository, and what it is: see `_kind`."""

    system: str
    target: str
    key: Key
    kind: str

    @property
    def unknown(self) -> bool:
        """Whether nobody here has made it."""
        return self.kind == UNKNOWN


UNKNOWN = "unknown"


@dataclass(frozen=True)
class KeysFound:
    """The keys there are, and the repositories whose keys could not be read, with the reason."""

    rows: tuple[KeyRow, ...]
    problems: tuple[tuple[str, DrError], ...]


def list_keys(session: Session, items: Sequence[Loaded]) -> KeysFound:
    """Return the keys of every repository of some systems. Changes nothing."""
    rows: list[KeyRow] = []
    problems: list[tuple[str, DrError]] = []
    for loaded in items:
        try:
            places = {place.name: place for place in session.toolbox(loaded).everywhere if not is_detached(place)}
        except DrError as error:
            problems.append((loaded.plan.system, error))
            continue
        for name, found in everywhere(places, functools.partial(_rows, session, loaded)).items():
            if isinstance(found, DrError):
                problems.append((f"{loaded.plan.system} on {name}", found))
            else:
                rows += found
    return KeysFound(tuple(rows), tuple(problems))


def _rows(session: Session, loaded: Loaded, place: Place) -> list[KeyRow]:
    place.store.reachable()
    refuse_exchanged(place)
    owner = loaded.plan.targets[0] if place.name in loaded.plan.replicas else place.name
    known = KeyRecord.read(record_path(session.state, place.system, owner)) or KeyRecord()
    return [KeyRow(place.system, place.name, key, _kind(key, known)) for key in keys_of(place.repository)]


def _kind(key: Key, known: KeyRecord) -> str:
    if key.current:
        return "in use"
    if key.id == known.escrow:
        return "escrow"
    if key.id == known.coming:
        return "coming: for the new passphrase"
    if key.id in (*known.retiring, *known.stale, known.own):
        return "old: to be removed"
    return "escrow, not of this state" if key.user.startswith(MARK) and not known.escrow else UNKNOWN
