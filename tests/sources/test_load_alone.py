"""Tables that are loaded alone out of a dump: what comes with them, what keeps them from it, and the room they need."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from dr.plan.source_kinds import PostgresSource
from dr.run.recovery.provision import loaded_size
from dr.sources.database_inventory import FILENAME, DatabaseInventory, write
from dr.sources.driver import RestoreSlot
from dr.sources.postgres.connection import Login, Server
from dr.sources.postgres.driver import Postgres
from dr.sources.postgres.load_tables import entries_for, family_of
from dr.tools.host import ThisHost
from scripts.servers.postgres import PostgresServer
from tests.databases import postgres_database

TABLES = """
create table classes (id int primary key);
create schema "Odd Schema";
create table "Odd Schema"."Ödd.Näme" (a int);
create table terms (at date) partition by range (at);
create table terms_1 partition of terms for values from ('2020-01-01') to ('2021-01-01');
create table terms_2 partition of terms for values from ('2021-01-01') to ('2022-01-01');
create function rate(int) returns int language plpgsql immutable as
  'begin return (select count(*) from classes); end';
create table rated (a int, b int generated always as (rate(a)) stored);
create table "a b" (id int check (rate(id) > 0));
"""


def test_tables_of_postgresql_that_look_at_others_are_not_loaded_alone(postgres: PostgresServer) -> None:
    server = Server("database", ThisHost(), Login(host=str(postgres.socket), port=postgres.port, user=postgres.user))
    with postgres_database(postgres, TABLES) as name:
        family = family_of(server, name, [("public", "terms"), ("Odd Schema", "Ödd.Näme")])
        assert family == {("public", each) for each in ("terms", "terms_1", "terms_2")} | {("Odd Schema", "Ödd.Näme")}
        assert family_of(server, name, [("public", "rated")]) is None
        assert family_of(server, name, [("public", "classes"), ("public", "a b")]) is None


def test_room_is_needed_for_the_rows_that_are_loaded(tmp_path: Path) -> None:
    rows = {"sis.public.small": 10, "sis.public.large": 990, "hr.public.staff": 5}
    objects = {f"table {name}": "" for name in rows}
    facts = DatabaseInventory(databases=("sis", "hr"), rows=rows, objects=objects, sizes={"sis": 10**9, "hr": 10**6})
    write(tmp_path / FILENAME, facts)

    def needed(only: frozenset[str], tables: dict[str, frozenset[tuple[str, ...]]]) -> int:
        room = RestoreSlot(
            root=tmp_path, apart=tmp_path, annex=lambda kind: tmp_path, token="", only=only, tables=tables
        )
        instance = Postgres("db", PostgresSource(database="sis"), host=ThisHost()).restored(room)
        return loaded_size(SimpleNamespace(instances={"db": instance}), "db", 0)

    none = needed(frozenset({"nothing"}), {})
    assert needed(frozenset({"sis"}), {}) - none == 10**9
    assert needed(frozenset({"sis"}), {"sis": frozenset({("public", "small")})}) - none == 10**7
    assert needed(frozenset({"sis"}), {"sis": frozenset({("public", "not counted")})}) - none == 10**9


def test_the_entries_of_a_table_are_told_from_all_others() -> None:
    listed = b"""; Archive
12; 3079 1 TABLE public a owner
13; 1259 2 TABLE public b owner
14; 0 3 TABLE DATA public a owner
15; 0 4 TABLE DATA public b TABLE DATA public a owner
16; 0 5 TABLE DATA public TABLE DATA owner
17; 0 0 SEQUENCE SET public s owner
18; 2606 7 FK CONSTRAINT public a key owner
19; 2606 8 FK CONSTRAINT public b key owner
20; 0 0 BLOBS - BLOBS -
21; 1259 9 INDEX public i owner
22; 0 6 MATERIALIZED VIEW DATA public m owner"""
    kept, keys = entries_for(listed, {("public", "a")}) or ([], [])
    numbers = [line.partition(b";")[0] for line in kept]
    assert (numbers, [line.partition(b";")[0] for line in keys]) == (
        [b"", b"12", b"13", b"14", b"17", b"19", b"21"], [b"18"],
    )  # fmt: skip
    assert entries_for(listed, {("public", "c")}) is None, "then all is loaded"
    assert any(
        b" TABLE DATA public TABLE DATA " in line
        for line in (entries_for(listed, {("public", "TABLE DATA")}) or [[]])[0]
    )
