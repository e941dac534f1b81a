"""Databases of a test's own, on a server that others use too: gone afterwards, with all that a recovery put beside them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer

#: Five hundred rows.
STUDENTS = {
    "postgres": "create table students (id serial primary key, name text);"
    "insert into students (name) select 'student ' || n from generate_series(1, 500) n;",
    "mysql": "create table students (id int primary key auto_increment, name varchar(50)) engine=innodb;"
    "insert into students (name) select concat('student ', seq) from seq_1_to_500;",
}


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


def source_of(server: PostgresServer | MariadbServer, databases: str) -> str:
    """Return a plan's source named `database`; `databases` is the key that names them, with others behind it."""
    if isinstance(server, PostgresServer):
        place = f"host: {server.socket}, port: {server.port}, user: {server.user}"
        return f"database: {{postgres: {{{databases}, {place}}}}}"
    return f"database: {{mysql: {{{databases}, socket: {server.socket}, user: root}}}}"
