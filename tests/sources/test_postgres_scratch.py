"""PostgreSQL databases brought back into a scratch server, for a drill."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dr.errors import DamageError, DrError, SourceError
from dr.sources import database_inventory as facts
from dr.sources.driver import RestoredSource
from dr.sources.postgres import roles, scratch
from scripts.servers.postgres import PostgresServer, program
from tests.sources.conftest import capturing
from tests.sources.postgres_points import Capture, both, gone_from, killed_amid, left_in, restored

ODD = 'Schüler "A" b'
ROLES = r"""
create role "Data Owner" login password 'owner-secret';
create role teacher; create role "app user" login in role teacher;
create database "Schüler ""A"" b" template template0 encoding 'UTF8' locale_provider icu icu_locale 'de' locale 'C.UTF-8' owner "Data Owner";
alter database "Schüler ""A"" b" set work_mem = '8MB';
alter database "Schüler ""A"" b" set search_path = "$user", public, "Odd Schema";
grant connect on database "Schüler ""A"" b" to teacher;
comment on database "Schüler ""A"" b" is 'the pupils''s';
"""
#: One of everything that a restore could lose.
OBJECTS = r"""
create extension pg_trgm; create extension hstore;
create schema "Odd Schema" authorization "Data Owner";
create type grade as enum ('A','B','it''s');
create domain email as text check (value like '%@%');
create type pair as (a int, b text);
create table "Odd Schema"."Weird ""T"", name" (id bigint generated always as identity primary key, "Name" text collate "C" not null default 'x', e email, g grade, h hstore,
  status varchar(10) check (status in ('a','b')), p numeric(8,2) default 1.5, t timestamptz default now(), u text unique);
alter table "Odd Schema"."Weird ""T"", name" owner to "Data Owner";
insert into "Odd Schema"."Weird ""T"", name" ("Name", status, e) select 'n'||g, 'a', 'a@b' from generate_series(1,1000) g;
create index on "Odd Schema"."Weird ""T"", name" using gin ("Name" gin_trgm_ops);
create index part on "Odd Schema"."Weird ""T"", name" (lower("Name")) where status in ('a','b');
create table events (id serial, at timestamptz, v int, check (v > 0 and v < 100 or v is null)) partition by range (at);
create table events_1 partition of events for values from ('2026-01-01') to ('2027-01-01');
insert into events (at, v) values ('2026-02-03 04:05:06.5+00', 5);
create table child (c text collate "de-x-icu") inherits ("Odd Schema"."Weird ""T"", name");
insert into child (id, c, "Name") values (9, 'ü','k');
create unlogged table fleeting (x int); insert into fleeting values (1);
create view v as select id, "Name" || '!' as n, case when status in ('a','b') then 1 end from "Odd Schema"."Weird ""T"", name" where status = 'a' and "Name" ~ 'n';
create materialized view mv as select count(*) from events;
create function f(int, text default 'a') returns text language sql as $$ select $1::text || $2 $$;
create procedure pr() language plpgsql as $$ begin perform 1; end $$;
create aggregate agg(int) (sfunc = int4pl, stype = int, initcond = '0');
create function trg() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger tr before insert on "Odd Schema"."Weird ""T"", name" for each row when (new.status in ('a','b')) execute function trg();
create table "new
line" (x int references "Odd Schema"."Weird ""T"", name"(id));
insert into "new
line" values (1);
create rule r as on delete to fleeting do instead nothing;
alter table events enable row level security; create policy pol on events for select to teacher using (v in (1,2));
create collation "my coll" (provider = icu, locale = 'sv');
create statistics st on id, v from events;
create publication pub for table events_1;
grant select on v to teacher; grant update ("Name") on "Odd Schema"."Weird ""T"", name" to teacher with grant option;
grant usage on schema "Odd Schema" to teacher; revoke execute on function f from public;
alter default privileges in schema public grant select on tables to teacher;
select lo_from_bytea(0, '\xdeadbeef');
select lo_from_bytea(0, decode(repeat('ab', 5000), 'hex'));
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server with a database that holds one of everything, and a small one."""
    with PostgresServer() as running:
        running.psql(ROLES)
        running.psql(OBJECTS, ODD)
        running.psql("create database school")
        running.psql(
            "create table pupils (id int primary key, name text); create index by_name on pupils (name);"
            "create view seen as select id::text as id from pupils where id > 3",
            "school",
        )
        running.psql("insert into pupils select g, 'pupil ' || g from generate_series(1, 500) g", "school")
        yield running


@pytest.fixture
def captured(captured: Capture, server: PostgresServer) -> Capture:
    """Captures databases of that server."""
    return functools.partial(captured, server)


def segment_of(annex: Path) -> str:
    """The number of a running scratch server's shared memory."""
    return (annex / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]


