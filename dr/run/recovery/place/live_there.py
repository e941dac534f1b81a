"""The live place of files on another host, looked at by that host's own programs: nothing is installed there.

From the first folder that the plan declares on no link is followed, as on this host (`dr.run.recovery.place.live`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Self

from dr.errors import DrError
from dr.evidence.attributes import digest_of
from dr.evidence.manifest import Entry
from dr.plan.host import SshHost
from dr.run.recovery.place.live import IN_WORDS, KINDS, Judged, top_of
from dr.run.recovery.place.restore_host import LocalHost
from dr.run.recovery.place.tree import RestoredTree, TreeThere
from dr.sources.attributes import Attributes, attributes_there
from dr.sources.hosts import open_host
from dr.sources.listing import hash_files, list_paths, writable
from dr.sources.sorted_lines import SortedLines
from dr.tools import retry
from dr.tools.host import Host, script

#: So many entries are looked at by one round of programs.
_AT_ONCE = 2_000
_LOOK_SECONDS = 60.0
_ELSE = "bring the files into a directory with --to, and copy them there"
_WHO = 'echo "dr $(id -u)";'


def user_of(host: Host) -> int:
    """Return the number of the user that we are on a host. Raises `DrError` where no program can be run there."""
    try:
        done = host.run(script(_WHO), timeout=_LOOK_SECONDS)
    except DrError as error:
        error.hint = f"{error.hint}; or {_ELSE}" if error.hint else _ELSE
        raise
    found = done.stdout.decode("ascii", "replace").split()
    if done.code != 0 or len(found) != 2 or found[0] != "dr" or not found[1].isdecimal():
        raise DrError(
            f"{host.name} runs no programs for this login, and files cannot be put back there", cause=done.last_words,
            hint=_ELSE,
        )  # fmt: skip
    return int(found[1])


class LivePlaceThere:
    """The place of one source on another host, by the paths that its plan declares; a context."""

    def __init__(self, declared: SshHost, bases: Iterable[str], *, attributes: bool = True) -> None:
        self.host = open_host(declared)
        self.uid = user_of(self.host)
        self._bases = sorted((os.fsencode(os.path.normpath(base)) for base in bases), key=len)
        self._attributes = attributes

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def leave(self) -> None:
        """Nothing is held open."""

    def top_of(self, path: bytes) -> bytes:
        """Return the folder above what the plan declares: from there on no link is followed."""
        return top_of(self._bases, path)

    def judged(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Judged]]:
        """Yield what lies where each entry was, by its kind, content and rights. Files of their size are hashed."""
        rest = iter(entries)
        while batch := list(islice(rest, _AT_ONCE)):
            yield from zip(batch, retry.persist(partial(self._judged, batch), what=self.host.name), strict=True)

    def _judged(self, entries: Sequence[Entry]) -> list[Judged]:
        seen = _Sight(self, entries)
        found = [seen.judge(entry) for entry in entries]
        found = [self._weighed(entry, each, seen) for entry, each in zip(entries, found, strict=True)]
        shut = self._shut(entries, found, seen)
        return [shut.get(entry.path, each) for entry, each in zip(entries, found, strict=True)]

    def _weighed(self, entry: Entry, judged: Judged, seen: _Sight) -> Judged:
        """Return "rights" for what is the same with other owner, mode or ACLs, as far as this login can put back."""
        if judged.standing != "same" or entry.state != "ok" or not entry.mode:
            return judged
        status = seen.listing.found[entry.path]
        if entry.kind != "link" and stat.S_IMODE(status.st_mode) != stat.S_IMODE(entry.mode):
            return Judged("rights")
        if self.uid != 0:
            return judged
        owner = (status.st_uid, status.st_gid) != (entry.uid, entry.gid)
        marked = self._attributes and seen.marked is not None
        return Judged("rights") if owner or (marked and seen.digest(entry.path) != entry.attributes) else judged

    def _shut(self, entries: Sequence[Entry], found: Sequence[Judged], seen: _Sight) -> dict[bytes, Judged]:
        """Return what cannot be written, because this login may not write to the folder that it lies in."""
        needed: dict[bytes, bytes] = {}
        for entry, judged in zip(entries, found, strict=True):
            if judged.standing in ("absent", "other"):
                folder = os.path.dirname(entry.path)
                while folder not in seen.listing.found and folder != b"/":
                    folder = os.path.dirname(folder)
                needed[entry.path] = folder
        able = writable(self.host, sorted(set(needed.values()))) if needed and self.uid else set(needed.values())
        return {
            path: Judged("blocked", f"{os.fsdecode(folder)} cannot be written by {self.host.name}")
            for path, folder in needed.items()
            if folder not in able
        }


class _Sight:
    """What lies at some entries' places, and at the folders on the way there."""

    def __init__(self, place: LivePlaceThere, entries: Sequence[Entry]) -> None:
        self._place, self._entries = place, entries
        ways: set[bytes] = set()
        for entry in entries:
            ways.update(self._way(entry.path))
        tops = {place.top_of(os.path.dirname(entry.path)).rstrip(b"/") + b"/." for entry in entries}
        self.listing = list_paths(place.host, sorted({*ways, *tops, *(entry.path for entry in entries)}))

    def _way(self, path: bytes) -> list[bytes]:
        """Return the folders from below the top to an entry, the outermost first."""
        folder = os.path.dirname(path)
        top, way = self._place.top_of(folder).rstrip(b"/"), list[bytes]()
        while len(folder) > max(1, len(top)):
            way.append(folder)
            folder = os.path.dirname(folder)
        return way[::-1]

    def judge(self, entry: Entry) -> Judged:
        """Return what lies where an entry was, by its kind and content."""
        top = self._place.top_of(os.path.dirname(entry.path))
        if top.rstrip(b"/") + b"/." not in self.listing.found:
            return Judged("blocked", f"there is no {os.fsdecode(top)} any more: is its disk mounted?")
        for folder in self._way(entry.path):
            if folder in self.listing.unreadable and folder not in self.listing.found:
                return Judged("blocked", "this login may not look at its folder")
            status = self.listing.found.get(folder)
            if status is None:
                return Judged("absent")
            if not stat.S_ISDIR(status.st_mode):
                what = "a link" if stat.S_ISLNK(status.st_mode) else "no folder"
                name = os.fsdecode(os.path.basename(folder))
                return Judged("blocked", f"{name} on its way is {what} now, and not followed")
        return self._content(entry)

    def _content(self, entry: Entry) -> Judged:
        status = self.listing.found.get(entry.path)
        if status is None:
            shut = entry.path in self.listing.unreadable
            return Judged("blocked", "this login may not look at it") if shut else Judged("absent")
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "other")
        if kind != entry.kind:
            return Judged("blocked", f"it was {IN_WORDS[entry.kind]}, and is {IN_WORDS[kind]} now")
        if kind == "link":
            return Judged("same" if self.listing.links.get(entry.path) == entry.link_target else "other")
        if kind == "file" and (entry.sha256 is None or self._digests.get(entry.path) != entry.sha256):
            return Judged("other")
        return Judged("same")

    @cached_property
    def _digests(self) -> dict[bytes, str]:
        """The hashes of the files that have the size they had: made there."""
        found = self.listing.found
        same = [
            each.path
            for each in self._entries
            if each.kind == "file" and each.sha256 and each.path in found and found[each.path].st_size == each.size
        ]
        return hash_files(self._place.host, same, at_once=1)

    @cached_property
    def marked(self) -> dict[bytes, Attributes] | None:
        """The ACLs and extended attributes; None where that host cannot tell."""
        there = [entry.path for entry in self._entries if entry.path in self.listing.found]
        return attributes_there(self._place.host, there)

    def digest(self, path: bytes) -> str | None:
        """Return the digest of an entry's ACLs and extended attributes."""
        return digest_of((self.marked or {}).get(path, {}))


