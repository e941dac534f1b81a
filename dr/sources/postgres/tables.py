"""Single tables of databases in a scratch server, by PostgreSQL's own programs.

What does not come along (foreign keys, triggers, policies) is taken off the table there, where nobody else is; then
`pg_dump` writes its definition, and `COPY` its rows. One that is made of several, by partitions or inheritance, is
made again as one plain table first. A condition is carried out by a role of its own that may read and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

from dr.late_dataclass import dataclass
from dr.sources.own_errors import own_errors
from dr.sources.postgres import table_queries as queries
from dr.sources.postgres.connection import Server, identifier, literal
from dr.sources.postgres.names import table_of
from dr.sources.tables import Script, Table, Tables, of_condition, with_crlf

_ASIDE = "dr_aside"
_READER = "dr_reader"
_AGAIN = "dr_loaded_again"
_LONGEST = 63  # bytes of an identifier
_DUMP = ("-O", "-x", "--no-tablespaces", "--no-publications", "--no-security-labels", "--schema-only")


@dataclass(frozen=True)
class _Ready:
    """A table as it is written: its name there, quoted; where its rows are; the columns that take them."""

    name: str
    rows: str
    columns: tuple[str, ...]
    left_out: tuple[str, ...]


class PostgresTables(Tables):
    """The tables of databases on a server of our own.

    `databases` gives for each, by its name at capture, the name it has there; `rows` are those counted at capture.
    `place` is a database to speak to the server by.
    """

    def __init__(self, server: Server, *, place: str, databases: Mapping[str, str], rows: Mapping[str, int]) -> None:
        self._server, self._place, self._databases, self._counted = server, place, databases, rows
        self._ready: dict[tuple[str, ...], _Ready] = {}
        self._readers: set[str] = set()

    @cached_property
    def _listed(self) -> list[Table]:
        return [
            table_of(database, schema, name, kind=kind, key=f"{database}.{key}", rows=self._counted)
            for database in self._databases
            for schema, name, kind, key in self._rows(database, queries.LISTED)
        ]

    def listed(self) -> list[Table]:
        """See `Tables`."""
        return self._listed

    def count(self, table: Table, where: str = "") -> int:
        """See `Tables`."""
        query = f"select count(*) from {self._source(table)}{_condition(where)}"  # noqa: S608 - quoted, and read only
        said = b"".join(self._copied(table, query, where=where)).strip()
        return int(said)

    def sql(self, table: Table, where: str = "", *, called: str = "") -> Script:
        """See `Tables`."""
        ready = self._prepare(table, called)
        needs = tuple(str(each) for each in self._asked(table, queries.NEEDS, ready.name))
        return Script(self._script(table, ready, where, alone=not called), ready.left_out, needs)

    def _script(self, table: Table, ready: _Ready, where: str, *, alone: bool) -> Iterator[bytes]:
        columns = ", ".join(ready.columns)
        if alone:
            yield f"-- The table {_in_comment(table.name)}; load it with psql.\n\nbegin;\n".encode()
            yield "".join(f"{each};\n" for each in self._asked(table, queries.BEFORE, ready.name)).encode()
        yield from self._dumped(table, ready, "pre-data")
        if columns:
            yield f"\ncopy {ready.name} ({columns}) from stdin;\n".encode()
            query = f"select {columns} from {ready.rows}{_condition(where)}"  # noqa: S608 - quoted, and read only
            yield from self._copied(table, query, where=where)
            yield b"\\.\n\n"
        elif rows := self.count(table, where):  # no value is given to any column, where there is one
            yield f"\ninsert into {ready.name} select from pg_catalog.generate_series(1, {rows});\n\n".encode()
        yield "".join(f"{each};\n" for each in self._asked(table, queries.SEQUENCES, ready.name)).encode()
        yield from self._dumped(table, ready, "post-data")
        if alone:
            yield b"\ncommit;\n"

    def csv(self, table: Table, where: str = "") -> Iterator[bytes]:
        """See `Tables`."""
        query = f"select * from {self._source(table)}{_condition(where)}"  # noqa: S608 - quoted, and read only
        yield from with_crlf(self._copied(table, query, where=where, how=" with (format csv, header)"))

    def loads(self, table: Table, script: Iterable[bytes]) -> int:
        """See `Tables`: into a database of its own, like the table's."""
        server, again = self._server, identifier(_AGAIN)
        server.execute(
            self._place,
            f"drop database if exists {again};\ncreate database {again} template template0 encoding "
            f"{literal(self._encoding(table))} lc_collate 'C' lc_ctype 'C';\n",
            doing="a database to try the file in could not be made",
        )
        try:
            run(server, _AGAIN, script, doing="its SQL does not load by itself")
            name = self._prepare(table, "").name
            return int(server.value(_AGAIN, f"select count(*) from {name}") or -1)  # noqa: S608 - quoted
        finally:
            server.complaints(self._place, f"drop database if exists {again};\n")

    # -- how the table is made ready ---------------------------------------------------------------

    def _source(self, table: Table) -> str:
        """Return where its rows are, quoted, whatever was done to the table."""
        ready = self._ready.get(table.names)
        return ready.rows if ready else _qualified(*table.names[1:])

    def _prepare(self, table: Table, called: str) -> _Ready:
        if table.names not in self._ready:
            self._ready[table.names] = self._stripped(table, called)
        return self._ready[table.names]

    def _stripped(self, table: Table, called: str) -> _Ready:
        """Take off what does not come along, and give the new name to the table and what bears a name with it."""
        schema, name = table.names[1:]
        whole = _qualified(schema, name)
        found = self._asked(table, queries.ABOUT, whole)[0]
        left = tuple(f"{what}: {', '.join(names)}" for what, names in found["left"].items() if names)
        rows = whole
        if found["several"]:
            rows = _qualified(_ASIDE, name)
            self._do(table, _made_plain(schema, name, found))
            left += ("it is made of several tables (partitions or inheritance), and is one plain table here",)
        else:
            self._do(table, found["strip"])
        if called:
            self._do(table, _renamed(schema, name, called, self._asked(table, queries.NAMED, whole)[0]))
            rows = rows if found["several"] else _qualified(schema, called)
            whole = _qualified(schema, called)
        return _Ready(whole, rows, tuple(found["columns"]), left)

    def _do(self, table: Table, statements: Iterable[str]) -> None:
        script = "".join(f"{each};\n" for each in statements)
        self._server.execute(self._actual(table), f"begin;\n{script}commit;\n", doing=f"{table.name} cannot be read")

    # -- what is asked and read --------------------------------------------------------------------

    def _actual(self, table: Table) -> str:
        return self._databases[table.names[0]]

    def _rows(self, database: str, query: str) -> list[Any]:
        return self._server.rows(self._databases[database], query)

    def _asked(self, table: Table, query: str, name: str) -> list[Any]:
        """Return what one of our questions on a table gives; names come back whole, whatever the search path."""
        return self._rows(table.names[0], f"set search_path = '';\n{query.format(table=literal(name))}")

    def _encoding(self, table: Table) -> str:
        return str(self._rows(table.names[0], "select to_json(current_setting('server_encoding'))")[0])

    def _client_encoding(self, table: Table) -> str:
        """UTF-8, but for databases that do not say what their bytes mean: those stay as they are."""
        return "SQL_ASCII" if self._encoding(table) == "SQL_ASCII" else "UTF8"

    def _dumped(self, table: Table, ready: _Ready, section: str) -> Iterator[bytes]:
        """Yield the definition, or what comes after the rows, as pg_dump writes it."""
        options = (*_DUMP, f"--section={section}", "-t", ready.name, "-E", self._client_encoding(table))
        argv = ["-w", *options, "-d", self._server.conninfo(self._actual(table))]
        with self._server.start("pg_dump", *argv) as process, own_errors(self._server.name):
            yield from iter(process.read, b"")
            done = process.finish()
        if done.code != 0:
            raise self._server.failure(done, f"the definition of {table.name} cannot be read")

    def _copied(self, table: Table, query: str, *, where: str, how: str = "") -> Iterator[bytes]:
        """Yield what COPY gives of a query.

        One with a condition goes as a whole to the server, unread by psql, on a login that may only read.
        """
        server, database = self._server, self._actual(table)
        if where:
            server = self._as_reader(table)
        statement = f"copy ({query}\n) to stdout{how}".encode("utf-8", "surrogateescape").hex()
        script = (
            f"set client_encoding = {self._client_encoding(table)};\nbegin isolation level repeatable read read only;\n"
            f"set local search_path = {identifier(table.names[1])}, public;\n"
            f"select convert_from(decode('{statement}', 'hex'), 'UTF8') \\gexec\ncommit;\n"
        )
        with server.psql(database) as process, own_errors(self._server.name):
            with suppress(OSError):  # it has ended: its exit code and words say why
                process.write(script.encode())
                process.end_input()
            yield from iter(process.read, b"")
            done = process.finish()
        if done.code != 0:
            error = self._server.failure(done, f"the rows of {table.name} cannot be read")
            raise of_condition(error) if where and not error.retryable else error

    def _as_reader(self, table: Table) -> Server:
        """Return the server with the login of a role that may read tables, and nothing else."""
        database = self._actual(table)
        if database not in self._readers:
            make = queries.READER.format(role=_READER)
            self._server.execute(database, make, doing="a role to read by cannot be made")
            self._readers.add(database)
        if self._source(table).startswith(identifier(_ASIDE)):
            self._server.execute(
                database, f"grant usage on schema {_ASIDE} to {_READER};\n"
                f"grant select on all tables in schema {_ASIDE} to {_READER};", doing="it cannot be read",
            )  # fmt: skip
        elif table.names in self._ready:  # under its new name, or made again
            self._server.execute(
                database, f"grant select on {self._source(table)} to {_READER};", doing="it cannot be read"
            )
        return Server(self._server.name, self._server.host, replace(self._server.login, user=_READER))


