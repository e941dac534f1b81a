"""Faults of databases and of other hosts: never half a point, nothing left running, and the next run is well."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dr.tools import process
from scripts.servers.postgres import PostgresServer
from scripts.servers.sshd import Sshd
from tests.conftest import Site, plan_text
from tests.databases import locked_table, postgres_database, source_of
from tests.faults.test_full_disk import small_disk
from tests.waiting import LIMIT, soon


@pytest.fixture
def disk(site: Site) -> Site:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    return site


def elsewhere(sshd: Sshd, more: str = "") -> str:
    return f"host: {{ssh: '{sshd.address}', known_hosts: '{sshd.known_hosts}', key: '{sshd.key}'{more}}}\n"


def snapshots(site: Site, system: str) -> int:
    folder = site.root / "disk" / system / "snapshots"
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def big_database(server: PostgresServer, megabytes: int) -> AbstractContextManager[str]:
    table = f"create table t as select n, repeat(md5(n::text), 30) from generate_series(1, {megabytes} * 1000) n"
    return postgres_database(server, table, name="big")


_DUMPING = """select count(*) from pg_locks where relation = 't'::regclass and not granted and pid in (
    select pid from pg_stat_activity where query like 'LOCK TABLE%')"""
_COPYING = "select count(*) from pg_stat_progress_copy where bytes_processed > 1000000"


def test_a_server_killed_in_mid_dump_leaves_no_snapshot_and_the_next_run_is_well(disk: Site) -> None:
    with PostgresServer() as server, big_database(server, 20) as name:
        disk.plan("sis", plan_text("sis", source_of(server, f"database: {name}"), targets="[disk]"))
        with locked_table(server, name, "t"):
            running = disk.start("--json", "backup", "sis")
            assert soon(lambda: server.psql(_DUMPING, name) == "1")
            os.kill(running.pid, signal.SIGSTOP)  # so that the dump, which nobody reads, waits amid its data
        try:
            assert soon(lambda: server.psql(_COPYING) == "1")
            server.kill()
        finally:
            os.kill(running.pid, signal.SIGCONT)
        out, _ = running.communicate(timeout=LIMIT)
        assert running.returncode == 1, out
        assert snapshots(disk, "sis") == 0, "no half dump became a snapshot"
        assert disk.dr("--json", "points", "sis").document["points"] == []
        server.start()
        (run,) = disk.dr("--json", "backup", "sis").document["runs"]
        assert run["complete"]


@pytest.fixture
def name(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database with an empty table."""
    with postgres_database(postgres, "create table t (n int)") as made:
        yield made


def test_a_dump_that_hangs_is_stopped_in_time(disk: Site, postgres: PostgresServer, name: str) -> None:
    disk.plan("sis", plan_text("sis", source_of(postgres, f"database: {name}, timeout: 12s"), targets="[disk]"))
    with locked_table(postgres, name, "t"):
        (run,) = disk.dr("--json", "backup", "sis", code=1).document["runs"]
        assert "did not end within" in run["sources"][0]["error"] and snapshots(disk, "sis") == 0


