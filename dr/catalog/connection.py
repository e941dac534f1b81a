"""Connections: one a thread, WAL, and every fault of SQLite made a clear `CatalogError`."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from dr.catalog.migrations import STEPS
from dr.catalog.values import ref_key
from dr.errors import CatalogError
from dr.tools import digest
from dr.tools.state_dir import StateDir, is_full, is_read_only

_BUSY_SECONDS = 30.0
_REBUILD = "see the disk, or let `dr points rebuild` make it again from the targets"


class Connections:
    """The catalog file, opened once a thread. Safe for many threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        with self.errors("opening"):
            self._make_private()
            self._migrate()

    def close(self) -> None:
        """Close them all."""
        with self._guard:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._mine = threading.local()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread's connection."""
        with self.errors("reading"):
            yield self._connection()

    @contextmanager
    def one_moment(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread's connection to who reads much as it is at one moment, whoever writes meanwhile."""
        with self.reading() as connection:
            connection.execute("begin")
            try:
                yield connection
            finally:
                connection.execute("rollback")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend this thread's connection within one transaction: all of it is kept, or nothing."""
        with self.errors("writing"):
            connection = self._connection()
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    @staticmethod
    @contextmanager
    def odd_text(connection: sqlite3.Connection) -> Iterator[None]:
        """Read text that is none as the bytes it is made of: otherwise a row with it cannot be read at all."""
        before = connection.text_factory
        connection.text_factory = _text_or_bytes
        try:
            yield
        finally:
            connection.text_factory = before

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn SQLite's faults into ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            reason = str(error)
            if self._is_full(error):
                what, hint = f"{doing} the catalog failed: its disk is full", "free some space there, then start again"
                raise CatalogError(what, str(self.path), reason, hint=hint) from error
            if self._is_read_only(error):
                what = f"{doing} the catalog failed: its file system is read-only"
                hint = "see why in the kernel's log, mount it for writing, then start again"
                raise CatalogError(what, str(self.path), reason, hint=hint) from error
            if self._is_closed(error):
                what, hint = f"{doing} the catalog failed: its rights forbid it", "run as its owner, or correct them"
                raise CatalogError(what, str(self.path), reason, hint=hint) from error
            hint = "wait for the other run to end" if "locked" in reason else _REBUILD
            raise CatalogError(f"{doing} the catalog failed", str(self.path), reason, hint=hint) from error
        except sqlite3.IntegrityError as error:  # it is whole, and refuses this: two runs of one id, for instance
            raise CatalogError(
                f"{doing} the catalog failed: it does not take this entry",
                str(self.path),
                str(error),
                hint="start the command again",
            ) from error
        except sqlite3.Error as error:
            raise CatalogError(
                f"{doing} the catalog failed: it is damaged",
                str(self.path),
                str(error),
                hint="run `dr points rebuild`: it moves the damaged file aside and reads the targets",
            ) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise CatalogError(f"{doing} the catalog failed", str(self.path), reason, hint=_REBUILD) from error

    def _is_full(self, error: sqlite3.OperationalError) -> bool:
        """Whether a full disk is behind it: where only the log's index finds no room, SQLite names no cause."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # what Python itself refuses to read has none
        if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN):
            return code == sqlite3.SQLITE_FULL
        with suppress(OSError):
            return is_full(self.path.parent)
        return False

    def _is_read_only(self, error: sqlite3.OperationalError) -> bool:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        odd = code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        return odd and is_read_only(self.path.parent)

    def _is_closed(self, error: sqlite3.OperationalError) -> bool:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        odd = code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        return odd and self.path.exists() and not os.access(self.path, os.R_OK | os.W_OK)

    def _connection(self) -> sqlite3.Connection:
        mine: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if mine is None:
            mine = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            mine.row_factory = sqlite3.Row
            mine.create_function("ref_key", 1, ref_key, deterministic=True)
            mine.execute("pragma journal_mode = wal")
            mine.execute("pragma synchronous = full")
            mine.execute("select count(*) from sqlite_master").fetchone()  # opens the log too
            self._mine.connection = mine
            with self._guard:
                self._all.append(mine)
            digest.leave_closed(self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm")))
        return mine

    def _make_private(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Never opened when it is there: POSIX drops all of a process's locks on a file when it closes the file
        # anywhere, and without its locks SQLite loses what it wrote to another process.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _migrate(self) -> None:
        connection = self._connection()
        version = connection.execute("pragma user_version").fetchone()[0]
        if version > len(STEPS):
            raise CatalogError(
                "the catalog was made by a newer release", str(self.path), hint="install that release, or a newer one"
            )
        if version == len(STEPS):
            return
        connection.execute("begin immediate")
        try:
            version = connection.execute("pragma user_version").fetchone()[0]
            for number, step in enumerate(STEPS[version:], version + 1):
                for statement in filter(str.strip, step.split(";")):
                    connection.execute(statement)
                connection.execute(f"pragma user_version = {number}")
            connection.execute("commit")
        except BaseException:
            connection.execute("rollback")
            raise


def copy_of(state: StateDir, to: StateDir) -> bool:
    """Copy the catalog of a state directory that takes nothing into that of another; False where there is none.

    SQLite reads no catalog there that it cannot note its locks beside; then nobody writes to it, and its files are one.
    """
    path, made = state.catalog, to.catalog
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as here:
            with closing(sqlite3.connect(made)) as there:
                here.backup(there)
    except sqlite3.Error:
        try:
            import shutil

            shutil.copyfile(path, made)
            with suppress(FileNotFoundError):
                shutil.copyfile(path.with_name(f"{path.name}-wal"), made.with_name(f"{made.name}-wal"))
        except OSError:
            return False
    return True


def _text_or_bytes(stored: bytes) -> str | bytes:
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


#: What is read by itself: records that cannot be read are put back one by one.
_RECORDS = ("evidence", "folded", "chunks")


def quick_check(connections: Connections) -> None:
    """Raise `CatalogError` when SQLite finds the file damaged, or something of it but the records cannot be read."""
    with connections.reading() as connection, closing(connection.execute("pragma quick_check(1)")) as rows:
        answer = str(rows.fetchone()[0])
    if answer == "ok":
        answer = _unreadable(connections)
    if answer:
        raise CatalogError(
            "the catalog is damaged",
            str(connections.path),
            answer[:200],
            hint="run `dr points rebuild`: it moves the damaged file aside and reads the targets",
        )


def _unreadable(connections: Connections) -> str:
    """Return what is wrong with the first row that cannot be read: its text is none."""
    with connections.reading() as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            if table in _RECORDS:
                continue
            try:
                deque(connection.execute(f"select * from {table}"), maxlen=0)  # noqa: S608 - a name of ours
            except sqlite3.OperationalError as error:
                return f"{table}: {error}"
    return ""