def run(server: Server, database: str, script: Iterable[bytes], *, doing: str) -> bytes:
    """Feed a script to psql, which stops at the first error; return what it printed. Raises `SourceError`."""
    with server.psql(database) as process, own_errors(server.name):
        for chunk in script:
            try:
                process.write(chunk)
            except OSError:
                break  # it has ended: its exit code and words say why
        process.end_input()
        said = b"".join(iter(process.read, b""))
        done = process.finish()
    if done.code != 0:
        raise server.failure(done, doing)
    return said


def _made_plain(schema: str, name: str, found: dict[str, Any]) -> list[str]:
    """Return what puts a table of several aside, and makes one of its form in its place."""
    whole, aside = _qualified(schema, name), _qualified(_ASIDE, name)
    statements = [f"create schema if not exists {_ASIDE}", f"alter table {whole} set schema {_ASIDE}"]
    statements.append(f"create table {whole} (like {aside} including all)")
    for column, sequence in found["serials"]:
        moved = _qualified(_ASIDE, sequence)
        statements += [
            f"alter sequence {moved} owned by none", f"alter sequence {moved} set schema {identifier(schema)}",
            f"alter sequence {_qualified(schema, sequence)} owned by {whole}.{identifier(column)}",
        ]  # fmt: skip
    statements += [
        f"select setval(pg_get_serial_sequence({literal(whole)}, {literal(column)}), last_value, is_called) "  # noqa: S608
        f"from {_qualified(_ASIDE, sequence)}"
        for column, sequence in found["identities"]
    ]
    return statements


