"""Roles that are on the server when a database is recovered: left as they are, and named where they differ."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dr.errors import SourceError
from dr.plan.source_kinds import PostgresSource
from dr.sources.postgres import accounts
from dr.sources.postgres.connection import Login, Server
from dr.tools.host import ThisHost
from scripts.servers.postgres import PostgresServer
from tests.sources.postgres_points import Capture, both, restored

ROLES = """
create role teachers; create role "The Head" login password 'one' in role teachers connection limit 3;
create role clerk login password 'two' valid until '2027-01-01'; alter role clerk set work_mem = '8MB';
create role same login password 'three'; create database school;
alter role all set search_path = "$user", 'a b', public; alter role all set dr.word = 'it''s'; alter role all set work_mem = '9MB';
"""
CHANGED = """
alter role "The Head" superuser password 'an attackers' connection limit -1; revoke teachers from "The Head";
alter role clerk valid until 'infinity' createdb; alter role clerk set search_path = 'a', 'b'; alter role clerk reset work_mem;
grant teachers to same; create role intruder superuser login;
alter role all reset dr.word; alter role all set search_path = public; alter role all set statement_timeout = '70s';
"""


def test_roles_that_differ_are_named_and_the_statements_make_them_as_captured(captured: Capture) -> None:
    with PostgresServer() as server:
        server.psql(ROLES)
        point = captured(server, database="school")
        server.psql(CHANGED)
        server.psql("alter database school rename to lost")
        instance = point.restored(real=True)
        try:
            restored(point, instance)
            told = [line for line in instance.remarks if line.startswith("the role ")]
            head, clerk, same, intruder = sorted(told, key=lambda line: line.split()[2] != "The")
            of_all = [line for line in instance.remarks if line not in told]
        finally:
            instance.close()
        assert "The Head" in head and "SUPERUSER" in head and "another password" in head and "not a member of" in head
        assert "an attackers" not in head and "SCRAM" not in " ".join(instance.remarks)
        assert "CREATEDB" in clerk and "its setting work_mem" in clerk and "its setting search_path" in clerk
        assert "member of teachers" in same and "the role intruder on the server is a superuser" in intruder
        assert [line.split()[2] for line in of_all] == ["dr.word", "search_path", "statement_timeout"]
        assert of_all[0].endswith("ALTER ROLE ALL SET dr.word TO 'it''s';")
        assert of_all[1].endswith('SET search_path TO "$user", "a b", public;'), of_all
        for line in (head, clerk, same, intruder, *of_all):
            for statement in re.findall(r"(?:ALTER ROLE|GRANT|REVOKE)[^;]*;", line):
                server.psql(statement)
        server.psql('alter database lost rename to before; alter role "The Head" password null')
        instance = point.restored(real=True)
        try:
            (left,) = restored(point, instance).remarks
            assert "(no password)" in left and "its own is in globals.sql" in left
        finally:
            instance.close()
        drilled = point.restored()
        try:
            query = "select current_setting('dr.word') || current_setting('work_mem') || current_setting('search_path')"
            assert restored(point, drilled).probe(query) == 'it\'s9MB"$user", "a b", public'
            assert drilled.remarks == []
        finally:
            drilled.close()


def test_without_passwords_they_are_not_compared() -> None:
    with_, without = "ALTER ROLE a WITH LOGIN PASSWORD 'SCRAM-x';", "ALTER ROLE a WITH LOGIN;"
    assert accounts.differences(with_, without) == accounts.differences(without, with_) == []
    other = "ALTER ROLE a WITH LOGIN PASSWORD 'SCRAM-y';"
    assert "another password" in accounts.differences(with_, other)[0] and accounts.differences(with_, with_) == []


def test_a_template_comes_back_as_one_and_a_tablespace_is_named(captured: Capture) -> None:
    with PostgresServer() as server:
        server.psql("create role granted; grant set on parameter session_replication_role to granted")
        server.psql("create database school is_template true")
        server.psql("set allow_in_place_tablespaces = on; create tablespace fast location ''")
        point = captured(server, database="school")
        server.psql("drop tablespace fast; alter database school is_template false")
        server.psql("revoke set on parameter session_replication_role from granted; drop role granted")
        instance = point.restored(real=True, replace=("school",))
        try:
            before, after = both(restored(point, instance))
            assert before.objects["database school"] == after.objects["database school"]
            assert any("the tablespace fast is not made" in note for note in instance.notes)
            instance.accept()
        finally:
            instance.close()
        assert server.psql("select datistemplate from pg_database where datname = 'school'") == "t"
        assert server.psql("select has_parameter_privilege('granted', 'session_replication_role', 'set')") == "t"


def test_a_password_file_that_others_may_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (passfile := tmp_path / "pass").write_text("*:*:*:*:secret\n")
    passfile.chmod(0o644)
    server = Server("db", ThisHost(), Login(passfile=passfile))
    with pytest.raises(SourceError, match="is open to others") as caught:
        server.value("school", "select 1")
    assert caught.value.hint == f"chmod 600 {passfile}"


def test_an_address_in_place_of_a_databases_name_is_refused_with_what_to_declare() -> None:
    with pytest.raises(ValueError, match="the database's name alone: host, port, user and password have keys"):
        PostgresSource.model_validate({"database": "postgresql://sis.district.example/sis"})
