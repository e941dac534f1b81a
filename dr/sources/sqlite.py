"""The source `sqlite`: one database, copied consistently by SQLite's backup API while it is in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.plan.source_kinds import SqliteSource
from dr.sources.driver import MANIFEST, Foretold, RestoredSource, RestoreSlot, SourceDriver, Tree
from dr.sources.tables import Beside, Table, Tables
from dr.tools import command
from dr.tools.digest import sha256_file
from dr.tools.host import ThisHost

_PAGES = 2_000  # a step: short enough to let writers in between
_SMALL = 64 << 20  # bytes copied in a moment: writers are kept waiting for that long
_RESTARTS = 5  # a writer in between starts the copy anew; after so many, writers must wait
_BUSY_SECONDS = 60.0  # how long a lock is waited for
_ASK_SECONDS = 0.003
_PAUSE_SECONDS = 0.01
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_FILES = ("", "-wal", "-journal")
_BEGINNING = 4 << 20  # bytes of a file in which its definitions are looked for before it is restored


class Sqlite(SourceDriver):
    """One SQLite file on this host."""

    kind = "sqlite"

    def __init__(self, name: str, declared: SqliteSource) -> None:
        super().__init__(name)
        self._path = Path(declared.path)
        self._declared = declared

    def capture(self, work: Path, reuse: Path | None) -> Tree:
        """See `SourceDriver`. The copy in `work` is one file, whatever journal the original has."""
        started = datetime.now(UTC)
        copy = work / self._path.name
        with _errors(self.name, "copying the database"):
            if not self._path.is_file():
                raise SourceError(
                    f"the database {self._path} is not there", self.name, hint="correct the path, or mount its disk"
                )
            self._copy(copy)
        shutil.copystat(self._path, copy)
        status = self._path.stat()
        if os.geteuid() == 0:
            os.chown(copy, status.st_uid, status.st_gid)
        digest, size = sha256_file(copy)
        entry = Entry(
            os.fsencode(f"/{copy.name}"),
            "file",
            size,
            digest,
            copy.stat().st_mode,
            status.st_uid,
            status.st_gid,
        )
        header = manifest.header_of(source=self.name, kind=self.kind, started=started)
        manifest.write(work / MANIFEST, header, [entry])
        return Tree(paths=(copy.name,), cwd=work, started=started, files=1, bytes=size)

    def restored(self, room: RestoreSlot) -> RestoredSource:
        """See `SourceDriver`."""
        return restored_database(self.name, self._path.name, self._declared, room)

    def beside(self) -> Beside:
        """See `SourceDriver`."""
        from dr.sources.sqlite_tables import SqliteBeside

        return SqliteBeside(self.name, self._declared.path, ThisHost())

    def _copy(self, copy: Path) -> None:
        real = self._path.resolve()
        try:
            _copy_database(_read_only(real), copy)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
            self._copy_aside(real, copy)

    def _copy_aside(self, real: Path, copy: Path) -> None:
        """Copy a database that SQLite cannot read where it lies.

        Its program crashed amid a transaction, or it lies on a read-only disk: its journal must be worked
        in first, and that is done to a copy. The original is not touched.
        """
        copy.unlink(missing_ok=True)
        with TemporaryDirectory(dir=copy.parent, prefix=".aside-") as folder:
            aside = Path(folder, real.name)
            if not any(_copied_still(real, aside) for _ in range(3)):
                raise SourceError(
                    "the database cannot be opened for reading, and changes while its file is copied",
                    self.name,
                    hint="let this program's user write in the database's directory, as SQLite asks of readers",
                )
            _copy_database(sqlite3.connect(aside, isolation_level=None, timeout=0), copy)
        _whole(
            self.name,
            copy,
            "the database, as its program left it in mid-transaction, is not whole",
            hint="start its program, which puts it right, or recover it from an earlier point",
        )


def restored_database(name: str, filename: str, declared: SqliteSource, room: RestoreSlot) -> RestoredSource:
    """Return what a restore makes of a database's file, wherever it was captured."""
    if not room.host.here:
        from dr.sources.far_sqlite import FarDatabase

        return FarDatabase(name, filename, declared, room)
    return _Restored(name, filename, declared, room)


