"""Databases with `mode: agent`: the dump goes from its own host straight to S3, and a service comes back from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from tests.conftest import Site, plan_text
from tests.databases import STUDENTS, mysql_database, postgres_database, source_of
from tests.far import Far

MORE = """drill:
  checks:
    - manifest: {}
    - rows: {source: database}
    - schema: {source: database}
    - sql: {source: database, query: "select count(*) from students", expect: captured}
    - sql: {source: database, query: "select count(*) from seen", expect: 3}
"""


@pytest.fixture
def far(tmp_path: Path, restic_program: str) -> Iterator[Far]:
    with Far(tmp_path / "far").hold(restic_program) as server:
        yield server


@pytest.fixture
def offsite(site: Site, s3: Any, bucket: str) -> Site:
    keys = s3.write_keys(site.root / "keys")
    place = f"endpoint: '{s3.endpoint}', bucket: {bucket}, credentials: {{file: {keys}}}"
    site.target("offsite", f"target: offsite\ns3: {{{place}}}\n")
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    return site


SEEN = "create view seen as select * from students where id <= 3"


@pytest.fixture
def sis(postgres: PostgresServer) -> Iterator[str]:
    with postgres_database(postgres, STUDENTS["postgres"], SEEN) as name:
        yield name


@pytest.fixture
def library(mariadb: MariadbServer) -> Iterator[tuple[str, str]]:
    tables, more = (STUDENTS["mysql"], SEEN), "character set latin1"
    with (
        mysql_database(mariadb, *tables, more=more) as library,
        mysql_database(mariadb, *tables, name="bus", more=more) as buses,
    ):
        yield library, buses


def write(site: Site, far: Far, source: str, *, targets: str = "[offsite, disk]") -> None:
    site.plan("sis", plan_text("sis", source, targets=targets, more=far.plan_host() + MORE))


def came_back(site: Site, *, of: int = 5) -> None:
    site.dr("validate", "sis")
    (run,) = site.dr("--json", "backup", "sis").document["runs"]
    assert [(s["outcome"], s["files"]) for s in run["sources"]] == [("ok", 1)], run
    for target in ("offsite", "disk"):
        (drill,) = site.dr("--json", "drill", "sis", "--target", target).document["drills"]
        assert [check["outcome"] for check in drill["checks"]] == ["ok"] * of, drill["checks"]
        assert drill["proof_level"] == 5 and drill["rto_verdict"] == "met"


def test_a_postgres_database_is_stored_from_its_host_and_serves_again(
    offsite: Site, far: Far, postgres: PostgresServer, sis: str
) -> None:
    write(offsite, far, source_of(postgres, f"database: {sis}"))
    came_back(offsite)


def test_a_mysql_database_is_stored_from_its_host_and_serves_again(
    offsite: Site, far: Far, mariadb: MariadbServer, library: tuple[str, str]
) -> None:
    write(offsite, far, source_of(mariadb, f"database: {library[0]}"))
    came_back(offsite)
    write(offsite, far, source_of(mariadb, f"databases: [{', '.join(library)}]"))
    came_back(offsite)


def test_rows_that_the_dump_lacks_are_seen_though_it_never_passed_here(
    offsite: Site, far: Far, postgres: PostgresServer, sis: str
) -> None:
    write(offsite, far, source_of(postgres, f"database: {sis}", copied=False), targets="[offsite]")
    far.program("pg_dump", 'exec /usr/bin/pg_dump --exclude-table-data=students "$@"')
    offsite.dr("backup", "sis")
    (drill,) = offsite.dr("--json", "drill", "sis", code=1).document["drills"]
    failed = {check["check"]: check["observed"] for check in drill["checks"] if check["outcome"] == "failed"}
    assert set(failed) == {"rows", "sql"} and "500" in str(drill["checks"])


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
def test_a_dump_that_fails_there_leaves_no_snapshot(
    offsite: Site,
    far: Far,
    postgres: PostgresServer,
    mariadb: MariadbServer,
    sis: str,
    library: tuple[str, str],
    kind: str,
) -> None:
    server: PostgresServer | MariadbServer = postgres if kind == "postgres" else mariadb
    name = f"database: {sis if kind == 'postgres' else library[0]}"
    write(offsite, far, source_of(server, name, copied=False), targets="[offsite]")
    for program in ("pg_dump", "mariadb-dump"):
        far.program(program, f'/usr/bin/{program} "$@" | head -c 700; echo "the disk is gone" >&2; exit 3')
    (run,) = offsite.dr("--json", "backup", "sis", code=1).document["runs"]
    assert "the disk is gone" in run["sources"][0]["error"] and run["sources"][0]["snapshot_id"] is None
    assert offsite.dr("--json", "points", "sis").document["points"] == []
    assert offsite.dr("points", "--rebuild", "--json").document["points"] == []


def test_a_password_reaches_the_dump_there_and_no_command_line(
    offsite: Site, far: Far, mariadb: MariadbServer, library: tuple[str, str]
) -> None:
    mariadb.account(
        "keeper",
        "open sesame",
        f"select, show view, trigger, event, lock tables on {library[0]}.*",
        "select on mysql.*",
    )
    body = f"database: {library[0]}, socket: {mariadb.socket}, user: keeper, password: {{env: KEEPER}}"
    write(offsite, far, f"database: {{mysql: {{{body}}}}}", targets="[offsite]")
    far.program("mariadb-dump", f'tr "\\0" " " </proc/$$/cmdline >>{far.bin}/said; exec /usr/bin/mariadb-dump "$@"')
    try:
        (run,) = offsite.dr("--json", "backup", "sis", KEEPER="open sesame").document["runs"]
    finally:
        mariadb.sql("drop user keeper@localhost")
    assert run["outcome"] == "ok", run
    assert "--databases" in (said := (far.bin / "said").read_text()) and "sesame" not in said


def test_what_the_account_may_not_read_is_named_though_the_dump_never_passes_here(
    offsite: Site, far: Far, postgres: PostgresServer, sis: str
) -> None:
    role = f"narrow_{sis}"
    source = source_of(postgres, f"database: {sis}").replace(f"user: {postgres.user}", f"user: {role}")
    postgres.psql(f"create role {role} login; create table shut (x int); grant select on students to {role}", sis)
    postgres.psql(f"grant select on sequence students_id_seq to {role}", sis)
    write(offsite, far, source, targets="[offsite]")
    try:
        (run,) = offsite.dr("--json", "backup", "sis", code=3).document["runs"]
        told = {tuple(each["names"]): each for each in run["sources"][0]["omissions"]}
        shut = told[f"{sis}.public.shut",]
        assert not run["complete"] and shut["partial"] and "GRANT pg_read_all_data" in shut["hint"]
        assert not any(each["partial"] for each in told.values() if each != shut), "the roles lack only passwords"
        postgres.psql(shut["hint"].removeprefix("as a superuser: "))
        (run,) = offsite.dr("--json", "backup", "sis").document["runs"]
        assert run["complete"] and not run["sources"][0]["omissions"]
    finally:
        postgres.psql(f"drop owned by {role}; drop role {role}", sis)


def test_what_the_dump_program_refuses_is_named_alike_there_and_here(
    offsite: Site, far: Far, mariadb: MariadbServer, library: tuple[str, str]
) -> None:
    name, bin_ = library[0], offsite.root / "bin"
    bin_.mkdir()
    (bin_ / "mariadb").symlink_to("/usr/bin/mariadb")
    wrapped = bin_ / "mariadb-dump"
    client = f"mariadb --no-defaults -uroot --socket={mariadb.socket} {name}"
    wrapped.write_text(f'#!/bin/sh\n{client} -e "drop table if exists base"\nexec /usr/bin/mariadb-dump "$@"\n')
    wrapped.chmod(0o755)
    body = source_of(mariadb, f"database: {name}, bin: {bin_}")
    told = []
    for host in ("", far.plan_host()):
        mariadb.sql("create or replace table base (id int); create or replace view late as select id from base", name)
        offsite.plan("sis", plan_text("sis", body, targets="[offsite]", more=host + MORE))
        (run,) = offsite.dr("--json", "backup", "sis", code=3).document["runs"]
        (source,) = run["sources"]
        assert (run["complete"], run["outcome"]) == (False, "degraded")
        told.append([omission for omission in source["omissions"] if omission["partial"]])
    here, there = told
    assert here == there and [omission["names"] for omission in there] == [[f"{name}.late"]]
    assert "[1356]: SHOW FIELDS FROM `late`" in there[0]["what"] and there[0]["hint"].startswith("repair or drop")
    wrapped.write_text('#!/bin/sh\n/usr/bin/mariadb-dump "$@" | head -c 700; echo "(1356)" >&2; exit 2\n')
    (run,) = offsite.dr("--json", "backup", "sis", code=1).document["runs"]
    assert run["sources"][0]["snapshot_id"] is None and "1356" in run["sources"][0]["error"]
