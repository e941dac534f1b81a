"""An object store in a directory of another host, by SFTP. paramiko is loaded when it is first reached."""

from __future__ import annotations

import errno
import hashlib
import posixpath
import re
import secrets
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from dr.errors import DamageError, DrError, InterruptedRunError, RefusedError, TargetDownError
from dr.tools import line, retry
from dr.tools.digest import sha256_of
from dr.tools.meter import Meter
from dr.tools.sftp import Sftp, Status
from dr.tools.store import ObjectStore, Posture, Stored

T = TypeVar("T")
#: Directories listed at once.
_THREADS = 16
#: The name of what is being written: the object's, hidden, with eight digits of its own.
_BESIDE = re.compile(r"\..+\.[0-9a-f]{8}")


class FileHost(Protocol):
    """A host that gives sessions to work with its files: see `dr.tools.ssh.SshHost`."""

    name: str

    def files(self) -> AbstractContextManager[Sftp]:
        """Give a session. Raises `DrError`."""


class SftpSession:
    """One session, shared by all stores of a target and their threads; a new one when it broke."""

    def __init__(self, host: Callable[[], FileHost], meter: Meter | None = None) -> None:
        self._host, self._lock = host, threading.Lock()
        self.meter = meter or Meter()  # bytes alone: nobody counts or charges SFTP's requests
        self._open: Sftp | None = None
        self._until = ExitStack()

    def get(self, where: str) -> Sftp:
        """Return the session. Raises `RefusedError`, or `TargetDownError` for a host that does not answer."""
        with self._lock:
            if self._open is None:
                try:
                    self._open = self._until.enter_context(self._host().files())
                except (RefusedError, InterruptedRunError):
                    raise
                except DrError as error:
                    told = "; ".join(filter(None, (error.where, error.cause)))
                    raise TargetDownError(error.what, where, told, error.hint, retryable=error.retryable) from error
            return self._open

    def drop(self, broken: Sftp) -> None:
        """Use this session no more."""
        with self._lock:
            if self._open is broken:
                self._open = None
                with suppress(DrError, OSError):
                    self._until.close()
                self._until = ExitStack()


