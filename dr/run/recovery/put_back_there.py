"""Files that were named are put back where they were, on the host of their source, over SSH.

As on this host: each is made beside its place under a name of ours, made lasting, hashed there, and takes the name in
one step; what it takes the place of stays beside it. Sent as a tar, folder by folder, into a shell that has walked
there and follows no link. Nothing is installed there: GNU tar, coreutils and findutils do it.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from dr.errors import DrError, MachineError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.late_dataclass import dataclass
from dr.plan.host import SshHost
from dr.run.recovery.checks.context import Restored
from dr.run.recovery.place.live_there import LivePlaceThere
from dr.run.recovery.place.remote_halves import (
    A_LINK,
    NO_FOLDER,
    NO_TOP,
    SHUT,
    FarHalves,
    Folder,
    remove,
    walking,
)
from dr.run.recovery.put_back_attributes import Marks
from dr.run.recovery.put_back_here import shortened
from dr.run.recovery.putting import Putting
from dr.run.recovery.state import Recovery
from dr.sources.attributes import COVERED
from dr.tools import command
from dr.tools.command import Done
from dr.tools.host import Process

#: So many files, bytes of names, and bytes are sent at a time: what is sent is on its way for that long.
_FILES, _NAMES, _BYTES = 100, 8 << 10, 256 << 20
_PLAIN = {"LC_ALL": "C"}
_HOUR = 3600.0
_WALKS = {
    A_LINK: "a link is on its way now, and not followed",
    NO_FOLDER: "its folder is gone",
    NO_TOP: "there is no folder above it any more: is its disk mounted?",
    SHUT: "this login may not look at its folder",
}
_NOT_WHOLE = "what arrived there is not what was sent"
_MKDIR = 'mkdir -m 700 -- "./$1";'
_UNPACK = """
umask 077; tar -x -p -f - --numeric-owner || exit 90;
for n in "$@"; do sync -- "$n" 2>/dev/null || { sync; break; }; done;
sha256sum -b -- "$@" || exit 91;
"""
#: Pairs of a name and what the link says.
_LINK = 'while [ "$#" -ge 2 ]; do ln -sn -- "$2" "$1" || exit 90; shift 2; done;'
#: Fours: the new file, its name, the name for what is there, and a name for a copy of that on its way.
_TAKE = """
while [ "$#" -ge 4 ]; do n=$1; b=$2; k=$3; o=$4; shift 4; s=new;
if [ -L "./$b" ] || [ -e "./$b" ]; then s=kept;
if [ -d "./$b" ]; then [ -L "./$b" ] || s=folder; fi;
if [ "$s" = kept ]; then ln -P -- "./$b" "./$k" 2>/dev/null || {
cp -a -- "./$b" "./$o" && { [ -L "./$o" ] || sync -- "./$o" 2>/dev/null || sync; } && mv -fT -- "./$o" "./$k"; }
|| s=failed; fi; fi;
case "$s" in new|kept) mv -fT -- "./$n" "./$b" || { [ "$s" = new ] || rm -f -- "./$k"; s=failed; };; esac;
echo "$s"; done;
sync -- . 2>/dev/null || sync;
"""
#: Fours: a name, its owner, mode and time, each of which may be nothing.
_DRESS = """
while [ "$#" -ge 4 ]; do n=$1; u=$2; m=$3; t=$4; shift 4; s=ok;
if [ -L "./$n" ]; then m=; fi;
[ -z "$u" ] || chown -h -- "$u" "./$n" || s=failed;
[ -z "$m" ] || chmod -- "$m" "./$n" || s=failed;
[ -z "$t" ] || touch -h -c -d "$t" -- "./$n" || s=failed;
echo "$s"; done;
"""


@dataclass(frozen=True)
class _Item:
    """One file or link on its way, under a name of ours."""

    entry: Entry
    new: str
    old: str

    @property
    def base(self) -> bytes:
        return os.path.basename(self.entry.path)


class PuttingThere(Putting):
    """Folder by folder; a place on another host that is lost midway is said, and what is half made there removed."""

    def __init__(self, recovery: Recovery, name: str, item: Restored, listed: Path, *, declared: SshHost) -> None:
        super().__init__(recovery, name, item, listed)
        covered = bool(manifest.header(listed).get(COVERED))
        self._declared, self._place = declared, LivePlaceThere(declared, self.bases, attributes=covered)
        self._host, self._root = self._place.host, self._place.uid == 0
        self._halves = FarHalves(recovery.root)
        self._marks = Marks(self._host) if covered else None
        self._waiting: list[Entry] = []
        self._number = 0

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def carry_out(self) -> None:
        """See `Putting`."""
        for entry, judged in self._place.judged(self.wanted()):
            command.raise_if_stopping()
            self.settle(entry, judged)
        self._send_waiting()
        for entry in sorted(self.made.values(), key=lambda each: each.path, reverse=True):
            self._dress(self._folder_of(entry), [entry], times=True)
        if self._marks:
            self.counts["without attributes"] += self._marks.lost
        self.say()

    def put_rights(self, entry: Entry) -> None:
        """See `Putting`."""
        if self._dress(self._folder_of(entry), [entry], times=False):
            self.told(entry, "rights put back")

    def _folder_of(self, entry: Entry) -> Folder:
        """Return the folder that an entry lies in."""
        return self._folder(os.path.dirname(entry.path))

    def _folder(self, path: bytes) -> Folder:
        return Folder(self._place.top_of(path), path)

    # -- folders ----------------------------------------------------------------------------------------

    def put_folder(self, entry: Entry, *, there: bool) -> None:
        """See `Putting`."""
        if not there and (why := self._make_folder(self._folder(entry.path))):
            self.problem(entry, why)
            return
        self.made[entry.path] = entry
        self.told(entry, "rights put back" if there else "brought back")

    def _make_folder(self, folder: Folder) -> str:
        """Make a folder, and those above it that are gone too; return why not, nothing when it is there."""
        base = os.fsdecode(os.path.basename(folder.path))
        above = self._folder(os.path.dirname(folder.path))
        done = self._run(above, _MKDIR, base)
        if done.code == NO_FOLDER and above.way:
            if why := self._make_folder(above):
                return why
            done = self._run(above, _MKDIR, base)
        if done.code == 0:
            if (entry := self.folder_of(folder.path)) is not None:
                self.made[folder.path] = entry
            return ""
        return "" if b"File exists" in done.stderr else _why(done)

    # -- files and links --------------------------------------------------------------------------------

    def put(self, entry: Entry) -> None:
        """See `Putting`. An entry waits for others of its folder, and goes along with them."""
        names, size = sum(len(each.path) for each in self._waiting), sum(each.size for each in self._waiting)
        another = self._waiting and os.path.dirname(self._waiting[0].path) != os.path.dirname(entry.path)
        if another or len(self._waiting) >= _FILES or names > _NAMES or (self._waiting and size + entry.size > _BYTES):
            self._send_waiting()
        self._waiting.append(entry)

    def _send_waiting(self) -> None:
        """Put those back that wait: made beside, hashed there, and then given their names."""
        entries, self._waiting = self._waiting, []
        if not entries:
            return
        folder = self._folder_of(entries[0])
        items = [self._named(entry) for entry in entries]
        halves = _halves_of(items)
        self._halves.note(self._declared, folder, halves)
        try:
            whole = self._made_beside(folder, items)
            self._take(folder, whole)
        except BaseException:
            with suppress(DrError):  # of a host that is gone: what is written down is removed by the next run
                if remove(self._host, folder, halves).code == 0:
                    self._halves.done()
            raise
        self._halves.done()

    def _named(self, entry: Entry) -> _Item:
        self._number += 1
        new, old = (f".{self._mark}.{self._number}.{what}" for what in ("new", "old"))
        return _Item(entry, new, old)

    def _made_beside(self, folder: Folder, items: Sequence[_Item]) -> list[_Item]:
        """Make files and links under names of ours; return those that are whole there: that host has hashed them."""
        files = [item for item in items if item.entry.kind == "file"]
        links = [item for item in items if item.entry.kind == "link"]
        whole = self._linked(folder, links)
        if files:
            done = self._where_it_is(folder, lambda: self._unpacked(folder, files))
            digests = dict(_digests(done.stdout))
            for item in files:
                if digests.get(item.new) == item.entry.sha256:
                    whole.append(item)
                else:
                    self.problem(item.entry, _why(done) if done.code else _NOT_WHOLE, common=_common(done))
        if self._marks:
            self._marks.give(folder, [(item.new, item.entry, self.staged(item.entry)) for item in whole])
        if lost := [item.new for item in items if item not in whole]:
            remove(self._host, folder, lost)
        return whole

    def _where_it_is(self, folder: Folder, act: Callable[[], Done]) -> Done:
        """Do something in a folder, which is made first where it is gone. Raises `MachineError` for a full disk."""
        done = act()
        if done.code == NO_FOLDER and not self._make_folder(folder):
            done = act()
        self._heed_space(done)
        return done

    def _linked(self, folder: Folder, links: Sequence[_Item]) -> list[_Item]:
        if not links:
            return []
        pairs = [text for item in links for text in (item.new, os.fsdecode(item.entry.link_target or b""))]
        done = self._where_it_is(folder, lambda: self._run(folder, _LINK, *pairs))
        if done.code:
            for item in links:
                self.problem(item.entry, _why(done))
            return []
        dresses = [text for item in links for text in (item.new, *self._rights(item.entry, times=True))]
        self._run(folder, _DRESS, *dresses)
        return list(links)

    def _unpacked(self, folder: Folder, files: Sequence[_Item]) -> Done:
        """Send files as a tar, and return what that host says of them."""
        argv = walking(folder, _UNPACK, *(item.new for item in files))
        with self._host.start(argv, env=_PLAIN, feed=True) as process:
            with suppress(_EndedError):  # its exit code and words say why
                self._pack(process, files)
            process.end_input()
            said = b"".join(iter(process.read, b""))
            done = process.finish()
        return Done(done.argv, done.code, said, done.stderr, done.seconds)

    def _pack(self, process: Process, files: Sequence[_Item]) -> None:
        with tarfile.open(fileobj=cast(BinaryIO, _Pipe(process)), mode="w|", format=tarfile.PAX_FORMAT) as packed:
            for item in files:
                with open(self.staged(item.entry), "rb") as staged:
                    packed.addfile(_header(item, os.fstat(staged.fileno()).st_size), staged)

    def _take(self, folder: Folder, items: Sequence[_Item]) -> None:
        """Give files and links their names; what was there stays beside."""
        if not items:
            return
        kept = [shortened(item.base, f".before-{self._mark}") for item in items]
        fours = [
            text
            for item, name in zip(items, kept, strict=True)
            for text in (item.new, os.fsdecode(item.base), os.fsdecode(name), item.old)
        ]
        done = self._run(folder, _TAKE, *fours)
        said = [*done.stdout.decode("ascii", "replace").split(), *["failed"] * len(items)][: len(items)]
        for item, name, what in zip(items, kept, said, strict=True):
            if what in ("new", "kept"):
                self.counts["of another owner"] += not self._root and item.entry.uid != self._place.uid
                self.overwritten(item.entry, name if what == "kept" else None)
            else:
                self.problem(item.entry, "a folder is in its place now" if what == "folder" else _why(done))
        if any(what not in ("new", "kept") for what in said):
            remove(self._host, folder, _halves_of(items))
            self._heed_space(done)

    # -- rights -----------------------------------------------------------------------------------------

    def _dress(self, folder: Folder, entries: Sequence[Entry], *, times: bool) -> bool:
        """Give entries that are in their place owner, mode, ACLs and, if wanted, times; return whether all have."""
        rights = [self._rights(entry, times=times) for entry in entries]
        bases = [os.fsdecode(os.path.basename(entry.path)) for entry in entries]
        arguments = [text for base, three in zip(bases, rights, strict=True) for text in (base, *three)]
        done = self._run(folder, _DRESS, *arguments)
        if self._marks:
            named = [(base, each, self.staged(each)) for base, each in zip(bases, entries, strict=True)]
            if self._marks.give(folder, named):
                done = self._run(folder, _DRESS, *arguments)
        said = [*done.stdout.decode("ascii", "replace").split(), *["failed"] * len(entries)]
        for entry, what in zip(entries, said, strict=False):
            if what != "ok":
                self.problem(entry, _why(done))
        return "failed" not in said[: len(entries)]

    def _rights(self, entry: Entry, *, times: bool) -> tuple[str, str, str]:
        mode = "" if entry.kind == "link" else f"{stat.S_IMODE(entry.mode):o}"
        owner, time = f"{entry.uid}:{entry.gid}" if self._root else "", f"@{_seconds(entry.mtime_ns)}"
        return owner, mode, time if times else ""

    # -- programs ---------------------------------------------------------------------------------------

    def _run(self, folder: Folder, text: str, *arguments: str) -> Done:
        return self._host.run(walking(folder, text, *arguments), env=_PLAIN, timeout=_HOUR)

    def _heed_space(self, done: Done) -> None:
        said = done.stderr.decode("utf-8", "replace")
        if any(os.strerror(number) in said for number in (errno.ENOSPC, errno.EDQUOT)):
            full: MachineError = self.full()
            full.where = f"{self._name} on {self._host.name}"
            raise full


def _halves_of(items: Iterable[_Item]) -> list[str]:
    """Return all names of ours under which something may lie."""
    return [name for item in items for name in (item.new, item.old)]


class _EndedError(Exception):
    """The program there reads no more."""


class _Pipe(io.RawIOBase):
    """What tarfile writes to: a program's input."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(cast(bytes, data))
        command.raise_if_stopping()
        try:
            self._process.write(block)
        except OSError as error:
            raise _EndedError from error
        return len(block)


