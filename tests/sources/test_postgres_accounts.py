"""Roles that are on the server when a database is recovered: left as they are, and named where they differ."""

from __future__ import annotations

import re

from dr.sources.postgres import accounts
from scripts.servers.postgres import PostgresServer
from tests.sources.postgres_points import Capture, restored

ROLES = """
create role teachers; create role "The Head" login password 'one' in role teachers connection limit 3;
create role clerk login password 'two' valid until '2027-01-01'; alter role clerk set work_mem = '8MB';
create role same login password 'three'; create database school;
"""
CHANGED = """
alter role "The Head" superuser password 'an attackers' connection limit -1; revoke teachers from "The Head";
alter role clerk valid until 'infinity' createdb; alter role clerk set search_path = 'a', 'b'; alter role clerk reset work_mem;
grant teachers to same; create role intruder superuser login;
"""


def test_roles_that_differ_are_named_and_the_statements_make_them_as_captured(captured: Capture) -> None:
    with PostgresServer() as server:
        server.psql(ROLES)
        point = captured(server, database="school")
        server.psql(CHANGED)
        server.psql("alter database school rename to lost")
        instance = point.instance(real=True)
        try:
            restored(point, instance)
            head, clerk, same, intruder = sorted(instance.remarks, key=lambda line: line.split()[2] != "The")
        finally:
            instance.close()
        assert "The Head" in head and "SUPERUSER" in head and "another password" in head and "not a member of" in head
        assert "an attackers" not in head and "SCRAM" not in " ".join(instance.remarks)
        assert "CREATEDB" in clerk and "its setting work_mem" in clerk and "its setting search_path" in clerk
        assert "member of teachers" in same and "the role intruder on the server is a superuser" in intruder
        for line in (head, clerk, same, intruder):
            for statement in re.findall(r"(?:ALTER ROLE|GRANT|REVOKE)[^;]*;", line):
                server.psql(statement)
        server.psql('alter database lost rename to before; alter role "The Head" password null')
        instance = point.instance(real=True)
        try:
            (left,) = restored(point, instance).remarks
            assert "(no password)" in left and "its own is in globals.sql" in left
        finally:
            instance.close()


def test_without_passwords_they_are_not_compared() -> None:
    with_, without = "ALTER ROLE a WITH LOGIN PASSWORD 'SCRAM-x';", "ALTER ROLE a WITH LOGIN;"
    assert accounts.differences(with_, without) == accounts.differences(without, with_) == []
    other = "ALTER ROLE a WITH LOGIN PASSWORD 'SCRAM-y';"
    assert "another password" in accounts.differences(with_, other)[0] and accounts.differences(with_, with_) == []
