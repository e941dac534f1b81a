"""The passphrase of a repository, changed while it is in use.

A second key is added for the new passphrase and proven; then the passphrase in use is switched; then what it replaces
is taken away. The repository opens at every instant, with the passphrase that is in use then. A kill leaves one of
these steps undone: `rotate` and `finish` go on from there, told by the record of the keys and by the files beside
the secret: `….next` holds the new passphrase until it is switched, `….previous` the old until its key is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from dr.errors import DrError, InterruptedRunError, LockedError, RefusedError, UsageError
from dr.late_dataclass import dataclass
from dr.run.keys.replica_keys import hand_on, take_back
from dr.run.workspace.key_record import KeyRecord, record_path
from dr.run.workspace.toolbox import Place
from dr.tools.restic import Repository
from dr.tools.restic_keys import add_key, keys_of, opened_by, remove_key, with_passphrase
from dr.tools.secrets import new_passphrase, shred, write_private
from dr.tools.state_dir import StateDir

log = logging.getLogger("dr.keys")
#: The user name of a key that a rotation made.
USER = "dr-passphrase"
MAY_NOT = "the credentials here may not delete its key: remove it with `restic key remove` and ones that may"
IN_USE = "the repository is in use: the next backup takes it away, or rotate again"


@dataclass(frozen=True)
class Rotated:
    """What a rotation came to: key ids added and removed, those that should go and are still there, and why.

    `waits`: the new passphrase opens, and the person must put it in the place that the plan names.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    waits: bool = False
    why: str = ""


@dataclass(frozen=True)
class _Secret:
    """The passphrase file of a repository, and what lies beside it during a rotation."""

    path: Path

    @property
    def next(self) -> Path:
        return self.path.with_suffix(".next")

    @property
    def previous(self) -> Path:
        return self.path.with_suffix(".previous")

    def coming(self) -> str:
        """Return the new passphrase; made, and kept, on the first call."""
        if not self.next.exists():
            write_private(self.next, new_passphrase().encode() + b"\n")
        return self.next.read_text("utf-8").strip()

    def switch(self) -> None:
        """Put the new passphrase in the place of the old, which stays beside it."""
        if self.next.exists():
            self._forget_previous()
            self.previous.hardlink_to(self.path)
            self.next.replace(self.path)

    def settle(self) -> None:
        """Forget what is no longer needed."""
        self._forget_previous()
        shred(self.next)

    def _forget_previous(self) -> None:
        if self.previous.exists() and self.previous.samefile(self.path):
            self.previous.unlink()  # killed before the switch: it is another name of the file in use
        shred(self.previous)


def secret_path(place: Place) -> Path | None:
    """Return the file of a generated passphrase; None when the plan names the passphrase."""
    file = place.repository.env.get("RESTIC_PASSWORD_FILE")
    return Path(file) if file else None


def secret_files(place: Place) -> tuple[Path, ...]:
    """Return every file of this state that may hold a passphrase of the repository."""
    path = secret_path(place)
    return (path, _Secret(path).next, _Secret(path).previous) if path else ()


def is_pending(place: Place, state: StateDir) -> bool:
    """Whether a rotation was begun and is not finished. Asks no target."""
    known = KeyRecord.read(record_path(state, place.system, place.name))
    path = secret_path(place)
    beside = path is not None and (_Secret(path).next.exists() or _Secret(path).previous.exists())
    return beside or bool(known and (known.coming or known.retiring))


def finish(place: Place, state: StateDir, replicas: Sequence[Place] = ()) -> Rotated | None:
    """Go on with a rotation that was begun, as far as can be; None when there is none. May be called any time.

    Only the holder of the system's lock may ask: nobody then uses the old passphrase.
    """
    return _go_on(place, state, replicas=replicas) if is_pending(place, state) else None


def rotate(
    place: Place,
    state: StateDir,
    *,
    given: str | None = None,
    unused: Callable[[], bool] = lambda: True,
    replicas: Sequence[Place] = (),
) -> Rotated:
    """Change the passphrase; one that was begun is finished instead. Only one at a time may do this.

    `given` is the new passphrase, for a plan that names its passphrase: its key is added, and the old one goes when
    the plan's place holds it. `unused` is asked after the switch: whether nobody began before it and still works with
    the old passphrase; else the old key is left for `finish`. `replicas` are copies of this repository: they get the
    new key, and while one of them lacks it the old passphrase is kept. Raises what adding or proving a key raises:
    the old passphrase then opens as before.
    """
    path = secret_path(place)
    if path is None and given is None:
        raise UsageError(
            "the passphrase is named by the plan, and is not changed here",
            f"{place.system}: secrets.passphrase",
            hint="put the new one in a file (0600) and name it with --new-passphrase-file",
        )
    fresh = not is_pending(place, state)
    if fresh and path is not None:
        _Secret(path).coming()
    return _go_on(place, state, given=given, fresh=fresh and path is not None, unused=unused, replicas=replicas)


