"""What lies in a restored tree, for those who judge it: a tree on this machine, or on another host.

Paths are bytes, from the tree's top, without a leading slash. Nothing here follows a restored link.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Protocol, TypeVar

from dr.errors import DrError
from dr.evidence.attributes import digest_of
from dr.sources.attributes import Attributes, attributes_there, digest_here
from dr.sources.listing import hash_files, list_trees
from dr.sources.sorted_lines import LinesAnywhere, SortedLines, status_of
from dr.tools.digest import sha256_file
from dr.tools.host import Host, script

#: What restic, or tar, gave a mode by which its owner may not look into it: only root needs no such right.
_OPEN_UP = """
[ "$(id -u)" = 0 ] && exit 0;
find "$1" \\( -type d -not -perm -u=rwx -o -type f -not -perm -u=r \\) -exec chmod u+rwX -- {} \\;
"""
#: Of so many files a host is asked for the attributes at once.
_AT_ONCE = 50_000
T = TypeVar("T")
_OWN = {stat.S_IFDIR: 0o700, stat.S_IFREG: 0o400}
_HINT = "install GNU findutils and coreutils there, or drill on another host"


class RestoredTree(Protocol):
    """A tree as it is found. `batch` is how many files, and bytes of them, are best hashed at a time.

    `specials` says whether pipes and devices come back there; they hold nothing that could be lost.
    """

    @property
    def batch(self) -> tuple[int, int]:
        """Files and bytes to hash at a time."""

    @property
    def specials(self) -> bool:
        """Whether pipes and devices are restored there."""

    def status(self, path: bytes) -> os.stat_result | None:
        """Return what lies at a path; None for nothing."""

    def target(self, path: bytes) -> bytes | None:
        """Return what a link says."""

    def digests(self, paths: Sequence[bytes]) -> Mapping[bytes, str]:
        """Return the SHA-256 of files; those that cannot be read are left out. Called from several threads."""

    def attributes(self, path: bytes) -> str | None:
        """Return the digest of what lies at a path: of its ACLs and extended attributes; None for none."""

    @property
    def tells_attributes(self) -> bool:
        """Whether `attributes` can be told there."""

    def files(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield all that is no directory."""

    def opened(self, path: bytes) -> AbstractContextManager[int]:
        """Give a descriptor that reads a regular file. Raises `OSError` or `DrError`."""

    def reachable(self) -> AbstractContextManager[None]:
        """Let its owner, who need not be root, look into all of it for a while, whatever the modes say."""


