"""Please bring back one table: restored in a sandbox, read out of there, and never written into the live one."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dr.errors import SourceError, UsageError
from dr.plan.source_kinds import MysqlSource, SqliteSource
from dr.run.recovery.request import RecoveryRequest
from dr.run.recovery.tables import bring
from dr.run.recovery.timeline import Timeline
from dr.sources.driver import RestoreSlot
from dr.sources.far_sqlite import FarDatabase
from dr.sources.mysql.beside import MysqlBeside
from dr.sources.mysql.connection import Server as MysqlServer
from dr.sources.mysql.tables import MysqlTables
from dr.sources.postgres.connection import Login, Server
from dr.sources.postgres.tables import PostgresTables
from dr.sources.sqlite_definitions import without_keys
from dr.sources.sqlite_tables import SqliteBeside
from dr.sources.tables import Script, Table, Tables, records_in, with_crlf
from dr.tools.host import ThisHost
from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer, program
from tests.conftest import Ran, Site, plan_text
from tests.databases import mysql_database, postgres_database, source_of
from tests.waiting import soon

#: Values that quotes, line ends, and NULL beside an empty text are hard on; and what one table alone does not bring.
POSTGRES = """
create type mood as enum ('sad', 'it''s 100% ok');
create domain mark as int check (value between 1 and 6);
create table classes (id int primary key);
insert into classes values (1), (2);
create table students (id serial primary key, number int generated always as identity, name text not null, note text,
  mood mood, mark mark, class int references classes, twice int generated always as (mark * 2) stored, raw bytea,
  unique (name, class));
create index "students by Mood" on students (mood) where mark > 1;
create function told() returns trigger language plpgsql as 'begin return new; end';
create trigger told before insert on students for each row execute function told();
alter table students enable row level security;
create policy nobody on students using (false);
insert into students (name, note, mood, mark, class, raw) values
  ('Anna "quoted", x', null, 'sad', 1, 1, '\\x0001'), (E'line\\nend\\r\\n', '', 'it''s 100% ok', 3, 2, null),
  ('back\\slash', 'NULL', null, null, null, ''), ('\\.', '\\N', null, 2, 1, null);
create schema "Odd Schema";
create table "Odd Schema"."Ödd.Näme" (a int, "B c" text);
insert into "Odd Schema"."Ödd.Näme" values (1, null);
create table terms (id serial, at date) partition by range (at);
create table terms_1 partition of terms for values from ('2020-01-01') to ('2021-01-01');
create table terms_2 partition of terms for values from ('2021-01-01') to ('2022-01-01');
insert into terms (at) values ('2020-05-05'), ('2021-05-05');
create view pupils as select * from students;
create function thrice(x int) returns int language sql immutable as 'select 3 * x';
create function called_bare(x int) returns int language plpgsql immutable as 'begin return thrice(x); end';
create table computed (a int, b int generated always as (called_bare(a)) stored);
insert into computed (a) values (1), (2);
create table bare ();
create table fixed (a int generated always as (42) stored);
insert into bare select from generate_series(1, 3);
insert into fixed select from generate_series(1, 2);
"""
MARIADB = (
    "create table classes (id int primary key) engine=innodb",
    "insert into classes values (1), (2)",
    """create table students (id int primary key auto_increment, name varchar(50) not null, note text,
      raw varbinary(20), hidden int invisible default 7, class int, twice int generated always as (class * 2) stored,
      at timestamp null, mood enum('sad', 'it''s ok'), foreign key (class) references classes(id)) engine=innodb""",
    """insert into students (name, note, raw, class, at, mood, hidden) values
      ('Anna "quoted", x', null, x'0001', 1, '2020-01-01 10:00:00', 'sad', 9),
      ('line\\nend\\r\\n', '', null, 2, null, 'it''s ok', null), ('back\\\\slash', 'NULL', '', null, null, null, 3)""",
    "create trigger told before insert on students for each row set new.note = 'told'",
    "create view pupils as select * from students",
)
SQLITE = """
create table classes (id integer primary key, name text);
insert into classes values (1, 'a');
create table students (id integer primary key autoincrement, name text not null, -- it's a remark, with a comma
  note text, class int constraint own references classes(id) on delete set null deferrable initially deferred, raw blob,
  real real, twice int generated always as (id * 2) stored, check (name <> 'references'),
  constraint other foreign key (class) references classes(id) match simple);
