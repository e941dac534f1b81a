"""Trees on another host, listed and hashed by its own GNU tools: independent of the restic that stores them there.

Names are bytes, with NUL between them: whatever a name holds, it comes whole.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field

from dr.errors import DrError
from dr.evidence.manifest import Kind
from dr.late_dataclass import dataclass
from dr.sources.sorted_lines import SortedLines
from dr.sources.walk import Excluded, literally
from dr.tools.command import Done
from dr.tools.host import Host

#: One record: may it be looked into, depth, kind, size, mode, owner, times, inode, device; then path and link target.
_RECORD = r" %d %y %s %m %U %G %T@ %C@ %i %D\0%p\0%l\0"
_SHUT = ("(", "-type", "d", "(", "-not", "-readable", "-o", "-not", "-executable", ")", "-printf", "-" + _RECORD)
_FIND = (*_SHUT, "-o", "-printf", "+" + _RECORD, ")")
_TYPES = {
    b"f": stat.S_IFREG, b"d": stat.S_IFDIR, b"l": stat.S_IFLNK, b"p": stat.S_IFIFO, b"s": stat.S_IFSOCK,
    b"c": stat.S_IFCHR, b"b": stat.S_IFBLK,
}  # fmt: skip
_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "link"}
_COMPLAINT = re.compile(rb"find: '(.*)': ([^:]+)")
_PLAIN = {"LC_ALL": "C"}
_HINT = "install GNU findutils and coreutils there, or write `mode: sftp`"


@dataclass
class Listing:
    """What lay at and below some roots; parents come first. `tops` are the roots, the excluded ones too.

    `elsewhere` is where another file system begins that was not looked into.
    """

    found: dict[bytes, os.stat_result] = field(default_factory=dict)
    links: dict[bytes, bytes] = field(default_factory=dict)
    unreadable: set[bytes] = field(default_factory=set)
    tops: dict[bytes, os.stat_result] = field(default_factory=dict)
    elsewhere: set[bytes] = field(default_factory=set)

    def lstat(self, path: bytes) -> os.stat_result:
        """Return what was found at a path. Raises `FileNotFoundError`."""
        status = self.found.get(path) or self.tops.get(path)
        if status is None:
            raise FileNotFoundError(errno.ENOENT, "not listed")
        return status

    def put(self, into: SortedLines) -> None:
        """Put what was found into sorted lines."""
        for path, status in self.found.items():
            into.add(path, status, _kind(status), self.links.get(path))


def list_trees(
    host: Host,
    roots: Sequence[str],
    *,
    excluded: Excluded,
    one_filesystem: bool,
    passed_by: Sequence[bytes] = (),
    into: SortedLines | None = None,
) -> Listing:
    """List trees as `dr.sources.walk` does here: the same excludes, links, mounts and special files.

    Roots that are not there are left out, as is what lies in the directories `passed_by`. What is found is put `into`
    sorted lines where those are given, and only of the roots it is in the listing. Raises `DrError` when the host has
    no GNU find.
    """
    listing, tops = Listing(), [os.fsencode(root) for root in roots]
    argv = ["find", *roots, *(["-xdev"] if one_filesystem else []), *_pruned(passed_by), *_FIND]
    left_out: set[bytes] = set()
    device = None
    with host.start(argv, env=_PLAIN) as process:
        for facts, path, target in _records(iter(process.read, b"")):
            depth, status = _status(facts)
            if depth == 0:
                listing.tops[path], device = status, status.st_dev
            if excluded(path) or (depth and posixpath.dirname(path) in left_out):
                if stat.S_ISDIR(status.st_mode):
                    left_out.add(path)
            else:
                if one_filesystem and status.st_dev != device:
                    listing.elsewhere.add(path)
                    if not stat.S_ISDIR(status.st_mode):
                        continue  # a file may be a mount too
                shut = facts.startswith(b"-")
                if into is not None:
                    into.add(path, status, _kind(status), target if stat.S_ISLNK(status.st_mode) else None)
                if into is None or not depth:
                    _add(listing, path, status, target, shut=shut)
                elif shut:
                    listing.unreadable.add(path)
        _heed(host, process.finish(), listing, excluded, tops)
    return listing


def list_paths(host: Host, paths: Sequence[bytes]) -> Listing:
    """Look at some paths alone, and at nothing below them; a link is not followed. Those that are not there are left
    out, and those that may not be looked at are `unreadable`.

    Raises `DrError` when the host has no GNU find.
    """
    listing = Listing()
    argv = ["xargs", "-0", "-r", "sh", "-c", 'find "$@" -maxdepth 0 -printf "$r";', "dr"]
    done = host.run(argv, env={**_PLAIN, "r": "+" + _RECORD}, stdin=b"".join(path + b"\0" for path in paths))
    for facts, path, target in _records(iter((done.stdout,))):
        _add(listing, path, _status(facts)[1], target, shut=False)
    if done.code not in (0, 1, 123):
        raise DrError(f"looking at files of {host.name} failed", cause=done.last_words, hint="run find there and see")
    for line in done.stderr.splitlines():
        said = _COMPLAINT.fullmatch(line)
        if said is None:
            raise DrError(f"{host.name} has no GNU find, which lists with -printf", cause=done.last_words, hint=_HINT)
        if said[2] not in (b"No such file or directory", b"Not a directory"):
            listing.unreadable.add(said[1])
    return listing


def writable(host: Host, folders: Sequence[bytes]) -> set[bytes]:
    """Return those of some folders in which this login may make files."""
    argv = ["xargs", "-0", "-r", "sh", "-c", 'find "$@" -maxdepth 0 -writable -executable -print0;', "dr"]
    done = host.run(argv, env=_PLAIN, stdin=b"".join(path + b"\0" for path in folders))
    return {path for path in done.stdout.split(b"\0") if path}


def _pruned(folders: Sequence[bytes]) -> Iterator[str]:
    """Yield what keeps find out of what lies in some directories."""
    for folder in folders:
        yield from ("-path", literally(os.fsdecode(folder)).rstrip("/") + "/*", "-prune", "-o")


def _add(listing: Listing, path: bytes, status: os.stat_result, target: bytes, *, shut: bool) -> None:
    if path in listing.found:  # below two roots
        return
    listing.found[path] = status
    if stat.S_ISLNK(status.st_mode):
        listing.links[path] = target
    if shut:
        listing.unreadable.add(path)


def _kind(status: os.stat_result) -> Kind:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "other")


def _records(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, bytes, bytes]]:
    fields: list[bytes] = []
    held = b""
    for block in blocks:
        *whole, held = (held + block).split(b"\0")
        fields += whole
        usable = len(fields) - len(fields) % 3
        yield from zip(fields[:usable:3], fields[1:usable:3], fields[2:usable:3], strict=True)
        del fields[:usable]
    if fields or held:
        raise DrError("the listing of that host was cut short", hint="run the backup again", retryable=True)


def _status(facts: bytes) -> tuple[int, os.stat_result]:
    _, depth, kind, size, mode, uid, gid, mtime, ctime, inode, device = facts.split(b" ")
    times = {"st_mtime_ns": _nanoseconds(mtime), "st_ctime_ns": _nanoseconds(ctime)}
    whole = _TYPES.get(kind, 0) | int(mode, 8)
    numbers = (whole, int(inode), int(device), 1, int(uid), int(gid), int(size), 0, 0, 0)
    return int(depth), os.stat_result(numbers, times)


def _nanoseconds(text: bytes) -> int:
    """Return what find writes as seconds with ten decimals."""
    seconds, _, part = text.partition(b".")
    return int(seconds) * 1_000_000_000 + int((part + b"0" * 9)[:9])


def _heed(host: Host, done: Done, listing: Listing, excluded: Excluded, roots: Sequence[bytes]) -> None:
    """Take find's complaints: what it could not look at, or that it is no GNU find."""
    complaints = [line for line in done.stderr.splitlines() if line.strip()]
    if done.code and not listing.tops and not all(map(_COMPLAINT.fullmatch, complaints)):
        raise DrError(f"{host.name} has no GNU find, which lists with -printf", cause=done.last_words, hint=_HINT)
    if done.code not in (0, 1):
        raise DrError(f"listing the files of {host.name} failed", cause=done.last_words, hint="run find there and see")
    for line in complaints:
        said = _COMPLAINT.fullmatch(line)
        if said is None or said[2] == b"No such file or directory":
            continue
        if said[1] in roots or not (excluded(said[1]) or said[1] in listing.unreadable):
            listing.unreadable.add(said[1])


