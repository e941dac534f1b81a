"""PostgreSQL databases brought back onto a live server in use."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dr.errors import SourceError, UsageError
from dr.sources.database_inventory import FILENAME
from dr.tools.ssh import SshHost
from scripts.servers.postgres import PostgresServer, program
from scripts.servers.sshd import Sshd
from tests.far import login
from tests.sources.postgres_points import Capture, Point, both, killed_amid, restored
from tests.waiting import soon


@pytest.fixture
def live(captured: Capture) -> Iterator[tuple[PostgresServer, Point]]:
    """A server in use, and a point of its database `school` from before 100 pupils were lost and one came."""
    with PostgresServer(settings=("max_prepared_transactions=1",)) as running:
        running.psql("create role teacher; create role owner login password 'one'")
        running.psql("create database school owner owner; alter database school set work_mem = '8MB'")
        running.psql("comment on database school is 'the real one'")
        running.psql("create table pupils as select g as id from generate_series(1, 500) g", "school")
        running.psql("alter table pupils owner to owner; grant select on pupils to teacher", "school")
        point = captured(running, database="school")
        running.psql("delete from pupils where id <= 100; insert into pupils values (1000)", "school")
        yield running, point


def databases(server: PostgresServer) -> list[str]:
    return server.psql("select datname from pg_database where not datistemplate order by 1").splitlines()


def test_a_database_that_is_there_is_not_touched_unless_it_may_be_replaced(live: tuple[PostgresServer, Point]) -> None:
    server, point = live
    for replace_ in ((), ("other",)):
        instance = point.restored(real=True, replace=replace_)
        with pytest.raises(UsageError, match="nothing was touched: the database school is on the server") as caught:
            instance.preflight()
        instance.close()
        assert caught.value.exit_code == 2
    assert databases(server) == ["postgres", "school"]


def test_a_recovery_swaps_the_database_in_and_keeps_the_old_one(
    live: tuple[PostgresServer, Point], caplog: pytest.LogCaptureFixture
) -> None:
    server, point = live
    instance = point.restored(real=True, replace=("school",))
    try:
        before, after = both(restored(point, instance))
        assert (before.rows, before.needs) == (after.rows, after.needs)
        assert server.psql("select count(*) from pupils", "school") == "401", "touched before it was accepted"
        assert instance.connection()["PGDATABASE"] == "school_dr_tok"
        with Applications(server):
            instance.accept()
        assert instance.probe("select count(*) from pupils") == "500"
        assert both(instance)[0] == both(instance)[1]
    finally:
        instance.close()
    assert databases(server) == ["postgres", "school", "school_before_tok"]
    assert server.psql("select count(*) from pupils", "school") == "500"
    assert server.psql("select count(*) from pupils", "school_before_tok") == "401"
    assert "kept as school_before_tok" in caplog.text


class Applications:
    """Applications that connect to the database again and again, and stay."""

    def __init__(self, server: PostgresServer) -> None:
        self._server, self._done, self.tries = server, threading.Event(), 0
        self._threads = [threading.Thread(target=self._use) for _ in range(2)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()
        assert soon(lambda: self.tries >= 5)

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _use(self) -> None:
        while not self._done.is_set():
            self.tries += 1
            argv = [program("psql"), "-Xqc", "select count(*), pg_sleep(0.1) from pupils", "-d", "school"]
            subprocess.run(argv, env=self._server.environment, capture_output=True, check=False)


def test_what_is_not_accepted_yet_is_marked_as_unfinished(live: tuple[PostgresServer, Point]) -> None:
    server, point = live
    instance = point.restored(real=True, replace=("school",))
    try:
        restored(point, instance)
        said = "select shobj_description(oid, 'pg_database') from pg_database where datname = '{}'"
        assert server.psql(said.format("school_dr_tok")) == "unfinished recovery by dr of the database school"
        before, after = both(instance)
        assert before.objects == after.objects
        instance.accept()
        assert server.psql(said.format("school")) == "the real one"
    finally:
        instance.close()


def test_what_was_not_accepted_is_dropped_and_the_old_one_stays(live: tuple[PostgresServer, Point]) -> None:
    server, point = live
    instance = point.restored(real=True, replace=("school",))
    restored(point, instance)
    assert "school_dr_tok" in databases(server)
    instance.close()
    instance.close()
    assert databases(server) == ["postgres", "school"]
    assert server.psql("select count(*) from pupils", "school") == "401"


def test_a_swap_that_fails_half_way_leaves_the_old_one_in_place(live: tuple[PostgresServer, Point]) -> None:
    server, point = live
    instance = point.restored(real=True, replace=("school",))
    restored(point, instance)
    server.psql("drop database school_dr_tok")
    with pytest.raises(SourceError, match="could not be swapped; the old ones are as they were"):
        instance.accept()
    instance.close()
    assert databases(server) == ["postgres", "school"]
    assert server.psql("select count(*) from pupils", "school") == "401"


@pytest.mark.slow
def test_a_database_that_cannot_be_freed_stays(live: tuple[PostgresServer, Point]) -> None:
    server, point = live
    server.psql("begin; insert into pupils values (7); prepare transaction 'stuck'", "school")
    instance = point.restored(real=True, replace=("school",))
    restored(point, instance)
    with pytest.raises(SourceError, match="being accessed by other users"):
        instance.accept()
    instance.close()
    server.psql("rollback prepared 'stuck'", "school")
    assert databases(server) == ["postgres", "school"]


def test_a_recovery_killed_half_way_touches_nothing_and_the_next_tidies_up(
    live: tuple[PostgresServer, Point], caplog: pytest.LogCaptureFixture
) -> None:
    server, point = live
    killed_amid(point, real=True)
    assert databases(server) == ["postgres", "school", "school_dr_first"]
    assert server.psql("select count(*) from pupils", "school") == "401"
    server.psql("create database school_dr_mine")
    instance = point.restored(real=True, replace=("school",), token="second")
    left = "select count(*) from pg_stat_activity where datname = 'school_dr_first'"
    assert soon(lambda: server.psql(left) == "0")  # the killed one's session takes a moment to end
    restored(point, instance).accept()
    instance.close()
    assert "school_dr_first, left of an interrupted recovery, was dropped" in caplog.text
    assert databases(server) == ["postgres", "school", "school_before_second", "school_dr_mine"]
    assert server.psql("select count(*) from pupils", "school") == "500"


def test_a_server_that_dies_amid_a_recovery_keeps_what_it_had(live: tuple[PostgresServer, Point]) -> None:
    server, point = live
    instance = point.restored(real=True, replace=("school",))
    instance.preflight()
    instance.provision()

    def blocks() -> Iterator[bytes]:
        yield point.data[:3000]
        server.kill()
        yield point.data[3000:]

    with pytest.raises(SourceError):
        instance.pour(point.filename, blocks())
    instance.close()
    server.start()
    assert server.psql("select count(*) from pupils", "school") == "401"


def test_a_new_server_gets_the_database_its_settings_and_the_roles_that_are_missing(
    live: tuple[PostgresServer, Point],
) -> None:
    _, point = live
    with PostgresServer() as fresh:
        fresh.psql("create role owner login password 'two' createdb")
        secret = fresh.psql("select rolpassword from pg_authid where rolname = 'owner'")
        instance = point.restored(real=True, host=str(fresh.socket))
        try:
            restored(point, instance).accept()
            assert both(instance)[0] == both(instance)[1]
        finally:
            instance.close()
        assert databases(fresh) == ["postgres", "school"]
        assert fresh.psql("select count(*) from pg_roles where rolname = 'teacher'") == "1"
        assert fresh.psql("select rolpassword from pg_authid where rolname = 'owner'") == secret
        assert fresh.psql("select rolcreatedb from pg_roles where rolname = 'owner'") == "t"
        assert fresh.psql("show work_mem", "school") == "8MB"
        assert fresh.psql("select shobj_description(oid, 'pg_database') from pg_database where datname = 'school'") == (
            "the real one"
        )


def test_a_server_on_another_host_is_recovered_over_ssh(live: tuple[PostgresServer, Point], tmp_path: Path) -> None:
    server, point = live
    with Sshd(tmp_path / "sshd") as sshd:
        host = SshHost(login(sshd, at_once=1))
        instance = point.restored(real=True, replace=("school",), host_=host)
        try:
            restored(point, instance).accept()
            assert both(instance)[0] == both(instance)[1]
            assert instance.connection() == {}
        finally:
            instance.close()
            host.close()
    assert databases(server) == ["postgres", "school", "school_before_tok"]
    assert server.psql("select count(*) from pupils", "school") == "500"


def test_every_database_is_swapped_or_none(live: tuple[PostgresServer, Point], captured: Capture) -> None:
    server, _ = live
    server.psql("create database library; create table here (x int)")
    point = captured(server, all=True)
    server.psql("drop table here")
    unasked = point.restored(real=True)
    (unasked.room.apart / FILENAME).rename(point.kept / "later")
    unasked.preflight()  # the plan names none, and what the point holds may lie behind: it is asked again
    (point.kept / "later").rename(unasked.room.apart / FILENAME)
    with pytest.raises(UsageError, match="databases library, postgres, school are on the server") as caught:
        unasked.pour(point.filename, point.blocks)
    unasked.close()
    assert "--replace" in caught.value.hint and databases(server) == ["library", "postgres", "school"]
    instance = point.restored(real=True, replace=("library", "postgres", "school"))
    try:
        restored(point, instance).accept()
    finally:
        instance.close()
    old = ["library_before_tok", "postgres_before_tok", "school_before_tok"]
    assert databases(server) == sorted(["library", "postgres", "school", *old])
    assert server.psql("select count(*) from here") == "0"


def test_a_user_who_may_not_make_databases_is_refused_before_anything(live: tuple[PostgresServer, Point]) -> None:
    _, point = live
    instance = point.restored(real=True, replace=("school",), user="owner")
    with pytest.raises(UsageError, match="may not make databases"):
        instance.preflight()
    instance.close()


def test_a_live_server_that_does_not_answer_is_refused_before_anything(
    live: tuple[PostgresServer, Point], tmp_path: Path
) -> None:
    _, point = live
    instance = point.restored(real=True, host=str(tmp_path))
    with pytest.raises(UsageError, match="nothing was touched"):
        instance.preflight()
    instance.close()


def test_a_name_as_long_as_can_be_is_replaced_too(
    live: tuple[PostgresServer, Point], captured: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server, _ = live
    name = "n" * 63
    server.psql(f"create database {name}")
    point = captured(server, database=name)
    instance = point.restored(real=True, replace=(name,), token="20261124T010000Z-aaaaaa")
    try:
        restored(point, instance).accept()
    finally:
        instance.close()
        old = [each for each in databases(server) if each.endswith("_before_20261124T010000Z-aaaaaa")]
        assert len(old) == 1
        server.psql(f'drop database {name}; drop database "{old[0]}"')