def test_a_drill_killed_with_its_scratch_server_up_is_swept_by_the_next(
    disk: Site, postgres: PostgresServer, name: str
) -> None:
    more = "drill: {checks: [manifest, {command: {run: [sleep, '600']}}]}\n"
    disk.plan("sis", plan_text("sis", source_of(postgres, f"database: {name}"), targets="[disk]", more=more))
    disk.dr("backup", "sis")
    running = disk.start("drill", "sis")
    record = disk.root / "state" / "sandboxes"
    assert soon(lambda: [p for p in record.glob("drill-*/.annexes") if p.read_text().strip()])
    (annex,) = [Path(line) for p in record.glob("drill-*/.annexes") for line in p.read_text().split()]
    assert soon(lambda: process.at_work_in([annex]))
    assert soon(lambda: process.at_work_in(list(record.glob("drill-*"))))
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=LIMIT)
    assert annex.is_dir(), "the negative: it was left"
    disk.plan("sis", plan_text("sis", source_of(postgres, f"database: {name}"), targets="[disk]"))
    (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
    assert drill["outcome"] == "ok"
    assert not annex.exists() and process.at_work_in([annex]) == []
    assert [path.name for path in record.iterdir() if path.is_dir()] == []


def test_a_recovery_killed_while_it_loads_leaves_the_live_database_and_is_finished_by_the_next(
    disk: Site, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    waiting = f"{{command: {{run: [sh, -c, 'until [ -e {gate} ]; do sleep 0.1; done']}}}}"
    more = f"drill: {{checks: [manifest, {{rows: {{source: database}}}}, {waiting}]}}\n"
    with PostgresServer() as server, big_database(server, 20) as name:
        disk.plan("sis", plan_text("sis", source_of(server, f"database: {name}"), targets="[disk]", more=more))
        disk.dr("backup", "sis")
        server.psql("delete from t where n > 10", name)
        argv = ("--json", "recover", "sis", "--to", str(tmp_path / "to"), "--replace", name, "--yes")
        running = disk.start(*argv)
        beside = f"select count(*) from pg_database where datname like '{name}_dr_%'"
        assert soon(lambda: server.psql(beside) != "0")
        os.kill(running.pid, signal.SIGKILL)
        running.communicate(timeout=LIMIT)
        assert server.psql("select count(*) from t", name) == "10", "the live one is as it was"
        gate.touch()
        (done,) = disk.dr(*argv).document["drills"]
        assert done["outcome"] in ("ok", "degraded"), done
        assert server.psql("select count(*) from t", name) == "20000"
        assert server.psql(beside) == "0", "nothing half is left beside it"


def test_a_connection_lost_in_mid_stream_is_begun_again_within_the_run(disk: Site, tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        mark, amid, again = tmp_path / "begun", tmp_path / "amid", tmp_path / "again"
        script = f"echo x >> {mark}; head -c 3000000 /dev/zero; touch {amid}; test -e {again} || sleep 600; echo end"
        disk.plan(
            "sis",
            plan_text(
                "sis",
                f"export: {{command: {{run: [sh, -c, {script!r}], filename: x}}}}",
                targets="[disk]",
                more=elsewhere(server),
            ),
        )
        running = disk.start("--json", "backup", "sis")
        assert soon(amid.exists)
        server.kill()
        again.touch()
        server.start()
        _, errors = running.communicate(timeout=LIMIT)
        assert running.returncode == 0, errors
        assert "trying again" in errors and len(mark.read_text().split()) == 2
        assert snapshots(disk, "sis") == 2, "the data and its manifest, once"


def test_a_host_that_is_down_fails_the_point_and_says_so(disk: Site, tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        more = elsewhere(server, ", connect_timeout: 2s")
        disk.plan("sis", plan_text("sis", "x: {command: {run: [seq, '9'], filename: x}}", targets="[disk]", more=more))
        server.kill()
        (run,) = disk.dr("--json", "backup", "sis", code=1).document["runs"]
        assert run["outcome"] == "failed" and server.host in run["sources"][0]["error"]
        assert disk.dr("--json", "points", "sis").document["points"] == []


def test_a_full_disk_on_the_other_host_leaves_no_snapshot(disk: Site, tmp_path: Path) -> None:
    small = tmp_path / "small"
    with small_disk(small, "1m"), Sshd(tmp_path / "sshd", env={"TMPDIR": str(small)}) as server:
        subprocess.run(["sqlite3", f"{tmp_path}/big.db", "create table t as select zeroblob(3000000) as z"], check=True)
        disk.plan(
            "sis",
            plan_text("sis", f"db: {{sqlite: {{path: {tmp_path}/big.db}}}}", targets="[disk]", more=elsewhere(server)),
        )
        (run,) = disk.dr("--json", "backup", "sis", code=1).document["runs"]
        assert "disk is full" in run["sources"][0]["error"] and snapshots(disk, "sis") == 0
        assert list(small.iterdir()) == [], "the half copy went away"


def test_several_systems_on_one_host_keep_to_its_limit(disk: Site, tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        script = f"echo $$ > {tmp_path}/on-$$; ls {tmp_path}/on-* | wc -l; sleep 0.5; rm {tmp_path}/on-$$"
        for number in range(4):
            text = f"x: {{command: {{run: [sh, -c, '{script}'], filename: x}}}}"
            disk.plan(
                f"s{number}", plan_text(f"s{number}", text, targets="[disk]", more=elsewhere(server, ", at_once: 1"))
            )
        seen: list[int] = []
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                seen.append(len(list(tmp_path.glob("on-*"))))

        thread = threading.Thread(target=watch)
        thread.start()
        disk.dr("backup", "--all")
        stop.set()
        thread.join()
        assert max(seen) == 1
