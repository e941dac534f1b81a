"""Generated PostgreSQL databases: what is found by a search path, what looks elsewhere, what guards rows, what calls out."""

from __future__ import annotations

from tests.campaign.seeded import Draw, Seeded

#: A server that nobody runs: whoever tries it is refused at once.
NOWHERE = "host '127.0.0.1', port '9'"


def make(number: int, *, without: frozenset[str] = frozenset()) -> Seeded:
    """Return the database of a number, `without` what bears these traits."""
    draw, name = Draw(f"postgres/{number}"), f"camp_{number:02}"
    made = Seeded("postgres", number, name, without=without)
    clerk = f"clerk_{number:02}"
    made.before.append(f"create role {clerk} login password 'word-{number}'")
    schema = draw.name("school") if draw.maybe(0.6) else "public"
    if schema != "public":
        made.statements += [f"create schema {schema}", f"set search_path = {schema}, public"]
    tables = _tables(draw, made)
    _unqualified(draw, made, schema, tables)
    _views(draw, made, tables)
    _checks(draw, made, tables)
    _guards(draw, made, schema, tables, clerk)
    _foreign(draw, made)
    _collations(draw, made)
    _by_themselves(draw, made, tables)
    _settings(draw, made, schema, clerk)
    return made


def _tables(draw: Draw, made: Seeded) -> list[str]:
    tables: list[str] = []
    if draw.maybe(0.5):
        made.statements.append("create type mood as enum ('glad', 'it''s so')")
        made.statements.append("create domain grade as int check (value between 0 and 100)")
    typed = len(made.statements) and "mood" in made.statements[-2] if len(made.statements) > 1 else False
    for _ in range(draw.number(2, 5)):
        table = draw.name("tab")
        key = draw.pick(
            ("id serial primary key", "id int generated always as identity primary key", "id bigserial unique")
        )
        columns = [key, "word text default 'it''s'", "n int not null default 7"]
        if draw.maybe(0.4) and made.takes("generated column"):
            columns.append("twice int generated always as (n * 2) stored")
        if typed:
            columns += ["m mood", "g grade default 50"]
        if tables and draw.maybe(0.4):
            columns.append(f"parent int references {tables[0]} (id)" if "tab" in tables[0] else "parent int")
        unlogged = "unlogged " if draw.maybe(0.15) and not tables else ""
        made.statements.append(f"create {unlogged}table {table} ({', '.join(columns)})")
        made.statements.append(
            f"insert into {table} (word, n) select 'row ' || i, i from generate_series(1, {draw.number(1, 30)}) i"
        )
        tables.append(table)
    if draw.maybe(0.3) and made.takes("partitions"):
        parted = draw.name("parted")
        made.statements += [
            f"create table {parted} (id int, n int) partition by range (n)",
            f"create table {parted}_a partition of {parted} for values from (0) to (10)",
            f"create table {parted}_b partition of {parted} default",
            f"insert into {parted} select i, i from generate_series(1, 20) i",
        ]
    if draw.maybe(0.3) and made.takes("large object"):
        made.statements.append("select lo_from_bytea(0, 'a large object')")
    return tables


def _unqualified(draw: Draw, made: Seeded, schema: str, tables: list[str]) -> None:
    """Functions that find things by the search path, and what stands on them."""
    looked = tables[0]
    made.statements += [
        f"create function counted() returns bigint language sql stable as 'select count(*) from {looked}'",
        "create function plain(a int) returns int language sql immutable as 'select a + 1'",
        "create function outer_one(a int) returns int language plpgsql immutable as 'begin return plain(a); end'",
    ]
    if draw.maybe(0.6) and made.takes("materialised view by an unqualified function"):
        made.statements.append(
            f"create materialized view {draw.name('mat')} as select counted() as c, n from {tables[-1]}"
        )
    if draw.maybe(0.4) and made.takes("materialised view"):
        mat = draw.name("mat")
        made.statements.append(f"create materialized view {mat} as select id, n from {tables[-1]} where n > 2")
        made.statements.append(f"create unique index on {mat} (id)")
        if draw.maybe(0.3) and made.takes("materialised view without data"):
            made.statements.append(f"refresh materialized view {mat} with no data")
    if draw.maybe(0.6) and made.takes("index by an unqualified function"):
        made.statements.append(f"create index {draw.name('idx')} on {draw.pick(tables)} (outer_one(n))")


def _views(draw: Draw, made: Seeded, tables: list[str]) -> None:
    known = list(tables)
    for _ in range(draw.number(1, 5)):
        view, base = draw.name("view"), draw.pick(known[-4:])
        form = draw.pick(("plain", "check", "recursive", "function"))
        body = f"select id, word, n from {base}"
        if form == "check":
            body += f" where n > -1 with {draw.pick(('local', 'cascaded'))} check option"
        elif form == "function":
            body = f"select id, word, outer_one(n) as n from {base}"
        elif form == "recursive":
            body = f"with recursive r(id, word, n) as (select id, word, n from {base}) select id, word, n from r"
        made.statements.append(f"create view {view} as {body}")
        if form in ("plain", "check"):
            known.append(view)
    if draw.maybe(0.3) and made.takes("rule"):
        made.statements.append(
            f"create rule {draw.name('rule')} as on delete to {tables[0]} where old.n < -999 do instead nothing"
        )


