"""A table beside the live one, in the database that is in use: made in one transaction, under a name that is free."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dr.errors import REFUSED, SourceError, UsageError
from dr.plan.source_kinds import PostgresSource
from dr.sources.postgres.connection import Login, Server, identifier, literal
from dr.sources.postgres.names import is_suited
from dr.sources.postgres.tables import run
from dr.sources.tables import Beside, Table
from dr.tools.host import Host

_TAKEN = """select to_json(exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = {} and c.relname = {}))"""
#: What is not found by a name without its schema: the search path is empty while a table is loaded.
_BARE = re.compile(r'\b(?:function|relation|type) "?[^\s".(]+["( ].*does not exist')


class PostgresBeside(Beside):
    """The server that the plan declares. There is no `drop` and no `if exists` in what it is told."""

    def __init__(self, name: str, declared: PostgresSource, host: Host) -> None:
        self._server = Server(name, host, Login.declared(declared))

    def refuse(self, table: Table, name: str) -> None:
        """See `Beside`."""
        if not is_suited(name):
            raise UsageError("the new name is empty or longer than 63 bytes", name, hint="choose a shorter one")
        database, schema, _ = table.names
        if self._server.rows(database, _TAKEN.format(literal(schema), literal(name)))[0]:
            raise UsageError(
                f"{database}.{schema} has a table or the like of the name {name!r} already", self._server.name,
                hint="choose another name with --beside: what is there is never changed",
            )  # fmt: skip

    def load(self, table: Table, name: str, script: Iterable[bytes], rows: int) -> int:
        """See `Beside`. Its rows are counted before they are there for others, and once more when they are."""
        database, whole = table.names[0], f"{identifier(table.names[1])}.{identifier(name)}"
        count = f"select count(*) from {whole}"  # noqa: S608 - quoted
        wrong = f"other than {rows} rows came"
        judged = f"do $$ begin if ({count}) <> {rows} then raise exception '{wrong}'; end if; end $$;\n"
        doing = "the table could not be loaded; nothing was changed"
        try:
            run(self._server, database, _in_one(script, judged), doing=doing)
        except SourceError as error:
            if error.retryable or error.exit_code == REFUSED:
                raise
            hint = "bring the table back as files with --to, and load them once what the server misses is there"
            if _BARE.search(error.cause):
                hint = (
                    "let a function that calls others by bare names find them: ALTER FUNCTION … SET search_path = …; "
                    f"then try again, or {hint}"
                )
            raise SourceError(error.what, error.where, error.cause, hint=hint, exit_code=error.exit_code) from error
        there = self._server.value(database, count)
        if there is None:
            raise SourceError(f"the rows of {whole} could not be counted", self._server.name, hint="count them by hand")
        return int(there)


def _in_one(script: Iterable[bytes], judged: str) -> Iterator[bytes]:
    yield b"begin;\n"
    yield from script
    yield f"{judged}commit;\n".encode("utf-8", "surrogateescape")