create index students_name on students (name);
create trigger told after insert on students begin select 1; end;
create view pupils as select * from students;
"""
COLUMNS = "id, name, note, class, raw, real"
ROWS: list[tuple[Any, ...]] = [
    (1, 'Anna "quoted", x\'', None, 1, b"\x00\x01", 0.1),
    (2, "line\nend;\r\n", "", None, b"", 1e100),
    (5, "a\0b", "NULL", None, None, float("inf")),
]


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))


def _recover(site: Site, *typed: str, code: int | None = 0) -> Ran:
    return site.dr("recover", *typed, "--yes", code=code)


def _told(ran: Ran) -> Any:
    return ran.document["drills"][0]


def _reported(site: Site) -> str:
    return site.dr("report", "--format", "json").out


def _names(to: Path) -> list[str]:
    return sorted(os.listdir(to)) if to.is_dir() else []


# -- SQLite: what is the same for all kinds -----------------------------------------------------------


@pytest.fixture
def sis(site: Site) -> Site:
    """A system with a SQLite database and files."""
    with closing(sqlite3.connect(site.root / "sis.db")) as database:
        database.executescript(SQLITE)
        named = "insert into students (id, name, note, class, raw, real) values (?, ?, ?, ?, ?, ?)"
        database.executemany(named, ROWS)
        database.commit()
    (site.root / "docs").mkdir()
    (site.root / "docs" / "letter.txt").write_text("a letter\n")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    docs, data = f"docs: {{files: {{paths: [{site.root}/docs]}}}}", f"data: {{sqlite: {{path: {site.root}/sis.db}}}}"
    site.plan("sis", plan_text("sis", docs, data, targets="[disk]"))
    site.plan("share", plan_text("share", docs, targets="[disk]"))
    site.dr("backup", "sis")
    return site


def _live(site: Site, query: str) -> list[Any]:
    with closing(sqlite3.connect(site.root / "sis.db")) as database:
        return database.execute(query).fetchall()


def test_a_table_comes_back_as_files_that_load_and_is_on_record_as_a_part(sis: Site) -> None:
    to, asked = sis.root / "new" / "back", "asked for by the registrar"
    (sis.root / "sis.db").unlink()
    told = _told(_recover(sis, "sis", "--table", "sis.students", "--to", str(to), "--because", asked, "--json"))
    assert (told["outcome"], told["real"], told["selected"], told["scenario"]) == ("ok", True, True, "table-loss")
    (table,) = told["tables"]
    assert (table["source"], table["table"], table["rows"]) == ("data", "sis.students", 3)
    assert table["left_out"] == ["foreign keys left out: to classes", "triggers left out: told"]
    assert told["because"] == asked and told["rta_seconds"] is not None and told["sandbox"] == "destroyed"
    assert [(check["check"], check["outcome"]) for check in told["checks"]] == [("table", "ok")] * 2 + [
        ("manifest", "ok")
    ]
    assert _names(to) == ["sis.students.csv", "sis.students.sql"], "nothing else, and no mark of ours"
    assert {stat.S_IMODE((to / name).stat().st_mode) for name in _names(to)} == {0o600}
    row = sis.dr("status", "sis", "--json", code=None).document["systems"][0]
    assert (row["last_drill"], row["rto_verdict"]) == (None, "unknown"), "no drill of the system"
    assert asked in sis.dr("report", "--format", "json").out
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.execute("pragma foreign_keys = on")
        empty.executescript((to / "sis.students.sql").read_bytes().decode())
        found = empty.execute("select id, name, note, class, raw, real from students order by id").fetchall()
        assert found == ROWS
        assert empty.execute("insert into students (name) values ('next') returning id").fetchone() == (6,)
        assert {row[0] for row in empty.execute("select name from sqlite_master where sql not null")} == {
            "students", "students_name", "sqlite_sequence",
        }  # fmt: skip
    held = (to / "sis.students.csv").read_bytes()
    assert held.startswith(
        b'"id","name","note","class","raw","real","twice"\r\n1,"Anna ""quoted"", x\'",,1,0x0001,0.1,2\r\n'
    )
    assert b'2,"line\nend;\r\n","",,0x,1e+100,4\r\n' in held, "an empty text is no NULL"


def test_what_is_there_is_written_over_only_when_that_is_said(sis: Site) -> None:
    to = sis.root / "back"
    to.mkdir()
    mine = to / "sis.classes.csv"
    mine.write_text("of somebody's own\n")
    (to / "other").write_text("stays\n")
    asked = ("sis", "--table", "classes", "--to", str(to))
    assert f"{mine}: this is there already" in _recover(sis, *asked, code=2).err
    assert (_names(to), mine.read_text()) == (["other", "sis.classes.csv"], "of somebody's own\n")
    assert f"lies in    {to}: sis.classes.sql and .csv" in _recover(sis, *asked, "--force").out
    assert _names(to) == ["other", "sis.classes.csv", "sis.classes.sql"] and _rows(mine) == [{"id": "1", "name": "a"}]


def test_beside_the_live_table_a_new_one_stands_and_the_live_one_is_as_it_was(sis: Site) -> None:
    with closing(sqlite3.connect(sis.root / "sis.db")) as database:
        database.executescript("delete from students where id = 1; update students set name = 'spoilt';")
    said = _recover(sis, "sis", "--table", "students", "--where", "id < 5", "--beside", "students_before").out
    assert "sis.students: 2 rows chosen by --where, loaded beside it as students_before" in said
    assert _live(sis, "select id, name, twice from students_before order by id") == [
        (1, "Anna \"quoted\", x'", 2), (2, "line\nend;\r\n", 4),
    ]  # fmt: skip
    assert _live(sis, "select id, name from students order by id") == [(2, "spoilt"), (5, "spoilt")]
    assert _live(sis, "pragma foreign_key_list(students_before)") == []
    for taken in ("classes", "CLASSES", "pupils", "students_name", "students"):
        before = _live(sis, "select * from classes"), _live(sis, "select name, sql from sqlite_master")
        assert (
            f"the name {taken!r} already" in _recover(sis, "sis", "--table", "students", "--beside", taken, code=2).err
        )
        assert before == (_live(sis, "select * from classes"), _live(sis, "select name, sql from sqlite_master"))
    records = sis.dr("report", "--format", "json").out
    assert "id < 5" not in records, "a condition may hold what is private: it is in no record"


def test_what_cannot_be_is_said_in_one_sentence(sis: Site) -> None:
    to, one = sis.root / "back", ["--table", "students"]
    records = sis.dr("audit", "--json").document["records"]
    for typed, code, said in (
        (["--table", "sis.studens"], 2, "holds no table 'sis.studens'. Names like it: sis.students"),
        (["--table", "Classes"], 2, "Names like it: sis.classes"),
        (["--table", "quite different"], 2, "The tables are: sis.classes, sis.pupils, sis.students"),
        (["--table", "pupils"], 2, "sis.pupils is a view, which has no rows of its own"),
        ([*one, "--where", "mork > 1"], 2, "the condition cannot be used (SQLite says 'no such column: mork')"),
        ([*one, "--where", "1); delete from students; --"], 2, "a bracket is closed that was not opened"),
        ([*one, "--where", "where id = 1"], 2, "the word WHERE does not belong to it"),
        ([*one, "--source", "docs"], 2, "the source docs is of the kind files, which holds no tables"),
        ([*one, "--source", "dcs"], 2, "the plan of sis has no source 'dcs'"),
        ([*one, "--path", "a"], 2, "--table brings back tables, and nothing else"),
        ([*one, "--table", "classes", "--where", "1"], 2, "--where goes with one table"),
        (["--where", "1"], 2, "--where goes with --table"),
        ([*one, "--beside", "new"], 2, "--to writes files, --beside loads into the live database"),
    ):  # fmt: skip
        assert said in _recover(sis, "sis", *typed, "--to", str(to), code=code).err
        assert not to.exists() or _names(to) == []
    assert _live(sis, "select id from students order by id") == [(1,), (2,), (5,)]
    assert sis.dr("audit", "--json").document["records"] == records, "what is typed wrong is no failed recovery"


def test_of_a_table_that_was_dropped_the_older_point_that_holds_it_is_named(sis: Site) -> None:
    older = sis.dr("points", "sis", "--json").document["points"][0]["run_id"]
    with closing(sqlite3.connect(sis.root / "sis.db")) as database:
        database.execute("drop table classes")
    sis.dr("backup", "sis")
    ran = _recover(sis, "sis", "--table", "classes", "--beside", "again", code=2)
    assert "an older point, of " in ran.err.lower() and f"add --point {older}" in ran.err
    assert _recover(sis, "sis", "--table", "classes", "--beside", "again", "--point", older).code == 0
    assert _live(sis, "select * from again") == [(1, "a")]


class Elsewhere(ThisHost):
    """This machine, used as another one is: by its programs alone."""

    name, here = "elsewhere", False


def test_a_file_on_another_host_is_read_from_a_copy_and_loaded_by_its_own_program(tmp_path: Path) -> None:
    room = RestoreSlot(
        root=tmp_path, apart=tmp_path / "apart", annex=lambda kind: tmp_path, token="t", host=Elsewhere()
    )
    room.apart.mkdir()
    with closing(sqlite3.connect(tmp_path / "sis.db")) as database:
        database.executescript(SQLITE)
        database.executemany(f"insert into students ({COLUMNS}) values (?, ?, ?, ?, ?, ?)", ROWS)
        database.commit()
    tables = FarDatabase("data", "sis.db", SqliteSource(path=str(tmp_path / "sis.db")), room).tables()
    table = next(each for each in tables.listed() if each.is_called("sis.students"))
    live = SqliteBeside("data", str(tmp_path / "sis.db"), Elsewhere())
    live.refuse(table, "before")
    with pytest.raises(UsageError, match="already"):
        live.refuse(table, "Classes")
    with pytest.raises(SourceError, match="nothing was changed"):
        live.load(table, "before", tables.sql(table, called="before").chunks, 4)
    with pytest.raises(SourceError, match="nothing was changed") as refused:
        live.load(table, "classes", tables.sql(table, called="classes").chunks, 3)
    assert "already exists" in refused.value.cause
    assert live.load(table, "before", tables.sql(table, called="before").chunks, 3) == 3
    with closing(sqlite3.connect(tmp_path / "sis.db")) as database:
        assert database.execute(f"select {COLUMNS} from before order by id").fetchall() == ROWS


def test_a_system_without_tables_is_told_so_before_anything_is_done(sis: Site) -> None:
    records = sis.dr("audit", "--json").document["records"]
    for typed in (["--to", str(sis.root / "back")], ["--beside", "new"]):
        assert "no source of share holds tables" in _recover(sis, "share", "--table", "a.b", *typed, code=2).err
    assert "say where to recover to" in _recover(sis, "sis", "--table", "students", code=2).err
    assert "takes a new name alone" in _recover(sis, "sis", "--table", "students", "--beside", "main.new", code=2).err
    assert "writes over nothing" in _recover(sis, "sis", "--table", "students", "--beside", "n", "--force", code=2).err
    assert sis.dr("audit", "--json").document["records"] == records
    said = sis.dr("recover", "sis", "--table", "students", "--beside", "before", "--dry-run").out
    assert "load students beside the live table, as before; the live table is not touched" in said


@pytest.mark.parametrize(
    ("made", "left"),
    [
        ("create table a (b int references c, d int)", "create table a (b int , d int)"),
        ("create table a (b int not null references c(x, y) on update set default on delete no action not null)",
         "create table a (b int not null  not null)"),
        ("create table a (b int, foreign key (b) references c)", "create table a (b int)"),
        ("create table a (\"references\" int default 'references c', e int)",
         "create table a (\"references\" int default 'references c', e int)"),
    ],
)  # fmt: skip
def test_foreign_keys_are_taken_out_of_a_definition_and_nothing_else(made: str, left: str) -> None:
    assert without_keys(made) == left


def test_records_of_csv_are_counted_whatever_is_in_quotes() -> None:
    whole = b'a,b\n"x\n""y\n",1\n"",\n'
    pieces = [whole[at : at + 1] for at in range(len(whole))]
    assert b"".join(with_crlf(pieces)) == b'a,b\r\n"x\n""y\n",1\r\n"",\r\n'
    assert records_in(pieces) == records_in(with_crlf([whole])) == 2
    assert records_in([whole[:-4]]) == 1, "the negative control: a record that is cut off"


class Toy(Tables):
    """A table of two rows, of which as many are lost on their way as is said."""

    def __init__(self, *, csv: int = 0, sql: int = 0, refused: bool = False) -> None:
        self._lost, self._refused = {"csv": csv, "sql": sql}, refused

    def listed(self) -> list[Table]:
        return []

    def count(self, table: Table, where: str = "") -> int:
        return 2

    def sql(self, table: Table, where: str = "", *, called: str = "") -> Script:
        return Script(iter([b"row\n"] * (2 - self._lost["sql"])))

    def csv(self, table: Table, where: str = "") -> Iterator[bytes]:
        yield from [b"a\n", *[b"1\n"] * (2 - self._lost["csv"])]

    def loads(self, table: Table, script: Iterable[bytes]) -> int:
        if self._refused:
            raise SourceError("it does not load", cause="no such function", hint="none")
        return b"".join(script).count(b"row")


@pytest.mark.parametrize(
    ("tables", "at_capture", "written", "failed"),
    [
        (Toy(), 2, True, []),
        (Toy(), None, True, []),
        (Toy(csv=1), 2, False, [True]),
        (Toy(sql=1), 2, False, [True]),
        (Toy(), 3, False, [True]),
        (Toy(refused=True), 2, True, [False]),
    ],
)
def test_files_that_are_not_what_was_read_get_no_name(
    tables: Toy, at_capture: int | None, written: bool, failed: list[bool], tmp_path: Path
) -> None:
    request = RecoveryRequest(to=tmp_path / "back", tables=("a.b",))
    recovery: Any = SimpleNamespace(
        request=request, checks=[], tables=[], journal=Timeline(lambda: datetime.now(UTC)), toolbox=None
    )
    bring(recovery, "data", tables, Table(names=("a", "b"), at_capture=at_capture))
    assert _names(tmp_path / "back") == (["a.b.csv", "a.b.sql"] if written else [])
    assert [check.mandatory for check in recovery.checks if check.outcome == "failed"] == failed
    digests = [(each.sql_sha256, each.csv_sha256) for each in recovery.tables]
    files = [
        hashlib.sha256((tmp_path / "back" / f"a.b.{end}").read_bytes()).hexdigest() for end in ("sql", "csv") if written
    ]
    assert digests == ([tuple(files)] if written else []), "what is told of is what is there"


def test_a_table_that_may_lack_rows_is_left_where_nobody_counted_it_before(tmp_path: Path) -> None:
    request = RecoveryRequest(to=tmp_path / "back", tables=("a.b",))
    for at_capture, where, brought in ((None, "", False), (2, "a > 1", False), (2, "", True)):
        recovery: Any = SimpleNamespace(
            request=replace(request, where=where), checks=[], tables=[], journal=Timeline(lambda: datetime.now(UTC))
        )
        table = Table(names=("a", "b"), at_capture=at_capture)
        assert bring(recovery, "data", Toy(), table, doubted=True) == brought == bool(recovery.tables)


# -- PostgreSQL ----------------------------------------------------------------------------------------


@pytest.fixture
def postgres_site(site: Site, postgres: PostgresServer) -> Iterator[tuple[Site, str]]:
    with postgres_database(postgres, POSTGRES) as name:
        site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
        site.plan("sis", plan_text("sis", source_of(postgres, f"database: {name}"), targets="[disk]"))
        site.dr("backup", "sis")
        yield site, name


def test_tables_of_postgresql_come_back_whole(postgres_site: tuple[Site, str], postgres: PostgresServer) -> None:
    site, name = postgres_site
    to, asked = site.root / "back", ("students", f"{name}.terms", "Odd Schema.Ödd.Näme")
    for wrong, said in (("pupils", "is a view"), ("studens", f"Names like it: {name}.public.students")):
        assert said in _recover(site, "sis", "--table", wrong, "--to", str(to), code=2).err
    typed = [word for each in asked for word in ("--table", each)]
    told = _told(_recover(site, "sis", *typed, "--to", str(to), "--json"))
    assert [(each["rows"], each["rows_at_capture"]) for each in told["tables"]] == [(4, 4), (2, None), (1, 1)]
    assert told["tables"][0]["left_out"] == [
        "foreign keys left out: students_class_fkey", "triggers left out: told", "row security left out: nobody",
    ]  # fmt: skip
    assert told["isolated"] and told["proof_level"] <= 3, "a part proves no recovery of the system"
    students, terms = (to / f"{name}.public.{each}.csv" for each in ("students", "terms"))
    assert [(row["name"], row["note"], row["twice"], row["raw"]) for row in _rows(students)] == [
        ('Anna "quoted", x', "", "2", "\\x0001"), ("line\nend\r\n", "", "6", ""), ("back\\slash", "NULL", "", "\\x"),
        ("\\.", "\\N", "4", ""),
    ]  # fmt: skip
    assert b',"",it\'s 100% ok,' in students.read_bytes() and b'x",,sad,' in students.read_bytes()
    assert [row["at"] for row in _rows(terms)] == ["2020-05-05", "2021-05-05"]
    with postgres_database(postgres, name="again") as again:
        for path in to.glob("*.sql"):
            postgres.psql(path.read_text(), again)
        shown = "select * from {} order by 1"
        for table in ("students", "terms", '"Odd Schema"."Ödd.Näme"'):
            assert postgres.psql(shown.format(table), again) == postgres.psql(shown.format(table), name)
        assert postgres.psql("insert into students (name) values ('next') returning id, number", again) == "5|5"
        assert postgres.psql("insert into terms default values returning id", again) == "3"
        assert '"students by Mood"' in postgres.psql("select indexdef from pg_indexes", again)
    assert f"of {name} all definitions were loaded, and the rows of what was named alone" in _reported(site)
    told = _told(_recover(site, "sis", "--table", "bare", "--table", "fixed", "--to", str(to / "none"), "--json"))
    assert [(each["rows"], each["rows_at_capture"]) for each in told["tables"]] == [(3, 3), (2, 2)]
    with postgres_database(postgres, name="again") as again:
        for path in (to / "none").glob("*.sql"):
            postgres.psql(path.read_text(), again)
        assert postgres.psql("select (select count(*) from bare), count(*), min(a) from fixed", again) == "3|2|42"
    asking = "class in (select id from classes where id = 1)"
    told = _told(_recover(site, "sis", "--table", "students", "--where", asking, "--to", str(to / "of-1"), "--json"))
    assert [each["rows"] for each in told["tables"]] == [2], "what it asks of another table is there"


def test_beside_in_postgresql_it_is_there_whole_or_not_at_all(
    postgres_site: tuple[Site, str], postgres: PostgresServer
) -> None:
    site, name = postgres_site
    asked = ("recover", "sis", "--table", "students", "--where", "mark > 1 and name like '%'", "--beside", "before")
    postgres.psql("update students set name = 'spoilt' || id", name)
    # Who makes a table of that name in a transaction keeps ours waiting: there it is killed.
    with subprocess.Popen(
        [program("psql"), "-Xqd", name], env=postgres.environment, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin
        other.stdin.write("begin; create table before (x int);\n")
        other.stdin.flush()
        killed = site.start(*asked, "--yes")
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'create table%'"
        assert soon(lambda: postgres.psql(waits, name) != "0" or killed.poll() is not None) and killed.poll() is None
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        other.stdin.write("rollback;\n")
        other.stdin.close()
    assert soon(lambda: postgres.psql(waits, name) == "0")
    assert postgres.psql("select to_regclass('before')", name) == ""
    ran = site.dr(*asked, "--yes")
    assert "was left behind: it is destroyed" in ran.err, "what was killed is put right, and said"
    assert postgres.psql("select id, twice from before order by id", name) == "2|6\n4|4"
    assert postgres.psql("select name from students where id = 2", name) == "spoilt2", "the live one is not touched"
    assert "before_pkey" in postgres.psql("select indexname from pg_indexes where tablename = 'before'", name)
    assert "the name 'before' already" in site.dr(*asked, "--yes", code=2).err
    bare = ("sis", "--table", "computed", "--beside", "again")
    assert "ALTER FUNCTION … SET search_path = …; then try again" in _recover(site, *bare, code=1).err
    postgres.psql("alter function called_bare set search_path = public", name)
    _recover(site, *bare)
    assert postgres.psql("select a, b from again order by a", name) == "1|3\n2|6"


def test_a_condition_of_postgresql_can_read_and_nothing_else(postgres: PostgresServer) -> None:
    with postgres_database(postgres, POSTGRES) as name:
        server = Server("database", ThisHost(), Login(host=str(postgres.socket), user=postgres.user))
        tables = PostgresTables(server, place="postgres", databases={"sis": name}, rows={})
        table = next(each for each in tables.listed() if each.is_called("students"))
        try:
            assert tables.count(table, "mark > 1 -- a remark") == 2 and tables.count(table) == 4
            for wrong, said in (
                ("true); drop table students; --", 'syntax error at or near ";"'),
                ("told() is null", "trigger functions can only be called as triggers"),
                ("pg_read_file('/etc/hostname') = ''", "permission denied for function pg_read_file"),
                ("nextval('students_id_seq') > 0", "permission denied for sequence students_id_seq"),
            ):
                with pytest.raises(SourceError, match="the condition cannot be used") as raised:
                    tables.count(table, wrong)
                assert raised.value.cause == said
            script = tables.sql(table, "id < 3")
            held = b"".join(script.chunks)
            assert tables.loads(table, [held]) == 2
            short = re.sub(rb"\n2\t2\t[^\n]*", b"", held)
            assert tables.loads(table, [short]) == 1 and short != held, "the negative control"
        finally:
            postgres.psql("drop owned by dr_reader", name)
            postgres.psql("drop role dr_reader")


# -- MariaDB -------------------------------------------------------------------------------------------


def test_a_table_of_mariadb_comes_back_as_files_and_beside(site: Site, mariadb: MariadbServer) -> None:
    with mysql_database(mariadb, *MARIADB) as name, mysql_database(mariadb, name="again") as again:
        site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
        site.plan("lib", plan_text("lib", source_of(mariadb, f"database: {name}"), targets="[disk]"))
        site.dr("backup", "lib")
        to = site.root / "back"
        assert f"{name}.students" in _recover(site, "lib", "--table", f"{name}.studens", "--to", str(to), code=2).err
        told = _told(_recover(site, "lib", "--table", f"{name}.students", "--to", str(to), "--json"))
        (table,) = told["tables"]
        assert (table["rows"], table["rows_at_capture"]) == (3, 3)
        assert table["left_out"] == ["foreign keys left out: students_ibfk_1", "triggers left out: told"]
        held = (to / f"{name}.students.csv").read_bytes()
        assert held.splitlines(keepends=True)[1] == (
            b'1,"Anna ""quoted"", x",,0x0001,9,1,2,2020-01-01 10:00:00,"sad"\r\n'
        )
        assert f"of {name} all definitions were loaded, and the rows of what was named alone" in _reported(site)
        assert [(row["name"], row["hidden"], row["raw"]) for row in _rows(to / f"{name}.students.csv")] == [
            ('Anna "quoted", x', "9", "0x0001"), ("line\nend\r\n", "", ""), ("back\\slash", "3", "0x"),
        ]  # fmt: skip
        shown = "select id, name, note, hex(raw), hidden, twice, at, mood from {} order by id"
        mariadb.sql((to / f"{name}.students.sql").read_bytes(), again)
        assert mariadb.sql(shown.format("students"), again) == mariadb.sql(shown.format("students"), name)
        mariadb.sql("update students set name = 'spoilt'", name)
        _recover(site, "lib", "--table", "students", "--where", "id > 1 and name like '%'", "--beside", "before")
        assert mariadb.sql("select id, hidden from `before` order by id", name) == [["2", "NULL"], ["3", "3"]]
        assert mariadb.sql("select distinct name from students", name) == [["spoilt"]]
        assert "the name 'before' already" in _recover(
            site, "lib", "--table", "students", "--beside", "before", code=2
        ).err  # fmt: skip
        tables = {row[0] for row in mariadb.sql("show tables", name)}
        assert tables == {"before", "classes", "pupils", "students"}, "nothing is left unfinished"


def test_what_mariadb_does_not_take_whole_is_taken_away_again(mariadb: MariadbServer) -> None:
    declared = MysqlSource(database="x", socket=str(mariadb.socket), user="root")
    with mysql_database(mariadb, "create table students (id int)") as name:
        live, table = MysqlBeside("database", declared, ThisHost()), Table(names=(name, "students"))
        for script, rows in (
            (b"create table `{}` (id int); insert into `{}` values (1), (2);", 3),
            (b"create table `{}` (i", 0),
        ):
            made = script.replace(b"{}", live.meanwhile("before").encode())
            with pytest.raises(SourceError, match="could not be loaded beside"):
                live.load(table, "before", [made], rows)
            assert mariadb.sql("show tables", name) == [["students"]]
        made = b"create table `" + live.meanwhile("students").encode() + b"` (id int);"
        with pytest.raises(SourceError, match="already exists"):
            live.load(table, "students", [made], 0)
        assert mariadb.sql("show tables", name) == [["students"]], "the server itself refuses a name that is taken"


def test_a_condition_of_mariadb_can_read_and_nothing_else(mariadb: MariadbServer) -> None:
    login = ("--no-defaults", f"--socket={mariadb.socket}", "--user=root")
    server = MysqlServer(where="database", host=ThisHost(), client="mariadb", dump="mariadb-dump", login=login)
    with mysql_database(mariadb, *MARIADB) as name:
        tables = MysqlTables(server, {"lib": name}, None)
        table = next(each for each in tables.listed() if each.is_called("lib.students"))
        try:
            assert (tables.count(table, "id > 1 -- a remark"), tables.count(table)) == (2, 3)
            for wrong in (
                "true); drop table students; -- ",
                "(select count(*) from mysql.user) > 0",
                "sleep(0) = nothing",
            ):
                with pytest.raises(SourceError, match="the condition cannot be used"):
                    tables.count(table, wrong)
                with pytest.raises(SourceError, match="the condition cannot be used"):
                    b"".join(tables.csv(table, wrong))
            held = b"".join(tables.sql(table, "id < 3").chunks)
            assert tables.loads(table, [held]) == 2
            assert tables.loads(table, [held.replace(b"),\n(2", b");\n-- (2")]) == 1, "the negative control"
        finally:
            mariadb.sql("drop user if exists dr_reader@localhost")
