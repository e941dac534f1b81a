"""A drill's sandbox and production, as typed: nothing that runs on restored data reaches the servers it knows of."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from scripts.servers.sshd import Sshd
from tests.conftest import Site, plan_text
from tests.databases import mysql_database, postgres_database, source_of
from tests.namespaces import needs_namespaces
from tests.waiting import soon

REFRESH = "{command: {run: [psql, -qc, 'refresh materialized view remote_marks'], mandatory: false}}"


@pytest.fixture(scope="module")
def production() -> Iterator[PostgresServer]:
    """Another server of the organisation's, on a port and a socket of this very machine; it logs who comes."""
    with PostgresServer(tcp=True, settings=("log_connections=on",)) as server:
        server.psql("create table marks (pupil int, mark int); insert into marks values (1, 5), (2, 6)")
        server.psql("create role reader login password 'of production'; grant select on marks to reader")
        yield server


def logins(server: PostgresServer) -> int:
    """How many have logged in by the mapping that the database holds."""
    return (server.home / "server.log").read_text().count("connection authorized: user=reader")


@pytest.fixture
def school(postgres: PostgresServer, production: PostgresServer) -> Iterator[str]:
    """A database with a materialised view of production's table, refreshed once."""
    there = f"host '127.0.0.1', port '{production.port}', dbname 'postgres'"
    with postgres_database(
        postgres,
        f"create extension postgres_fdw; create server other foreign data wrapper postgres_fdw options ({there});"
        "create user mapping for public server other options (user 'reader', password 'of production');"
        "create foreign table marks (pupil int, mark int) server other;"
        "create view good as select * from marks where mark > 4;"
        "create materialized view remote_marks as select * from good;"
        "create materialized view behind as select count(*) as n from remote_marks;"
        "create table students (id int); insert into students values (1); create materialized view own as table students",
    ) as name:
        yield name


@pytest.fixture
def disk(site: Site) -> Site:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    return site


@pytest.fixture
def refused(tmp_path: Path) -> str:
    """A PATH on which the kernel makes no namespaces."""
    place = tmp_path / "no-namespaces"
    place.mkdir()
    (place / "unshare").write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2; exit 1\n")
    (place / "unshare").chmod(0o755)
    return f"{place}:{os.environ['PATH']}"


def drilled(site: Site, source: str, *checks: str, more: str = "", **env: str) -> Any:
    """Back up, drill, and return the drill."""
    listed = ", ".join(["manifest", *checks])
    plan = plan_text("sis", source, targets="[disk]", more=f"drill: {{{more}checks: [{listed}]}}\n")
    site.plan("sis", plan)
    site.dr("backup", "sis")
    (drill,) = site.dr("--json", "drill", "sis", code=None, **env).document["drills"]
    return drill


def told(site: Site, drill: Any) -> str:
    """The page of a drill."""
    return site.dr("report", "--drill", drill["drill_id"], "--format", "md").out.replace("\\", "")


@needs_namespaces
def test_a_drill_logs_in_to_no_server_that_the_restored_database_knows(
    disk: Site, postgres: PostgresServer, production: PostgresServer, school: str
) -> None:
    before, source = logins(production), source_of(postgres, f"database: {school}")
    checks = ("{rows: {source: database}}", "{schema: {source: database}}", REFRESH,
              f"{{command: {{run: [psql, -h, {production.socket}, -p, '{production.port}', -c, select], mandatory: false}}}}")  # fmt: skip
    drill = drilled(disk, source, *checks)
    assert logins(production) == before, "neither the restore nor a check's program has been there"
    assert (drill["isolated"], drill["isolated_reason"], drill["sandbox"]) == (True, "", "destroyed")
    seen = [(check["check"], check["outcome"]) for check in drill["checks"]]
    assert seen == [("manifest", "ok"), ("rows", "ok"), ("schema", "ok"), ("command", "failed"), ("command", "failed")]
    page = told(disk, drill)
    assert "isolated: yes" in page
    for view in ("remote_marks", "behind"):
        assert f"{school}.public.{view} was left empty" in page
    assert f"{school}.public.own" not in page, "what is restored whole is refreshed"


def test_where_the_kernel_makes_no_namespaces_that_is_said_and_the_restore_itself_still_logs_in_nowhere(
    disk: Site, postgres: PostgresServer, production: PostgresServer, school: str, refused: str
) -> None:
    before, source = logins(production), source_of(postgres, f"database: {school}")
    drill = drilled(disk, source, "{rows: {source: database}}", PATH=refused)
    assert drill["isolated"] is False and "Operation not permitted" in drill["isolated_reason"]
    assert drill["outcome"] == "ok", "a stated fact, and no fault of the drill"
    assert logins(production) == before
    assert "isolated: no (this host does not let programs be kept from its network" in told(disk, drill)


