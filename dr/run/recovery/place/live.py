"""The live place of files on this host, where they were captured: looked at, and written to, below open folders.

From the first folder that the plan declares on, no link is followed: what was a folder then and is a link now is in
the way. What lies above may be links, as the administrator made them. Paths are bytes, absolute.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Self

from dr.evidence.manifest import Entry
from dr.late_dataclass import dataclass
from dr.run.recovery.place.restore_host import LocalHost
from dr.run.recovery.place.tree import RestoredTree, TreeHere
from dr.sources.attributes import digest_here
from dr.tools.digest import sha256_file

#: What lies where an entry was: nothing, the same, the same with other rights, other content, or what is in the way.
Standing = Literal["absent", "same", "rights", "other", "blocked"]
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
IN_WORDS = {"file": "a file", "dir": "a folder", "link": "a link", "other": "no plain file"}


@dataclass(frozen=True)
class Judged:
    """What lies where an entry was; `why` says in words what is in the way."""

    standing: Standing
    why: str = ""


class BlockedError(OSError):
    """A folder on the way is something else now, or the place that the plan declares is gone with all above it."""


class LivePlace:
    """The place of one source, by the paths that its plan declares; a context that holds the last folder open."""

    def __init__(self, bases: Iterable[str], *, attributes: bool = True) -> None:
        self.uid = os.geteuid()
        self._bases = sorted((os.fsencode(os.path.normpath(base)) for base in bases), key=len)
        self._attributes = attributes
        self._opened: tuple[bytes, int] | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the folder that is open."""
        self.leave()

    def leave(self) -> None:
        """Close the folder that is open: what is made after this is looked for from the top."""
        if self._opened:
            os.close(self._opened[1])
            self._opened = None

    def judged(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Judged]]:
        """Yield what lies where each entry was."""
        for entry in entries:
            yield entry, self.judge(entry)

    def judge(self, entry: Entry) -> Judged:
        """Return what lies where an entry was, by its kind, content and rights. A file of its size is hashed."""
        folder, base = os.path.split(entry.path)
        try:
            fd = self.folder(folder)
            found = os.stat(base, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return self._if_open(folder, "absent")
        except BlockedError as error:
            return Judged("blocked", str(error))
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "other")
        if kind != entry.kind:
            return Judged("blocked", f"it was {IN_WORDS[entry.kind]}, and is {IN_WORDS[kind]} now")
        if not _same_content(entry, found, below(fd, base)):
            return self._if_open(folder, "other")
        return Judged("rights" if self._other_rights(entry, found, below(fd, base)) else "same")

    def _if_open(self, folder: bytes, standing: Standing) -> Judged:
        """Return how it stands where its folder, or what is left of the way there, can be written; else why not."""
        while True:
            try:
                fd = self.folder(folder)
            except FileNotFoundError:
                folder = os.path.dirname(folder)
                continue
            except BlockedError as error:
                return Judged("blocked", str(error))
            if os.access(below(fd, b"."), os.W_OK | os.X_OK, effective_ids=True):
                return Judged(standing)
            return Judged("blocked", f"{os.fsdecode(folder)} cannot be written")

    def folder(self, path: bytes) -> int:
        """Return a descriptor of a folder, good until another is asked for.

        Raises `FileNotFoundError` where it is not there, `BlockedError` where something else is on the way.
        """
        if self._opened and self._opened[0] == path:
            return self._opened[1]
        top = top_of(self._bases, path)
        fd = _open_top(top)
        try:
            for name in path[len(top) :].split(b"/"):
                if name:
                    fd, above = _open_below(fd, name), fd
                    os.close(above)
        except OSError:
            os.close(fd)
            raise
        self.leave()
        self._opened = path, fd
        return fd

    def _other_rights(self, entry: Entry, found: os.stat_result, path: bytes) -> bool:
        """Whether owner, mode or ACLs are other ones, as far as this user could put them back."""
        if entry.state != "ok" or not entry.mode:
            return False
        if entry.kind != "link" and stat.S_IMODE(found.st_mode) != stat.S_IMODE(entry.mode):
            return True
        if os.geteuid() != 0:
            return False
        owner = (found.st_uid, found.st_gid) != (entry.uid, entry.gid)
        return owner or (self._attributes and digest_here(path) != entry.attributes)


def top_of(bases: Iterable[bytes], path: bytes) -> bytes:
    """Return the folder above what the plan declares; the root where it declares it no more."""
    for base in bases:
        above = os.path.dirname(base)
        if path == above or (path + b"/").startswith(base.rstrip(b"/") + b"/"):
            return above
    return b"/"


def below(fd: int, name: bytes) -> bytes:
    """Return a path for one name in an open folder, for calls of the kernel that take no descriptor of a folder."""
    return b"/proc/self/fd/%d/%b" % (fd, name)


def _open_top(top: bytes) -> int:
    try:
        return os.open(top or b"/", _FOLDER)
    except FileNotFoundError:
        raise BlockedError(f"there is no {os.fsdecode(top)} any more: is its disk mounted?") from None
    except NotADirectoryError:
        raise BlockedError(f"{os.fsdecode(top)} is not a folder any more") from None


def _open_below(fd: int, name: bytes) -> int:
    try:
        return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
    except NotADirectoryError:
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
        what = "a link" if is_link else "no folder"
        raise BlockedError(f"{os.fsdecode(name)} on its way is {what} now, and not followed") from None


def _same_content(entry: Entry, found: os.stat_result, path: bytes) -> bool:
    if entry.kind == "link":
        return os.readlink(path) == entry.link_target
    if entry.kind != "file":
        return True
    if entry.sha256 is None or found.st_size != entry.size:
        return False
    with suppress(OSError):
        return sha256_file(path)[0] == entry.sha256
    return False


class _LiveTree(TreeHere):
    """All of this host, to be compared where it lies. Nothing is made readable for it, and pipes are not put back."""

    specials = False

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """See `RestoredTree`."""
        yield


class LiveHost(LocalHost):
    """This machine, as the place itself."""

    def survey(self, root: Path) -> RestoredTree:
        """See `RestoreHost`."""
        return _LiveTree(root)
