"""Single tables of databases in a scratch server, by MariaDB's or MySQL's own programs.

Foreign keys are taken off the table there, where nobody else is; then the dump program writes its definition and rows,
and the client its rows as CSV, put together by the server. A condition is carried out by an account of its own that
may read and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

from dr.errors import SourceError
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.mysql import load_dump as pour
from dr.sources.mysql.connection import Server, complaint, quoted, text_of
from dr.sources.mysql.session import Session
from dr.sources.mysql.table_names import table_of
from dr.sources.own_errors import own_errors
from dr.sources.tables import Script, Table, Tables, of_condition, quoted_csv

_READER = "dr_reader"
_AGAIN = "dr_loaded_again"
_KINDS = {"BASE TABLE": "table", "SYSTEM VERSIONED": "table", "VIEW": "view", "SYSTEM VIEW": "view"}
_LISTED = """SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = {database} ORDER BY TABLE_NAME"""
_COLUMNS = """SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = {database} AND TABLE_NAME = {table} ORDER BY ORDINAL_POSITION"""
_KEYS = """SELECT CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = {database}
    AND TABLE_NAME = {table} AND CONSTRAINT_TYPE = 'FOREIGN KEY' ORDER BY 1"""
_TRIGGERS = """SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {database}
    AND EVENT_OBJECT_TABLE = {table} ORDER BY 1"""
_SEQUENCES = """SELECT COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {database}
    AND TABLE_NAME = {table} AND COLUMN_DEFAULT LIKE '%nextval(%'"""
#: Of the columns' types: those whose values need no quotes, and those that are bytes and not text.
_BARE = frozenset({
    "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year", "date", "datetime",
    "timestamp", "time",
})  # fmt: skip
_BYTES = frozenset({
    "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "geometry", "point", "linestring",
    "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection", "vector",
})  # fmt: skip
_DUMP = ("--skip-triggers", "--skip-add-drop-table", "--skip-comments", "--complete-insert", "--skip-opt",
         "--create-options", "--extended-insert", "--quick", "--set-charset", "--single-transaction")  # fmt: skip


class MysqlTables(Tables):
    """The tables of databases on a server of our own; `actual` gives for each the name it has there."""

    def __init__(self, server: Server, actual: Mapping[str, str], captured: DatabaseInventory | None) -> None:
        self._server, self._actual, self._captured = server, actual, captured
        self._called: dict[tuple[str, ...], str] = {}
        self._left: dict[tuple[str, ...], tuple[str, ...]] = {}

    @cached_property
    def _listed(self) -> list[Table]:
        found = []
        with pour.reading(self._server) as session:
            for database, actual in self._actual.items():
                for name, kind in session.rows(_LISTED.format(database=text_of(actual))):
                    what = _KINDS.get(kind or "", (kind or "").lower())
                    found.append(table_of(database, name or "", what, self._captured, changes=kind != "BASE TABLE"))
        return found

    def listed(self) -> list[Table]:
        """See `Tables`."""
        return self._listed

    def count(self, table: Table, where: str = "") -> int:
        """See `Tables`."""
        query = f"SELECT COUNT(*) FROM {self._name(table)}{_condition(where)}"  # noqa: S608 - quoted, and read only
        server = self._as_reader(table) if where else self._server
        with pour.reading(server, self._database(table)) as session, _blaming(where):
            return int(session.rows(query)[0][0] or 0)

    def sql(self, table: Table, where: str = "", *, called: str = "") -> Script:
        """See `Tables`."""
        self._strip(table, called)
        with pour.reading(self._server) as session:
            needs = tuple(f"the sequence of {row[0]}" for row in session.rows(self._ask(table, _SEQUENCES)))
        return Script(self._dumped(table, where), self._left[table.names], needs)

    def csv(self, table: Table, where: str = "") -> Iterator[bytes]:
        """See `Tables`. Bytes are hexadecimal, as the server takes them: `0x…`."""
        with pour.reading(self._server) as session:
            columns = [(name or "", kind or "") for name, kind in session.rows(self._ask(table, _COLUMNS))]
        yield (",".join(quoted_csv(name) for name, _ in columns) + "\r\n").encode("utf-8", "surrogateescape")
        fields = ", ',', ".join(_field(name, kind) for name, kind in columns)
        query = f"SELECT CONCAT({fields}, '\\r') FROM {self._name(table)}{_condition(where)}"  # noqa: S608 - the same
        yield from self._printed(table, query, where)

    def loads(self, table: Table, script: Iterable[bytes]) -> int:
        """See `Tables`: into a database of its own."""
        again = quoted(_AGAIN)
        with Session(self._server, timeout=pour.RESTORE_SECONDS) as session:
            pour.drop(session, _AGAIN)
            pour.create(session, _AGAIN)
            try:
                try:
                    pour.load(self._server, _AGAIN, script, log_bin=True)
                except SourceError as error:
                    error.what = "its SQL does not load by itself"
                    raise
                name = quoted(self._called.get(table.names, table.names[1]))
                return int(session.rows(f"SELECT COUNT(*) FROM {again}.{name}")[0][0] or 0)  # noqa: S608 - quoted
            finally:
                pour.drop(session, _AGAIN)

    # -- how the table is made ready ---------------------------------------------------------------

    def _strip(self, table: Table, called: str) -> None:
        """Take off foreign keys, and give the table its new name."""
        if table.names in self._left:
            return
        with Session(self._server, timeout=pour.RESTORE_SECONDS) as session:
            keys = [row[0] or "" for row in session.rows(self._ask(table, _KEYS))]
            triggers = [row[0] or "" for row in session.rows(self._ask(table, _TRIGGERS))]
            session.do("SET SESSION foreign_key_checks = 0")
            for key in keys:
                session.do(f"ALTER TABLE {self._name(table)} DROP FOREIGN KEY {quoted(key)}")
            if called:
                for trigger in triggers:  # they would go along, and name what they are for
                    session.do(f"DROP TRIGGER {quoted(self._database(table))}.{quoted(trigger)}")
                session.do(f"RENAME TABLE {self._name(table)} TO {quoted(self._database(table))}.{quoted(called)}")
                self._called[table.names] = called
        left = (("foreign keys left out", keys), ("triggers left out", triggers))
        self._left[table.names] = tuple(f"{what}: {', '.join(names)}" for what, names in left if names)

    def _database(self, table: Table) -> str:
        return self._actual[table.names[0]]

    def _table(self, table: Table) -> str:
        return self._called.get(table.names, table.names[1])

    def _name(self, table: Table) -> str:
        return f"{quoted(self._database(table))}.{quoted(self._table(table))}"

    def _ask(self, table: Table, query: str) -> str:
        return query.format(database=text_of(self._database(table)), table=text_of(self._table(table)))

    # -- what is read ------------------------------------------------------------------------------

    def _dumped(self, table: Table, where: str) -> Iterator[bytes]:
        server = self._as_reader(table) if where else self._server
        chosen = (f"--where=({where}\n)",) if where else ()
        argv = server.dump_argv(*_DUMP, *chosen, "--", self._database(table), self._table(table))
        yield from self._output(server, argv, None, where, f"the rows of {table.name} cannot be read")

    def _printed(self, table: Table, query: str, where: str) -> Iterator[bytes]:
        """Yield what one statement prints, a row a line; prepared, so that it is one whatever it holds."""
        server = self._as_reader(table) if where else self._server
        options = ("--batch", "--raw", "--skip-column-names", "--quick", "--binary-mode", "--no-auto-rehash")
        argv = server.client_argv(*options, f"--database={self._database(table)}")
        script = (
            "SET NAMES utf8mb4;\nSET SESSION time_zone = '+00:00';\nSET SESSION TRANSACTION READ ONLY;\n"
            f"SET @dr = CONVERT(0x{query.encode('utf-8', 'surrogateescape').hex()} USING utf8mb4);\n"
            "PREPARE dr FROM @dr;\nEXECUTE dr;\n"
        )
        yield from self._output(server, argv, script.encode(), where, f"the rows of {table.name} cannot be read")

    def _output(self, server: Server, argv: list[str], stdin: bytes | None, where: str, doing: str) -> Iterator[bytes]:
        with own_errors(server.where):
            process = server.host.start(argv, env=server.env, timeout=pour.RESTORE_SECONDS, feed=stdin is not None)
        with process, own_errors(server.where):
            if stdin is not None:
                process.write(stdin)
                process.end_input()
            yield from iter(process.read, b"")
            done = process.finish()
        if done.code != 0:
            with _blaming(where):
                raise complaint(doing, server.where, done.stderr.decode("utf-8", "replace"))

    def _as_reader(self, table: Table) -> Server:
        """Return the server with the login of an account that may read this database, and nothing else."""
        database = self._database(table).replace("_", "\\_").replace("%", "\\%")
        with Session(self._server, timeout=pour.RESTORE_SECONDS) as session:
            session.do(f"CREATE USER IF NOT EXISTS '{_READER}'@'localhost'")
            session.do(f"GRANT SELECT ON {quoted(database)}.* TO '{_READER}'@'localhost'")
        login = tuple(f"--user={_READER}" if each.startswith("--user=") else each for each in self._server.login)
        return replace(self._server, login=login)


@contextmanager
def _blaming(where: str) -> Iterator[None]:
    """Say of an error within that it is the condition's, where there is one."""
    try:
        yield
    except SourceError as error:
        if not where or error.retryable:
            raise
        raise of_condition(error) from error


def _field(name: str, kind: str) -> str:
    """Return the SQL of one field of CSV: NULL is nothing, text is in quotes, bytes are hexadecimal."""
    column = quoted(name)
    if kind in _BYTES:
        return f"IF({column} IS NULL, '', CONCAT('0x', HEX({column})))"
    text = f"CONVERT({column} USING utf8mb4)"
    if kind in _BARE:
        return f"COALESCE({text}, '')"
    return f"IF({column} IS NULL, '', CONCAT('\"', REPLACE({text}, '\"', '\"\"'), '\"'))"


def _condition(where: str) -> str:
    return f" WHERE ({where}\n)" if where else ""
