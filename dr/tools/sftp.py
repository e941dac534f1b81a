"""SFTP, version 3: files on another host. Names are bytes, as the host has them; requests do not wait for others.

Any number of threads may ask at once: a request's answer is found by its number. What several files need is so
on its way at the same time, which is what makes many small files fast over a long line.
"""

from __future__ import annotations

import errno
import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.tools import command

_INIT, _VERSION, _OPEN, _CLOSE, _READ, _WRITE, _LSTAT, _FSTAT, _SETSTAT = 1, 2, 3, 4, 5, 6, 7, 8, 9
_FSETSTAT, _OPENDIR, _READDIR, _REMOVE, _MKDIR, _RMDIR, _STAT, _RENAME = 10, 11, 12, 13, 14, 15, 17, 18
_READLINK, _STATUS, _HANDLE, _DATA, _NAME, _ATTRS, _EXTENDED = 19, 101, 102, 103, 104, 105, 200
_OK, _EOF, _NO_SUCH_FILE, _DENIED = 0, 1, 2, 3
_FOR_READING, _FOR_WRITING = 0x1, 0x2 | 0x8 | 0x10  # write, create, truncate
_RENAME_OVER = b"posix-rename@openssh.com"
#: Bytes asked for at a time: servers need not take more. And how many such requests are on their way for a file.
_BLOCK = 32 << 10
_IN_FLIGHT = 64
_LONGEST = 4 << 20  # of a packet: one that claims more is no SFTP
_ERRNOS = {_NO_SUCH_FILE: errno.ENOENT, _DENIED: errno.EACCES}
_POLL_SECONDS = 0.2


class Duplex(Protocol):
    """What a session runs over."""

    def read(self, size: int = 1 << 20) -> bytes:
        """Return some bytes; empty at the end."""

    def write(self, data: bytes) -> None:
        """Write all of it."""

    def close(self) -> None:
        """Close it."""


class Status(NamedTuple):
    """What a host says of a file. The time is in seconds: version 3 knows no finer."""

    mode: int
    size: int
    uid: int
    gid: int
    mtime: int


class _Answer:
    """An answer that will come."""

    def __init__(self) -> None:
        self._there = threading.Event()
        self._kind, self._body = 0, memoryview(b"")
        self._error: BaseException | None = None

    def give(self, kind: int, body: memoryview) -> None:
        self._kind, self._body = kind, body
        self._there.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._there.set()

    def take(self) -> tuple[int, memoryview]:
        while not self._there.wait(_POLL_SECONDS):
            command.raise_if_stopping()
        if self._error:
            raise self._error
        return self._kind, self._body


class _Body:
    """The fields of a packet, one after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        return int.from_bytes(self._bytes(4), "big")

    def text(self) -> bytes:
        return bytes(self._bytes(self.number()))

    def status(self) -> Status:
        flags = self.number()
        size = self.number() << 32 | self.number() if flags & 1 else 0
        uid, gid = (self.number(), self.number()) if flags & 2 else (0, 0)
        mode = self.number() if flags & 4 else 0
        mtime = (self.number(), self.number())[1] if flags & 8 else 0
        for _ in range(self.number() if flags & 0x8000_0000 else 0):
            self.text(), self.text()
        return Status(mode, size, uid, gid, mtime)

    def _bytes(self, size: int) -> memoryview:
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise ValueError("a packet is too short")
        self._at += size
        return part


@dataclass(frozen=True)
class RemoteFile:
    """An open file."""

    session: Sftp
    handle: bytes

    def status(self) -> Status:
        """Return what the host says of it now. Raises `OSError`."""
        return self.session._status_of(_FSTAT, self.handle)

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield its content to its end. `size` is what to expect: so much is asked for in advance."""
        asked, waiting = 0, deque[tuple[int, int, _Answer]]()
        while True:
            while len(waiting) < _IN_FLIGHT and (
                asked <= size or not waiting
            ):  # at `size` to see that there is no more
                wanted = min(_BLOCK, size - asked) if asked < size else _BLOCK
                waiting.append((asked, wanted, self._ask(asked, wanted)))
                asked += wanted
            at, wanted, answer = waiting.popleft()
            data = self.session._data(answer)
            if not data:
                return
            yield data
            if len(data) < wanted:  # the end, or a server that gives less at a time than it is asked for
                waiting.clear()
                asked = at + len(data)

    def part(self, start: int, end: int) -> Iterator[bytes]:
        """Yield its content from `start` up to but not including `end`, or to its end."""
        waiting = deque[tuple[int, int, _Answer]]()
        asked = start
        while asked < end or waiting:
            while asked < end and len(waiting) < _IN_FLIGHT:
                wanted = min(_BLOCK, end - asked)
                waiting.append((asked, wanted, self._ask(asked, wanted)))
                asked += wanted
            at, wanted, answer = waiting.popleft()
            data = self.session._data(answer)
            if not data:
                return
            yield data
            if len(data) < wanted:  # a server that gives less at a time than it is asked for
                waiting.clear()
                asked = at + len(data)

    def _ask(self, offset: int, size: int) -> _Answer:
        return self.session._ask(_READ, _text(self.handle) + struct.pack(">QI", offset, size))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(DrError, OSError):
            self.session._ask(_CLOSE, _text(self.handle))