class _Restored(RestoredSource):
    """The database's file, restored, and opened for reading only."""

    def __init__(self, name: str, filename: str, declared: SqliteSource, room: RestoreSlot) -> None:
        super().__init__(name, Sqlite.kind, room)
        self._file, self._declared = room.root / filename, declared
        self.tells_tables = Foretold(file=filename, data=True, most=_BEGINNING)

    def start(self) -> None:
        """See `RestoredSource`: SQLite itself says whether the database is whole."""
        with _errors(self.name, "checking the database"):
            _whole(self.name, self._file, "the restored database is not whole", hint="use another point")

    def probe(self, query: str, database: str | None = None) -> object:
        """See `RestoredSource`."""
        with _errors(self.name, "the query failed"), closing(_reader(self._file)) as opened:
            row = opened.execute(query).fetchone()
        return row[0] if row else None

    def newest(self) -> datetime | None:
        """See `RestoredSource`."""
        declared = self._declared
        return self.read_newest(self.probe(declared.newest), declared.newest_timezone) if declared.newest else None

    def foreseen_tables(self) -> list[Table] | None:
        """See `RestoredSource`."""
        from dr.sources.sqlite_beginning import tables_in

        return tables_in(self.name, self.room.apart / self._file.name)

    def refuse_condition(self, table: Table, where: str) -> None:
        """See `RestoredSource`."""
        from dr.sources.sqlite_beginning import refuse_condition

        refuse_condition(self.name, self.room.apart / self._file.name, table, where)

    def tables(self) -> Tables:
        """See `RestoredSource`."""
        from dr.sources.sqlite_tables import SqliteTables

        return SqliteTables(self.name, self._file, self.room.apart)


def _whole(name: str, path: Path, problem: str, *, hint: str) -> None:
    with closing(_reader(path)) as database:
        answer = [str(row[0]) for row in database.execute("pragma quick_check(3)")]
    if answer != ["ok"]:
        raise SourceError(problem, name, answer[0][:200], hint=hint)


@contextmanager
def _errors(name: str, doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        reason = str(error)
        raise SourceError(f"{doing}: SQLite says {reason!r}", name, hint=_hint(reason)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise SourceError(f"{doing} failed", name, reason, hint="see the disk and its rights") from error


class _RestartedTooOftenError(Exception):
    """Writers keep starting the copy anew."""


def _copy_database(source: sqlite3.Connection, copy: Path) -> None:
    """Copy `source`, and close it, to a single file, waiting for writers and letting them wait little.

    A read transaction holds the data still. With a write-ahead log that hinders nobody; with a rollback
    journal it stops writers from committing, so that a large database is first tried without.
    """
    with closing(source), closing(sqlite3.connect(copy)) as target:
        target.execute("pragma synchronous = off")  # a scratch file: read once, then thrown away
        _begin(source)
        size = source.execute("select page_count * page_size from pragma_page_count, pragma_page_size").fetchone()[0]
        logged = source.execute("pragma journal_mode").fetchone()[0] == "wal"
        if logged or size <= _SMALL:
            _pump(source, target, restarts=None)
        else:
            source.rollback()
            try:
                _pump(source, target, restarts=_RESTARTS)
            except _RestartedTooOftenError:
                _begin(source)
                _pump(source, target, restarts=None)
        target.execute("pragma journal_mode = delete")


def _begin(source: sqlite3.Connection) -> None:
    """Begin reading. Asks often, since SQLite's own waiting starves beside a busy writer."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        command.raise_if_stopping()
        try:
            source.execute("begin")
            source.execute("select count(*) from sqlite_master").fetchone()
            return
        except sqlite3.OperationalError as error:
            source.rollback()
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_ASK_SECONDS)


def _pump(source: sqlite3.Connection, target: sqlite3.Connection, *, restarts: int | None) -> None:
    """Copy in steps. `restarts`: how often writers in between may start the copy anew; None: they cannot."""
    before, again, deadline = -1, 0, time.monotonic() + _BUSY_SECONDS

    def step(status: int, remaining: int, total: int) -> None:
        nonlocal before, again, deadline
        command.raise_if_stopping()
        if status in _BUSY:
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("database is locked")
            return
        deadline = time.monotonic() + _BUSY_SECONDS
        if restarts is None:
            return
        again += remaining >= before >= 0
        before = remaining
        if again > restarts:
            raise _RestartedTooOftenError
        time.sleep(_PAUSE_SECONDS)

    source.backup(target, pages=_PAGES, progress=step, sleep=_ASK_SECONDS)


def _copied_still(real: Path, aside: Path) -> bool:
    """Copy a database's files; return whether nobody touched them meanwhile."""
    before = _stamps(real)
    for suffix, stamp in zip(_FILES, before, strict=True):
        to = Path(f"{aside}{suffix}")
        to.unlink(missing_ok=True)
        if stamp:
            command.raise_if_stopping()
            shutil.copyfile(f"{real}{suffix}", to)
    return _stamps(real) == before


def _stamps(real: Path) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for suffix in _FILES:
        try:
            status = os.stat(f"{real}{suffix}")
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def _read_only(path: Path, *, timeout: float = 0) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.fsencode(path))}?mode=ro", uri=True, isolation_level=None, timeout=timeout)


def _reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SourceError("the database file is not there", path.name, hint="see whether the source was restored")
    return _read_only(path, timeout=_BUSY_SECONDS)


def _hint(reason: str) -> str:
    if "locked" in reason or "busy" in reason:
        return "a program holds the database exclusively: end its long transaction, or raise the backup's hour"
    if "not a database" in reason:
        return "the file is encrypted, damaged, or no SQLite database"
    if "full" in reason:
        return "free space in the state directory: a copy of the database is made there"
    return "open the database with the sqlite3 program and see"
