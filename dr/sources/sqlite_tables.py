"""Single tables of a SQLite file: read where it was restored, and loaded beside the live one in one transaction.

Definitions are put right by SQLite itself, in an empty database in memory: there a table gets its new name, and is
seen to have no foreign keys any more.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dr.errors import SourceError, UsageError
from dr.sources.own_errors import own_errors
from dr.sources.sqlite_definitions import index_called, quoted, without_keys
from dr.sources.tables import Beside, Script, Table, Tables, of_condition, quoted_csv
from dr.tools import command
from dr.tools.command import Done
from dr.tools.host import Host

_BUSY_SECONDS = 60.0
_LOAD_SECONDS = 24 * 3600.0
_SHORT = 64 << 10  # bytes of a definition, which may have quotes in its remarks
_LISTED = """select name, type, sql from sqlite_master where type in ('table', 'view')
    and name not like 'sqlite\\_%' escape '\\' order by name"""
_TRIGGERS = "select name from sqlite_master where type = 'trigger' and tbl_name = ? order by 1"
_MADE = "select sql from sqlite_master where type = 'table' and name = ?"
_INDEXES = "select name, sql from sqlite_master where type = 'index' and tbl_name = ? and sql is not null order by name"


class SqliteTables(Tables):
    """The tables of a restored file, `path`; `place` is a directory for what is tried."""

    def __init__(self, name: str, path: Path, place: Path) -> None:
        self._name, self._path, self._place = name, path, place

    def listed(self) -> list[Table]:
        """See `Tables`. The file is the database: it goes by its name, with and without its ending, and by `main`."""
        files = dict.fromkeys((self._path.stem, self._path.name, "main", self._name))
        with self._reading() as database:
            rows = database.execute(_LISTED).fetchall()
        return [
            Table(
                names=(self._path.stem, name), also=(name, *(f"{file}.{name}" for file in list(files)[1:])),
                kind="virtual table" if (sql or "").lower().startswith("create virtual") else kind,
            )
            for name, kind, sql in rows
        ]  # fmt: skip

    def count(self, table: Table, where: str = "") -> int:
        """See `Tables`."""
        query = f"select count(*) from {quoted(table.names[1])}{condition_of(where)}"  # noqa: S608 - quoted, read only
        with self._reading(where) as database:
            return int(database.execute(query).fetchone()[0])

    def sql(self, table: Table, where: str = "", *, called: str = "") -> Script:
        """See `Tables`. Each chunk is one statement."""
        name = table.names[1]
        with self._reading() as database:
            made, after, left = _definition(database, name, called)
            triggers = [str(row[0]) for row in database.execute(_TRIGGERS, (name,))]
        left += [f"triggers left out: {', '.join(triggers)}"] if triggers else []
        return Script(self._script(table, where, made, after, called=called), tuple(left))

    def _script(self, table: Table, where: str, made: str, after: Sequence[str], *, called: str) -> Iterator[bytes]:
        name = table.names[1]
        if not called:
            yield f"-- The table {name!r}; load it with sqlite3.\n".encode("utf-8", "surrogateescape")
            yield b"pragma foreign_keys = off;\nbegin;\n"
        yield f"{made};\n".encode("utf-8", "surrogateescape")
        with self._reading(where) as database:
            columns = [quoted(each) for each, hidden in _columns(database, name) if not hidden]
            database.text_factory = _Text
            into = f"insert into {quoted(called or name)} ({', '.join(columns)}) values ("  # noqa: S608 - the same
            query = f"select {', '.join(columns)} from {quoted(name)}{condition_of(where)}"  # noqa: S608 - the same
            for row in _read(database, query):
                yield f"{into}{', '.join(map(_literal, row))});\n".encode("utf-8", "surrogateescape")
            yield from (
                f"{each};\n".encode("utf-8", "surrogateescape") for each in self._goes_on(database, name, called)
            )
        yield from (f"{each};\n".encode("utf-8", "surrogateescape") for each in after)
        if not called:
            yield b"commit;\n"

    def _goes_on(self, database: sqlite3.Connection, name: str, called: str) -> Iterator[str]:
        """Yield what lets AUTOINCREMENT go on where it was."""
        if not database.execute("select 1 from sqlite_master where name = 'sqlite_sequence'").fetchone():
            return
        found = database.execute("select seq from sqlite_sequence where name = ?", (name,)).fetchone()
        if found:
            own = _literal(called or name)
            yield f"delete from sqlite_sequence where name = {own}"  # noqa: S608 - quoted
            yield f"insert into sqlite_sequence (name, seq) values ({own}, {int(found[0])})"  # noqa: S608 - quoted

    def csv(self, table: Table, where: str = "") -> Iterator[bytes]:
        """See `Tables`. Bytes are hexadecimal: `0x…`."""
        name = table.names[1]
        with self._reading(where) as database:
            names = [each for each, _ in _columns(database, name)]
            database.text_factory = _Text
            yield (",".join(map(quoted_csv, names)) + "\r\n").encode("utf-8", "surrogateescape")
            chosen = ", ".join(map(quoted, names))
            for row in _read(database, f"select {chosen} from {quoted(name)}{condition_of(where)}"):  # noqa: S608
                yield b",".join(map(_field, row)) + b"\r\n"

    def loads(self, table: Table, script: Iterable[bytes]) -> int:
        """See `Tables`: into a file of its own."""
        again = self._place / "loaded-again.db"
        again.unlink(missing_ok=True)
        try:
            with _errors(self._name, "its SQL does not load by itself"), closing(opened(again)) as database:
                database.execute("pragma synchronous = off")
                for statement in _statements(script):
                    database.execute(statement)
                return int(database.execute(f"select count(*) from {quoted(table.names[1])}").fetchone()[0])  # noqa: S608
        finally:
            for each in self._place.glob(f"{again.name}*"):
                each.unlink()

    @contextmanager
    def _reading(self, where: str = "") -> Iterator[sqlite3.Connection]:
        doing = "the restored database cannot be read"
        with _blaming(self._name, doing, where), closing(opened(self._path, "ro")) as database:
            database.execute("pragma query_only = on")
            yield database


class SqliteBeside(Beside):
    """The live file, on this host or, by its `sqlite3` program, on another."""

    def __init__(self, name: str, path: str, host: Host) -> None:
        self._name, self._path, self._host = name, path, host

    def refuse(self, table: Table, name: str) -> None:
        """See `Beside`."""
        if not name or "\0" in name or name.lower().startswith("sqlite_"):
            raise UsageError(f"the new name {name!r} cannot be a table's", self._name, hint="choose another")
        if self._host.here and not Path(self._path).is_file():
            raise UsageError(f"the live database {self._path} is not there", self._name, hint="use --to DIR")
        taken = f"select count(*) from sqlite_master where lower(name) = lower({_literal(name)})"  # noqa: S608 - quoted
        if self._value(taken):
            raise UsageError(
                f"{self._path} has a table or the like of the name {name!r} already", self._name,
                hint="choose another name with --beside: what is there is never changed",
            )  # fmt: skip

    def load(self, table: Table, name: str, script: Iterable[bytes], rows: int) -> int:
        """See `Beside`."""
        if self._host.here:
            self._load_here(name, script, rows)
        else:
            self._load_there(name, script, rows)
        return self._value(f"select count(*) from {quoted(name)}")  # noqa: S608 - quoted

    def _load_here(self, name: str, script: Iterable[bytes], rows: int) -> None:
        doing = "the table could not be loaded; nothing was changed"
        with _errors(self._name, doing), closing(opened(Path(self._path), "rw")) as database:
            database.execute("pragma foreign_keys = off")
            database.execute("begin immediate")
            for chunk in script:
                command.raise_if_stopping()
                database.execute(chunk.decode("utf-8", "surrogateescape"))
            there = int(database.execute(f"select count(*) from {quoted(name)}").fetchone()[0])  # noqa: S608 - quoted
            if there != rows:
                raise SourceError(doing, self._name, f"{there:,} rows came, not {rows:,}", hint="try again")
            database.execute("commit")

    def _load_there(self, name: str, script: Iterable[bytes], rows: int) -> None:
        argv = ["sqlite3", "-batch", "-bail", "-init", "/dev/null", "-cmd", ".timeout 60000", self._path]
        # A value that is no number where one must be: SQLite itself ends the transaction where rows are missing.
        judged = f"select case when count(*) <> {rows} then abs(-9223372036854775808) end from {quoted(name)};\n"  # noqa: S608
        begin, end = b"pragma foreign_keys = off;\nbegin immediate;\n", judged.encode("utf-8", "surrogateescape")
        with own_errors(self._name), self._host.start(argv, timeout=_LOAD_SECONDS, feed=True) as process:
            for chunk in itertools.chain([begin], script, [end, b"commit;\n"]):
                try:
                    process.write(chunk)
                except OSError:
                    break  # it has ended: its exit code and words say why
            process.end_input()
            while process.read():
                pass
            done = process.finish()
        if done.code != 0:
            raise SourceError(
                "the table could not be loaded; nothing was changed", self._name, _words_of(done),
                hint=f"see the database and sqlite3 on {self._host.name}",
            )  # fmt: skip

    def _value(self, query: str) -> int:
        if self._host.here:
            with _errors(self._name, "the live database"), closing(opened(Path(self._path), "ro")) as database:
                return int(database.execute(query).fetchone()[0])
        argv = ["sqlite3", "-batch", "-bail", "-readonly", "-init", "/dev/null", "-cmd", ".timeout 60000", self._path]
        with own_errors(self._name):
            done = self._host.run(
                argv, stdin=query.encode("utf-8", "surrogateescape") + b";\n", timeout=_BUSY_SECONDS * 2
            )
        if done.code != 0:
            raise SourceError(
                "the live database cannot be asked", self._name, _words_of(done),
                hint=f"see the database and sqlite3 on {self._host.name}",
            )  # fmt: skip
        return int(done.stdout or b"0")


def _words_of(done: Done) -> str:
    """Return what the sqlite3 program says is wrong: it points at the place in the statement on lines of their own."""
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    return next((line.strip()[:300] for line in lines if "error" in line.lower()), done.last_words)


# -- definitions -------------------------------------------------------------------------------------


def _definition(database: sqlite3.Connection, name: str, called: str) -> tuple[str, list[str], list[str]]:
    """Return what makes a table without foreign keys, what makes its indexes, and what is left out, in words."""
    made = str(
        database.execute("select sql from sqlite_master where type = 'table' and name = ?", (name,)).fetchone()[0]
    )
    indexes = database.execute(
        "select name, sql from sqlite_master where type = 'index' and tbl_name = ? and sql is not null order by name",
        (name,),
    ).fetchall()
    keys = database.execute(f"pragma foreign_key_list({quoted(name)})").fetchall()
    tables = sorted({str(key[2]) for key in keys})
    left = [f"foreign keys left out: to {', '.join(tables)}"] if keys else []
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.execute(without_keys(made) if keys else made)
        if keys and empty.execute(f"pragma foreign_key_list({quoted(name)})").fetchall():
            raise sqlite3.DatabaseError("its foreign keys cannot be told from the rest of its definition")
        for _, sql in indexes:
            empty.execute(sql)
        if called:
            empty.execute(f"alter table {quoted(name)} rename to {quoted(called)}")
        now = called or name
        made = str(
            empty.execute("select sql from sqlite_master where type = 'table' and name = ?", (now,)).fetchone()[0]
        )
        after = [
            (str(old), str(sql))
            for old, sql in empty.execute(
                "select name, sql from sqlite_master where type = 'index' and sql is not null"
            )
        ]
    if not called:
        return made, [sql for _, sql in after], left
    return (
        made,
        [index_called(sql, f"{called}_{old.removeprefix(name).lstrip('_') or 'index'}") for old, sql in after],
        left,
    )


# -- values ------------------------------------------------------------------------------------------


def _columns(database: sqlite3.Connection, name: str) -> list[tuple[str, bool]]:
    """Return the columns, and which of them are computed."""
    found = database.execute(f"pragma table_xinfo({quoted(name)})").fetchall()
    return [(str(row[1]), row[6] in (2, 3)) for row in found if row[6] != 1]


def _read(database: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    for number, row in enumerate(database.execute(query)):
        if number % 1000 == 0:
            command.raise_if_stopping()
        yield row


class _Text(bytes):
    """A text as the file holds it, which may be no UTF-8."""


def _literal(value: object) -> str:
    """Return a value as SQL: exactly that value, also where no text could hold it."""
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return {"inf": "9e999", "-inf": "-9e999"}.get(repr(value), repr(value))
    if isinstance(value, str):
        return _text_literal(value)
    assert isinstance(value, bytes)  # noqa: S101 - what is left of SQLite's five kinds of values
    if not isinstance(value, _Text):
        return f"x'{value.hex()}'"
    try:
        return _text_literal(value.decode("utf-8"))
    except UnicodeDecodeError:
        return f"cast(x'{value.hex()}' as text)"


def _text_literal(text: str) -> str:
    """Return a text as SQL. What no statement may hold, or the sqlite3 program drops on its way, stands for itself."""
    marks = {}
    for letter, code in (("\0", 0), ("\r", 13)):
        if letter in text:
            mark = next(mark for n in itertools.count() if (mark := f"\\{code}{n or ''};") not in text)
            text, marks[mark] = text.replace(letter, mark), code
    made = "'" + text.replace("'", "''") + "'"
    for mark, code in marks.items():
        made = f"replace({made}, '{mark}', char({code}))"
    return made


def _field(value: object) -> bytes:
    if value is None:
        return b""
    if isinstance(value, _Text):
        return b'"' + value.replace(b'"', b'""') + b'"'
    if isinstance(value, bytes):
        return b"0x" + value.hex().upper().encode()
    return str(value).encode()


def _statements(script: Iterable[bytes]) -> Iterator[str]:
    """Yield the statements of a script; SQLite says where each ends, and is not asked within long texts."""
    held, quotes = bytearray(), 0
    for line in _lines(script):
        held += line
        quotes += line.count(b"'")
        if line.endswith(b";\n") and (quotes % 2 == 0 or len(held) < _SHORT):
            statement = held.decode("utf-8", "surrogateescape")
            if sqlite3.complete_statement(statement):
                yield statement
                held, quotes = bytearray(), 0


def _lines(script: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in script:
        *lines, held = (held + chunk).split(b"\n")
        yield from (line + b"\n" for line in lines)
    yield held


def condition_of(where: str) -> str:
    """Return what stands behind a table's name for a condition."""
    return f" where ({where}\n)" if where else ""


def opened(path: Path, mode: str = "rwc") -> sqlite3.Connection:
    """Open a file of that mode. Raises `sqlite3.Error`."""
    where = f"file:{quote(bytes(path))}?mode={mode}"
    return sqlite3.connect(where, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)


@contextmanager
def _errors(name: str, doing: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        hint = "open the database with the sqlite3 program and see"
        raise SourceError(doing, name, f"SQLite says {str(error)!r}", hint=hint) from error


@contextmanager
def _blaming(name: str, doing: str, where: str) -> Iterator[None]:
    """Say of an error within that it is the condition's, where there is one."""
    try:
        with _errors(name, doing):
            yield
    except SourceError as error:
        raise of_condition(error) if where else error from error