class SftpStore:
    """A directory of objects. `top` is the directory of the target: its parent must be there for it to be up."""

    def __init__(self, session: SftpSession, name: str, top: str, root: str = "") -> None:
        self._session, self._name, self._top = session, name, top
        self._root = root or top

    @property
    def where(self) -> str:
        """See `ObjectStore`."""
        return f"sftp://{self._name}{self._root}"

    def child(self, prefix: str) -> SftpStore:
        """See `ObjectStore`."""
        return SftpStore(self._session, self._name, self._top, posixpath.join(self._root, prefix.strip("/")))

    def reachable(self) -> None:
        """See `ObjectStore`. A directory of which only the last part is missing answers: the first write makes it."""
        self._do("reaching the target", self._require_top, tries=1)

    def _require_top(self, files: Sftp) -> None:
        with suppress(FileNotFoundError):
            files.stat(_path(self._top))
            return
        try:
            files.stat(_path(posixpath.dirname(self._top) or "."))
        except FileNotFoundError:
            raise TargetDownError(
                "the directory is not there", self.where, hint="make it on that host, or correct `path`"
            ) from None

    def preflight(self) -> Posture:
        """See `ObjectStore`."""
        self.reachable()
        try:
            status = self._do("looking at the directory", lambda files: files.stat(_path(self._top)))
        except DamageError:
            return Posture(None, None, "unknown")
        return Posture(None, None, "open" if status.mode & 0o007 else "closed")

    # -- reading ------------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """See `ObjectStore`. Directories side by side, as a repository has 256 of them."""
        start = prefix.rpartition("/")[0]
        waiting, begun = deque([start]), deque[Future[tuple[str, Sequence[tuple[str, Status]]]]]()
        with ThreadPoolExecutor(_THREADS) as pool:
            while waiting or begun:
                while waiting and len(begun) < 2 * _THREADS:  # more would only lie here in memory
                    begun.append(pool.submit(self._in_folder, waiting.popleft()))
                folder, entries = begun.popleft().result()
                for name, status in entries:
                    inner = f"{folder}/{name}" if folder else name
                    if stat.S_ISDIR(status.mode):
                        waiting.append(inner)
                    elif inner.startswith(prefix) and stat.S_ISREG(status.mode) and name[0] != ".":
                        yield Stored(inner, status.size, datetime.fromtimestamp(status.mtime, UTC))

    def _in_folder(self, folder: str) -> tuple[str, Sequence[tuple[str, Status]]]:
        path = _path(posixpath.join(self._root, folder))
        try:
            entries = self._do("listing objects", lambda files: files.listdir(path))
        except DamageError:
            return folder, []
        return folder, [(name.decode("utf-8", "surrogateescape"), status) for name, status in entries]

    def exists(self, name: str) -> bool:
        """See `ObjectStore`."""
        try:
            self._do(f"looking for {name}", lambda files: files.stat(self._path_of(name)))
        except DamageError:
            return False
        return True

    def get(self, name: str) -> bytes:
        """See `ObjectStore`."""
        return self._do(f"reading {name}", lambda files: b"".join(self._content(files, name)))

    def sha256(self, name: str) -> tuple[str, int]:
        """See `ObjectStore`."""

        return self._do(f"reading {name}", lambda files: sha256_of(self._content(files, name)))

    def blocks(self, name: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._session_for(f"reading {name}") as files:
            yield from self._content(files, name)

    def part(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._session_for(f"reading {name}") as files, files.open(self._path_of(name)) as file:
            yield from self._session.meter.taking(line.fetched(file.part(start, end)))

    def _content(self, files: Sftp, name: str) -> Iterator[bytes]:
        with files.open(self._path_of(name)) as file:
            yield from self._session.meter.taking(line.fetched(file.blocks(file.status().size)))

    # -- changing -----------------------------------------------------------------------------------

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._do(f"writing {name}", lambda files: self._write(files, name, (data,), sha256=""))

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        """See `ObjectStore`."""
        return self._do(f"writing {name}", lambda files: self._write(files, name, source.blocks(name), sha256=sha256))

    def _write(self, files: Sftp, name: str, blocks: Iterable[bytes], *, sha256: str) -> bool:
        """Write beside the place and move there what is whole. What a killed writer left beside is swept by `tidy`."""
        path, digest = self._path_of(name), hashlib.sha256()
        folder, _, last = path.rpartition(b"/")
        beside = b"%s/.%s.%s" % (folder, last, secrets.token_hex(4).encode())

        def hashed() -> Iterator[bytes]:
            for block in blocks:
                digest.update(block)
                line.sending(len(block))
                self._session.meter.passed(sent=len(block))
                yield block

        self._make(files, folder)
        whole = False
        try:
            files.write(beside, hashed())
            if sha256 in ("", digest.hexdigest()):
                _rename(files, beside, path)
                whole = True
        finally:
            if not whole:
                with suppress(OSError, DrError):
                    files.remove(beside)
        return whole

    def _make(self, files: Sftp, folder: bytes) -> None:
        """Make a directory and what is missing above it, but not above the target's own."""
        with suppress(FileNotFoundError):
            files.stat(folder)
            return
        if len(folder) > len(_path(self._top)):
            self._make(files, folder.rpartition(b"/")[0])
        try:
            files.mkdir(folder)
        except OSError:  # made by another at the same time
            files.stat(folder)

    def remove(self, name: str) -> None:
        """See `ObjectStore`."""
        with suppress(DamageError):
            self._do(f"removing {name}", lambda files: files.remove(self._path_of(name)))

    def tidy(self) -> int:
        """Remove what writers that were killed left beside their objects; return how many there were.

        Only for who knows that nobody else writes here.
        """
        left, waiting = [], [""]
        while waiting:
            folder, entries = self._in_folder(waiting.pop())
            for name, status in entries:
                inner = f"{folder}/{name}" if folder else name
                if stat.S_ISDIR(status.mode):
                    waiting.append(inner)
                elif _BESIDE.fullmatch(name):
                    left.append(inner)
        for name in left:
            self.remove(name)
        return len(left)

    # -- mechanism ----------------------------------------------------------------------------------

    def _path_of(self, name: str) -> bytes:
        return _path(posixpath.join(self._root, name))

    def _do(self, doing: str, act: Callable[[Sftp], T], *, tries: int = retry.TRIES) -> T:
        """Do it in the session; again, in a new one, where it broke."""

        def once() -> T:
            with self._session_for(doing) as files:
                return act(files)

        return retry.persist(once, what=self.where, tries=tries)

    @contextmanager
    def _session_for(self, doing: str) -> Iterator[Sftp]:
        """Give the session, and turn what the host refuses into our errors."""
        files = self._session.get(self.where)
        try:
            yield files
        except FileNotFoundError as error:
            raise DamageError(f"{doing}: it is not there", self.where, hint="run `dr verify` to see all") from error
        except PermissionError as error:
            raise RefusedError(f"{doing}: not permitted", self.where, hint="correct the rights on that host") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise DrError(f"{doing} failed", self.where, reason, hint="see that host's disk, then try again") from error
        except (RefusedError, DamageError, InterruptedRunError, TargetDownError):
            raise
        except DrError as error:
            if error.retryable:  # the session broke
                self._session.drop(files)
                raise TargetDownError(error.what, self.where, error.cause, error.hint, retryable=True) from error
            raise


def _path(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _rename(files: Sftp, path: bytes, to: bytes) -> None:
    """Put a file in its place, also where the host renames over nothing that is there."""
    try:
        files.rename(path, to)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        files.remove(to)
        files.rename(path, to)