def hash_files(host: Host, paths: Sequence[bytes], *, at_once: int) -> dict[bytes, str]:
    """Return the SHA-256 of files, by `at_once` programs side by side; those that cannot be read are left out."""
    if not paths:
        return {}
    shares = [paths[start::at_once] for start in range(min(at_once, len(paths)))]
    with ThreadPoolExecutor(len(shares)) as pool:
        return {path: digest for part in pool.map(lambda share: _hash(host, share), shares) for path, digest in part}


def _hash(host: Host, paths: Sequence[bytes]) -> list[tuple[bytes, str]]:
    # One program a channel: what several write to one pipe would be mixed.
    argv = ["xargs", "-0", "-r", "sha256sum", "-z", "--"]
    done = host.run(argv, env=_PLAIN, stdin=b"".join(path + b"\0" for path in paths))
    found = [(record[66:], record[:64].decode("ascii")) for record in done.stdout.split(b"\0") if record]
    if done.code not in (0, 123) or (not found and b"option" in done.stderr):
        raise DrError(f"hashing the files of {host.name} failed", cause=done.last_words, hint=_HINT)
    if done.code == 0 and len(found) < len(paths):
        raise DrError(f"hashing the files of {host.name} was cut short", hint="run the backup again", retryable=True)
    return found