def _checks(draw: Draw, made: Seeded, tables: list[str]) -> None:
    if not (draw.maybe(0.5) and made.takes("check that looks elsewhere")):
        return
    table = tables[-1]
    other = draw.pick(tables)
    made.statements += [
        f"create function known(a int) returns boolean language sql as 'select exists (select 1 from {other}) or a is null'",
        f"alter table {table} add constraint {draw.name('chk')} check (known(n))",
    ]


def _guards(draw: Draw, made: Seeded, schema: str, tables: list[str], clerk: str) -> None:
    made.statements.append(f"grant usage on schema {schema} to {clerk}")
    made.statements.append(f"grant select on {tables[0]} to {clerk}")
    if draw.maybe(0.5) and made.takes("row-level security"):
        table = draw.pick(tables)
        made.statements += [
            f"alter table {table} enable row level security",
            f"create policy {draw.name('pol')} on {table} to {clerk} using (n > 3) with check (n > 4)",
        ]
        if draw.maybe(0.5):
            made.statements.append(f"alter table {table} force row level security")
    if draw.maybe(0.4) and made.takes("owned by another"):
        made.statements.append(f"alter table {tables[-1]} owner to {clerk}")
    if draw.maybe(0.3) and made.takes("default privileges"):
        made.statements.append(f"alter default privileges in schema {schema} grant select on tables to {clerk}")


def _foreign(draw: Draw, made: Seeded) -> None:
    if not (draw.maybe(0.4) and made.takes("foreign table")):
        return
    server, table = draw.name("srv"), draw.name("far")
    made.statements += [
        "create extension postgres_fdw",
        f"create server {server} foreign data wrapper postgres_fdw options ({NOWHERE}, dbname 'elsewhere')",
        f"create user mapping for current_user server {server} options (user 'reader', password 'of the other place')",
        f"create foreign table {table} (id int, word text) server {server} options (table_name 'pupils')",
    ]
    if draw.maybe(0.5) and made.takes("materialised view over a foreign table"):
        made.statements.append(f"create materialized view {draw.name('mat')} as select id from {table} with no data")


def _collations(draw: Draw, made: Seeded) -> None:
    if not (draw.maybe(0.4) and made.takes("ICU collation")):
        return
    name, table = draw.name("coll"), draw.name("named")
    kind = draw.pick(("locale = 'de-u-kn-true'", "locale = 'und-u-ks-level2', deterministic = false"))
    made.statements += [
        f"create collation {name} (provider = icu, {kind})",
        f"create table {table} (who text collate {name} primary key)",
        f"insert into {table} values ('Äpfel 2'), ('Äpfel 10'), ('zu')",
    ]


def _by_themselves(draw: Draw, made: Seeded, tables: list[str]) -> None:
    """What acts by itself: triggers, event triggers, publications and subscriptions."""
    if draw.maybe(0.5) and made.takes("trigger"):
        made.statements += [
            f"create function told() returns trigger language plpgsql as 'begin insert into {tables[0]} (word) values (new.word); return new; end'",
            f"create trigger {draw.name('trig')} after insert on {tables[-1]} for each row when (pg_trigger_depth() < 1) execute function told()",
        ]
        if draw.maybe(0.3):
            made.statements.append(f"alter table {tables[-1]} disable trigger all")
    if draw.maybe(0.4) and made.takes("event trigger"):
        refuse = "raise exception ''no'';" if draw.maybe(0.3) else "raise notice ''%'', tg_tag;"
        event = draw.pick(("ddl_command_end", "sql_drop"))
        tag = " when tag in ('DROP TABLE')" if "exception" in refuse else ""
        made.statements += [
            f"create function guarded() returns event_trigger language plpgsql as 'begin {refuse} end'",
            f"create event trigger {draw.name('evt')}_{made.number:02} on {event}{tag} execute function guarded()",
        ]
    if draw.maybe(0.3) and made.takes("publication"):
        made.statements.append(f"create publication {draw.name('pub')} for table {tables[0]}")
    if draw.maybe(0.3) and made.takes("subscription"):
        place = "host=127.0.0.1 port=9 dbname=elsewhere user=reader password=other"
        made.statements.append(
            f"create subscription {draw.name('sub')}_{made.number:02} connection '{place}' publication p"
            " with (connect = false, enabled = false, create_slot = false, slot_name = none)"
        )


def _settings(draw: Draw, made: Seeded, schema: str, clerk: str) -> None:
    if draw.maybe(0.5) and made.takes("settings of the database"):
        made.after.append(f"alter database {made.name} set search_path = {schema}, public")
        made.after.append(f"alter database {made.name} set statement_timeout = '{draw.number(100, 900)}s'")
    if draw.maybe(0.4) and made.takes("settings of a role in the database"):
        made.after.append(f"alter role {clerk} in database {made.name} set work_mem = '{draw.number(5, 50)}MB'")
    if draw.maybe(0.2) and made.takes("strings that do not conform"):
        made.after.append(f"alter database {made.name} set standard_conforming_strings = off")
    if draw.maybe(0.3):
        made.after.append(f"comment on database {made.name} is 'the school''s \\ number {made.number}'")
    if draw.maybe(0.2) and made.takes("connection limit"):
        made.after.append(f"alter database {made.name} connection limit {draw.number(20, 40)}")