class TreeHere:
    """A tree on this machine."""

    batch = (64, 32 << 20)
    specials = True
    tells_attributes = True

    def __init__(self, root: Path) -> None:
        self._root, self._top = root, os.fsencode(root)

    def status(self, path: bytes) -> os.stat_result | None:
        """See `RestoredTree`."""
        try:
            return os.lstat(self._at(path))
        except OSError:
            return None

    def target(self, path: bytes) -> bytes | None:
        """See `RestoredTree`."""
        return os.readlink(self._at(path))

    def attributes(self, path: bytes) -> str | None:
        """See `RestoredTree`."""
        return digest_here(self._at(path))

    def digests(self, paths: Sequence[bytes]) -> Mapping[bytes, str]:
        """See `RestoredTree`."""
        found = {}
        for path in paths:
            with suppress(OSError):
                found[path] = sha256_file(self._at(path))[0]
        return found

    def files(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """See `RestoredTree`."""
        return ((path, entry.stat(follow_symlinks=False)) for path, entry in walk(self._root))

    @contextmanager
    def opened(self, path: bytes) -> Iterator[int]:
        """See `RestoredTree`."""
        fd = os.open(self._at(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """See `RestoredTree`. The modes are put back in the end."""
        changed = _open_up(self._top) if os.geteuid() != 0 else []
        try:
            yield
        finally:
            for path, mode in reversed(changed):
                with suppress(OSError):
                    os.chmod(path, mode)

    def _at(self, path: bytes) -> bytes:
        return self._top + b"/" + path


class TreeThere:
    """A tree on another host, listed once and hashed by its own programs. `aside` is for a file that is looked into."""

    batch = (1_000, 64 << 20)  # a program is started for each, so many at once as the plan allows
    specials = False  # they come in a tar of restic's, which leaves them out

    def __init__(self, host: Host, root: Path, *, aside: Path) -> None:
        self._host, self._top, self._aside = host, os.fsencode(root), aside

    def status(self, path: bytes) -> os.stat_result | None:
        """See `RestoredTree`."""
        entry = self._found.entry(self._at(path))
        return status_of(entry) if entry else None

    def target(self, path: bytes) -> bytes | None:
        """See `RestoredTree`."""
        entry = self._found.entry(self._at(path))
        return entry.link_target if entry else None

    def attributes(self, path: bytes) -> str | None:
        """See `RestoredTree`."""
        return digest_of((self._marked or {}).get(self._at(path), {}))

    @property
    def tells_attributes(self) -> bool:
        """See `RestoredTree`."""
        return self._marked is not None

    def digests(self, paths: Sequence[bytes]) -> Mapping[bytes, str]:
        """See `RestoredTree`."""
        found = _with_hint(lambda: hash_files(self._host, [self._at(path) for path in paths], at_once=1))
        return {path[len(self._top) + 1 :]: digest for path, digest in found.items()}

    def files(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """See `RestoredTree`."""
        for entry in self._found:
            if entry.kind != "dir":
                yield entry.path[len(self._top) + 1 :], status_of(entry)

    @contextmanager
    def opened(self, path: bytes) -> Iterator[int]:
        """See `RestoredTree`: its bytes are brought here for as long as they are looked at."""
        with tempfile.TemporaryFile(dir=self._aside) as copy:
            with self._host.start(["cat", "--", os.fsdecode(self._at(path))]) as process:
                for block in iter(process.read, b""):
                    copy.write(block)
                done = process.finish()
            if done.code != 0:
                raise DrError(f"a file cannot be read on {self._host.name}", hint="see the rights of its directory")
            copy.flush()
            yield copy.fileno()

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """See `RestoredTree`: a drill's sandbox, so that the modes stay as they are then."""
        _ = self._found  # once, before several threads ask
        yield

    @cached_property
    def _found(self) -> LinesAnywhere:
        lines = SortedLines(self._aside / f".there-{token_hex(4)}")
        try:
            self._list(lines)
            return LinesAnywhere(lines, self._aside / f".there-{token_hex(4)}")
        finally:
            lines.remove()

    def _list(self, into: SortedLines) -> None:
        """List what is there."""
        top = os.fsdecode(self._top)
        self._host.run(script(_OPEN_UP, top))
        _with_hint(lambda: list_trees(self._host, [top], excluded=lambda path: False, one_filesystem=False, into=into))

    @cached_property
    def _marked(self) -> dict[bytes, Attributes] | None:
        paths, marked = (entry.path for entry in self._found), dict[bytes, Attributes]()
        some = list(islice(paths, _AT_ONCE))
        while True:
            if (told := self._attributes(some)) is None:
                return None
            marked |= {path: found for path, found in told.items() if found}
            if not (some := list(islice(paths, _AT_ONCE))):
                return marked

    def _attributes(self, paths: Sequence[bytes]) -> dict[bytes, Attributes] | None:
        return attributes_there(self._host, paths)

    def _at(self, path: bytes) -> bytes:
        return self._top + b"/" + path if path else self._top


def _with_hint(act: Callable[[], T]) -> T:
    """Say what helps a drill, where what is said of a capture would not."""
    try:
        return act()
    except DrError as error:
        error.hint = _HINT if "mode: sftp" in error.hint else error.hint
        raise


def _open_up(top: bytes) -> list[tuple[bytes, int]]:
    """Give the owner the rights to read a tree; return what was changed, parents first, with the modes before."""
    changed, pending = [], [top]
    while pending:
        folder = pending.pop()
        with os.scandir(folder) as entries:
            found = [(entry.path, entry.stat(follow_symlinks=False).st_mode) for entry in entries]
        for path, mode in found:
            own = _OWN.get(stat.S_IFMT(mode), 0)
            if mode & own != own:
                os.chmod(path, stat.S_IMODE(mode) | own)
                changed.append((path, stat.S_IMODE(mode)))
            if stat.S_ISDIR(mode):
                pending.append(path)
    return changed


def walk(root: Path) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    """Yield every entry below `root` that is no directory, with its path from there. Follows no link."""
    pending = [(os.fsencode(root), b"")]
    while pending:
        folder, prefix = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, prefix + entry.name + b"/"))
                else:
                    yield prefix + entry.name, entry