def segments() -> set[str]:
    """The numbers of all shared memory that is held in the system's table."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_one_of_everything_comes_back_as_it_was(captured: Capture) -> None:
    point = captured(database=ODD, newest="select max(at) from events")
    instance = point.restored()
    assert instance.takes_stream
    try:
        before, after = both(restored(point, instance))
        assert after == replace(before, answers={})
        assert before.rows[f"{ODD}.pg_largeobject"] == 2 and sum(before.rows.values()) == 1006
        kinds = {name.split(" ")[0] for name in before.objects}
        assert kinds == {
            "database", "table", "view", "materialized", "sequence", "index", "constraint", "function", "procedure",
            "aggregate", "trigger", "policy", "rule", "type", "collation", "statistics", "schema", "extension",
            "publication", "rights",
        }  # fmt: skip
        assert {"extension pg_trgm", "role teacher", "role Data Owner", "collation de-x-icu"} < set(before.needs)
        assert instance.probe("select sum(length(lo_get(oid))) from pg_largeobject_metadata") == "5004"
        assert instance.probe("show search_path") == '"$user", public, "Odd Schema"'
        assert instance.newest() == datetime(2026, 2, 3, 4, 5, 6, 500_000, tzinfo=UTC)
    finally:
        instance.close()


def test_every_database_of_a_server_comes_back(captured: Capture) -> None:
    point = captured(all=True)
    instance = point.restored()
    try:
        before, after = both(restored(point, instance))
        assert before.databases == (ODD, "school") and after == before
        assert instance.probe("select count(*) from pupils", "school") == "500"
        assert instance.probe("select current_database()") == ODD
        with pytest.raises(SourceError, match="no restored database elsewhere"):
            instance.probe("select 1", "elsewhere")
    finally:
        instance.close()


DAMAGE = {
    "a comment made": "comment on column pupils.name is 'of them'",
    "a fill factor": "alter table pupils set (fillfactor = 70)",
    "a view of another column": "create or replace view seen as select name as id from pupils where id > 3",
    "a view with another condition": "create or replace view seen as select id::text as id from pupils where id > 4",
    "a row deleted": "delete from pupils where id = 7",
    "a table emptied": "truncate pupils",
    "an index dropped": "drop index by_name",
    "a column changed": "alter table pupils alter name type varchar(100)",
    "a default added": "alter table pupils alter name set default ''",
    "a right given": "grant delete on pupils to teacher",
    "another owner": 'alter table pupils owner to "Data Owner"',
    "an extension added": "create extension hstore",
    "a setting made": "alter database school set work_mem = '1MB'",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_differs_from_the_capture_shows(school: RestoredSource, how: str) -> None:
    before, after = both(school)
    assert (before.rows, before.objects) == (after.rows, after.objects)
    change(school, DAMAGE[how])
    before, after = both(school)
    assert (before.rows != after.rows) == ("row" in how or "emptied" in how)
    assert (before.objects != after.objects) != (before.rows != after.rows)


@pytest.fixture(scope="module")
def school_once(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestoredSource]:
    """The small database, restored; beside it a copy that nobody changes."""
    with capturing(tmp_path_factory.mktemp("school")) as capture:
        point = capture(server, database="school")
        instance = point.restored()
        try:
            change(restored(point, instance), "create database as_it_was template school", "template1")
            yield instance
        finally:
            instance.close()


@pytest.fixture
def school(school_once: RestoredSource) -> RestoredSource:
    """The small database, as it was restored."""
    change(school_once, "drop database school", "template1")
    change(school_once, "create database school template as_it_was", "template1")
    return school_once


def change(instance: RestoredSource, sql: str, database: str = "school") -> None:
    """Change what was restored, by the connection that programs get."""
    env = {"PATH": os.environ["PATH"], **instance.connection()}
    where = env["DATABASE_URL"].replace("/school?", f"/{database}?")
    subprocess.run([program("psql"), "-Xqv", "ON_ERROR_STOP=1", "-c", sql, where], env=env, check=True)


def test_programs_reach_the_databases_by_what_they_are_told(school: RestoredSource) -> None:
    env = {"PATH": os.environ["PATH"], **school.connection()}
    for where in ([], [env["DATABASE_URL"]]):
        argv = [program("psql"), "-XqAtc", "select current_database()", *where]
        assert subprocess.run(argv, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout == "school\n"


def test_a_probe_gives_text_and_cannot_write_and_says_what_is_wrong(school: RestoredSource) -> None:
    assert school.probe("select count(*), 'more' from pupils;") == "500"
    assert school.probe("select null") is None and school.probe("select 1 where false") is None
    assert school.probe("select '' -- nothing") == "" and school.probe("select true") == "t"
    assert school.probe("select timestamptz '2026-01-02 03:04:05+05'") == "2026-01-01 22:04:05+00"
    for query in ("delete from pupils", "drop table pupils", "create table x ()"):
        with pytest.raises(SourceError, match="read-only transaction"):
            school.probe(query)
    with pytest.raises(SourceError, match='relation "nowhere" does not exist') as caught:
        school.probe("select 1\nfrom nowhere")
    assert "\n" not in str(caught.value) and caught.value.hint
    assert school.newest() is None


def test_nothing_is_left_of_a_scratch_server(captured: Capture) -> None:
    point = captured(database="school")
    instance = point.restored()
    instance.close()
    restored(point, instance)
    (annex,) = point.annexes
    segment = segment_of(annex)
    assert segment in segments()
    assert left_in(annex) and list(annex.glob(".s.PGSQL*")), "it never ran: the test shows nothing"
    instance.close()
    instance.close()
    assert gone_from(annex)
    assert not list(annex.glob(".s.PGSQL*"))
    assert segment not in segments()
    with pytest.raises(SourceError):
        instance.probe("select 1")


def test_a_drill_that_is_killed_leaves_no_server_running(captured: Capture) -> None:
    seen: list[str] = []
    annex = killed_amid(captured(database="school"), real=False, before=lambda annex: seen.append(segment_of(annex)))
    assert (annex / "data").is_dir()
    assert gone_from(annex), left_in(annex)
    assert seen[0] not in segments()


def test_what_is_not_installed_here_is_named_and_the_rest_can_be_checked(captured: Capture) -> None:
    point = captured(database="school")
    point.change(
        needs=("extension postgis", "role teacher", "locale xx_XX.UTF-8", "locale C.utf8", "collation xx-x-icu")
    )
    instance = point.restored()
    try:
        with pytest.raises(SourceError, match="the extension postgis is not installed here") as caught:
            restored(point, instance)
        assert "the locale xx_XX.UTF-8 is not installed here" in str(caught.value)
        assert "collation xx-x-icu" in str(caught.value)
        assert "teacher" not in str(caught.value) and "C.utf8" not in str(caught.value)
        assert instance.probe("select count(*) from pupils") == "500"
    finally:
        instance.close()


def test_a_locale_that_is_not_here_is_replaced_and_said(captured: Capture) -> None:
    point = captured(database="school")
    found = facts.read(point.kept / facts.FILENAME)
    assert found is not None
    kept = json.loads(found.objects["database school"]) | {"collate": "xx_XX.UTF-8", "ctype": "xx_XX.UTF-8"}
    point.change(objects={**found.objects, "database school": json.dumps(kept)}, needs=("locale xx_XX.UTF-8",))
    instance = point.restored()
    try:
        with pytest.raises(SourceError, match=r"the locale xx_XX.UTF-8 is not installed here, so that texts sort"):
            restored(point, instance)
        assert instance.probe("select datcollate from pg_database where datname = 'school'") == "C.UTF-8"
        before, after = both(instance)
        assert before.objects["database school"] != after.objects["database school"]
    finally:
        instance.close()


def test_accounts_that_are_lost_are_named_with_what_they_broke(captured: Capture) -> None:
    point = captured(database=ODD)
    (point.kept / "globals.sql").unlink()
    instance = point.restored()
    try:
        with pytest.raises(
            SourceError, match=r"the role Data Owner is not there; the role teacher is not there"
        ) as caught:
            restored(point, instance)
        assert 'role "Data Owner" does not exist' in str(caught.value)
        assert instance.probe('select count(*) from "Odd Schema"."Weird ""T"", name"') == "1001"
    finally:
        instance.close()


@pytest.mark.parametrize("size", [3, 3000, -4000], ids=["no header", "amid the contents", "amid the data"])
def test_a_dump_that_is_cut_short_is_not_taken_for_whole(captured: Capture, size: int) -> None:
    point = captured(database="school")
    point.data = point.data[:size]
    instance = point.restored()
    try:
        with pytest.raises(DrError, match="the dump"):
            restored(point, instance)
    finally:
        instance.close()


def test_a_tar_that_is_cut_short_is_damage(captured: Capture) -> None:
    point = captured(all=True)
    point.data = point.data[:-2000]
    instance = point.restored()
    try:
        with pytest.raises(DamageError):
            restored(point, instance)
    finally:
        instance.close()


def test_what_the_repository_says_amid_the_stream_is_what_is_said(captured: Capture) -> None:
    point = captured(database="school")
    instance = point.restored()

    def broken() -> Iterator[bytes]:
        yield point.data[:-4000]
        raise DamageError("the pack is damaged", hint="use another target")

    try:
        instance.provision()
        with pytest.raises(DamageError, match="the pack is damaged"):
            instance.pour(point.filename, broken())
    finally:
        instance.close()


def test_programs_older_than_the_captured_server_are_refused(captured: Capture) -> None:
    point = captured(database="school")
    point.change(server="PostgreSQL 99.1")
    instance = point.restored()
    with pytest.raises(
        SourceError, match=r"needs the server programs of PostgreSQL 99 or newer here; PostgreSQL \d+ is"
    ):
        instance.provision()
    instance.close()


def test_a_scratch_server_that_does_not_start_says_why(captured: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    point = captured(database="school")
    monkeypatch.setattr(scratch, "SETTINGS", ("shared_buffers=nonsense",))
    instance = point.restored()
    with pytest.raises(SourceError, match=r"the scratch PostgreSQL server ended .*shared_buffers"):
        instance.provision()
    instance.close()


def test_a_point_without_facts_can_still_be_restored(captured: Capture) -> None:
    point = captured(database="school")
    (point.kept / facts.FILENAME).unlink()
    instance = point.restored()
    try:
        assert restored(point, instance).probe("select count(*) from pupils") == "500"
    finally:
        instance.close()


@pytest.mark.slow
def test_a_thousand_tables_come_back(server: PostgresServer, captured: Capture) -> None:
    server.psql("create database wide")
    server.psql(
        "do $$ begin for i in 1..1000 loop execute format('create table t%s (id int primary key, x text default %L)', i, i);"
        " execute format('insert into t%s select generate_series(1, %s)', i, i % 7); end loop; end $$", "wide",
    )  # fmt: skip
    try:
        point = captured(database="wide")
        instance = point.restored()
        try:
            before, after = both(restored(point, instance))
            assert len(before.rows) == 1000 and after == before
        finally:
            instance.close()
    finally:
        server.psql("drop database wide")


# -- the accounts ------------------------------------------------------------------------------------


def test_accounts_are_taken_apart_whatever_they_are_called() -> None:
    script = """
--
-- it's a comment; with a semicolon
\\restrict abc
SET standard_conforming_strings = on;
CREATE ROLE "a;b""c";
ALTER ROLE "a;b""c" WITH LOGIN PASSWORD 'SCRAM;it''s\\';
CREATE ROLE plain;
COMMENT ON ROLE plain IS E'two\\' lines;';
ALTER ROLE plain SET search_path TO 'a', 'b';
GRANT plain TO "a;b""c" WITH ADMIN OPTION GRANTED BY postgres;
CREATE TABLESPACE fast OWNER plain LOCATION '/x';
\\unrestrict abc
"""
    found = [(each.role, each.group) for each in roles.statements(script)]
    odd = 'a;b"c'
    assert found == [(odd, ""), (odd, ""), ("plain", ""), ("plain", ""), ("plain", ""), (odd, "plain")]
    assert roles.making(script, there={odd, "plain"}) == ""
    new = roles.making(script, there={odd})
    assert new.count("plain") == 4 and "GRANT" in new and "PASSWORD" not in new
