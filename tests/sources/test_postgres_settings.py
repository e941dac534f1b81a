"""PostgreSQL databases whose settings change what comes back: the same is captured, counted and restored."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scripts.servers.postgres import PostgresServer
from tests.databases import postgres_database
from tests.sources.postgres_points import Capture, both, restored

SETTINGS = (
    "standard_conforming_strings = off", "datestyle = 'SQL, DMY'", "intervalstyle = 'sql_standard'",
    "bytea_output = 'escape'", "timezone = 'America/New_York'", "statement_timeout = '200ms'", "lock_timeout = '200ms'",
    "idle_in_transaction_session_timeout = '1s'", "idle_session_timeout = '5s'", "quote_all_identifiers = on",
    "default_transaction_read_only = on", "default_transaction_isolation = 'serializable'", "array_nulls = off",
    "transform_null_equals = on", "extra_float_digits = -5", "xmloption = document", "client_encoding = 'LATIN1'",
    'search_path = "Other Place"',
)  # fmt: skip
TABLE = r"""
create table odd (id int, at timestamptz, zoneless timestamp, span interval, bytes bytea, list text[], f float8,
  name text check (name ~ '\w'), x xml, day date default '2026-02-03');
insert into odd values (1, '2026-02-03 04:05+00', '2026-02-03 04:05', '-1 day +02:03', '\x00ff5c', array['a', null, 'NULL'],
  0.1::float8 + 0.2::float8, 'Zoë €', '<a/>');
create view later as select id from odd where at > '2026-01-01 00:00+00' and span < '1 day' and bytes <> '\x00';
"""


@pytest.fixture
def peculiar(postgres: PostgresServer) -> object:
    """A database of which everything is set otherwise than usual."""
    with postgres_database(postgres, TABLE, name="odd") as name:
        for setting in SETTINGS:
            postgres.psql(f"alter database {name} set {setting}")
        yield name


def test_settings_of_a_database_change_nothing_of_what_is_captured_and_restored(
    postgres: PostgresServer, peculiar: str, captured: Capture
) -> None:
    question = r"select name || ' ' || bytes::text || ' ' || at::text from public.odd where name ~ '\w'"
    point = captured(postgres, database=peculiar)
    instance = point.restored()
    try:
        before, after = both(restored(point, instance))
        assert before.rows == {f"{peculiar}.public.odd": 1}
        assert after.rows == before.rows and after.objects == before.objects
        assert instance.probe(question) == r"Zoë € \x00ff5c 2026-02-03 04:05:00+00"
        same = "select list::text || ' ' || span::text || ' ' || (f = 0.1::float8 + 0.2::float8) from public.odd"
        assert instance.probe(same) == '{a,NULL,"NULL"} -1 days +02:03:00 true'
        assert instance.probe("show intervalstyle") == "postgres"
    finally:
        instance.close()


def test_settings_of_a_database_change_nothing_of_the_accounts(postgres: PostgresServer, captured: Capture) -> None:
    with postgres_database(postgres, name="hasty") as name:
        for setting in ("datestyle = 'SQL, DMY'", "timezone = 'Asia/Kolkata'"):
            postgres.psql(f"alter database {name} set {setting}")
        postgres.psql("create role keeps_it login password 'x' valid until '2030-01-02 00:00+00'")
        try:
            text = (captured(postgres, database=name).kept / "globals.sql").read_text()
            assert "PASSWORD 'SCRAM" in text and "VALID UNTIL '2030-01-02 00:00:00+00'" in text
        finally:
            postgres.psql("drop role keeps_it")


def test_settings_of_a_live_server_change_nothing_of_what_is_restored(
    captured: Capture, postgres: PostgresServer
) -> None:
    with postgres_database(postgres, TABLE, name="plain") as name:
        point = captured(postgres, database=name)
    there = ("array_nulls=off", "default_transaction_read_only=on", "statement_timeout=1000", "datestyle=SQL, DMY")
    with PostgresServer(settings=there) as other:
        instance = point.restored(real=True, host=str(other.socket))
        try:
            before, after = both(restored(point, instance))
            assert after.rows == before.rows and after.objects == before.objects
            assert instance.probe("select list::text from odd") == '{a,NULL,"NULL"}'
            instance.accept()
        finally:
            instance.close()


@pytest.mark.parametrize(
    ("declared", "hour", "reading"),
    [
        pytest.param({}, 9, " (it has no time zone: read in America/New_York, the server's)", id="the server's"),
        pytest.param({"newest_timezone": "UTC"}, 4, " (it has no time zone: read in UTC, as declared)", id="declared"),
    ],
)
def test_a_newest_time_without_a_zone_is_read_in_the_servers_or_as_declared(
    postgres: PostgresServer, peculiar: str, captured: Capture, declared: dict[str, str], hour: int, reading: str
) -> None:
    point = captured(postgres, database=peculiar, newest="select max(zoneless) from public.odd", **declared)
    instance = point.restored()
    try:
        moment = restored(point, instance).newest()
        assert moment == datetime(2026, 2, 3, hour, 5, tzinfo=UTC) and instance.reading == reading
    finally:
        instance.close()
