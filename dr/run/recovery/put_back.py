"""Files that were named are put back where they were, once what was restored of them was proven.

Each is made whole beside its place, made lasting, and takes the name in one step, so that whoever looks finds the old
file or the new one, never half of either. What it takes the place of stays beside it, `NAME.before-RECOVERY_ID`. What
is the same already is left alone. In the end all that was named is compared where it lies.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dr.errors import DrError, MachineError
from dr.evidence import manifest
from dr.evidence.attributes import digest_of
from dr.evidence.manifest import Entry
from dr.plan.units import counted
from dr.run.recovery.checks.context import CheckContext, Restored
from dr.run.recovery.checks.manifest import FULL_MANIFEST
from dr.run.recovery.checks.pattern import bases_of
from dr.run.recovery.checks.run import run_check
from dr.run.recovery.compare import chosen
from dr.run.recovery.place.live import LiveHost, LivePlace, below
from dr.run.recovery.place.sandbox import note_half
from dr.run.recovery.selected import pattern_of
from dr.run.recovery.state import Recovery
from dr.sources.attributes import COVERED, attributes_here, digest_here, keep_here
from dr.tools import command

_LONGEST = 255  # bytes of a name, as the file systems of Linux have it
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV)


def why_not_in_place(recovery_kind: str, host: str | None, name: str) -> DrError | None:
    """Return why files of a source cannot be put back in place; None where they can."""
    if recovery_kind != "files":
        what, hint = f"the source {name} is not one of files, and has no place among them", "name a directory with --to"
        return DrError(what, hint=f"{hint}, or another source with --source")
    if host:
        what = f"the source {name} lies on {host}: files are put back in place on this host alone"
        return DrError(what, hint="bring them into a directory with --to, and copy them there")
    return None


def put_back(recovery: Recovery) -> None:
    """Put the files of all sources back, and prove them in their place.

    Raises `DrError` where nothing may be put back, or the disk is full: what is there then is whole.
    """
    request, plan = recovery.request, recovery.toolbox.plan
    if request.agreed and recovery.chosen.point.run_id != request.agreed:
        raise DrError(
            f"nothing was put back: the point {request.agreed}, whose files were shown, cannot be read",
            plan.system,
            hint=f"look at the next one with --point {recovery.chosen.point.run_id} --dry-run",
        )
    for name in recovery.restored:
        host = plan.host_of(name) if name in plan.sources else None
        kind = recovery.chosen.point.kinds.get(name, "files") if recovery.as_declared(name) else "another"
        if why := why_not_in_place(kind, host.ssh if host else None, name):
            raise why
    for name, item in recovery.restored.items():
        if item.manifest:
            with _Putting(recovery, name, item, item.manifest) as putting:
                putting.carry_out()
                _prove(recovery, item, putting)


def _prove(recovery: Recovery, item: Restored, putting: _Putting) -> None:
    """Compare what was named with the manifest, where it lies."""
    context = CheckContext(
        root=recovery.root, land=LiveHost(), plan_dir=recovery.toolbox.plan_dir, seed=recovery.request.drill_id,
        now=recovery.journal.now, sources={item.name: replace(item, root=Path("/"), only=putting.only)}, partial=True,
        names=recovery.names,
    )  # fmt: skip
    for result in run_check(context, FULL_MANIFEST):
        recovery.checks.append(replace(result, expected=f"{result.expected}, where they lie"))
        found = "equal" if result.outcome == "ok" else "not equal"
        recovery.journal.note(f"{item.name} compared where it lies: {found}", timed=True)


class _Putting:
    """One source at work; a context. `counts` says what became of how many entries."""

    def __init__(self, recovery: Recovery, name: str, item: Restored, listed: Path) -> None:
        declared = recovery.toolbox.plan.sources.get(name)
        self._recovery, self._name, self._item, self._listed = recovery, name, item, listed
        self._mark = recovery.request.drill_id
        self.only = pattern_of(bases_of(declared), recovery.request.paths)
        self._place = LivePlace(bases_of(declared), attributes=bool(manifest.header(listed).get(COVERED)))
        self._made: dict[bytes, Entry] = {}  # folders, of which the rights are given in the end
        self._folders: dict[bytes, Entry] | None = None
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> _Putting:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is open."""
        self._place.leave()

    def carry_out(self) -> None:
        """Put back all that was named and is not the same already; then the rights of the folders."""
        for entry in chosen(self._listed, self.only):
            command.raise_if_stopping()
            if entry.state == "unreadable" or entry.kind == "other":
                self.counts["special or unreadable at capture, and left"] += 1
                continue
            self._tried(entry, self._one)
        for entry in sorted(self._made.values(), key=lambda each: each.path, reverse=True):
            self._tried(entry, self._dress_folder)
        self._say()

    def _tried(self, entry: Entry, act: Callable[[Entry], None]) -> None:
        """Do something for one entry; what the machine refuses is noted, and the others are put back all the same."""
        try:
            act(entry)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise MachineError(
                    "the disk is full: what is there is whole, and not all was put back", self._name,
                    hint="free some space, then start the command again",
                ) from error  # fmt: skip
            self._problem(entry, error.strerror or str(error))

    def _problem(self, entry: Entry, why: str) -> None:
        self.counts["failed"] += 1
        self._recovery.names.append((self._name, f"not put back: {why}", entry.path))

    def _one(self, entry: Entry) -> None:
        judged = self._place.judge(entry)
        if judged.standing == "blocked":
            self._problem(entry, judged.why)
        elif judged.standing == "same":
            self.counts["the same already, and left"] += 1
        elif entry.kind == "dir":
            self._put_folder(entry, there=judged.standing == "rights")
        elif not os.path.lexists(staged := self._staged(entry)):
            self._problem(entry, "it changed while the recovery was at work")
        elif judged.standing == "rights":
            folder, base = os.path.split(entry.path)
            path = below(self._place.folder(folder), base)
            _dress(path, entry, attributes_here(staged), times=False)
            self._told(entry, "rights put back")
        else:
            self._put(entry, staged)

    def _staged(self, entry: Entry) -> bytes:
        return os.fsencode(self._item.root) + b"/" + entry.path.lstrip(b"/")

    def _told(self, entry: Entry, what: str, more: str = "") -> None:
        self.counts[what] += 1
        self._recovery.names.append((self._name, what + more, entry.path))

    # -- folders ----------------------------------------------------------------------------------------

    def _put_folder(self, entry: Entry, *, there: bool) -> None:
        if not there:
            self._make_folder(entry.path)
        self._made[entry.path] = entry
        self._told(entry, "rights put back" if there else "brought back")

    def _make_folder(self, path: bytes) -> None:
        """Make a folder, and those above it that are gone too; open to its owner until its rights are given."""
        above, base = os.path.split(path)
        try:
            fd = self._place.folder(above)
        except FileNotFoundError:
            self._make_folder(above)
            fd = self._place.folder(above)
        with suppress(FileExistsError):
            os.mkdir(base, 0o700, dir_fd=fd)
            if (entry := self._folder_of(path)) is not None:
                self._made[path] = entry

    def _folder_of(self, path: bytes) -> Entry | None:
        """Return a folder as it was captured, also one that was not named."""
        if self._folders is None:
            self._folders = {entry.path: entry for entry in manifest.read(self._listed) if entry.kind == "dir"}
        return self._folders.get(path)

    def _dress_folder(self, entry: Entry) -> None:
        folder, base = os.path.split(entry.path)
        staged = self._staged(entry)
        found = attributes_here(staged) if os.path.isdir(staged) else {}
        _dress(below(self._place.folder(folder), base), entry, found, times=True)

    # -- files and links --------------------------------------------------------------------------------

    def _put(self, entry: Entry, staged: bytes) -> None:
        folder, base = os.path.split(entry.path)
        try:
            fd = self._place.folder(folder)
        except FileNotFoundError:
            self._make_folder(folder)
            fd = self._place.folder(folder)
        new, old = (_shortened(b"." + base, f".{self._mark}.{what}") for what in ("new", "old"))
        note_half(self._recovery.root, folder + b"/" + new, folder + b"/" + old)
        try:
            _move(staged, fd, new, entry)
            self.counts["of another owner"] += _is_of_another(os.stat(new, dir_fd=fd, follow_symlinks=False), entry)
            kept = self._keep_old(fd, base, old)
            os.rename(new, base, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            for half in (new, old):
                with suppress(FileNotFoundError):
                    os.unlink(half, dir_fd=fd)
            raise
        os.fsync(fd)
        if kept:
            self._told(entry, "overwritten", f", kept as {os.fsdecode(kept)}")
        else:
            self._told(entry, "brought back")

    def _keep_old(self, fd: int, base: bytes, beside: bytes) -> bytes | None:
        """Give what lies there a second name, and return that; None where nothing does."""
        kept = _shortened(base, f".before-{self._mark}")
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

    # -- what is said -----------------------------------------------------------------------------------

    def _say(self) -> None:
        counts, journal = self.counts, self._recovery.journal
        parts = [f"{counts['brought back']:,} brought back"]
        if many := counts["overwritten"]:
            parts.append(f"{many:,} overwritten, each kept beside as NAME.before-{self._mark}")
        others = ("rights put back", "the same already, and left", "special or unreadable at capture, and left")
        parts += [f"{counts[what]:,} {what}" for what in others if counts[what]]
        journal.note(f"{self._name} in its place: {'; '.join(parts)}", timed=True)
        if many := counts["failed"]:
            journal.note(f"{counted(many, 'name')} of {self._name} not put back", outcome="degraded")
        if many := counts["of another owner"]:
            what = f"{counted(many, 'name')} of {self._name} without the owner of the capture"
            journal.note(f"{what}: only root gives files to other users", outcome="degraded")


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


def _shortened(base: bytes, more: str) -> bytes:
    """Return a name with something behind it, the name cut where the whole would be too long for a disk."""
    tail = os.fsencode(more)
    return base[: _LONGEST - len(tail)] + tail
