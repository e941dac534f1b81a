"""Databases of a test's own, on a server that others use too: gone afterwards, with all that a recovery put beside them."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.servers.mariadb import MariadbServer
from scripts.servers.mysql import MysqlServer
from scripts.servers.postgres import PostgresServer, program
from tests import made_once
from tests.waiting import soon

#: Five hundred rows.
STUDENTS = {
    "postgres": "create table students (id serial primary key, name text);"
    "insert into students (name) select 'student ' || n from generate_series(1, 500) n;",
    "mysql": "create table students (id int primary key auto_increment, name varchar(50)) engine=innodb;"
    "insert into students (name) select concat('student ', seq) from seq_1_to_500;",
}


def newest_postgres() -> Path:
    """Return the directory of the newest PostgreSQL's programs, as scripts/get-debian brings them."""
    places = Path(__file__).parents[1].glob(".tools/debian/usr/lib/postgresql/*/bin")
    return max(places, key=lambda place: int(place.parent.name))


@contextmanager
def postgres_database(server: PostgresServer, *tables: str, name: str = "sis") -> Iterator[str]:
    """Make a database with these tables and give its name, which begins as asked."""
    name = f"{name}_{secrets.token_hex(4)}"
    server.psql(f"create database {name}")
    try:
        for each in tables:
            server.psql(each, name)
        yield name
    finally:
        for each in server.psql(f"select datname from pg_database where datname like '{name}%'").splitlines():
            server.psql(f'drop database "{each}" with (force)')


@contextmanager
def locked_table(server: PostgresServer, database: str, table: str) -> Iterator[None]:
    """Hold a table of a database locked against all others."""
    argv = [program("psql"), "-Xqd", database]
    held = f"select count(*) from pg_locks where relation = '{table}'::regclass and mode = 'AccessExclusiveLock'"
    with subprocess.Popen(argv, env=server.environment, stdin=subprocess.PIPE, text=True) as holder:
        assert holder.stdin
        holder.stdin.write(f"begin; lock table {table} in access exclusive mode;\n")  # it stays until its input ends
        holder.stdin.flush()
        assert soon(lambda: server.psql(f"{held} and granted", database) == "1")
        yield


@contextmanager
def mysql_database(server: MariadbServer, *tables: str, name: str = "lib", more: str = "") -> Iterator[str]:
    """Make a database with these tables and give its name, which begins as asked."""
    name = f"{name}_{secrets.token_hex(4)}"
    server.sql(f"create database {name} {more}")
    try:
        for each in tables:
            server.sql(each, name)
        yield name
    finally:
        for (each,) in server.sql(
            f"select schema_name from information_schema.schemata where schema_name like '{name}%'"
        ):
            server.sql(f"drop database `{each}`")


def source_of(server: PostgresServer | MariadbServer, databases: str, *, copied: bool = True) -> str:
    """Return a plan's source named `database`; `databases` is the key that names them, with others behind it.

    The directory of a drill's server is made by a copy, but where `databases` names a `bin`, or `copied` is not wanted:
    where the test puts programs of its own first on the PATH.
    """
    kind, place = "mysql", f"socket: {server.socket}, user: root"
    programs = None if isinstance(server, MysqlServer) else made_once.mariadb_programs
    if isinstance(server, PostgresServer):
        kind, place = "postgres", f"host: {server.socket}, port: {server.port}, user: {server.user}"
        programs = made_once.postgres_programs
    if programs and copied and "bin:" not in databases:
        place += f", bin: {programs()}"
    return f"database: {{{kind}: {{{databases}, {place}}}}}"