def _go_on(
    place: Place,
    state: StateDir,
    *,
    given: str | None = None,
    fresh: bool = False,
    unused: Callable[[], bool] = lambda: True,
    replicas: Sequence[Place] = (),
) -> Rotated:
    """Do what is left of a rotation, from wherever a kill, a lock or an absent target has left it."""
    where = record_path(state, place.system, place.name)
    known, own = KeyRecord.read(where) or KeyRecord(), opened_by(place.repository)
    path = secret_path(place)
    secret = _Secret(path) if path else None
    new = given if secret is None else secret.coming() if secret.next.exists() else None
    added: tuple[str, ...] = ()
    if new is not None and own != known.coming:
        ready, added = _ready(place.repository, new, known, fresh=fresh)
        known = _with_coming(known, own, ready)
        known.write(where)
    if known.coming:
        hand_on(place, replicas, known.coming)
    if secret and known.coming:
        secret.switch()
        own = _in_use(place, known.coming, secret)
    if known.coming and own != known.coming:
        return Rotated(added=added, left=known.retiring, waits=True)
    known = replace(known, own=own, coming="")
    known.write(where)
    if known.retiring and not unused():
        return Rotated(added=added, left=known.retiring, why=IN_USE)
    if known.retiring and (lacking := hand_on(place, replicas, own)):
        why = f"{', '.join(lacking)} has not got the new key: the next backup, or `dr keys rotate`, tries again"
        return Rotated(added=added, left=known.retiring, why=why)
    return replace(_retire(place, where, known, secret, replicas), added=added)


def _with_coming(known: KeyRecord, own: str, ready: str) -> KeyRecord:
    """What opened until now retires; the key that opens with the new passphrase does not."""
    if ready == own:
        raise UsageError("the new passphrase is the one in use", hint="choose another")
    retiring = dict.fromkeys(key for key in (*known.retiring, own, known.coming) if key and key != ready)
    return replace(known, own=own, coming=ready, retiring=tuple(retiring))


def _ready(repository: Repository, passphrase: str, known: KeyRecord, *, fresh: bool) -> tuple[str, tuple[str, ...]]:
    """Return the id of the key that the new passphrase opens, proven by restic; and the same when it was made now."""
    if not fresh or known.coming:
        try:
            return opened_by(with_passphrase(repository, passphrase, key_id=known.coming)), ()
        except RefusedError:
            log.info("%s: the new key was not made yet", repository.where)  # the target itself answered just now
    made = add_key(repository, passphrase, user=USER)
    proven = opened_by(with_passphrase(repository, passphrase, key_id=made))
    if proven != made:
        raise DrError("another key opens with this passphrase", repository.where, hint="choose a new passphrase")
    return made, (made,)


def _in_use(place: Place, coming: str, secret: _Secret) -> str:
    """Return the key that the file in use opens; puts the old passphrase back when it is not the new key."""
    env = {**place.repository.env, "RESTIC_KEY_HINT": coming}
    try:
        own = opened_by(replace(place.repository, env=env))
    except RefusedError:
        own = ""
    if own != coming and secret.previous.exists():
        secret.previous.replace(secret.path)
        raise DrError(
            "the new passphrase does not open as it was written; the old one is back in use",
            place.repository.where,
            hint="see the disk that the state lies on, then rotate again",
        )
    return own


def _retire(place: Place, where: Path, known: KeyRecord, secret: _Secret | None, replicas: Sequence[Place]) -> Rotated:
    """Take the old keys away, then the old passphrase. A key that cannot go now is left for the next run."""
    there = {key.id for key in keys_of(place.repository)}
    due = [key for key in known.retiring if key != known.own and key in there]
    behind = {name for key in known.retiring if key != known.own for name in take_back(replicas, key)}
    removed = [key for key in known.retiring if key not in there]  # by a run that was killed before it said so
    stale = []
    why = f"the old key could not be removed from {', '.join(sorted(behind))}" if behind else ""
    for key in due:
        try:
            remove_key(place.repository, key)
            removed.append(key)
        except InterruptedRunError:
            raise
        except DrError as error:
            why = (
                IN_USE if isinstance(error, LockedError) else MAY_NOT if isinstance(error, RefusedError) else str(error)
            )
            stale += [key] if isinstance(error, RefusedError) else []
            log.warning("%s: the old key %s is still there: %s", place.repository.where, key[:8], error.what)
    later = tuple(key for key in due if key not in (*removed, *stale))
    replace(known, retiring=later, stale=(*known.stale, *stale)).write(where)
    if secret and not later:
        secret.settle()
    return Rotated(removed=tuple(removed), left=(*stale, *later), why=why)
