"""MariaDB brought back beside, and then in place of, the live database."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dr.errors import SourceError, UsageError
from dr.plan.host import SshHost
from dr.plan.source_kinds import MysqlSource
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.driver import RestoredSource, RestoreSlot
from dr.sources.hosts import open_host
from dr.sources.mysql import Mysql, code, swap, undo
from dr.sources.mysql.session import Session
from dr.tools import command
from dr.tools.host import ThisHost
from scripts.servers.mariadb import MariadbServer
from scripts.servers.sshd import Sshd
from tests.databases import mysql_database
from tests.sources.rich import NAME, PUPIL, Taken, differences, quoted, rich_server
from tests.waiting import soon


@pytest.fixture
def server(rich_mariadb: MariadbServer) -> MariadbServer:
    return rich_mariadb


@pytest.fixture
def live(tmp_path: Path) -> Iterator[MariadbServer]:
    """A server whose databases a test replaces."""
    with rich_server(tmp_path, "--event-scheduler=ON") as running:
        yield running


def snapshot(server: MariadbServer, work: Path, name: str = NAME) -> DatabaseInventory:
    """What a live database holds."""
    return Taken(server, work, database=name).facts


def begun(taken: Taken, annexes: Callable[[str], Path], **room: Any) -> RestoredSource:
    """Bring it back beside the live database."""
    instance = taken.restored(annexes, real=True, **{"replace": frozenset({NAME}), **room})
    instance.preflight()
    instance.provision()
    taken.pour(instance)
    instance.start()
    return instance


def names(server: MariadbServer) -> set[str]:
    """The databases there."""
    return {row[0] for row in server.sql("SHOW DATABASES")} - {
        "information_schema",
        "mysql",
        "performance_schema",
        "sys",
    }


def spoil(server: MariadbServer) -> None:
    """What a person in a hurry does."""
    server.sql(
        f"USE {quoted(NAME)}; DELETE FROM mark WHERE id = 1; DROP EVENT tick; CREATE TABLE later (id INT);"
        "DROP VIEW b_view; CREATE VIEW c_view AS SELECT 1 AS one; DROP TRIGGER `log it`;"
        "CREATE TRIGGER `other` BEFORE UPDATE ON mark FOR EACH ROW SET NEW.id = NEW.id"
    )


def test_a_recovery_swaps_and_keeps_what_was_there(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    taken = Taken(live, tmp_path / "w", database=NAME)
    spoil(live)
    old, rights = snapshot(live, tmp_path / "old"), live.sql("SHOW GRANTS FOR clerk@`%`")
    instance = begun(taken, annexes)
    assert differences(taken.facts, instance.facts()) == []
    assert instance.probe("SELECT COUNT(*) FROM mark") == instance.probe("SELECT n FROM clerks") == "3"
    assert differences(old, snapshot(live, tmp_path / "beside")) == []
    with caplog.at_level(logging.WARNING, "dr.recover"):
        instance.accept()
    instance.close()
    kept = f"{NAME}_before_d_1a2b3c"
    assert names(live) == {NAME, kept} and kept in caplog.text
    now = snapshot(live, tmp_path / "now")
    assert [each for each in differences(taken.facts, now) if "audit" not in each] == []
    assert {row[0] for row in live.sql(f"SHOW TABLES IN {quoted(kept)}")} == {
        key.removeprefix(f"{NAME}.") for key in old.rows
    } | {"a_view", "c_view", "clerks", "numbers"}
    assert live.sql(f"SHOW TRIGGERS IN {quoted(kept)}")[0][0] == "other"
    assert {
        row[0] for row in live.sql(f"SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{kept}'")
    } == {"DISABLED"}
    live.sql(f"USE {quoted(NAME)}; DELETE FROM {quoted(PUPIL)} WHERE `i``d` = 1")
    assert live.sql(f"SELECT COUNT(*) FROM {quoted(NAME)}.mark") == [["1"]]
    assert live.sql(f"SELECT COUNT(*) FROM {quoted(kept)}.mark") == [["2"]]
    assert live.sql("SHOW GRANTS FOR clerk@`%`") == rights


def test_what_cannot_be_removed_is_said(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    instance = begun(Taken(live, tmp_path / "w", database=NAME), annexes)
    live.kill()
    instance.close()
    assert f"drop {NAME}_dr_d_1a2b3c by hand" in caplog.text


def test_a_broken_database_can_be_replaced(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    taken = Taken(live, tmp_path / "w", database=NAME)
    live.sql(f"USE {quoted(NAME)}; DROP FUNCTION `twi ce`; DROP TABLE parts; ALTER TABLE audit DROP COLUMN what")
    instance = begun(taken, annexes)
    with caplog.at_level(logging.WARNING, "dr.recover"):
        instance.accept()
    instance.close()
    assert "could not be read whole" in caplog.text
    assert [d for d in differences(taken.facts, snapshot(live, tmp_path / "now")) if "audit" not in d] == []


def test_a_recovery_onto_an_empty_server_brings_accounts_and_their_rights(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(server, tmp_path / "w", databases=(NAME, "second"))
    with MariadbServer(tmp_path) as fresh:
        taken.doors = Mysql(
            "db", MysqlSource.model_validate(fresh.declared(databases=(NAME, "second"))), host=ThisHost()
        )
        instance = begun(taken, annexes)
        assert instance.probe("SELECT n FROM clerks") == "3"
        instance.accept()
        instance.close()
        assert names(fresh) == {NAME, "second"}
        assert fresh.sql("SELECT n FROM second.across") == [["3"]]
        assert sorted(fresh.sql("SHOW GRANTS FOR clerk@`%`")) == sorted(server.sql("SHOW GRANTS FOR clerk@`%`"))


def test_a_recovery_onto_another_host_is_the_same(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(live, tmp_path / "w", database=NAME)
    spoil(live)
    with Sshd(tmp_path / "sshd") as far:
        host = open_host(SshHost(ssh=far.address, known_hosts=far.known_hosts, key=far.key))
        taken.doors = Mysql("db", taken.declared, host=host)
        instance = begun(taken, annexes)
        assert instance.connection() == {}
        assert differences(taken.facts, instance.facts()) == []
        instance.accept()
        instance.close()
    assert [d for d in differences(taken.facts, snapshot(live, tmp_path / "now")) if "audit" not in d] == []


def test_events_run_after_a_recovery_and_not_before(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(live, tmp_path / "w", database=NAME)
    live.sql(f"DROP DATABASE {quoted(NAME)}")
    instance = begun(taken, annexes)
    before = instance.probe("SELECT COUNT(*) FROM audit")
    time.sleep(2.2)
    assert instance.probe("SELECT COUNT(*) FROM audit") == before
    instance.accept()
    (said,) = [note for note in instance.notes if "came back enabled" in note]
    assert said.endswith(f"run from now on: {NAME}.tick"), said
    counting = f"SELECT COUNT(*) FROM {quoted(NAME)}.audit"
    assert soon(lambda: int(live.sql(counting)[0][0]) > int(str(before)))
    instance.close()
    assert names(live) == {NAME}


def test_a_recovery_refuses_what_it_was_not_told_to_replace(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(server, tmp_path / "w", database="second")
    there = names(server)
    with pytest.raises(UsageError, match="database second exists"):
        taken.restored(annexes, real=True).preflight()
    with pytest.raises(UsageError, match="exists"):
        taken.pour(taken.restored(annexes, real=True))
    taken.restored(annexes, real=True, replace=frozenset({"second"})).preflight()
    assert names(server) == there


def test_a_recovery_refuses_without_server_or_rights(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(server, tmp_path / "w", database="second")
    server.account("weak", "pw", "SELECT ON *.*", "CREATE ON *.*")
    (tmp_path / "secret").write_text("pw")
    room = RestoreSlot(
        root=tmp_path, apart=taken.apart, annex=annexes, token="x", real=True, replace=frozenset({"second"})
    )
    for more, words in (
        ({"user": "weak", "password": {"file": str(tmp_path / "secret")}}, "lacks rights .*DROP.*TRIGGER"),
        ({"socket": "/nowhere/s"}, "cannot be reached"),
        ({"user": "nobody"}, "Access denied"),
    ):
        declared = MysqlSource.model_validate(server.declared(database="second", **more))
        with pytest.raises(UsageError, match=words):
            Mysql("db", declared, host=ThisHost()).restored(room).preflight()
    server.sql("DROP USER weak@localhost")


def test_a_recovery_refuses_when_another_database_points_into_it(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    live.sql(
        f"CREATE DATABASE tied; CREATE TABLE tied.t (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES {quoted(NAME)}.mark (id))"
    )
    taken = Taken(live, tmp_path / "w", database=NAME)
    with pytest.raises(UsageError, match=r"foreign keys of tied\.t"):
        taken.restored(annexes, real=True, replace=frozenset({NAME})).preflight()


def test_a_recovery_that_is_not_accepted_leaves_nothing(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(live, tmp_path / "w", database=NAME)
    old = snapshot(live, tmp_path / "old")
    instance = begun(taken, annexes)
    assert len(names(live)) == 2
    instance.close()
    instance.close()
    assert names(live) == {NAME}
    assert [d for d in differences(old, snapshot(live, tmp_path / "now")) if "audit" not in d] == []


def test_a_stream_that_breaks_off_leaves_the_live_database_alone(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(live, tmp_path / "w", database=NAME)
    old = snapshot(live, tmp_path / "old")
    taken.data = taken.data[: len(taken.data) // 2] + b"\n;;; nonsense;\n"
    instance = taken.restored(annexes, real=True, replace=frozenset({NAME}))
    with pytest.raises(SourceError, match="could not be restored"):
        taken.pour(instance)
    instance.close()
    assert names(live) == {NAME}
    assert [d for d in differences(old, snapshot(live, tmp_path / "now")) if "audit" not in d] == []


@pytest.mark.parametrize("step", ["_make_room", "_move", "_like", "_make", "stop", "a program holds a table"])
def test_a_swap_that_fails_leaves_the_old_as_it_was(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    taken = Taken(live, tmp_path / "w", database=NAME)
    spoil(live)
    old, rights = snapshot(live, tmp_path / "old"), live.sql("SHOW GRANTS FOR clerk@`%`")
    instance = begun(taken, annexes)
    holder, stopped = None, step == "stop"
    step = "_make" if stopped else step
    if step.startswith("_"):
        done = getattr(swap.Swap, step)

        def fails(self: swap.Swap, *arguments: Any, **more: Any) -> None:
            monkeypatch.setattr(swap.Swap, step, done)
            done(self, *arguments, **more)
            if stopped:
                command.interrupt_all()
            raise SourceError("planted", hint="none")

        monkeypatch.setattr(swap.Swap, step, fails)
    else:
        monkeypatch.setattr(swap, "LOCK_WAIT", 1)
        holder = subprocess.Popen(live.client("--unbuffered"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert holder.stdin and holder.stdout
        holder.stdin.write(f"BEGIN; SELECT COUNT(*) FROM {quoted(NAME)}.mark;\n".encode())
        holder.stdin.flush()
        holder.stdout.readline()
    with pytest.raises(SourceError, match="the live databases are as they were"):
        instance.accept()
    assert command.stopping() is stopped
    command.resume()
    if holder:
        holder.kill()
        holder.communicate()
    instance.close()
    assert names(live) == {NAME}
    assert differences(old, snapshot(live, tmp_path / "now")) == []
    assert live.sql("SHOW GRANTS FOR clerk@`%`") == rights


def test_two_databases_are_swapped_together_or_not_at_all(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    live.sql(
        f"CREATE DATABASE `-second`; CREATE TABLE `-second`.s (id INT); INSERT INTO `-second`.s VALUES (1), (2);"
        f"CREATE VIEW `-second`.far AS SELECT COUNT(*) AS n FROM {quoted(NAME)}.mark"
    )
    taken = Taken(live, tmp_path / "w", databases=(NAME, "-second"))
    live.sql("DELETE FROM `-second`.s")
    instance = begun(taken, annexes, token="one", replace=frozenset({NAME, "-second"}))
    made = swap.Swap._make

    def fails(self: swap.Swap, grants: dict[str, list[str]]) -> None:
        monkeypatch.setattr(swap.Swap, "_make", made)
        made(self, grants)
        raise SourceError("planted", hint="none")

    monkeypatch.setattr(swap.Swap, "_make", fails)
    with pytest.raises(SourceError, match="planted"):
        instance.accept()
    assert live.sql("SELECT COUNT(*) FROM `-second`.s") == [["0"]]

    instance.accept()
    instance.close()
    assert live.sql("SELECT COUNT(*) FROM `-second`.s") == [["2"]]
    assert live.sql("SELECT n FROM `-second`.far") == [["3"]]


def test_existing_accounts_are_not_changed_by_a_recovery(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    live.sql("CREATE USER gone@localhost IDENTIFIED BY 'x'; GRANT SELECT ON *.* TO gone@localhost")
    taken = Taken(live, tmp_path / "w", all=True)
    live.sql("DROP USER gone@localhost; SET PASSWORD FOR clerk@`%` = PASSWORD('a newer word')")
    before = live.sql("SHOW CREATE USER clerk@`%`")
    live.sql("GRANT SUPER ON *.* TO clerk@`%`")
    instance = begun(taken, annexes)
    instance.close()
    (remark,) = instance.remarks
    assert (
        "'clerk'@'%'" in remark and "its password or its options differ" in remark and "now also GRANT SUPER" in remark
    )
    assert "PASSWORD '*" not in remark, "no hash is told"
    assert live.sql("SHOW CREATE USER clerk@`%`") == before
    assert "GRANT SELECT ON *.*" in live.sql("SHOW GRANTS FOR gone@localhost")[0][0]


VIEWS = """
CREATE TABLE t (id INT PRIMARY KEY, x INT); INSERT INTO t VALUES (1, 1), (2, 2); CREATE TABLE t2 (id INT);
CREATE VIEW a AS SELECT id, x FROM t; CREATE VIEW b AS SELECT * FROM a WHERE id > 0 WITH CASCADED CHECK OPTION;
CREATE VIEW z AS SELECT * FROM t; CREATE VIEW `1st` AS SELECT * FROM z WHERE x > 0 WITH LOCAL CHECK OPTION;
CREATE VIEW `comma` AS SELECT t.id FROM t, t2 WHERE t.id = t2.id;
CREATE DEFINER=weak@localhost VIEW v AS SELECT id FROM t; CREATE DEFINER=gone@localhost VIEW g AS SELECT x FROM t;
CREATE SEQUENCE numbers; CREATE TABLE drawn (id INT DEFAULT NEXTVAL(numbers), n INT); INSERT INTO drawn (n) VALUES (7);
CREATE TABLE plain (id INT, KEY (id)) ENGINE=Aria;
"""


def dumped(server: MariadbServer, database: str) -> list[bytes]:
    """All that a database is, as its dump says it: in lines, as views may come in another order."""
    argv = ["mariadb-dump", "--no-defaults", "-uroot", f"--socket={server.socket}", "--skip-dump-date", "--force"]
    done = subprocess.run([*argv, "--routines", "--events", database], capture_output=True, check=False)
    return sorted(done.stdout.splitlines())


@pytest.fixture
def views(mariadb: MariadbServer) -> Iterator[str]:
    """A database with views on views in any order of names, bound to its name by owners that are weak or gone."""
    mariadb.sql("CREATE OR REPLACE USER weak@localhost; CREATE OR REPLACE USER gone@localhost")
    with mysql_database(mariadb, VIEWS, name="views") as name:
        mariadb.sql(
            f"CREATE TRIGGER {name}.`own` BEFORE INSERT ON {name}.t FOR EACH ROW SET NEW.x = 9; DROP USER gone@localhost"
        )
        yield name


def test_views_on_views_and_of_weak_owners_are_drilled_and_replaced(
    mariadb: MariadbServer, views: str, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken, before = Taken(mariadb, tmp_path / "w", database=views), dumped(mariadb, views)
    scratch = taken.restored(annexes)
    try:
        scratch.provision()
        taken.pour(scratch)
        scratch.start()
        assert differences(taken.facts, scratch.facts()) == [] and scratch.unaccepted == []
        scratch.rehearse()
        assert differences(taken.facts, scratch.facts()) == []
    finally:
        scratch.close()
    instance = begun(taken, annexes, replace=frozenset({views}))
    assert differences(taken.facts, instance.facts()) == [] and instance.unaccepted == []
    instance.accept()
    instance.close()
    after = [line for line in dumped(mariadb, views) if b"VIEW `comma`" not in line]
    assert after == [line for line in before if b"VIEW `comma`" not in line], "but for the comma, all is as it was"
    assert mariadb.sql(f"INSERT INTO {views}.drawn (n) VALUES (8); SELECT COUNT(id) FROM {views}.drawn") == [["2"]]
    assert not mariadb.sql(f"SELECT * FROM mysql.db WHERE Db LIKE '{views}%'")


def test_a_swap_is_not_begun_when_there_would_be_no_way_back(
    mariadb: MariadbServer, views: str, tmp_path: Path, annexes: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = Taken(mariadb, tmp_path / "w", database=views)
    before = dumped(mariadb, views)
    instance = begun(taken, annexes, replace=frozenset({views}))
    made = code.make

    def refused(*arguments: Any, **more: Any) -> list[code.Fault]:
        piece = next(p for each in arguments[1].values() for p in each.pieces if p.name == "b")
        return [*made(*arguments, **more), code.Fault(piece, "x", SourceError("planted"))]

    monkeypatch.setattr(code, "make", refused)
    with pytest.raises(SourceError, match=r"nothing was changed: the view .*\.b could not be made again"):
        instance.accept()
    instance.close()
    assert dumped(mariadb, views) == before


@pytest.mark.parametrize("at", (0, 5, 12, 15, 24))
def test_a_swap_killed_at_any_statement_is_put_right_by_the_next_run(
    mariadb: MariadbServer, views: str, tmp_path: Path, annexes: Callable[[str], Path], at: int
) -> None:
    taken, before = Taken(mariadb, tmp_path / "w", database=views), dumped(mariadb, views)
    instance = begun(taken, annexes, replace=frozenset({views}))
    child = os.fork()
    if not child:
        _die_after(at)
        instance.accept()
        os._exit(0)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
    again = taken.restored(annexes, real=True, replace=frozenset({views}))
    again.preflight()
    again.provision()
    assert killed == bool(again.remarks) or not (taken.apart / "undo.sql").exists()
    now = [line for line in dumped(mariadb, views) if b"`comma`" not in line]
    assert now == [line for line in before if b"`comma`" not in line]
    instance.close()


def _die_after(statements: int) -> None:
    """Let this process be killed after that many statements of a swap, from its first change on."""
    left, written, sent = statements, undo.write, Session._send

    def begins(*arguments: Any) -> None:
        written(*arguments)

        def counted(self: Session, text: str) -> None:
            nonlocal left
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            sent(self, text)

        Session._send = counted  # type: ignore[method-assign]

    undo.write = begins