def test_the_negative_control_a_program_that_is_not_isolated_does_log_in(
    disk: Site, postgres: PostgresServer, production: PostgresServer, school: str, refused: str
) -> None:
    before, source = logins(production), source_of(postgres, f"database: {school}")
    drill = drilled(disk, source, REFRESH, PATH=refused)
    assert {check["outcome"] for check in drill["checks"]} == {"ok"}
    assert soon(lambda: logins(production) > before)


@needs_namespaces
def test_a_plan_may_let_the_programs_of_its_checks_reach_what_they_need_and_the_servers_still_reach_nothing(
    disk: Site, postgres: PostgresServer, production: PostgresServer, school: str
) -> None:
    before, address = logins(production), f"127.0.0.1:{production.port}"
    login = f"host=127.0.0.1 port={production.port} user=reader password='of production' dbname=postgres"
    check = f"{{command: {{run: {json.dumps(['psql', login, '-c', 'select'])}}}}}"
    source = source_of(postgres, f"database: {school}")
    drill = drilled(disk, source, check, REFRESH, more=f'reach: ["{address}"], ')
    assert [c["outcome"] for c in drill["checks"]] == ["ok", "ok", "failed"], drill["checks"]
    assert drill["isolated"] is False and address in drill["isolated_reason"]
    assert soon(lambda: logins(production) == before + 1), "the check's program, and not the restored server"


APP = """
import http.server, os, subprocess
class App(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        done = subprocess.run(["mariadb", "-N", "-e", "select count(*) from loans", os.environ["MYSQL_DATABASE"]],
                              capture_output=True)
        up = open("/proc/net/dev").read().count(":")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"loans: %s, devices: %d" % (done.stdout.strip(), up))
    def log_message(self, *about):
        pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""


@needs_namespaces
def test_a_served_program_has_a_loopback_and_is_asked_there(disk: Site, mariadb: MariadbServer, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    serve = f"serve: [{sys.executable}, {tmp_path}/app.py], url: 'http://127.0.0.1:{{port}}/'"
    check = f"{{http: {{{serve}, expect: {{body: 'loans: 2, devices: 1'}}, within: 60s}}}}"
    with mysql_database(mariadb, "create table loans (id int); insert into loans values (1), (2)") as name:
        drill = drilled(disk, source_of(mariadb, f"database: {name}"), check)
    assert drill["outcome"] == "ok" and drill["isolated"] is True, drill["checks"]


def test_a_drill_in_which_nothing_runs_says_nothing_of_it(disk: Site) -> None:
    (disk.root / "letter").write_text("a letter")
    drill = drilled(disk, f"docs: {{files: {{paths: [{disk.root}/letter]}}}}")
    assert (drill["isolated"], drill["isolated_reason"]) == (None, "")


@needs_namespaces
def test_on_another_host_too_the_sandbox_reaches_nothing(
    disk: Site, postgres: PostgresServer, production: PostgresServer, school: str, sshd: Sshd
) -> None:
    before = logins(production)
    host = f"host: {{ssh: '{sshd.address}', known_hosts: '{sshd.known_hosts}', key: '{sshd.key}'}}, "
    source = source_of(postgres, f"database: {school}")
    drill = drilled(disk, source, "{rows: {source: database}}", REFRESH, more=host)
    assert drill["isolated"] is True, drill
    assert [c["outcome"] for c in drill["checks"]] == ["ok", "ok", "failed"], drill["checks"]
    assert logins(production) == before


def test_a_recovery_names_the_subscriptions_that_came_back_disabled(
    disk: Site, postgres: PostgresServer, tmp_path: Path
) -> None:
    place = "host=127.0.0.1 port=9 user=reader password=hidden"
    options = "connect = false, slot_name = none"
    made = f"create subscription pupils connection '{place}' publication p with ({options})"
    with postgres_database(postgres, "create table pupils (id int); insert into pupils values (1)", made) as name:
        try:
            disk.plan("sis", plan_text("sis", source_of(postgres, f"database: {name}"), targets="[disk]"))
            disk.dr("backup", "sis")
            to = ("--to", str(tmp_path / "to"), "--replace", name, "--yes")
            (done,) = disk.dr("--json", "recover", "sis", *to).document["drills"]
            page = told(disk, done)
            assert f"the subscription {name}.pupils came back disabled" in page and "hidden" not in page
            assert done["outcome"] == "ok" and done["isolated"] is None
            assert postgres.psql("select count(*) from pg_subscription where subenabled") == "0"
        finally:
            for each in postgres.psql(f"select datname from pg_database where datname like '{name}%'").splitlines():
                postgres.psql("drop subscription if exists pupils", each)
