"""Whole services, as typed: databases captured, drilled in scratch servers, and recovered onto the live one."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from scripts.servers.mariadb import MariadbServer
from scripts.servers.mysql import PROGRAMS, MysqlServer
from scripts.servers.postgres import PostgresServer
from scripts.servers.sshd import Sshd
from tests.conftest import Site, plan_text
from tests.databases import STUDENTS, mysql_database, postgres_database, source_of

APP = """
import http.server, os, subprocess, sys
QUERY = "select count(*) from students"
CLIENTS = {"postgres": ["psql", "-Atc", QUERY], "mysql": ["mariadb", "-N", "-e", QUERY, os.environ.get("MYSQL_DATABASE", "")]}
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        done = subprocess.run(CLIENTS[sys.argv[1]], capture_output=True, text=True)
        self.send_response(200 if done.returncode == 0 else 500)
        self.end_headers()
        self.wfile.write(("students: " + done.stdout + done.stderr).encode())
    def log_message(self, *about):
        pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""


def checks(kind: str, app: Path, count: int = 500) -> str:
    """Every check that a database can pass."""
    return f"""drill:
  checks:
    - manifest
    - rows: {{source: database}}
    - schema: {{source: database}}
    - sql: {{source: database, query: "select count(*) from students", expect: ">= {count}"}}
    - sql: {{source: database, query: "select max(name) from students", expect: captured}}
    - http: {{serve: [{sys.executable}, {app}, {kind}], url: "http://127.0.0.1:{{port}}/", expect: {{body: "matches students: {count}"}}, within: 20s}}
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def disk(site: Site) -> Site:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    return site


@pytest.fixture
def district(postgres: PostgresServer) -> Iterator[str]:
    attendance = "create table attendance (updated_at timestamptz default now()); insert into attendance default values"
    with postgres_database(postgres, STUDENTS["postgres"], attendance) as name:
        yield name


@pytest.fixture
def library(mariadb: MariadbServer) -> Iterator[str]:
    loans = "create table loans (updated datetime default utc_timestamp()); insert into loans values ()"
    with mysql_database(mariadb, STUDENTS["mysql"], loans) as name:
        yield name


def postgres_source(server: PostgresServer, database: str) -> str:
    return source_of(server, f'database: {database}, newest: "select max(updated_at) from attendance"')


def mysql_source(server: MariadbServer, database: str) -> str:
    return source_of(server, f"database: {database}, newest: 'select max(updated) from loans'")


def outcomes(drill: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for check in drill["checks"]:
        found.setdefault(check["check"], []).append(check["outcome"])
    return found


ALL_OK = {"manifest": ["ok"], "rows": ["ok"], "schema": ["ok"], "sql": ["ok", "ok"], "http": ["ok"]}


def test_a_postgres_drill_ends_in_a_running_checked_service(
    disk: Site, postgres: PostgresServer, district: str, app: Path
) -> None:
    disk.plan(
        "sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=checks("postgres", app))
    )
    disk.dr("validate")
    (run,) = disk.dr("--json", "backup", "sis").document["runs"]
    assert [(s["kind"], s["outcome"]) for s in run["sources"]] == [("postgres", "ok")]
    postgres.psql("insert into students (name) values ('later than the backup')", district)
    (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
    assert outcomes(drill) == ALL_OK, drill["checks"]
    assert drill["proof_level"] == 5 and drill["rto_verdict"] == "met"
    assert drill["data_rpa_seconds"] > drill["rpa_seconds"] > 0
    assert all(drill["phases"][phase] is not None for phase in ("provision", "restore", "start", "verify"))
    assert drill["sandbox"] == "destroyed"


@pytest.mark.slow
def test_a_postgres_service_comes_back_from_the_kit_and_its_shares_alone(
    disk: Site, postgres: PostgresServer, district: str, app: Path
) -> None:
    disk.escrow(True)
    more = checks("postgres", app)
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=more))
    disk.dr("backup", "sis")
    disk.dr("kit", "--custodian", "A", "--custodian", "B", "--threshold", "2", "-o", str(disk.root / "out"))
    shares = [x for n in (1, 2) for x in ("--share", str(disk.root / f"out/shares/share-{n}-of-2.txt"))]
    words = ("drill", "sis", "--scenario", "control-loss", "--kit", str(disk.root / "out"), *shares)
    (drill,) = disk.dr("--json", *words).document["drills"]
    assert outcomes(drill) == ALL_OK, drill["checks"]
    assert (drill["proof_level"], drill["outcome"], drill["sandbox"]) == (6, "ok", "destroyed")


def test_a_mysql_drill_ends_in_a_running_checked_service(
    disk: Site, mariadb: MariadbServer, library: str, app: Path
) -> None:
    disk.plan(
        "library", plan_text("library", mysql_source(mariadb, library), targets="[disk]", more=checks("mysql", app))
    )
    disk.dr("backup", "library")
    (drill,) = disk.dr("--json", "drill", "library").document["drills"]
    assert outcomes(drill) == ALL_OK, drill["checks"]
    assert drill["proof_level"] == 5 and drill["data_rpa_seconds"] is not None


def test_rows_lost_between_capture_and_restore_are_seen(disk: Site, postgres: PostgresServer, district: str) -> None:
    """The negative control: a trigger on the way back would be such a loss; here the hook of the restore is it."""
    more = (
        "drill: {checks: [{rows: {source: database}}, {schema: {source: database}},"
        ' {command: {run: [psql, -qc, "delete from students where id < 10; drop table attendance"]}}]}\n'
    )
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=more))
    disk.dr("backup", "sis")
    (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
    assert outcomes(drill) == {"rows": ["ok"], "schema": ["ok"], "command": ["ok"]}, "what looks comes before what acts"
    assert postgres.psql("select count(*) from students", district) == "500", "the live one was never touched"


def test_several_databases_and_a_whole_cluster_are_one_source(
    disk: Site, postgres: PostgresServer, district: str
) -> None:
    other = f"{district}_x Ü"
    postgres.psql(f'create database "{other}"')
    postgres.psql("create table bills (n int); insert into bills values (1), (2)", other)
    place = f"host: {postgres.socket}, port: {postgres.port}, user: {postgres.user}"
    source = f'database: {{postgres: {{databases: [{district}, "{other}"], {place}}}}}'
    more = (
        "drill: {checks: [manifest, {rows: {source: database}},"
        f' {{sql: {{source: database, database: "{other}", query: "select count(*) from bills", expect: 2}}}}]}}\n'
    )
    disk.plan("sis", plan_text("sis", source, targets="[disk]", more=more))
    disk.plan("all", plan_text("all", f"database: {{postgres: {{all: true, {place}}}}}", targets="[disk]", more=more))
    disk.dr("backup", "--all")
    drills = disk.dr("--json", "drill", "--all").document["drills"]
    assert [outcomes(drill) for drill in drills] == [{"manifest": ["ok"], "rows": ["ok"], "sql": ["ok"]}] * 2, drills


def test_a_real_recovery_refuses_a_live_database_then_replaces_it_when_told_by_name(
    disk: Site, postgres: PostgresServer, district: str, tmp_path: Path
) -> None:
    more = "drill: {checks: [manifest, {rows: {source: database}}, {schema: {source: database}}]}\n"
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=more))
    disk.dr("backup", "sis")
    postgres.psql("drop table attendance; delete from students where id > 100", district)
    refused = disk.dr("recover", "sis", "--to", str(tmp_path / "to"), "--yes", code=2)
    assert district in refused.err and "nothing was touched" in refused.err
    assert postgres.psql("select count(*) from students", district) == "100"
    said = disk.dr("recover", "sis", "--to", str(tmp_path / "to"), "--replace", district, "--dry-run").out
    assert "beside the live databases" in said and "in place of" in said
    (done,) = disk.dr(
        "--json", "recover", "sis", "--to", str(tmp_path / "to"), "--replace", district, "--yes"
    ).document["drills"]
    assert done["real"] and done["outcome"] in ("ok", "degraded"), done
    assert postgres.psql("select count(*) from students", district) == "500"
    kept = postgres.psql(f"select datname from pg_database where datname like '{district}_before%'")
    assert postgres.psql("select count(*) from students", kept) == "100", "the old one is kept under another name"


def test_a_recovery_that_fails_its_checks_leaves_the_live_database_as_it_was(
    disk: Site, postgres: PostgresServer, district: str, tmp_path: Path
) -> None:
    more = 'drill: {checks: [{sql: {source: database, query: "select 1", expect: 2}}]}\n'
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=more))
    disk.dr("backup", "sis")
    postgres.psql("delete from students where id > 100", district)
    disk.dr("recover", "sis", "--to", str(tmp_path / "to"), "--replace", district, "--yes", code=1)
    assert postgres.psql("select count(*) from students", district) == "100"
    names = postgres.psql(f"select datname from pg_database where datname like '{district}%'")
    assert names == district, "nothing is left beside it"


def test_a_real_recovery_of_mysql_swaps_and_keeps_the_old(
    disk: Site, mariadb: MariadbServer, library: str, tmp_path: Path
) -> None:
    more = "drill: {checks: [manifest, {rows: {source: database}}, {schema: {source: database}}]}\n"
    disk.plan("library", plan_text("library", mysql_source(mariadb, library), targets="[disk]", more=more))
    disk.dr("backup", "library")
    mariadb.sql("delete from students where id > 100", library)
    assert library in disk.dr("recover", "library", "--to", str(tmp_path / "to"), "--yes", code=2).err
    to = str(tmp_path / "to")
    (done,) = disk.dr("--json", "recover", "library", "--to", to, "--replace", library, "--yes").document["drills"]
    assert done["outcome"] in ("ok", "degraded"), done
    assert mariadb.sql("select count(*) from students", library) == [["500"]]


def test_dumps_can_be_had_as_files_and_no_program_then_reaches_for_a_live_server(
    disk: Site, postgres: PostgresServer, district: str, tmp_path: Path
) -> None:
    more = "drill: {checks: [manifest, {rows: {source: database}}, {command: {run: ['false']}}]}\n"
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=more))
    disk.dr("backup", "sis")
    (done,) = disk.dr("--json", "recover", "sis", "--to", str(tmp_path / "to"), "--dumps", "--yes").document["drills"]
    assert outcomes(done) == {"manifest": ["ok"], "rows": ["skipped"], "command": ["skipped"]}
    assert (tmp_path / "to" / "database" / f"{district}.dump").read_bytes().startswith(b"PGDMP")
    assert "ROLE" in (tmp_path / "to" / "database" / "globals.sql").read_text(), "accounts come with the dumps"


WHOLE = "drill: {checks: [manifest, {rows: {source: database}}, {schema: {source: database}}]}\n"


def test_what_is_broken_at_the_source_is_named_and_everything_else_comes_back(
    disk: Site, mariadb: MariadbServer, library: str, tmp_path: Path
) -> None:
    mariadb.sql(
        "create table gone (z int); create view broken as select z from gone; drop table gone;"
        "create user departed@localhost; grant select on students to departed@localhost;"
        "create definer=departed@localhost view theirs as select id from students;"
        "create view over_theirs as select id from theirs; drop user departed@localhost; create view pairs as select s.id from students s, loans l;",
        library,
    )
    disk.plan("library", plan_text("library", mysql_source(mariadb, library), targets="[disk]", more=WHOLE))
    (run,) = disk.dr("--json", "backup", "library", code=3).document["runs"]
    told = {tuple(each["names"]): each for each in run["sources"][0]["omissions"]}
    assert run["complete"] and set(told) == {(f"{library}.broken",), ("'departed'@'localhost'",)}, told
    assert "DROP VIEW" in told[f"{library}.broken",]["hint"]
    drilled = disk.dr("--json", "drill", "library", code=3)
    (drill,) = drilled.document["drills"]
    assert outcomes(drill) == {"manifest": ["ok"], "rows": ["ok"], "schema": ["ok"]}, drill["checks"]
    assert f"the view {library}.broken was missing or broken at the source" in drilled.err
    assert f"the view {library}.over_theirs was missing or broken at the source" in drilled.err
    mariadb.sql("delete from students where id > 100", library)
    to = str(tmp_path / "to")
    disk.dr("recover", "library", "--to", to, "--replace", library, "--yes", code=3)
    assert mariadb.sql("select count(*) from students", library) == [["500"]]
    assert mariadb.sql("select count(*) from pairs", library) == [["500"]]


def test_a_refused_view_stops_a_recovery_until_it_is_accepted_by_name(
    disk: Site, mariadb: MariadbServer, library: str, tmp_path: Path
) -> None:
    to = str(tmp_path / "to")
    with mysql_database(mariadb, "create table t (id int)", name="other") as other:
        mariadb.sql(f"create view across as select * from {other}.t", library)
        disk.plan("library", plan_text("library", mysql_source(mariadb, library), targets="[disk]", more=WHOLE))
        disk.dr("backup", "library")
    (drill,) = disk.dr("--json", "drill", "library", code=1).document["drills"]
    assert outcomes(drill)["schema"] == ["failed"] and outcomes(drill)["rows"] == ["ok"]
    mariadb.sql("delete from students where id > 100", library)
    said = disk.dr("recover", "library", "--to", to, "--replace", library, "--yes", code=1).err
    typed = f"dr recover library --to {to} --replace {library} --accept-missing {library}.across"
    assert typed in said and "CREATE" in said and "[1146]" in said
    assert mariadb.sql("select count(*) from students", library) == [["100"]]
    disk.dr(*typed.split()[1:], "--yes", code=3)
    assert mariadb.sql("select count(*) from students", library) == [["500"]]


def test_a_view_that_postgres_cannot_fill_stops_a_recovery_until_it_is_accepted_by_name(
    disk: Site, postgres: PostgresServer, district: str, tmp_path: Path
) -> None:
    postgres.psql(
        "create table gone (id int); create function of_gone() returns bigint language plpgsql as "
        "'begin return (select count(*) from public.gone); end'; "
        "create materialized view stale as select of_gone() as n; drop table gone",
        district,
    )
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=WHOLE))
    disk.dr("backup", "sis")
    assert f"the materialized view data {district}.public.stale was refused" in disk.dr("drill", "sis", code=3).err
    postgres.psql("delete from students where id > 100", district)
    to = str(tmp_path / "to")
    said = disk.dr("recover", "sis", "--to", to, "--replace", district, "--yes", code=1).err
    typed = f"dr recover sis --to {to} --replace {district} --accept-missing {district}.public.stale"
    assert typed in said and 'relation "public.gone" does not exist' in said
    assert postgres.psql("select count(*) from students", district) == "100"
    disk.dr(*typed.split()[1:], "--yes", code=3)
    assert postgres.psql("select count(*) from students", district) == "500"


def test_what_the_account_may_not_see_is_named_with_the_grant_that_mends_it(
    disk: Site, mariadb: MariadbServer, library: str
) -> None:
    mariadb.account("narrow", "pw", f"SELECT, SHOW VIEW, EVENT ON {library}.*")
    (disk.root / "word").write_text("pw")
    (disk.root / "word").chmod(0o600)
    source = f"database: {{mysql: {{database: {library}, socket: {mariadb.socket}, user: narrow, password: {{file: {disk.root}/word}}}}}}"
    disk.plan("library", plan_text("library", source, targets="[disk]"))
    (run,) = disk.dr("--json", "backup", "library", code=3).document["runs"]
    omissions = run["sources"][0]["omissions"]
    assert [each["names"] for each in omissions] == [
        [f"triggers of {library}"],
        [f"routines of {library}"],
        ["accounts"],
    ]
    assert not run["complete"] and [each["partial"] for each in omissions] == [True, True, False]
    assert "GRANT TRIGGER" in disk.dr("doctor", code=3).err, "known before a backup too"
    for each in omissions[:2]:
        mariadb.sql(each["hint"])
    (run,) = disk.dr("--json", "backup", "library", code=3).document["runs"]
    assert run["complete"], "the databases that the plan names are whole without the accounts around them"
    assert "accounts could not be seen at capture" in disk.dr("drill", "library", code=3).err
    mariadb.sql(f"create definer=narrow@localhost view {library}.owned as select 1 as one")
    (run,) = disk.dr("--json", "backup", "library", code=3).document["runs"]
    assert not run["complete"] and "'narrow'@'localhost' own views" in run["sources"][0]["omissions"][0]["what"]
    mariadb.sql(omissions[2]["hint"])
    (run,) = disk.dr("--json", "backup", "library").document["runs"]
    assert run["complete"] and not run["sources"][0]["omissions"]
    mariadb.sql("drop user narrow@localhost")


def test_the_catalog_is_rebuilt_from_the_targets_with_its_services(
    disk: Site, postgres: PostgresServer, district: str
) -> None:
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]"))
    disk.dr("backup", "sis")
    (disk.root / "state" / "catalog.sqlite").unlink()
    disk.dr("points", "--rebuild")
    (point,) = disk.dr("--json", "points", "sis").document["points"]
    assert point["complete"] and set(point["snapshots"]) == {"database"}
    disk.dr("drill", "sis")


# -- on another host ---------------------------------------------------------------------------------


def elsewhere(sshd: Sshd, **more: str) -> str:
    body = {"ssh": sshd.address, "known_hosts": str(sshd.known_hosts), "key": str(sshd.key), **more}
    return f"host: {{{', '.join(f'{key}: {str(value)!r}' for key, value in body.items())}}}\n"


def test_every_kind_of_source_comes_from_another_host(
    disk: Site, sshd: Sshd, postgres: PostgresServer, district: str, mariadb: MariadbServer, library: str
) -> None:
    far = disk.root / "far away"
    (far / "uploads" / "deep").mkdir(parents=True)
    (far / "uploads" / "deep" / "photo ü.jpg").write_bytes(b"x" * 70_000)
    (far / "uploads" / "link").symlink_to("deep")
    with closing(sqlite3.connect(far / "small.db")) as database, database:
        database.execute("create table t as select 42 as answer")
    my = mysql_source(mariadb, library).replace("database: {mysql", "books: {mysql")
    sources = (
        postgres_source(postgres, district), my,
        f"uploads: {{files: {{paths: ['{far}/uploads']}}}}",
        f"small: {{sqlite: {{path: '{far}/small.db'}}}}",
        "export: {command: {run: [sh, -c, 'echo \"$SSH_CONNECTION\"; seq 1 1000'], filename: export.txt}}",
    )  # fmt: skip
    more = elsewhere(sshd) + (
        "drill: {checks: [manifest, {rows: {source: database}}, {rows: {source: books}}, "
        "{sql: {source: small, query: 'select answer from t', expect: 42}}, "
        "{file: {source: uploads, path: 'deep/*.jpg'}}, {file: {source: export, path: export.txt, contains: '^1000$'}}]}\n"
        "hooks: {capture: {before: [sh, -c, 'echo \"at $SSH_CONNECTION\"']}}\n"
    )
    disk.plan("sis", plan_text("sis", *sources, targets="[disk]", more=more))
    (run,) = disk.dr("--json", "backup", "sis").document["runs"]
    assert {s["source"]: s["outcome"] for s in run["sources"]} == dict.fromkeys(
        ("database", "books", "uploads", "small", "export"), "ok"
    ), run
    assert run["hooks"][0]["output"].startswith("at 127.0.0.1"), "the hook ran there"
    (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
    assert {check["outcome"] for check in drill["checks"]} == {"ok"}, drill["checks"]


def test_a_changed_host_key_is_refused_with_the_fingerprint(disk: Site, tmp_path: Path) -> None:
    with Sshd(tmp_path / "other") as server:
        disk.plan(
            "sis",
            plan_text("sis", "x: {command: {run: [seq, '9'], filename: x}}", targets="[disk]", more=elsewhere(server)),
        )
        disk.dr("backup", "sis")
        server.change_host_key()
        (run,) = disk.dr("--json", "backup", "sis", code=12).document["runs"]
        assert "SHA256:" in run["sources"][0]["error"] and run["outcome"] == "failed"
        (point,) = disk.dr("--json", "points", "sis").document["points"]
        assert point["complete"], "the earlier point stands"


# -- MySQL, beside MariaDB -----------------------------------------------------------------------------


def test_the_newest_mysql_is_captured_drilled_and_replaced_by_its_own_programs(disk: Site, tmp_path: Path) -> None:
    """MariaDB's programs are on the PATH under MySQL's names too: they are not taken."""
    views = "create view z as select * from students; create view a as select * from z where id > 0 with check option"
    rows = "insert into students values " + ", ".join(f"({n}, 'student {n}')" for n in range(1, 501))
    with MysqlServer(tmp_path) as server:
        server.sql(f"create database books; use books; create table students (id int primary key, name text); {rows}")
        server.sql(f"{views}; create trigger books.tr before insert on students for each row set new.id = 1", "books")
        source = f"database: {{mysql: {{database: books, socket: {server.socket}, user: root{{}}}}}}"
        disk.plan("sis", plan_text("sis", source.replace("{}", ""), targets="[disk]", more=WHOLE))
        refused = disk.dr("backup", "sis", code=1).err
        assert "the server is MySQL, and only the programs of MariaDB are" in refused and "`bin`" in refused
        named = source.replace("{}", f", bin: {PROGRAMS}/bin")
        disk.plan("sis", plan_text("sis", named, targets="[disk]", more=WHOLE))
        disk.dr("backup", "sis")
        (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
        assert outcomes(drill) == {"manifest": ["ok"], "rows": ["ok"], "schema": ["ok"]}, drill["checks"]
        server.sql("delete from students where id > 100", "books")
        disk.dr("recover", "sis", "--to", str(tmp_path / "to"), "--replace", "books", "--yes")
        assert server.sql("select count(*) from a", "books") == [["500"]]
