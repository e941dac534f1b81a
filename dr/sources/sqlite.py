"""The source `sqlite`: one database, copied consistently by SQLite's backup API while it is in use."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from dr.errors import SourceError
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.plan.source import SqliteSource
from dr.sources.door import MANIFEST, Doors, Tree, parse_timestamp
from dr.tools import command
from dr.tools.digest import sha256_file

_PAGES = 2_000  # a step: short enough to let writers in between
_RESTARTS = 20  # a writer in between starts the copy anew; after so many, one step takes all pages
_BUSY_SECONDS = 60.0


class Sqlite(Doors):
    """One SQLite file on this host."""

    kind = "sqlite"

    def __init__(self, name: str, declared: SqliteSource) -> None:
        super().__init__(name)
        self._path = Path(declared.path)
        self._newest = declared.newest

    def capture(self, work: Path, reuse: Path | None) -> Tree:
        """See `Doors`. The copy in `work` is one file, whatever journal the original has."""
        started = datetime.now(UTC)
        copy = work / self._path.name
        with self._errors("copying the database"):
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

    def start(self, root: Path) -> None:
        """See `Doors`: SQLite itself says whether the database is whole."""
        with self._errors("checking the database"), closing(_reader(root / self._path.name)) as database:
            answer = [str(row[0]) for row in database.execute("pragma quick_check(3)")]
        if answer != ["ok"]:
            raise SourceError(
                "the restored database is not whole", self.name, answer[0][:200], hint="use another point"
            )

    def probe(self, root: Path, query: str) -> object:
        """See `Doors`. The database is opened for reading only."""
        with self._errors("the query failed"), closing(_reader(root / self._path.name)) as database:
            row = database.execute(query).fetchone()
        return row[0] if row else None

    def newest(self, root: Path) -> datetime | None:
        """See `Doors`."""
        return parse_timestamp(self.probe(root, self._newest)) if self._newest else None

    def _copy(self, copy: Path) -> None:
        restarts, before = 0, -1

        def step(status: int, remaining: int, total: int) -> None:
            nonlocal restarts, before
            command.raise_if_stopping()
            restarts += remaining > before >= 0
            before = remaining
            if restarts > _RESTARTS:
                raise _RestartedTooOftenError

        with closing(_reader(self._path)) as source, closing(sqlite3.connect(copy)) as target:
            try:
                source.backup(target, pages=_PAGES, progress=step, sleep=0.02)
            except _RestartedTooOftenError:
                source.backup(target, pages=-1)
            target.execute("pragma journal_mode = delete")

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason = str(error)
            raise SourceError(f"{doing}: SQLite says {reason!r}", self.name, hint=_hint(reason)) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise SourceError(f"{doing} failed", self.name, reason, hint="see the disk and its rights") from error


class _RestartedTooOftenError(Exception):
    """Writers keep starting the copy anew."""


def _reader(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SourceError("the database file is not there", path.name, hint="see whether the source was restored")
    uri = f"file:{quote(str(path))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)


def _hint(reason: str) -> str:
    if "locked" in reason or "busy" in reason:
        return "a program holds the database exclusively: end its long transaction, or raise the backup's hour"
    if "not a database" in reason:
        return "the file is encrypted, damaged, or no SQLite database"
    if "full" in reason:
        return "free space in the state directory: a copy of the database is made there"
    return "open the database with the sqlite3 program and see"
