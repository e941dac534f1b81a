"""The index of files: which files the points of a system hold, in which version, from which point to which.

One SQLite file a system below STATE/index. It is derived from manifests alone, and may be thrown away: whoever asks
next makes it again. A file that did not change from one point to the next costs nothing: a *span* says in which points,
from the first to the last, a name had one content and one set of owner, mode and times; the last is open while it
lasts. So the index grows with what changed, not with the number of points.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from dr.errors import CatalogError
from dr.evidence import manifest
from dr.evidence.file_version import Found
from dr.evidence.manifest import Entry
from dr.evidence.manifest_changes import differing
from dr.late_dataclass import dataclass
from dr.tools.state_dir import StateDir

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION = 1
_BATCH = 1000  # entries that are put at a time
_SCHEMA = """
create table points (
    seq integer primary key, source text not null, run_id text not null, at integer not null, unique (source, run_id));
create table folders (id integer primary key, source text not null, path blob not null, unique (source, path));
create table names (
    id integer primary key, folder integer not null, base blob not null, unique (folder, base));
create table spans (
    name integer not null, first integer not null, last integer, kind text not null, size integer not null,
    sha256 blob, mode integer not null, uid integer not null, gid integer not null, mtime integer not null,
    link blob, state text not null, attributes text, primary key (name, first)) without rowid;