def _header(item: _Item, size: int) -> tarfile.TarInfo:
    """Return a tar's header for a file, under our name; with times as they were captured."""
    entry, header = item.entry, tarfile.TarInfo(item.new)
    header.size, header.mode, header.uid, header.gid = size, stat.S_IMODE(entry.mode), entry.uid, entry.gid
    header.pax_headers = {"mtime": _seconds(entry.mtime_ns)}
    return header


def _seconds(nanoseconds: int) -> str:
    """Return a time as tar and touch take it, to the nanosecond, also one before 1970."""
    whole, part = divmod(abs(nanoseconds), 1_000_000_000)
    return f"{'-' if nanoseconds < 0 else ''}{whole}.{part:09d}"


def _digests(said: bytes) -> Iterator[tuple[str, str]]:
    """Yield name and hash of each file, as sha256sum prints them."""
    for line in said.decode("ascii", "replace").splitlines():
        digest, _, name = line.partition(" ")
        yield name.removeprefix("*").removeprefix(" "), digest


def _common(done: Done) -> str:
    """Return why, where that names no file."""
    return _WALKS.get(done.code, "" if done.code else _NOT_WHOLE)


def _why(done: Done) -> str:
    return _WALKS.get(done.code) or done.last_words or f"that host's programs ended with {done.code}"
