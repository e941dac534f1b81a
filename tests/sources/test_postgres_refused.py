"""Objects that a dump alone does not bring back: what can be is, the rest is named and refuses nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.sources.driver import RestoredSource
from scripts.servers.postgres import PostgresServer, program
from tests.databases import postgres_database
from tests.sources.postgres_points import Capture, both, restored

#: Functions that name things without their schema, and what calls them.
BY_PATH = """
create schema app; set search_path = app, public;
create table kinds (k text primary key); insert into kinds values ('a'), ('b');
create function known(text) returns boolean language sql stable as 'select exists (select from kinds where k = $1)';
create function lower_of(text) returns text language sql immutable as 'select lower($1)';
create function low(text) returns text language sql immutable as 'select lower_of($1)';
create table checked_first (id int, k text constraint is_known check (known(k)));
comment on constraint is_known on checked_first is 'by another table';
insert into checked_first select g, 'a' from generate_series(1, 300) g;
create index by_low on checked_first (low(k));
create domain kind as text constraint in_kinds check (known(value));
create table by_domain (k kind); insert into by_domain values ('b');
create table parted (id int, k text, check (known(k))) partition by range (id);
create table parted_1 partition of parted for values from (0) to (100); insert into parted values (1, 'a');
create function counted() returns bigint language plpgsql as 'begin return (select count(*) from kinds); end';
create materialized view totals as select counted() as n; create index on totals (n);
create view over_totals as select n from totals;
create materialized view never_filled as select counted() as n with no data;
create function measured(t text) returns int language plpgsql immutable as 'begin return length(lower_of(t)); end';
create function of_its_own(text) returns int language sql immutable set search_path = app as 'select measured($1)';
create table with_size (k text, n int generated always as (measured(k)) stored, m int generated always as (of_its_own(k))
  stored);
insert into with_size values ('Abc');
create operator === (leftarg = text, rightarg = text, function = texteq);
create table by_size (k text, n int) partition by list (measured(k)); create table by_size_2 partition of by_size
  for values in (2);
create table by_size_else partition of by_size default; insert into by_size values ('xy', 1), ('xyz', 2);
"""


@pytest.fixture(scope="module")
def by_path(postgres: PostgresServer) -> Iterator[str]:
    """A database full of functions that go by the path."""
    with postgres_database(postgres, name="paths") as name:
        postgres.psql(f"alter database {name} set search_path = app, public")
        postgres.psql(BY_PATH, name)
        yield name


def bring_back(point: object, **more: object) -> RestoredSource:
    """Restore a point, real or not."""
    return restored(point, point.restored(**more))  # type: ignore[attr-defined]


def test_functions_that_go_by_the_path_and_checks_of_other_tables_come_back(
    postgres: PostgresServer, by_path: str, captured: Capture
) -> None:
    point = captured(postgres, database=by_path)
    instance = bring_back(point)
    try:
        assert instance.refusals == []
        before, after = both(instance)
        assert before.rows == after.rows and before.rows[f"{by_path}.app.checked_first"] == 300
        assert before.objects == after.objects
        assert instance.probe("select n from totals") == "2"
        assert instance.probe("select concat(n, m) from with_size") == "33"
        said = "select obj_description(oid, 'pg_constraint') from pg_constraint where conname = 'is_known'"
        assert instance.probe(said) == "by another table"
    finally:
        instance.close()


BROKEN = """
create table kept (id int); insert into kept values (1), (2);
create table gone (id int);
create function of_gone() returns bigint language plpgsql as 'begin return (select count(*) from gone); end';
create materialized view stale as select of_gone() as n; create view over_stale as select n from stale;
create function small(int) returns boolean language sql immutable as 'select $1 < 10';
create table grown (id int constraint is_small check (small(id))); insert into grown values (5);
create or replace function small(int) returns boolean language sql immutable as 'select $1 < 3';
drop table gone;
"""


def test_what_is_refused_is_named_and_the_rest_is_there(postgres: PostgresServer, captured: Capture) -> None:
    with postgres_database(postgres, BROKEN, name="broken") as name:
        point = captured(postgres, database=name)
        instance = bring_back(point)
        try:
            before, after = both(instance)
            assert before.rows == after.rows and sum(after.rows.values()) == 3
            stale, small = sorted(instance.refusals, key=lambda each: each.kind, reverse=True)
            assert stale.name == f"{name}.public.stale" and stale.statement == "REFRESH MATERIALIZED VIEW public.stale;"
            assert stale.cause == 'relation "gone" does not exist'
            assert small.name == f"{name}.public.grown.is_small" and "violated by some row" in small.cause
            assert {each for each in before.objects if before.objects[each] != after.objects[each]} == {*small.keys}
            with pytest.raises(Exception, match="violates check constraint"):
                postgres_of(instance, "insert into grown values (7)")
        finally:
            instance.close()
        real = bring_back(point, real=True, replace=(name,))
        try:
            assert {each.name for each in real.unaccepted} == {stale.name, small.name}
        finally:
            real.close()


def postgres_of(instance: RestoredSource, sql: str) -> None:
    """Run SQL on what was restored; an error is an exception with the server's words."""
    instance.server.execute(instance.databases[0], sql, doing="it failed")  # type: ignore[attr-defined]


SECRETS = """
create extension postgres_fdw; create server far foreign data wrapper postgres_fdw;
create user mapping for current_user server far options (user 'x', password 'far-secret');
"""


def test_a_user_without_rights_gets_what_it_may_and_no_secret_is_shown(captured: Capture, tmp_path: Path) -> None:
    with PostgresServer() as server:
        server.psql("create role maker login createdb; create database school")
        server.psql(SECRETS + "create table pupils as select 1 as id;", "school")
        point = captured(server, database="school")
        server.psql("alter database school rename to lost")
        instance = point.restored(real=True, user="maker")
        try:
            restored(point, instance)
            assert instance.probe("select count(*) from pupils") == "1"
            shown = "\n".join(map(str, instance.refusals))
            assert "the extension school.postgres_fdw was refused" in shown
            assert "the server school.far was refused" in shown and "school.settings" in shown
            assert "far-secret" not in shown and "far-secret" not in repr(instance.refusals)
        finally:
            instance.close()


#: Programs that work at once and speak at once: what each error is about has been lost.
MUMBLING = """#!/bin/sh
case " $* " in
*" -j "*) said=$({real} "$@" 2>&1); code=$?; echo "$said" | grep -v "from TOC entry" >&2; exit $code;;
esac
exec {real} "$@"
"""


def test_what_was_refused_is_found_out_also_when_what_is_said_of_it_is_garbled(
    postgres: PostgresServer, by_path: str, captured: Capture, tmp_path: Path
) -> None:
    real = Path(program("pg_restore"))
    for each in real.parent.iterdir():
        (tmp_path / each.name).symlink_to(each)
    (tmp_path / real.name).unlink()
    (tmp_path / real.name).write_text(MUMBLING.format(real=real))
    (tmp_path / real.name).chmod(0o755)
    point = captured(postgres, database=by_path)
    instance = bring_back(point, real=True, replace=(by_path,), bin=str(tmp_path))
    try:
        before, after = both(instance)
        assert instance.refusals == [] and before.objects == after.objects
    finally:
        instance.close()