class _NamedTree(TreeThere):
    """Some entries of another host, to be compared where they lie; the rest is not looked at."""

    def __init__(self, host: Host, paths: Sequence[bytes], *, aside: Path) -> None:
        super().__init__(host, Path("/"), aside=aside)
        self._top, self._paths = b"", paths

    def digests(self, paths: Sequence[bytes]) -> Mapping[bytes, str]:
        """See `RestoredTree`."""
        return retry.persist(partial(super().digests, paths), what=self._host.name)

    def _list(self, into: SortedLines) -> None:
        """See `TreeThere`."""
        listing = retry.persist(partial(list_paths, self._host, self._paths), what=self._host.name)
        listing.put(into)

    def _attributes(self, paths: Sequence[bytes]) -> dict[bytes, Attributes] | None:
        """See `TreeThere`."""
        return retry.persist(partial(attributes_there, self._host, paths), what=self._host.name)

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """See `RestoredTree`: where they lie no mode is changed for it."""
        _ = self._found
        yield


class LiveHostThere(LocalHost):
    """Another host, as the place of those `paths`; what stands beside it is here."""

    def __init__(self, declared: SshHost, paths: Sequence[bytes], *, aside: Path) -> None:
        self.host = open_host(declared)
        self._paths, self._aside = paths, aside
        self._uid = user_of(self.host)

    @property
    def owners(self) -> bool:
        """See `RestoreHost`."""
        return self._uid == 0

    def survey(self, root: Path) -> RestoredTree:
        """See `RestoreHost`."""
        return _NamedTree(self.host, self._paths, aside=self._aside)
