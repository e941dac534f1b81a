"""Files that were named are put back where they were, on the host of their source, over SSH.

As on this host: each is made beside its place under a name of ours, made lasting, hashed there, and takes the name in
one step; what it takes the place of stays beside it. Sent as a tar, folder by folder, into a shell that has walked
there and follows no link. Nothing is installed there: GNU tar, coreutils and findutils do it.

Where the connection was lost nobody knows how far the shell there came, nor whether it is at work still. So what it
needs to go on is taken away first; then it is looked again what lies there, and what is not in its place is sent under
new names. What it kept beside is never the name of anything else.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

from dr.errors import DrError, MachineError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.late_dataclass import dataclass
from dr.plan.host import SshHost
from dr.run.recovery.checks.context import Restored
from dr.run.recovery.place.live_there import LivePlaceThere
from dr.run.recovery.place.put_back_scripts import DRESS, KEPT, LINK, MKDIR, TAKE, UNPACK
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
from dr.tools import command, retry
from dr.tools.command import Done
from dr.tools.host import Process

T = TypeVar("T")

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


@dataclass(frozen=True)
class _Item:
    """One file or link on its way, under a name of ours; and the name under which what was there is kept."""

    entry: Entry
    new: str
    old: str
    kept: str

    @property
    def base(self) -> bytes:
        return os.path.basename(self.entry.path)


@dataclass
class _Became:
    """What became of some files and links: those in their place, with whether what was there is kept; those that are
    not, with why, also in words that name no file; and how the program ended that could not do all."""

    there: list[tuple[_Item, bool]] = field(default_factory=list)
    refused: list[tuple[Entry, str, str]] = field(default_factory=list)
    done: Done | None = None


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
        self._unanswered: set[bytes] = set()  # folders that may have been made, and nobody heard of it
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
            self._surely(partial(self._dress, self._folder_of(entry), [entry], times=True))
        if self._marks:
            self.counts["without attributes"] += self._marks.lost
        self.say()

    def put_rights(self, entry: Entry) -> None:
        """See `Putting`."""
        if self._surely(partial(self._dress, self._folder_of(entry), [entry], times=False)):
            self.told(entry, "rights put back")

    def _surely(self, act: Callable[[], T]) -> T:
        """Do what may be done twice, again where the connection was lost."""
        lost = self._marks.lost if self._marks else 0

        def attempt() -> T:
            if self._marks:
                self._marks.lost = lost
            return act()

        return retry.persist(attempt, what=self._name)

    def _folder_of(self, entry: Entry) -> Folder:
        """Return the folder that an entry lies in."""
        return self._folder(os.path.dirname(entry.path))

    def _folder(self, path: bytes) -> Folder:
        return Folder(self._place.top_of(path), path)

    # -- folders ----------------------------------------------------------------------------------------

    def put_folder(self, entry: Entry, *, there: bool) -> None:
        """See `Putting`."""
        if not there and (why := self._surely(partial(self._make_folder, self._folder(entry.path)))):
            self.problem(entry, why)
            return
        self.made[entry.path] = entry
        self.told(entry, "rights put back" if there else "brought back")

    def _make_folder(self, folder: Folder) -> str:
        """Make a folder, and those above it that are gone too; return why not, nothing when it is there."""
        base = os.fsdecode(os.path.basename(folder.path))
        above = self._folder(os.path.dirname(folder.path))
        again = folder.path in self._unanswered
        self._unanswered.add(folder.path)
        done = self._run(above, MKDIR, base)
        if done.code == NO_FOLDER and above.way:
            if why := self._make_folder(above):
                return why
            done = self._run(above, MKDIR, base)
        self._unanswered.discard(folder.path)
        if done.code == 0 or (again and b"File exists" in done.stderr):
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
        again, tried = retry.Again(self._name), list[_Item]()
        while entries:
            folder = self._folder_of(entries[0])
            try:
                entries = self._settled(folder, tried, entries) if tried else entries
                items = [self._named(entry, first=not tried) for entry in entries]
                tried += items
                self._send(folder, items, halves=_halves_of(tried))
                return
            except DrError as error:
                again.wait_after(error)

    def _send(self, folder: Folder, items: Sequence[_Item], *, halves: Sequence[str]) -> None:
        """Make files and links beside their places, and give them their names. No half of ours is left, of any try.

        What became of them is noted in the end: until then the connection may be lost, and all be asked again.
        """
        self._halves.note(self._declared, folder, halves)
        became = _Became()
        try:
            self._take(folder, self._made_beside(folder, items, became), became)
            if became.done or len(halves) > len(_halves_of(items)):
                remove(self._host, folder, halves)
        except BaseException:
            with suppress(DrError):  # of a host that is gone: what is written down is removed by the next run
                if remove(self._host, folder, halves).code == 0:
                    self._halves.done()
            raise
        self._halves.done()
        for entry, why, common in became.refused:
            self.problem(entry, why, common=common)
        for item, kept in became.there:
            self._in_place(item.entry, item.kept if kept else None)
        if became.done:
            self._heed_space(became.done)

    def _settled(self, folder: Folder, tried: Sequence[_Item], entries: Sequence[Entry]) -> list[Entry]:
        """Return what broken tries did not put into its place; the rest is.

        What they made is removed first: a shell there that is still at work can give nothing its name any more.
        """
        remove(self._host, folder, _halves_of(tried))
        judged = list(self._place.judged(entries))
        pairs = [text for item in tried for text in (os.fsdecode(item.base), item.kept)]
        said = self._run(folder, KEPT, *pairs).stdout.decode("ascii", "replace").split()
        kept = {item.entry.path: item.kept for item, what in zip(tried, said, strict=False) if what == "kept"}
        other = [entry for entry, each in judged if each.standing == "rights"]
        undressed = [entry for entry in other if not self._dress(folder, [entry], times=True)]
        for entry, each in judged:
            if each.standing == "blocked":
                self.problem(entry, each.why)
            elif each.standing in ("same", "rights") and entry not in undressed:
                self._in_place(entry, kept.get(entry.path))
        return [entry for entry, each in judged if each.standing in ("absent", "other")]

    def _in_place(self, entry: Entry, kept: str | None) -> None:
        """Note that a file or link has its name; `kept` is that of what was there."""
        self.counts["of another owner"] += not self._root and entry.uid != self._place.uid
        self.overwritten(entry, os.fsencode(kept) if kept else None)

    def _named(self, entry: Entry, *, first: bool) -> _Item:
        self._number += 1
        new, old = (f".{self._mark}.{self._number}.{what}" for what in ("new", "old"))
        more = f".before-{self._mark}" + ("" if first else f".{self._number}")
        return _Item(entry, new, old, os.fsdecode(shortened(os.path.basename(entry.path), more)))

    def _made_beside(self, folder: Folder, items: Sequence[_Item], became: _Became) -> list[_Item]:
        """Make files and links under names of ours; return those that are whole there: that host has hashed them."""
        files = [item for item in items if item.entry.kind == "file"]
        links = [item for item in items if item.entry.kind == "link"]
        whole = self._linked(folder, links, became)
        if files:
            done = self._where_it_is(folder, lambda: self._unpacked(folder, files))
            digests = dict(_digests(done.stdout))
            for item in files:
                if digests.get(item.new) == item.entry.sha256:
                    whole.append(item)
                else:
                    became.refused.append((item.entry, _why(done) if done.code else _NOT_WHOLE, _common(done)))
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

    def _linked(self, folder: Folder, links: Sequence[_Item], became: _Became) -> list[_Item]:
        if not links:
            return []
        pairs = [text for item in links for text in (item.new, os.fsdecode(item.entry.link_target or b""))]
        done = self._where_it_is(folder, lambda: self._run(folder, LINK, *pairs))
        if done.code:
            became.refused += [(item.entry, _why(done), "") for item in links]
            return []
        dresses = [text for item in links for text in (item.new, *self._rights(item.entry, times=True))]
        self._run(folder, DRESS, *dresses)
        return list(links)

    def _unpacked(self, folder: Folder, files: Sequence[_Item]) -> Done:
        """Send files as a tar, and return what that host says of them."""
        argv = walking(folder, UNPACK, *(item.new for item in files))
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

    def _take(self, folder: Folder, items: Sequence[_Item], became: _Became) -> None:
        """Give files and links their names; what was there stays beside."""
        if not items:
            return
        fours = [text for item in items for text in (item.new, os.fsdecode(item.base), item.kept, item.old)]
        done = self._run(folder, TAKE, *fours)
        said = [*done.stdout.decode("ascii", "replace").split(), *["failed"] * len(items)][: len(items)]
        for item, what in zip(items, said, strict=True):
            if what in ("new", "kept"):
                became.there.append((item, what == "kept"))
            else:
                why = "a folder is in its place now" if what == "folder" else _why(done)
                became.refused.append((item.entry, why, ""))
                became.done = done

    # -- rights -----------------------------------------------------------------------------------------

    def _dress(self, folder: Folder, entries: Sequence[Entry], *, times: bool) -> bool:
        """Give entries that are in their place owner, mode, ACLs and, if wanted, times; return whether all have."""
        rights = [self._rights(entry, times=times) for entry in entries]
        bases = [os.fsdecode(os.path.basename(entry.path)) for entry in entries]
        arguments = [text for base, three in zip(bases, rights, strict=True) for text in (base, *three)]
        done = self._run(folder, DRESS, *arguments)
        if self._marks:
            named = [(base, each, self.staged(each)) for base, each in zip(bases, entries, strict=True)]
            if self._marks.give(folder, named):
                done = self._run(folder, DRESS, *arguments)
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