def _renamed(schema: str, name: str, called: str, named: dict[str, list[str]]) -> list[str]:
    """Return what renames a table, and its indexes and sequences after it: their names are taken beside the live one.

    Constraints that are indexes follow those; all others have names within the table.
    """
    taken, statements = {called}, []
    for kind, old in ((kind, each) for kind, names in named.items() for each in names):
        new = _after(called, old.removeprefix(name).lstrip("_") or kind, taken)
        statements.append(f"alter {kind} {_qualified(schema, old)} rename to {identifier(new)}")
    return [*statements, f"alter table {_qualified(schema, name)} rename to {identifier(called)}"]


def _after(called: str, rest: str, taken: set[str]) -> str:
    """Return a name made of two, no longer than an identifier, and another than those taken."""
    number = 0
    while True:
        end = f"_{rest}{number or ''}"
        room = _LONGEST - min(len(os.fsencode(end)), 40)
        new = _cut(_cut(called, room) + end, _LONGEST) if number == 0 else _cut(called, 40) + f"_{number}"
        if new not in taken:
            taken.add(new)
            return new
        number += 1


def _cut(text: str, most: int) -> str:
    return os.fsencode(text)[:most].decode("utf-8", "ignore")


def _qualified(schema: str, name: str) -> str:
    return f"{identifier(schema)}.{identifier(name)}"


def _condition(where: str) -> str:
    return f" where ({where}\n)" if where else ""


def _in_comment(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if not text.isprintable() else text
