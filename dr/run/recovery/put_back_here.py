"""Files that were named are put back where they were, on this host.

Each is made whole beside its place, made lasting, and takes the name in one step, so that whoever looks finds the old
file or the new one, never half of either. What it takes the place of stays beside it, `NAME.before-RECOVERY_ID`. What
is the same already is left alone.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from dr.evidence import manifest
from dr.evidence.attributes import digest_of
from dr.evidence.manifest import Entry
from dr.run.recovery.checks.context import Restored
from dr.run.recovery.place.live import LivePlace, below
from dr.run.recovery.place.sandbox import note_half
from dr.run.recovery.putting import Putting
from dr.run.recovery.state import Recovery
from dr.sources.attributes import COVERED, attributes_here, digest_here, keep_here

_LONGEST = 255  # bytes of a name, as the file systems of Linux have it
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV)


class PuttingHere(Putting):
    """Below open folders, so that no link is followed."""

    def __init__(self, recovery: Recovery, name: str, item: Restored, listed: Path) -> None:
        super().__init__(recovery, name, item, listed)
        self._place = LivePlace(self.bases, attributes=bool(manifest.header(listed).get(COVERED)))

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        self._place.leave()

    def carry_out(self) -> None:
        """See `Putting`."""
        for entry in self.wanted():
            self.tried(entry, lambda each: self.settle(each, self._place.judge(each)))
        for entry in sorted(self.made.values(), key=lambda each: each.path, reverse=True):
            self.tried(entry, self._dress_folder)
        self.say()

    def put_rights(self, entry: Entry) -> None:
        """See `Putting`."""
        folder, base = os.path.split(entry.path)
        path = below(self._place.folder(folder), base)
        _dress(path, entry, attributes_here(self.staged(entry)), times=False)
        self.told(entry, "rights put back")

    # -- folders ----------------------------------------------------------------------------------------

    def put_folder(self, entry: Entry, *, there: bool) -> None:
        """See `Putting`."""
        if not there:
            self._make_folder(entry.path)
        self.made[entry.path] = entry
        self.told(entry, "rights put back" if there else "brought back")

    def _make_folder(self, path: bytes) -> None:
        """Make a folder, and those above it that are gone too; open to its owner until its rights are given."""
        above, base = os.path.split(path)
        fd = self._folder(above)
        with suppress(FileExistsError):
            os.mkdir(base, 0o700, dir_fd=fd)
            if (entry := self.folder_of(path)) is not None:
                self.made[path] = entry

    def _folder(self, path: bytes) -> int:
        """Return a descriptor of a folder, which is made where it is gone."""
        try:
            return self._place.folder(path)
        except FileNotFoundError:
            self._make_folder(path)
            return self._place.folder(path)

    def _dress_folder(self, entry: Entry) -> None:
        folder, base = os.path.split(entry.path)
        staged = self.staged(entry)
        found = attributes_here(staged) if os.path.isdir(staged) else {}
        _dress(below(self._place.folder(folder), base), entry, found, times=True)

    # -- files and links --------------------------------------------------------------------------------

    def put(self, entry: Entry) -> None:
        """See `Putting`."""
        folder, base = os.path.split(entry.path)
        fd = self._folder(folder)
        new, old = (shortened(b"." + base, f".{self._mark}.{what}") for what in ("new", "old"))
        note_half(self._recovery.root, folder + b"/" + new, folder + b"/" + old)
        try:
            _move(self.staged(entry), fd, new, entry)
            self.counts["of another owner"] += _is_of_another(os.stat(new, dir_fd=fd, follow_symlinks=False), entry)
            kept = self._keep_old(fd, base, old)
            os.rename(new, base, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            for half in (new, old):
                with suppress(FileNotFoundError):
                    os.unlink(half, dir_fd=fd)
            raise
        os.fsync(fd)
        self.overwritten(entry, kept)

    def _keep_old(self, fd: int, base: bytes, beside: bytes) -> bytes | None:
        """Give what lies there a second name, and return that; None where nothing does."""
        kept = shortened(base, f".before-{self._mark}")
        try:
            os.link(base, kept, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            shutil.copy2(below(fd, base), below(fd, beside), follow_symlinks=False)
            with suppress(PermissionError):
                found = os.stat(base, dir_fd=fd, follow_symlinks=False)
                os.chown(beside, found.st_uid, found.st_gid, dir_fd=fd, follow_symlinks=False)
            _make_lasting(below(fd, beside))
            os.rename(beside, kept, src_dir_fd=fd, dst_dir_fd=fd)
        os.fsync(fd)
        return kept


def _move(staged: bytes, fd: int, new: bytes, entry: Entry) -> None:
    """Make what was restored appear in a folder, whole and lasting: moved there on one file system, else copied."""
    try:
        os.rename(staged, new, dst_dir_fd=fd)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(staged, fd, new, entry)
    if entry.kind == "file":
        _make_lasting(below(fd, new))


def _copy(staged: bytes, fd: int, new: bytes, entry: Entry) -> None:
    if entry.kind == "link":
        os.symlink(os.readlink(staged), new, dir_fd=fd)
    else:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=fd)
        with os.fdopen(descriptor, "wb") as to, open(staged, "rb") as read:
            shutil.copyfileobj(read, to, 1 << 20)
    _dress(below(fd, new), entry, attributes_here(staged), times=True)


def _make_lasting(path: bytes) -> None:
    """Have a file's bytes on the disk before its name says that it is there; one we may not read is left to it."""
    with suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _dress(path: bytes, entry: Entry, found: dict[str, bytes], *, times: bool) -> None:
    """Give owner (as root), ACLs, mode and times as they were captured. Raises `OSError`."""
    link = entry.kind == "link"
    if os.geteuid() == 0:
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if not link and digest_here(path) != entry.attributes == digest_of(found):
        for name in attributes_here(path).keys() - found.keys():
            with suppress(OSError):
                os.removexattr(path, name, follow_symlinks=False)
        keep_here(path, found)
    if not link:
        os.chmod(path, stat.S_IMODE(entry.mode))
    if times:
        os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _is_of_another(found: os.stat_result, entry: Entry) -> bool:
    return (found.st_uid, found.st_gid) != (entry.uid, entry.gid)


def shortened(base: bytes, more: str) -> bytes:
    """Return a name with something behind it, the name cut where the whole would be too long for a disk."""
    tail = os.fsencode(more)
    return base[: _LONGEST - len(tail)] + tail