"""
_COLUMNS = "kind, size, sha256, mode, uid, gid, mtime, link, state, attributes"


@dataclass(frozen=True)
class Indexed:
    """A point of one source as the index knows it; `seq` grows with time within a source."""

    seq: int
    source: str
    run_id: str
    at: datetime


class FileIndex:
    """The index of one system; a context. Made when absent, and again when it is damaged or of another version.

    Raises `CatalogError` when the state directory cannot be written.
    """

    def __init__(self, state: StateDir, system: str) -> None:
        self.folder = state.index / system
        self.path = self.folder / "files.sqlite"

    def __enter__(self) -> FileIndex:
        """Open it."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._connection = self._opened()
        except (OSError, sqlite3.Error) as error:
            raise _unusable(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._connection.close()

    # -- what is in it ------------------------------------------------------------------------------

    def points(self) -> list[Indexed]:
        """Return what was taken in, oldest first of each source."""
        rows = self._rows("select seq, source, run_id, at from points order by source, seq")
        return [Indexed(seq, source, run_id, _moment(at)) for seq, source, run_id, at in rows]

    def seq_of(self, source: str, run_id: str) -> int | None:
        """Return the number of a point of a source; None where it was not taken in."""
        rows = self._rows("select seq from points where source = ? and run_id = ?", (source, run_id))
        return next((int(seq) for (seq,) in rows), None)

    def last(self, source: str) -> Path | None:
        """Return the manifest that was taken in last of a source: what the next is held against."""
        path = self._last_path(source)
        return path if path.is_file() else None

    def entries(
        self, seq: int, source: str, folder: bytes, *, after: bytes | None = None, most: int = -1
    ) -> Iterator[Found]:
        """Yield what lay directly in a folder, in one point, by name: at most so many behind a name, or all."""
        yield from self._found(
            "f.source = ? and f.path = ? and (? is null or n.base > ?) and s.first <= ? "
            "and (s.last is null or s.last >= ?) order by n.base limit ?",
            (source, folder, after, after, seq, seq, most),
        )

    def history(self, source: str, path: bytes) -> Iterator[Found]:
        """Yield every version of one name, the newest first."""
        folder, base = os.path.split(path)
        yield from self._found(
            "f.source = ? and f.path = ? and n.base = ? order by s.first desc", (source, folder, base)
        )

    def everything(self, seq: int, source: str) -> Iterator[Found]:
        """Yield all that a point holds of a source, by path."""
        yield from self._found(
            "f.source = ? and s.first <= ? and (s.last is null or s.last >= ?) order by f.path, n.base",
            (source, seq, seq),
        )

    def below(self, seq: int, source: str, folder: bytes) -> Iterator[Found]:
        """Yield what lay in a folder and below it, in one point, by path."""
        start = folder.rstrip(b"/") + b"/"
        there = (
            "s.first <= ? and (s.last is null or s.last >= ?) order by f.path, n.base"  # each by the indexes: no sort
        )
        if folder != start:
            yield from self._found(f"f.source = ? and f.path = ? and {there}", (source, folder, seq, seq))
        yield from self._found(
            f"f.source = ? and f.path >= ? and f.path < ? and {there}",
            (source, start, start[:-1] + b"0", seq, seq),
        )

    def top_folders(self, seq: int, source: str) -> list[bytes]:
        """Return the folders that hold entries in a point and are none of its entries themselves."""
        rows = self._rows(
            "select f.path from folders f where f.source = ? and exists (select 1 from names n join spans s "
            "on s.name = n.id where n.folder = f.id and s.first <= ? and (s.last is null or s.last >= ?)) "
            "order by f.path",
            (source, seq, seq),
        )
        return [path for (path,) in rows if self.at_path(seq, source, path) is None]

    def at_path(self, seq: int, source: str, path: bytes) -> Found | None:
        """Return one entry of a point by its whole path."""
        folder, base = os.path.split(path)
        rows = self._found(
            "f.source = ? and f.path = ? and n.base = ? and s.first <= ? and (s.last is null or s.last >= ?)",
            (source, folder, base, seq, seq),
        )
        return next(rows, None)

    def matching(self, glob: str, *, whole: bool, any_case: bool) -> Iterator[Found]:
        """Yield every version of every name that matches a pattern of SQLite's GLOB: `*`, `?`, `[abc]`.

        `whole`: the whole path is to match, not the last part of it. `any_case`: capital letters of ASCII are taken
        for small ones, which is what the pattern has then. Newest version of each name first.
        """
        name = "cast(n.base as text)"
        if whole:
            name = "rtrim(cast(f.path as text), '/') || '/' || cast(n.base as text)"
        name = f"lower({name})" if any_case else name
        yield from self._found(f"{name} glob ? order by f.source, f.path, n.base, s.first desc", (glob,))

    def changed(self, source: str, one: int, two: int) -> Iterator[Found]:
        """Yield each version that is in only one of two points, `one` the older: those of `one`, then of `two`."""
        by_path = "order by f.path, n.base"
        gone = f"f.source = ? and s.first <= ? and s.last >= ? and s.last < ? {by_path}"
        come = f"f.source = ? and s.first > ? and s.first <= ? and (s.last is null or s.last >= ?) {by_path}"
        yield from self._found(gone, (source, one, one, two))
        yield from self._found(come, (source, one, two, two))

    def names_like(self, text: str, most: int) -> list[str]:
        """Return up to `most` different last parts of names, those that hold any part of a text first."""
        rows = self._rows(
            "select distinct base from names order by cast(base as text) not like cast(? as text) limit ?",
            (os.fsencode(f"%{text[:4]}%"), most),
        )
        return [os.fsdecode(name) for (name,) in rows]

    # -- taking in -----------------------------------------------------------------------------------

    def take_in(self, source: str, run_id: str, at: datetime, listed: Path) -> int:
        """Take in the manifest of the next point of a source; return how many versions were new.

        Points of a source are taken in by time, oldest first. Raises `DamageError` when the manifest is damaged;
        nothing of it is kept then.
        """
        if not manifest.is_whole(listed):
            raise manifest.damaged(listed, ValueError("it was altered or cut short"))
        before, gone = self.last(source), list[bytes]()
        with self._writing() as connection:
            connection.execute("drop index if exists spans_content")  # of earlier releases: nothing asks by content
            seq = self._next(connection, source, run_id, at)
            names, fresh, made = _Names(connection, source), _fresh(before, listed, gone), 0
            while batch := list(islice(fresh, _BATCH)):
                made += _put(connection, seq, [(names.of(entry.path), entry) for entry in batch])
            self._close(connection, source, seq, map(manifest.entry_of, gone))
        self._remember(source, listed)
        return made

    def forget_source(self, source: str) -> None:
        """Throw away all that is known of a source."""
        self._last_path(source).unlink(missing_ok=True)
        of_source = "select n.id from names n join folders f on f.id = n.folder where f.source = ?"
        with self._writing() as connection:
            connection.execute(f"delete from spans where name in ({of_source})", (source,))  # noqa: S608
            connection.execute(f"delete from names where id in ({of_source})", (source,))  # noqa: S608
            for table in ("folders", "points"):
                connection.execute(f"delete from {table} where source = ?", (source,))  # noqa: S608

    def keep_only(self, run_ids: Iterable[str]) -> int:
        """Throw away the versions that were only in points that are no more; return how many those were."""
        with self._writing() as connection:
            connection.execute("create temp table kept (run_id text primary key) without rowid")
            connection.executemany("insert or ignore into kept values (?)", ((each,) for each in run_ids))
            connection.execute(  # but the last of each source, which what comes next is held against
                "delete from points where run_id not in (select run_id from kept) "
                "and seq < (select max(seq) from points p2 where p2.source = points.source)"
            )
            gone = connection.execute(
                "delete from spans where last is not null and not exists (select 1 from points p join names n on "
                "n.id = spans.name join folders f on f.id = n.folder where p.source = f.source and p.seq between "
                "spans.first and spans.last)"
            ).rowcount
            connection.execute("delete from names where id not in (select name from spans)")
            connection.execute("delete from folders where id not in (select folder from names)")
            connection.execute("drop table kept")
        return gone

    # -- mechanism -----------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        try:
            connection = self._connect()
            (version,) = connection.execute("pragma user_version").fetchone()
            if version == _VERSION:
                return connection
            connection.close()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
        self._throw_away()
        connection = self._connect()
        connection.executescript(f"begin immediate; {_SCHEMA} pragma user_version = {_VERSION}; commit;")
        return connection

    def _connect(self) -> sqlite3.Connection:
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")  # what a power cut takes is made again
        return connection

    def _throw_away(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connection.execute(sql, values)) as rows:
                return rows.fetchall()
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    def _found(self, where: str, values: Sequence[object]) -> Iterator[Found]:
        joined = "from spans s join names n on n.id = s.name join folders f on f.id = n.folder"
        columns = ", ".join(f"s.{name}" for name in _COLUMNS.split(", "))
        try:
            with closing(
                self._connection.execute(
                    f"select f.source, f.path, n.base, s.first, s.last, {columns} {joined} where {where}",
                    values,
                )
            ) as rows:
                for source, folder, base, first, last, kind, size, sha256, *rest in rows:
                    path = folder.rstrip(b"/") + b"/" + base
                    yield Found(source, path, first, last, kind, size, sha256.hex() if sha256 else None, *rest)
        except sqlite3.Error as error:
            raise _unusable(self.path, error) from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("begin immediate")
            yield connection
            connection.execute("commit")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("rollback")
            if isinstance(error, sqlite3.Error):
                raise _unusable(self.path, error) from error
            raise

    @staticmethod
    def _next(connection: sqlite3.Connection, source: str, run_id: str, at: datetime) -> int:
        """Note the point, and return its number: one more than that of any other."""
        (most,) = connection.execute("select coalesce(max(seq), 0) from points").fetchone()
        (spans,) = connection.execute("select coalesce(max(first), 0) from spans").fetchone()
        seq = int(max(most, spans)) + 1
        values = (seq, source, run_id, _microseconds(at))
        connection.execute("insert into points (seq, source, run_id, at) values (?,?,?,?)", values)
        return seq

    @staticmethod
    def _close(connection: sqlite3.Connection, source: str, seq: int, entries: Iterable[Entry]) -> None:
        """End, before a point, the open spans of entries that are no longer as they were."""
        connection.executemany(
            "update spans set last = ? where last is null and first < ? and name = (select n.id from names n "
            "join folders f on f.id = n.folder where f.source = ? and f.path = ? and n.base = ?)",
            ((seq - 1, seq, source, *os.path.split(entry.path)) for entry in entries),
        )

    def _last_path(self, source: str) -> Path:
        return self.folder / f"{source}.manifest"

    def _remember(self, source: str, listed: Path) -> None:
        """Keep the manifest that was taken in, as a second name of the same file where the disk is the same."""
        beside, to = self.folder / f".{source}.new", self._last_path(source)
        beside.unlink(missing_ok=True)
        try:
            os.link(listed, beside)
        except OSError:
            import shutil

            shutil.copyfile(listed, beside)
        beside.replace(to)


def _fresh(before: Path | None, listed: Path, gone: list[bytes]) -> Iterator[Entry]:
    """Yield the entries of a manifest that the one before it does not have; add the lines that only that has to `gone`.

    Raises `DamageError` when one cannot be understood.
    """
    try:
        for was, now in differing(before, listed):
            gone += [was] if was else []
            yield from [manifest.entry_of(now)] if now else ()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise manifest.damaged(listed, error) from error


#: How a number is made, and how one that is there is found.
_FOLDER = (
    "insert or ignore into folders (source, path) values (?,?)",
    "select id from folders where source = ? and path = ?",
)
_NAME = (
    "insert or ignore into names (folder, base) values (?,?)",
    "select id from names where folder = ? and base = ?",
)


class _Names:
    """The numbers of the names of one source, made where there are none."""

    def __init__(self, connection: sqlite3.Connection, source: str) -> None:
        self._cursor, self._source = connection.cursor(), source
        self._folders: dict[bytes, int] = {}

    def of(self, path: bytes) -> int:
        """Return the number of a name."""
        folder, _, base = path.rpartition(b"/")
        number = self._folders.get(folder)
        if number is None:
            number = self._folders[folder] = self._made(_FOLDER, (self._source, os.path.split(path)[0]))
        return self._made(_NAME, (number, base))

    def _made(self, made: tuple[str, str], values: tuple[object, object]) -> int:
        done = self._cursor.execute(made[0], values)
        if done.rowcount == 1 and done.lastrowid is not None:
            return done.lastrowid
        return int(self._cursor.execute(made[1], values).fetchone()[0])


def _put(connection: sqlite3.Connection, seq: int, entries: Iterable[tuple[int, Entry]]) -> int:
    """Begin the spans of some names; return how many. Few entries have a link or attributes: others do not name them.

    An array of bytes is bound at once; for `bytes`, and for each None, sqlite3 first looks for an adapter.
    """
    plain, more = list[tuple[object, ...]](), list[tuple[object, ...]]()
    for name, (_, kind, size, sha256, mode, uid, gid, mtime, _, _, _, link, state, attributes) in entries:
        digest = bytearray.fromhex(sha256) if sha256 else None
        row = (name, seq, kind, size, digest, mode, uid, gid, mtime, state)
        if link is None and attributes is None:
            plain.append(row)
        else:
            more.append((*row, link, attributes))
    into = "insert or replace into spans (name, first, kind, size, sha256, mode, uid, gid, mtime, state"
    made = connection.executemany(f"{into}) values (?,?,?,?,?,?,?,?,?,?)", plain).rowcount
    return made + connection.executemany(f"{into}, link, attributes) values (?,?,?,?,?,?,?,?,?,?,?,?)", more).rowcount


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _unusable(path: Path, error: Exception) -> CatalogError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return CatalogError(
        "the index of files cannot be used", str(path), reason, hint=f"remove {path.parent}: it is made again"
    )
