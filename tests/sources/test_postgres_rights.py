"""What an account may not read of a PostgreSQL server: left out, named with what lets it be read, and not counted."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from dr.errors import SourceError
from dr.evidence.record import Omission
from dr.plan.source_kinds import PostgresSource
from dr.sources import database_inventory as facts
from dr.sources.postgres.driver import Postgres
from dr.tools.host import ThisHost
from scripts.servers.postgres import PostgresServer
from tests.sources.postgres_points import Capture, both, restored

OPEN = "create table open_ (id serial primary key); insert into open_ select generate_series(1, 5);"
SHUT = r"""
create table "Shut" (id int primary key, x int); create index by_x on "Shut" (x); insert into "Shut" values (1, 1);
create table own_rows (who text); insert into own_rows values ('a'), ('b'); alter table own_rows enable row level security;
create policy mine on own_rows using (who = current_user);
create schema hidden; create table hidden.t (id int);
select lo_from_bytea(4711, 'secret');
create extension postgres_fdw; create server far foreign data wrapper postgres_fdw options (host '/nowhere');
create user mapping for teacher server far options (user 'x', password 'far-secret');
create user mapping for public server far;
create subscription sub connection 'host=/nowhere password=far-secret' publication p with (connect = false);
grant select on open_, own_rows to reader; grant select on sequence open__id_seq to reader;
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of which the role `reader` may read little."""
    with PostgresServer() as running:
        running.psql("create role reader login; create role teacher login password 'the-teachers'")
        running.psql("create database school; create database closed allow_connections false")
        running.psql("create database private; revoke connect on database private from public")
        running.psql(OPEN + SHUT, "school")
        yield running


def seen(server: PostgresServer, **declared: object) -> dict[str, Omission]:
    """What doctor would say, by the objects named."""
    whole = PostgresSource.model_validate({"host": str(server.socket), "user": "reader", **declared})
    return {name: each for each in Postgres("db", whole, host=ThisHost()).omissions() for name in each.names}


def test_what_cannot_be_read_is_named_and_the_rest_is_captured(server: PostgresServer, captured: Capture) -> None:
    point = captured(server, database="school", user="reader")
    found = seen(server, database="school")
    assert set(found) == {
        'school."Shut"', "school.hidden.t", "school.public.own_rows", "school.large object 4711",
        "school.far for teacher", "school.far for public", "school.sub", "role postgres", "role reader", "role teacher",
    } - {'school."Shut"'} | {'school.public."Shut"'}  # fmt: skip
    assert [name for name, each in found.items() if not each.partial] == [
        "role postgres",
        "role reader",
        "role teacher",
    ]
    assert not [each for each in found.values() if "secret" in each.what + each.hint]
    instance = point.restored()
    try:
        before, after = both(restored(point, instance))
        assert before.rows == {"school.public.open_": 5}
        assert after.rows == before.rows | {"school.public.own_rows": 0}, "a table nobody counted is stored empty"
        assert not [name for name in before.objects if "Shut" in name or "by_x" in name or "hidden.t" in name]
        assert before.objects.keys() == after.objects.keys()
    finally:
        instance.close()


def test_every_hint_lets_it_be_read(server: PostgresServer, captured: Capture) -> None:
    server.psql(
        "create role other login; grant select on open_, own_rows to other; create role super superuser", "school"
    )
    server.psql("grant select on sequence open__id_seq to other", "school")

    def left() -> dict[str, Omission]:
        return seen(server, database="school", user="other")

    assert len(left()) == 11
    for _ in range(12):
        if not (todo := left()):
            break
        hint = next(iter(todo.values())).hint
        for statement in re.findall(r"(?:GRANT|ALTER ROLE|REINDEX)[^;…]*;", hint):
            server.psql(statement, "school")
    assert not left()
    point = captured(server, database="school", user="other")
    found = facts.read(point.kept / facts.FILENAME)
    assert found is not None and found.rows["school.public.own_rows"] == 2
    assert "the-teachers" not in (text := (point.kept / "globals.sql").read_text()) and "SCRAM-SHA-256" in text


def test_all_names_the_databases_that_let_nobody_in(server: PostgresServer, captured: Capture) -> None:
    point = captured(server, all=True, user="reader")
    found = seen(server, all=True)
    kept = facts.read(point.kept / facts.FILENAME)
    assert kept is not None and kept.databases == ("school",)
    assert found["database closed"].partial and "ALLOW_CONNECTIONS true" in found["database closed"].hint
    assert found["database private"].hint == 'as a superuser: GRANT CONNECT ON DATABASE "private" TO "reader";'
    assert found["role teacher"].partial, "all means the accounts too"
    with pytest.raises(SourceError, match='permission denied for database "private"'):
        captured(server, database="private", user="reader")


def test_what_belongs_to_the_whole_server_and_no_dump_holds_is_named(server: PostgresServer) -> None:
    assert not [name for name in seen(server, all=True, user="postgres") if "label" in name or "template1" in name]
    server.psql("create table in_every_new_one (x int)", "template1")
    server.psql(
        "set allow_system_table_mods = on; insert into pg_shseclabel "
        "select oid, 'pg_database'::regclass, 'guard', 'it''s' from pg_database where datname in ('school', 'closed') "
        "union all select oid, 'pg_authid'::regclass, 'guard', 'secret' from pg_roles where rolname = 'teacher'"
    )
    try:
        found = seen(server, all=True, user="postgres")
        assert "pg_dump, template1" in found["database template1"].hint
        label = found["security label of database school"]
        assert label.hint.endswith("SECURITY LABEL FOR guard ON DATABASE school IS 'it''s';") and not label.partial
        assert "ON ROLE teacher IS 'secret'" in found["security label of role teacher"].hint
        one = seen(server, database="school", user="postgres")
        assert set(one) == {"security label of database school", "security label of role teacher"}
    finally:
        server.psql("set allow_system_table_mods = on; delete from pg_shseclabel")
        server.psql("drop table in_every_new_one", "template1")


def test_passwords_that_were_not_seen_are_told_of_again_when_it_is_restored(
    server: PostgresServer, captured: Capture
) -> None:
    server.psql("create database plain")
    for user, remarks in (("reader", 1), ("postgres", 0)):
        point = captured(server, database="plain", user=user)
        drilled = point.restored()
        try:
            assert len(restored(point, drilled).remarks) == remarks, drilled.remarks
        finally:
            drilled.close()
        assert not remarks or ("\\password" in drilled.remarks[0] and "teacher" in drilled.remarks[0])


def test_a_superuser_lacks_nothing_but_what_no_dump_holds(server: PostgresServer, captured: Capture) -> None:
    assert not seen(server, database="school", user="postgres")
    server.psql("create table twice (x int); insert into twice values (1), (1)", "school")
    try:
        with pytest.raises(AssertionError, match="duplicate"):
            server.psql("create unique index concurrently odd on twice (x)", "school")
        found = seen(server, database="school", user="postgres")
        assert not found["school.public.odd"].partial and "DROP INDEX public.odd;" in found["school.public.odd"].hint
        point = captured(server, database="school", user="postgres")
        kept = facts.read(point.kept / facts.FILENAME)
        assert kept is not None and "index school.public.odd" not in kept.objects
    finally:
        server.psql("drop table twice", "school")
