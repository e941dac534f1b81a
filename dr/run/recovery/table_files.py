"""The files that a table is written to: without a name until they are whole, and never over what is there.

A file without a name is gone when its writer is: a recovery that is killed leaves nothing half written.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from dr.errors import DrError, UsageError
from dr.tools import command

_BLOCK = 1 << 20
#: What may not be in a file's name, or would hide it.
_UNSAFE = re.compile(r"[%/\\\x00-\x1f\x7f]|^\.")


def path_of(to: Path, table: str, ending: str) -> Path:
    """Return where a table is written."""
    return to / (_UNSAFE.sub(lambda found: f"%{ord(found[0]):02X}", table) + ending)


def refuse_existing(to: Path, table: str) -> None:
    """Raise `UsageError` when a file of the table is there."""
    for path in (path_of(to, table, ending) for ending in (".sql", ".csv")):
        if os.path.lexists(path):
            raise UsageError("this is there already", str(path), hint="name another directory, or say --force")


def prepare(to: Path) -> None:
    """Make the directory, for its owner alone, where it is not there."""
    with _errors(to):
        to.mkdir(mode=0o700, parents=True, exist_ok=True)


class TableFile:
    """One file while it is written, read and, in the end, given its name. A context, at whose end it is closed."""

    def __init__(self, to: Path, table: str, ending: str) -> None:
        self.path = path_of(to, table, ending)
        self._beside = self.path.with_name(f".{secrets.token_hex(8)}.unfinished")
        self._named = False

    def __enter__(self) -> Self:
        with _errors(self.path):
            try:
                self._fd = os.open(self.path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            except OSError:  # a file system that has no files without a name
                self._fd = os.open(self._beside, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
                self._named = True
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        with suppress(FileNotFoundError):
            self._beside.unlink()

    def write(self, chunks: Iterable[bytes]) -> None:
        """Write all of it, lastingly."""
        for chunk in chunks:
            command.raise_if_stopping()
            with _errors(self.path):
                view = memoryview(chunk)
                while view:
                    view = view[os.write(self._fd, view) :]
        with _errors(self.path):
            os.fsync(self._fd)

    def read(self) -> Iterator[bytes]:
        """Yield what was written."""
        at = 0
        while block := os.pread(self._fd, _BLOCK, at):
            at += len(block)
            yield block

    def publish(self, *, over: bool) -> None:
        """Give it its name; `UsageError` when somebody took that meanwhile, unless it may be written `over`."""
        with _errors(self.path):
            if not self._named:
                self._link(self._beside if over else self.path)
            if over:
                self._beside.replace(self.path)
            elif self._named:
                os.link(self._beside, self.path)

    def _link(self, name: Path) -> None:
        """Give the file a first name. Python follows the link of a descriptor only from a directory that is named."""
        folder = os.open(name.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.link(f"/proc/self/fd/{self._fd}", name.name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise UsageError("this is there already", str(path), hint="name another directory, or say --force") from None
    except OSError as error:
        raise DrError(
            "the table cannot be written", str(path), error.strerror or "",
            hint="correct the rights of the directory, free some space there, or name another",
        ) from error  # fmt: skip
