"""The state directory: what one installation keeps between its runs. A drawer for each kind of thing, and the locks.

Where a thing lies is known here alone. How a file in a drawer is called is known to who writes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from dr.errors import DrError, LockedError

#: The drawers that every state directory has from its first use; the others are made when something goes into them.
_MADE_FIRST = ("", "locks", "secrets", "cache", "work", "sandboxes", "details", "escrow")
#: On a disk with less room, in bytes, not even a look could be noted.
_LEAST_ROOM = 2**18


class StateDir(os.PathLike[str]):
    """The state directory at `path`, which need not exist yet. Equal to another of the same path."""

    def __init__(self, path: Path) -> None:
        """Name it; nothing is looked at."""
        self.path = path

    def __fspath__(self) -> str:
        """Return its path, for what takes any path."""
        return str(self.path)

    def __str__(self) -> str:
        """Return its path, for who reads it."""
        return str(self.path)

    def __repr__(self) -> str:
        """Return it as code."""
        return f"StateDir({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        """Whether it is the same directory by its name."""
        return isinstance(other, StateDir) and self.path == other.path

    def __hash__(self) -> int:
        """Return a hash that goes with equality."""
        return hash(self.path)

    @property
    def catalog(self) -> Path:
        """The catalog: a file of SQLite."""
        return self.path / "catalog.sqlite"

    def catalog_files(self) -> tuple[Path, ...]:
        """Return the catalog and what SQLite keeps beside it while it is open."""
        return (self.catalog, *(self.catalog.with_name(f"{self.catalog.name}-{kind}") for kind in ("wal", "shm")))

    def keep_altered(self, lines: Iterable[str], *, now: datetime) -> Path:
        """Write records of the catalog that were altered into a file beside it; return that. Raises `DrError`."""
        path = self.catalog.with_name(f"{self.catalog.name}.altered-{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}.jsonl")
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            what, hint = "altered records of the catalog cannot be kept", "free some space there, then try again"
            raise DrError(what, str(path), error.strerror or "", hint=hint) from error
        return path

    @property
    def installation(self) -> Path:
        """The file with the id of this installation. Beside the catalog, whose loss it outlives."""
        return self.path / "installation"

    @property
    def secrets(self) -> Path:
        """Passphrases that were generated here, and what is left of those that were destroyed."""
        return self.path / "secrets"

    @property
    def carried(self) -> Path:
        """Passphrases, access keys and authorities that came out of a recovery kit."""
        return self.path / "carried"

    @property
    def escrow(self) -> Path:
        """Passphrases sealed to the custodians, the key records, and the keys of this host."""
        return self.path / "escrow"

    @property
    def cache(self) -> Path:
        """What can be fetched or made again: restic's cache, manifests, probes, lists of stored objects."""
        return self.path / "cache"

    def manifests(self, system: str) -> Path:
        """The last manifests of a system, whose hashes the next backup uses again."""
        return self.cache / "manifests" / system

    def names(self, place: str) -> Path:
        """The file of what was read of the names of objects at a place that knows objects by their hash alone."""
        return self.cache / "names" / f"{place}.sqlite"

    @property
    def index(self) -> Path:
        """The index of files over all points, a folder a system."""
        return self.path / "index"

    @property
    def work(self) -> Path:
        """What a run writes down while it is at work, a folder a system; an empty drawer when none is."""
        return self.path / "work"

    @property
    def sandboxes(self) -> Path:
        """Where drills restore to, unless the plan names another place."""
        return self.path / "sandboxes"

    @property
    def views(self) -> Path:
        """Sockets by which restic reads a repository as it was at a time."""
        return self.path / "views"

    @property
    def details(self) -> Path:
        """Names of single files, which stay out of the evidence, a file a run."""
        return self.path / "details"

    @property
    def recoveries(self) -> Path:
        """Recoveries that were begun and have not ended."""
        return self.path / "recoveries"

    @property
    def down(self) -> Path:
        """Targets that were found to be down of late."""
        return self.path / "down"

    def passphrase(self, system: str, target: str) -> Path:
        """The file of the passphrase that was generated for a repository, unless the plan names its own."""
        return self.secrets / f"{system}@{target}.passphrase"

    def tombstone(self, system: str, target: str) -> Path:
        """The file that stands in the place of a passphrase whose keys were destroyed; it says when."""
        return self.secrets / f"{system}@{target}.destroyed"

    def carried_passphrase(self, system: str, target: str) -> Path:
        """The file in which a recovery kit leaves the passphrase of a repository; it comes before the plan's."""
        return self.carried / f"{system}@{target}.passphrase"

    def carried_keys(self, target: str) -> Path:
        """The file in which a recovery kit leaves what logs in at a target, as its driver gave it."""
        return self.carried / f"{target}.keys"

    def carried_authorities(self, target: str) -> Path:
        """The file in which a recovery kit leaves what a target is known by: certificates, or host keys."""
        return self.carried / f"{target}.pem"

    def hold(self, name: str, *, what: str) -> AbstractContextManager[None]:
        """Hold the lock of that name against other processes; `LockedError` at once, with `what`, when it is held."""
        return hold_file(self._lock(name), what=what)

    def is_held(self, name: str) -> bool:
        """Whether a living process holds the lock of that name now."""
        try:
            with self.hold(name, what="held"):
                return False
        except LockedError:
            return True

    def _lock(self, name: str) -> Path:
        return self.path / "locks" / f"{name}.lock"

    def make(self) -> None:
        """Make the directory and its first drawers, for their owner alone. Raises `DrError` when that cannot be."""
        try:
            for part in _MADE_FIRST:
                (self.path / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            why, hint = error.strerror or "", _mending(error.errno)
            raise DrError("the state directory cannot be made", str(self), why, hint=hint) from error
        fixed = is_read_only(self.path)  # of what is there already nothing was made now
        closed = next((path for path in self._needed() if not _is_open(path)), None)
        if fixed or closed:
            why = "its file system is read-only" if fixed else "its rights forbid it"
            chown = f"run as its owner, or as root: chown -R USER {self}; or name another with --state"
            hint = "mount it for writing" if fixed else chown
            where = self.path if fixed or closed is None else closed
            raise DrError("the state directory cannot be written", str(where), why, hint=hint)

    def _needed(self) -> Iterator[Path]:
        """Yield what every command is to write, where it is there: after a run as root some of it may be root's."""
        yield from (self.path / part for part in _MADE_FIRST)
        yield from (path for path in (*self.catalog_files(), self.index, self.cache / "restic") if path.exists())

    def require_room(self) -> None:
        """Raise `DrError` when the disk is so full that not even a look could be noted."""
        if is_full(self.path):
            cause, hint = "its disk is full", "free some space"
            raise DrError("the state directory cannot be written", str(self), cause, hint=hint)


def is_full(directory: Path) -> bool:
    """Whether the disk below a directory has no room for the next entry. Raises `OSError` where it cannot be asked."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize < _LEAST_ROOM


def is_read_only(directory: Path) -> bool:
    """Whether the file system of a directory takes nothing.

    One that Linux made so after a fault of its disk does not say it of itself: it is seen by a file without a name.
    """
    try:
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return True
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        return error.errno == errno.EROFS
    return False


@contextmanager
def hold_file(path: Path, *, what: str) -> Iterator[None]:
    """Hold a file as a lock; `LockedError` at once, naming the holder, when another process of this machine has it.

    The kernel frees it however the holder dies.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            raise LockedError(what, cause=holder, hint="wait until it ends", retryable=True) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _is_open(path: Path) -> bool:
    """Whether this user may read and write it, and go into it where it is a directory."""
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0), effective_ids=True)


def _mending(number: int | None) -> str:
    """Return what to do about a directory that cannot be made, by the number of the error."""
    causes = {
        errno.EROFS: "mount it for writing",
        **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
        **dict.fromkeys((errno.EACCES, errno.EPERM), "run as its owner"),
        errno.EEXIST: "a file of that name is in its place: move it away",
        errno.ENOTDIR: "a file is in the place of a directory above it: move it away",
    }
    return f"{causes.get(number or 0, 'see the directory above it')}; or name another with --state"