class Sftp:
    """A session; a context that ends it. What the host refuses is an `OSError`; a lost connection a `DrError`."""

    def __init__(self, line: Duplex, host: str) -> None:
        self._line, self._host = line, host
        self._numbers, self._sending = count(1), threading.Lock()
        self._waiting: dict[int, _Answer] = {}
        self._guard = threading.Lock()
        self._broken: DrError | None = None
        self._buffer = bytearray()
        self._extensions = self._greet()
        threading.Thread(target=self._listen, name="dr-sftp", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close()

    # -- what is there -------------------------------------------------------------------------------------

    def lstat(self, path: bytes) -> Status:
        """Return what lies at a path; a link is not followed. Raises `OSError`."""
        return self._status_of(_LSTAT, path)

    def stat(self, path: bytes) -> Status:
        """Return what a path leads to. Raises `OSError`."""
        return self._status_of(_STAT, path)

    def readlink(self, path: bytes) -> bytes:
        """Return what a link says. Raises `OSError`."""
        body = self._expect(self._ask(_READLINK, _text(path)), _NAME)
        body.number()
        return body.text()

    def listdir(self, path: bytes) -> list[tuple[bytes, Status]]:
        """Return what a directory holds, names as the host gives them: they may be anything. Raises `OSError`."""
        handle = self._expect(self._ask(_OPENDIR, _text(path)), _HANDLE).text()
        found: list[tuple[bytes, Status]] = []
        try:
            while True:
                kind, data = self._ask(_READDIR, _text(handle)).take()
                if kind != _NAME:
                    self._raise_unless(_EOF, kind, data)
                    return found
                found += self._names(data)
        finally:
            self._ask(_CLOSE, _text(handle))

    def open(self, path: bytes) -> RemoteFile:
        """Open a file for reading. Raises `OSError`."""
        handle = self._expect(self._ask(_OPEN, _text(path) + struct.pack(">II", _FOR_READING, 0)), _HANDLE).text()
        return RemoteFile(self, handle)

    # -- changes -------------------------------------------------------------------------------------------

    def put(self, path: bytes, data: bytes, mode: int = 0o600) -> None:
        """Write a file, over what is there. Raises `OSError`; then it may be there in part."""
        self.write(path, (data,), mode)

    def write(self, path: bytes, blocks: Iterable[bytes], mode: int = 0o600) -> None:
        """Write a file, over what is there, as its bytes come. Raises `OSError`; then it may be there in part."""
        attributes = struct.pack(">II", 4, mode)
        opening = self._ask(_OPEN, _text(path) + struct.pack(">I", _FOR_WRITING) + attributes)
        handle = self._expect(opening, _HANDLE).text()
        waiting, offset = deque([self._ask(_FSETSTAT, _text(handle) + attributes)]), 0
        for data in blocks:
            for start in range(0, len(data), _BLOCK):
                block = data[start : start + _BLOCK]
                waiting.append(self._ask(_WRITE, _text(handle) + struct.pack(">Q", offset) + _text(block)))
                offset += len(block)
                if len(waiting) >= _IN_FLIGHT:
                    self._done(waiting.popleft())
        waiting.append(self._ask(_CLOSE, _text(handle)))
        for answer in waiting:
            self._done(answer)

    def chmod(self, path: bytes, mode: int) -> None:
        """Set the mode. Raises `OSError`."""
        self._done(self._ask(_SETSTAT, _text(path) + struct.pack(">II", 4, mode)))

    def mkdir(self, path: bytes, mode: int = 0o700) -> None:
        """Make a directory. Raises `OSError`."""
        self._done(self._ask(_MKDIR, _text(path) + struct.pack(">II", 4, mode)))

    def rmdir(self, path: bytes) -> None:
        """Remove an empty directory. Raises `OSError`."""
        self._done(self._ask(_RMDIR, _text(path)))

    def remove(self, path: bytes) -> None:
        """Remove a file. Raises `OSError`."""
        self._done(self._ask(_REMOVE, _text(path)))

    def rename(self, path: bytes, to: bytes) -> None:
        """Rename, over what is there where the host can do that. Raises `OSError`."""
        if _RENAME_OVER in self._extensions:
            self._done(self._ask(_EXTENDED, _text(_RENAME_OVER) + _text(path) + _text(to)))
        else:
            self._done(self._ask(_RENAME, _text(path) + _text(to)))

    # -- asking --------------------------------------------------------------------------------------------

    def _ask(self, kind: int, body: bytes) -> _Answer:
        answer = _Answer()
        with self._guard:
            if self._broken:
                raise self._broken
            number = next(self._numbers) & 0xFFFF_FFFF
            self._waiting[number] = answer
        self._send(kind, struct.pack(">I", number) + body)
        return answer

    def _send(self, kind: int, body: bytes) -> None:
        try:
            with self._sending:
                self._line.write(struct.pack(">IB", len(body) + 1, kind) + body)
        except OSError as error:
            raise self._broken or self._ended(str(error)) from error

    def _expect(self, answer: _Answer, wanted: int) -> _Body:
        kind, data = answer.take()
        if kind != wanted:
            self._raise_unless(None, kind, data)
        return _Body(data)

    def _done(self, answer: _Answer) -> None:
        self._raise_unless(_OK, *answer.take())

    def _data(self, answer: _Answer) -> bytes:
        """Return the bytes read; none at the end of the file."""
        kind, data = answer.take()
        if kind == _DATA:
            return bytes(data[4:])
        self._raise_unless(_EOF, kind, data)
        return b""

    def _status_of(self, kind: int, what: bytes) -> Status:
        return self._expect(self._ask(kind, _text(what)), _ATTRS).status()

    def _names(self, data: memoryview) -> list[tuple[bytes, Status]]:
        body = _Body(data)
        found = []
        for _ in range(body.number()):
            name, _long = body.text(), body.text()
            found.append((name, body.status()))
        return [item for item in found if item[0] not in (b".", b"..")]

    def _raise_unless(self, wanted: int | None, kind: int, data: memoryview) -> None:
        if kind != _STATUS:
            raise self._ended(f"it answers with packet {kind} where none such belongs")
        body = _Body(data)
        code = body.number()
        if code == wanted:
            return
        text = body.text() if len(data) > 4 else b""
        said = "".join(c if c.isprintable() else "?" for c in text.decode("utf-8", "replace"))[:200]
        raise OSError(_ERRNOS.get(code, errno.EIO), said or f"SFTP error {code}")

    # -- answers -------------------------------------------------------------------------------------------

    def _greet(self) -> frozenset[bytes]:
        self._send(_INIT, struct.pack(">I", 3))
        try:
            kind, data = self._packet()
            if kind != _VERSION:
                raise ValueError
            body, rest = _Body(data[4:]), len(data) - 4
            names = set()
            while rest > 0:
                name, value = body.text(), body.text()
                names.add(name)
                rest -= 8 + len(name) + len(value)
        except ValueError as error:
            raise self._ended("what it says is not SFTP: do its shell's start-up files print something?") from error
        return frozenset(names)

    def _listen(self) -> None:
        """Hand each answer to who waits for it, until the session ends; then nobody is left waiting."""
        broken = self._ended("")
        try:
            while True:
                kind, data = self._packet()
                answer = self._waiting.pop(int.from_bytes(data[:4], "big"), None)
                if answer:
                    answer.give(kind, data[4:])
        except DrError as error:
            broken = error
        except ValueError as error:
            broken = self._ended(str(error))
        finally:
            with self._guard:
                self._broken = broken
                left = list(self._waiting.values())
            for answer in left:
                answer.fail(broken)

    def _packet(self) -> tuple[int, memoryview]:
        size = int.from_bytes(self._exactly(4), "big")
        if not 1 <= size <= _LONGEST:
            raise ValueError(f"a packet claims to have {size} bytes")
        data = memoryview(self._exactly(size))
        return data[0], data[1:]

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            block = self._line.read()
            if not block:
                raise self._ended("it ended the session")
            self._buffer += block
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _ended(self, cause: str) -> DrError:
        return DrError(
            f"the file session with {self._host} broke", cause=cause, hint="see that host's log", retryable=True
        )


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
