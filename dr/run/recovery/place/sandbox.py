"""The sandbox: the isolated place a drill restores into, always destroyed.

One directory a drill, `STATE/sandboxes/DRILL_ID`, open to its owner alone, and locked (flock) for as long
as the owning process lives, so that another process sweeps only what a dead one left. Making a sandbox and
judging one dead exclude each other through `STATE/sandboxes/.lock`. What still runs in a sandbox, or in its
annexes (`dr.run.recovery.place.server_dirs`), is ended before they are removed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dr.errors import DrError
from dr.evidence.record import Point
from dr.run.recovery.place.remote_dirs import HALF_RECORD, FarPlaces
from dr.run.recovery.place.restore_host import HERE, MANIFESTS, RestoreHost
from dr.run.recovery.place.server_dirs import RECORD, ServerDirs, vacate
from dr.run.recovery.place.space import LARGER, available, require
from dr.run.workspace.toolbox import Place
from dr.tools import command
from dr.tools.state_dir import StateDir

if TYPE_CHECKING:
    from dr.plan.host import SshHost

log = logging.getLogger("dr.sandbox")

KEPT = ".kept"
#: In a sandbox, the clean room of a drill that has a state, with sandboxes, of its own.
ROOM = "room"
#: In a sandbox, where a file is made that goes back to its live place.
HALF = ".half"
#: Behind the id of a drill or recovery: the name of the place where its cache lies, swept as a sandbox is.
CACHE = ".cache"
Disposition = Literal["destroyed", "kept", "left behind", "not used"]


class Sandbox:
    """One drill's sandbox. `prepare` makes it; `finish` must follow, and may be called twice.

    With `elsewhere`, a directory that is there, the data lies in one of its own below that, noted in the sandbox.
    """

    def __init__(self, state: StateDir, drill_id: str, *, keep: bool = False, elsewhere: Path | None = None) -> None:
        self.root = state.sandboxes / drill_id
        self.land: RestoreHost = HERE
        self._elsewhere = elsewhere
        self._data = self.root
        self._keep = keep
        self._owner: int | None = None
        self._fate: Disposition = "not used"

    @property
    def where(self) -> str:
        """Where the data is, in words."""
        return str(self.root) if self._data == self.root else f"{self._data}, noted in {self.root}"

    @property
    def servers(self) -> Path:
        """See `RestoreSite`."""
        return self._dirs.home

    @property
    def _dirs(self) -> ServerDirs:
        return ServerDirs(self.root / RECORD, self._elsewhere)

    def prepare(self, point: Point, size: int) -> Path:
        """Make the sandbox for `size` bytes and return it; `DrError` when they do not fit."""
        return self.make(size)

    def make(self, size: int) -> Path:
        """Make the sandbox, whatever is to be in it."""
        if self._elsewhere and not self._elsewhere.is_dir():
            raise DrError(
                "the directory for sandboxes is not there", str(self._elsewhere),
                hint="mount its disk, make it, or correct `drill: {sandbox: …}` in the plan",
            )  # fmt: skip
        require(size, free=available(self._top), where=str(self._top), hint=LARGER)
        if self._owner is not None:
            return self._data  # it was emptied for another copy
        try:
            with _alone(self.root.parent):
                self.root.mkdir(mode=0o700)
                self._owner = claim(self.root)
        except OSError as error:
            raise DrError(
                "the sandbox cannot be made",
                str(self.root),
                error.strerror or "",
                hint="see the rights and the free space of the state directory",
            ) from error
        if self._elsewhere:
            self._data = self._dirs.make("sandbox", at=self._elsewhere)
        return self._data

    @property
    def _top(self) -> Path:
        return self._elsewhere or self.root.parent

    def annex(self, kind: str) -> Path:
        """Make a directory beside the sandbox that goes away with it: see `dr.run.recovery.place.server_dirs`."""
        return self._dirs.make(kind)

    def empty(self, names: Sequence[str], *, same: bool) -> bool:
        """See `Site`."""
        for name in (*names, MANIFESTS):
            destroy(self._data / name)
        return True

    def finish(self, *, achieved: bool = True) -> Disposition:
        """Destroy the sandbox, or keep it when asked to, and say which."""
        if self._owner is None:
            return self._fate
        self._fate = "left behind"
        try:
            if self._keep:
                (self.root / KEPT).touch(mode=0o600)
                self._fate = "kept"
            else:
                clear(self.root)
                self._fate = "destroyed"
        except (DrError, OSError) as error:
            log.warning("the sandbox %s could not be put away: %s", self.root, error)
        finally:
            os.close(self._owner)
            self._owner = None
        return self._fate


class FreshCache:
    """The caches of one drill or recovery, one for each place. `close` must follow `seen`, and may be called twice.

    restic keeps snapshots, indexes and trees in a cache, and answers from there without asking whether the target
    still has them: what was lost at the target would come back in a drill, and on no other machine. So a drill and a
    recovery begin with an empty cache of their own. Not without any: each tree would then be one request more.
    Whoever brings back single files or tables proves each by its hash, and nothing of the point: they take the cache
    that is there, since the index of a large repository is read in minutes.
    """

    def __init__(self, state: StateDir, drill_id: str) -> None:
        self._home = Sandbox(state, drill_id + CACHE)
        self._root: Path | None = None
        self._number = 0

    def seen(self, place: Place) -> Place:
        """Return the place, read with nothing but what it gives from now on. `DrError` when there is no room.

        A replica is the same repository to restic, and would be answered from what the primary gave: hence one each.
        """
        self._root, self._number = self._root or self._home.make(0), self._number + 1
        cache = self._root / str(self._number)
        return replace(place, repository=replace(place.repository, cache=cache))

    def close(self) -> None:
        """Remove the cache."""
        self._home.finish()


def sweep(state: StateDir, *, only: str | None = None, far: bool = True) -> list[str]:
    """Destroy the sandboxes whose owner is dead, all or the one of that name; return their names. Kept ones stay.

    Those with something on another host only when `far`: that host is to be reached. One that cannot be removed, here
    or on another host, is warned about, and tried again next time. A host that does not answer is not asked twice.
    """
    home = state.sandboxes
    swept: list[str] = []
    if not home.is_dir():
        return swept
    with _alone(home):
        ours = {path: claim(path) for path in sorted(home.iterdir()) if _is_sandbox(path) and only in (None, path.name)}
    down: set[str] = set()
    for path, owner in ours.items():
        if owner is None:
            continue
        there = FarPlaces(path).declared() or _host_of_half(path)
        try:
            if not (there and (there.ssh in down or not far)):
                clear(path)
                swept.append(path.name)
        except DrError as error:
            down |= {there.ssh} if there else set()
            log.warning("%s", error)
        finally:
            os.close(owner)
    return swept


def clear(root: Path) -> None:
    """End what runs in a sandbox and its annexes, and remove them all; `DrError` when one is left.

    What it has on another host goes first: the record of that is here.
    """
    FarPlaces(root).clear()
    if (root / HALF_RECORD).is_file():
        from dr.run.recovery.place.remote_halves import FarHalves

        FarHalves(root).clear()
    _clear_half(root)
    places = ServerDirs(root / RECORD).places()
    if count := vacate(root, places):
        log.warning("%d process(es) of the drill %s were still running and have been ended", count, root.name)
    if (root / ROOM).is_dir():
        sweep(StateDir(root / ROOM / "opened" / "state"))
    for place in (*places, root):
        destroy(place)


def _host_of_half(root: Path) -> SshHost | None:
    """Return the host where files were being put back; None where none were."""
    if not (root / HALF_RECORD).is_file():
        return None
    from dr.run.recovery.place.remote_halves import FarHalves

    return FarHalves(root).declared()


def note_half(root: Path, *paths: bytes) -> None:
    """Write down where files are being made outside the sandbox, which go away with it should we be killed."""
    (root / HALF).write_bytes(b"\0".join(paths))


def _clear_half(root: Path) -> None:
    """Remove files that were half made outside: only such as bear our name, whatever the note says."""
    for path in (root / HALF).read_bytes().split(b"\0") if (root / HALF).is_file() else ():
        if path.endswith((b".new", b".old")) and os.fsencode(root.name) in os.path.basename(path):
            with suppress(OSError):  # of a folder that is gone
                os.unlink(path)


def destroy(path: Path) -> None:
    """Remove a tree, also one with read-only parts, and see that it is gone; `DrError` when it is not."""
    reason = ""
    for attempt in range(3):
        if attempt:
            with suppress(OSError, RecursionError):
                _open_up(path)
        # Python's own would hold all names of a folder, and goes no deeper than its stack.
        removed = command.run(["rm", "-rf", "--", str(path)], regardless=True)
        if not os.path.lexists(path):
            return
        reason = removed.last_words.rpartition(": ")[2]  # before it is the name of a restored file
    raise DrError(
        "a sandbox could not be removed; it holds restored data",
        str(path),
        reason,
        hint=f"see what still uses it, then remove it by hand: rm -rf {path}",
    )


def _open_up(top: Path) -> None:
    """Give ourselves the right to list and change every directory below `top`. Follows no link."""
    top.chmod(0o700)
    for _, folders, _, fd in os.fwalk(os.fsencode(top), follow_symlinks=False):
        for name in folders:
            with suppress(OSError):
                if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                    os.chmod(name, 0o700, dir_fd=fd)


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the sandboxes directory against another maker or sweeper, for a moment."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(home / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _is_sandbox(path: Path) -> bool:
    """Whether a drill made this and nobody asked to keep it."""
    return path.is_dir() and not path.is_symlink() and not (path / KEPT).exists()


def claim(path: Path) -> int | None:
    """Become the one owner of a directory, until the descriptor is closed or we die; None when it has one."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd
