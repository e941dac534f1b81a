"""MariaDB brought back: in a scratch server, and beside and then in place of the live database."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr.errors import SourceError, UsageError
from dr.plan.host import SshHost
from dr.plan.source import MysqlSource
from dr.sources import facts
from dr.sources.door import Instance, Room
from dr.sources.facts import Facts
from dr.sources.hosts import open_host
from dr.sources.mysql import Mysql, swap
from dr.sources.mysql.cut import asleep, awake, events_apart
from dr.tools import command
from dr.tools.host import ThisHost
from scripts.servers.mariadb import MariadbServer
from scripts.servers.sshd import Sshd

BYTES = bytes(range(256)).hex()
#: Everything that databases are made of, under names that are hard to quote. (No quote in the database's own name:
#: mariadb-dump 10.11 fails on one when there are events.)
RICH = f"""
CREATE DATABASE `sc``hool é` CHARACTER SET latin1 COLLATE latin1_german1_ci;
USE `sc``hool é`;
CREATE TABLE `pu``pil "ä' x` (
  `i``d` INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, `na me` VARCHAR(80) NOT NULL DEFAULT 'it''s \\\\ "x"',
  photo LONGBLOB, word VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, born DATE, at TIMESTAMP(6) NULL,
  bits BIT(9), kind ENUM('a','b''c'), many SET('x','y'), price DECIMAL(20,6), ratio DOUBLE, note JSON, spot POINT,
  size INT NOT NULL DEFAULT 7, twice INT GENERATED ALWAYS AS (size * 2) VIRTUAL, thrice INT AS (size * 3) STORED,
  UNIQUE KEY `by name` (`na me`, word(10)), KEY born (born DESC), FULLTEXT KEY ft (`na me`),
  CONSTRAINT `grown up` CHECK (born IS NULL OR born > '1900-01-01')
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci COMMENT='pupils; -- of ''all''';
INSERT INTO `pu``pil "ä' x` (`na me`, photo, word, born, at, bits, kind, many, price, ratio, note, spot) VALUES
  ('Zoë 😀\\n\\t\\\\ ''quoted''', x'{BYTES}', '日本語', '2001-02-03', '2026-01-02 03:04:05.678901', b'101', 'b''c', 'x,y',
   1.5, 1e-300, '{{"a": [1, "ü"]}}', POINT(1, 2)),
  ('NULL', x'', '', NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL),
  ('-- Dump completed', NULL, 'USE x;', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO `pu``pil "ä' x` (`i``d`, `na me`) VALUES (4000000000, 'far');
CREATE TABLE mark (id INT PRIMARY KEY, pupil INT UNSIGNED, FOREIGN KEY `fk 1` (pupil) REFERENCES `pu``pil "ä' x` (`i``d`)
  ON DELETE CASCADE ON UPDATE CASCADE) ENGINE=InnoDB;
INSERT INTO mark VALUES (1, 1), (2, 1), (3, 4000000000);
CREATE TABLE zero (id INT AUTO_INCREMENT PRIMARY KEY, x INT); SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
INSERT INTO zero VALUES (0, 1), (5, 2); SET sql_mode = DEFAULT;
CREATE TABLE parts (id INT, y INT) PARTITION BY RANGE (y) (PARTITION p0 VALUES LESS THAN (10),
  PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1, 5), (2, 50);
CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(100));
CREATE TABLE past (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING; INSERT INTO past VALUES (1, 1); UPDATE past SET x = 2;
CREATE SEQUENCE numbers START WITH 7; SELECT NEXTVAL(numbers);
DELIMITER ;;
CREATE TRIGGER `log it` AFTER INSERT ON mark FOR EACH ROW BEGIN
  -- a comment; with a semicolon
  INSERT INTO audit (what) VALUES (CONCAT('mark "', NEW.id, '"; '));
END;;
CREATE DEFINER=`clerk`@`%` FUNCTION `twi ce`(n INT) RETURNS INT DETERMINISTIC BEGIN RETURN n * 2; END;;
GRANT EXECUTE ON FUNCTION `twi ce` TO clerk@`%`;;
CREATE PROCEDURE `all`(IN a INT, OUT b VARCHAR(20)) BEGIN SELECT COUNT(*) INTO b FROM mark WHERE id > a; END;;
CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND DO INSERT INTO audit (what) VALUES ('tick');;
CREATE EVENT tock ON SCHEDULE EVERY 1 HOUR DISABLE COMMENT 'never' DO DELETE FROM audit;;
DELIMITER ;
ALTER DATABASE CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci;
CREATE VIEW a_view AS SELECT `na me` AS n, `twi ce`(`i``d` DIV 1000000) AS d FROM `pu``pil "ä' x`;
CREATE DEFINER=`clerk`@`%` VIEW clerks AS SELECT COUNT(*) AS n FROM mark;
GRANT SELECT ON mark TO clerk@`%`;
CREATE VIEW b_view AS SELECT * FROM a_view WHERE n <> 'far' UNION SELECT what, 1 FROM audit;
"""
NAME = "sc`hool é"
PUPIL = "pu`pil \"ä' x"


def quoted(name: str) -> str:
    """As an identifier."""
    return "`" + name.replace("`", "``") + "`"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """A server with a rich database, and a second whose views look into it."""
    with MariadbServer(tmp_path_factory.mktemp("mariadb")) as running:
        running.sql("CREATE USER clerk@`%` IDENTIFIED BY 'clerks-word'")
        running.sql(RICH)
        running.sql(f"GRANT EXECUTE ON PROCEDURE {quoted(NAME)}.`all` TO clerk@`%`")
        running.sql(
            "CREATE DATABASE second; USE second; CREATE TABLE s (id INT PRIMARY KEY, at DATETIME);"
            "INSERT INTO s VALUES (1, '2026-03-04 05:06:07'), (2, '2026-01-01');"
            f"CREATE VIEW across AS SELECT COUNT(*) AS n FROM {quoted(NAME)}.b_view"
        )
        yield running


@pytest.fixture
def live(tmp_path: Path) -> Iterator[MariadbServer]:
    """A server whose databases a test replaces."""
    with MariadbServer(tmp_path, "--event-scheduler=ON") as running:
        running.sql("CREATE USER clerk@`%` IDENTIFIED BY 'clerks-word'")
        running.sql(RICH)
        running.sql(f"GRANT EXECUTE ON PROCEDURE {quoted(NAME)}.`all` TO clerk@`%`")
        yield running


@pytest.fixture
def annexes() -> Iterator[Callable[[str], Path]]:
    """Makes directories with short paths, and removes them."""
    with tempfile.TemporaryDirectory(prefix="dr-a-", dir="/tmp", ignore_cleanup_errors=True) as top:
        Path(top).chmod(0o755)
        yield lambda kind: Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=top))


class Taken:
    """What a capture stored."""

    def __init__(
        self, server: MariadbServer, work: Path, questions: tuple[tuple[str | None, str], ...] = (), **declared: Any
    ):
        self.declared = MysqlSource.model_validate(server.declared(**declared))
        self.doors = Mysql("db", self.declared, host=ThisHost(), questions=questions)
        work.mkdir(parents=True)
        stream = self.doors.capture(work, None)
        self.filename, self.apart = stream.filename, work  # type: ignore[union-attr]
        self.data = b"".join(stream.chunks())  # type: ignore[union-attr]
        stream.close()  # type: ignore[union-attr]
        found = facts.read(work / facts.FILENAME)
        assert found
        self.facts: Facts = found

    def instance(self, annexes: Callable[[str], Path], **room: Any) -> Instance:
        """What a restore makes of it."""
        return self.doors.instance(
            Room(root=self.apart / "root", apart=self.apart, annex=annexes, token=room.pop("token", "d-1a2b3c"), **room)
        )

    def pour(self, instance: Instance) -> None:
        """Pour it, in blocks of any size."""
        instance.pour(self.filename, (self.data[at : at + 100_001] for at in range(0, len(self.data), 100_001)))


def restored(taken: Taken, annexes: Callable[[str], Path]) -> Instance:
    """Bring it back in a scratch server."""
    instance = taken.instance(annexes)
    instance.provision()
    taken.pour(instance)
    return instance


def differences(one: Facts, other: Facts | None) -> list[str]:
    """In which facts two differ, but for what the server itself is."""
    assert other is not None
    found = []
    for part in ("databases", "rows", "objects", "answers", "needs"):
        a, b = getattr(one, part), getattr(other, part)
        if isinstance(a, dict):
            found += [f"{part}: {key}" for key in sorted({*a, *b}) if a.get(key, "-") != b.get(key, "-")]
        elif a != b:
            found += [f"{part}: {a} {b}"]
    return found


def servers_of(place: Path) -> list[str]:
    """The servers that run in a place."""
    done = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if str(place) in line]


def test_everything_comes_back_equal(server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]) -> None:
    questions = (
        ("second", "SELECT MAX(at) FROM s"),
        (NAME, f"SELECT HEX(photo) FROM {quoted(PUPIL)} ORDER BY 1 DESC"),
        (NAME, "SELECT GROUP_CONCAT(n, d ORDER BY n) FROM a_view"),
        (None, "SELECT NULL"),
    )
    taken = Taken(server, tmp_path / "w", questions, databases=(NAME, "second"))
    instance = restored(taken, annexes)
    try:
        instance.start()
        assert instance.captured() == taken.facts
        assert differences(taken.facts, instance.facts()) == []
        assert len(taken.facts.answers) == 4 and taken.facts.rows[f"{NAME}.{PUPIL}"] == 4
        assert instance.probe("SELECT n FROM across", "second") == "3"
        assert instance.probe(f"SELECT HEX(photo) FROM {quoted(PUPIL)} WHERE `na me` LIKE 'Zo%'", NAME) == BYTES.upper()
        assert instance.probe(f"SELECT word FROM {quoted(PUPIL)} WHERE `na me` LIKE 'Zo%'") == "日本語"
        assert instance.probe("SELECT `twi ce`(21)") == "42"
        assert instance.probe("SELECT NULL") is None
        assert instance.probe("SELECT 1 FROM mark WHERE id = 99") is None
        sums = [(f"CHECKSUM TABLE {quoted(name)}") for name in (PUPIL, "mark", "zero", "parts")]
        for query in sums:
            there = server.sql(f"USE {quoted(NAME)}; {query}")[0][1]
            socket = instance.connection()["MYSQL_UNIX_PORT"]
            done = subprocess.run(
                ["mariadb", "--no-defaults", "-uroot", f"--socket={socket}", "-N", "-e", query, NAME],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert done.stdout.split("\t")[1].strip() == there
    finally:
        instance.close()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("DELETE FROM second.s WHERE id = 2", ["rows: second.s", "answers: \nSELECT COUNT(*) FROM s"]),
        ("DROP VIEW second.across", ["columns of second.across", "view second.across"]),
        ("ALTER TABLE second.s DROP INDEX k", ["index second.s.k"]),
        ("ALTER TABLE second.s MODIFY at DATE", ["columns of second.s"]),
        ("DROP TRIGGER second.tr", ["trigger second.s.tr"]),
        ("ALTER EVENT second.e DISABLE", ["event second.e"]),
        ("DROP PROCEDURE second.p", ["procedure second.p"]),
        ("ALTER DATABASE second COLLATE utf8mb4_bin", ["database second"]),
    ],
)  # fmt: skip
def test_what_is_lost_after_the_restore_is_found(lossy: tuple[Taken, Instance], change: str, found: list[str]) -> None:
    taken, instance = lossy
    socket = instance.connection()["MYSQL_UNIX_PORT"]
    subprocess.run(["mariadb", "--no-defaults", "-uroot", f"--socket={socket}", "-e", change], check=True)
    seen = differences(taken.facts, instance.facts())
    assert all(any(name in each for each in seen) for name in found), seen


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Taken, Instance]]:
    """A restored database, to be spoilt bit by bit."""
    work = tmp_path_factory.mktemp("lossy")
    with MariadbServer(work) as running, tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as top:
        Path(top).chmod(0o755)
        running.sql(
            "CREATE DATABASE second; USE second; CREATE TABLE s (id INT PRIMARY KEY, at DATETIME, KEY k (at));"
            "INSERT INTO s VALUES (1, '2026-03-04'), (2, '2026-01-01'); CREATE VIEW across AS SELECT * FROM s;"
            "CREATE TRIGGER tr BEFORE INSERT ON s FOR EACH ROW SET NEW.at = NOW();"
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM s; CREATE PROCEDURE p() SELECT 1;"
        )
        taken = Taken(running, work / "w", ((None, "SELECT COUNT(*) FROM s"),), database="second")
        instance = restored(taken, lambda kind: Path(tempfile.mkdtemp(prefix=kind, dir=top)))
        assert differences(taken.facts, instance.facts()) == []
        yield taken, instance
        instance.close()


def test_accounts_come_with_their_rights_and_words(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    taken = Taken(server, tmp_path / "w", all=True)
    with caplog.at_level(logging.WARNING):
        instance = restored(taken, annexes)
    try:
        instance.start()
        socket = instance.connection()["MYSQL_UNIX_PORT"]
        done = subprocess.run(
            ["mariadb", "--no-defaults", "-uclerk", f"--socket={socket}", "-N", "-e", "SELECT COUNT(*) FROM mark; CALL `all`(0, @b)", NAME],
            env={**os.environ, "MYSQL_PWD": "clerks-word"}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == "3" and "not restored whole" not in caplog.text
    finally:
        instance.close()


def test_a_definer_that_is_missing_is_named_but_the_rest_is_there(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(server, tmp_path / "w", database=NAME)
    (taken.apart / "globals.sql").unlink()
    instance = restored(taken, annexes)
    try:
        with pytest.raises(SourceError, match="account 'clerk'@'%'"):
            instance.start()
        assert instance.probe("SELECT COUNT(*) FROM mark") == "3"
    finally:
        instance.close()


def test_a_database_or_engine_that_is_missing_is_named(
    lossy: tuple[Taken, Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, instance = lossy
    more = replace(
        taken.facts, databases=("second", "third"), needs=(*taken.facts.needs, "engine Rocks", "collation no_ci")
    )
    monkeypatch.setattr(instance, "captured", lambda: more)
    with pytest.raises(SourceError, match=r"lacks .*database third, engine Rocks, collation no_ci"):
        instance.start()


def test_the_newest_record_is_read_as_utc(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    instance = restored(
        Taken(server, tmp_path / "w", databases=("second", NAME), newest="SELECT MAX(at) FROM s"), annexes
    )
    try:
        assert instance.newest() == datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    finally:
        instance.close()


@pytest.mark.parametrize("query", ["DELETE FROM s", "DROP TABLE s", "CREATE TABLE x (i INT)"])
def test_a_query_cannot_write(lossy: tuple[Taken, Instance], query: str) -> None:
    with pytest.raises(SourceError, match=r"the query failed .*\[\d{4}\]"):
        lossy[1].probe(query)


def test_a_query_that_fails_says_what_the_server_says(lossy: tuple[Taken, Instance]) -> None:
    with pytest.raises(SourceError, match=r"Table 'second\.nowhere' doesn't exist"):
        lossy[1].probe("SELECT * FROM nowhere")
    with pytest.raises(SourceError, match="was not restored"):
        lossy[1].probe("SELECT 1", "elsewhere")


def test_programs_reach_the_scratch_server_by_its_environment(lossy: tuple[Taken, Instance]) -> None:
    connection = lossy[1].connection()
    env = {"PATH": os.environ["PATH"], **{key: value for key, value in connection.items() if key.startswith("MYSQL")}}
    argv = [
        "mariadb",
        "--no-defaults",
        f"--user={connection['USER']}",
        "-N",
        "-e",
        "SELECT COUNT(*) > 0 FROM s",
        "second",
    ]
    assert subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip() == "1"
    assert connection["DATABASE_URL"].startswith("mysql://root@localhost/second?unix_socket=/")


def test_nothing_is_left_after_close(lossy: tuple[Taken, Instance], annexes: Callable[[str], Path]) -> None:
    instance = restored(lossy[0], annexes)
    socket = Path(instance.connection()["MYSQL_UNIX_PORT"])
    assert servers_of(socket.parent)
    instance.close()
    instance.close()
    assert not servers_of(socket.parent) and not socket.exists()
    with pytest.raises(SourceError, match="does not run"):
        instance.probe("SELECT 1")


def test_a_server_that_was_never_made_may_be_closed(
    lossy: tuple[Taken, Instance], annexes: Callable[[str], Path]
) -> None:
    lossy[0].instance(annexes).close()


@pytest.mark.parametrize("broken", ["CREATE TABLE broken (", "INSERT INTO nowhere VALUES ('private');"])
def test_a_stream_that_the_server_refuses_is_an_error(
    lossy: tuple[Taken, Instance], annexes: Callable[[str], Path], broken: str
) -> None:
    instance = lossy[0].instance(annexes)
    instance.provision()
    try:
        with pytest.raises(SourceError, match=r"database second could not be restored .*\[1\d{3}\]"):
            instance.pour("second.sql", iter([broken.encode(), b"\n;", b"SELECT 1;\n" * 500_000]))
    finally:
        instance.close()


@pytest.mark.long
@pytest.mark.slow
def test_a_thousand_tables_come_back(server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]) -> None:
    server.sql("CREATE DATABASE wide; USE wide;" + "".join(
        f"CREATE TABLE t{n} (id INT PRIMARY KEY, a VARCHAR(20), KEY (a)); INSERT INTO t{n} VALUES (1, 'x'), ({n + 2}, 'y');"
        for n in range(1000)
    ))  # fmt: skip
    taken = Taken(server, tmp_path / "w", database="wide")
    server.sql("DROP DATABASE wide")
    instance = restored(taken, annexes)
    try:
        assert len(taken.facts.rows) == 1000 and set(taken.facts.rows.values()) == {2}
        assert differences(taken.facts, instance.facts()) == []
    finally:
        instance.close()


# -- the real thing ------------------------------------------------------------------------------------


def snapshot(server: MariadbServer, work: Path, name: str = NAME) -> Facts:
    """What a live database holds."""
    return Taken(server, work, database=name).facts


def begun(taken: Taken, annexes: Callable[[str], Path], **room: Any) -> Instance:
    """Bring it back beside the live database."""
    instance = taken.instance(annexes, real=True, **{"replace": frozenset({NAME}), **room})
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
    time.sleep(2.2)
    assert int(live.sql(f"SELECT COUNT(*) FROM {quoted(NAME)}.audit")[0][0]) > int(str(before))
    instance.close()
    assert names(live) == {NAME}


def test_a_recovery_refuses_what_it_was_not_told_to_replace(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(server, tmp_path / "w", database="second")
    there = names(server)
    with pytest.raises(UsageError, match="database second exists"):
        taken.instance(annexes, real=True).preflight()
    with pytest.raises(UsageError, match="exists"):
        taken.pour(taken.instance(annexes, real=True))
    taken.instance(annexes, real=True, replace=frozenset({"second"})).preflight()
    assert names(server) == there


def test_a_recovery_refuses_without_server_or_rights(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    taken = Taken(server, tmp_path / "w", database="second")
    server.account("weak", "pw", "SELECT ON *.*", "CREATE ON *.*")
    (tmp_path / "secret").write_text("pw")
    room = Room(root=tmp_path, apart=taken.apart, annex=annexes, token="x", real=True, replace=frozenset({"second"}))
    for more, words in (
        ({"user": "weak", "password": {"file": str(tmp_path / "secret")}}, "lacks rights .*DROP.*TRIGGER"),
        ({"socket": "/nowhere/s"}, "cannot be reached"),
        ({"user": "nobody"}, "Access denied"),
    ):
        declared = MysqlSource.model_validate(server.declared(database="second", **more))
        with pytest.raises(UsageError, match=words):
            Mysql("db", declared, host=ThisHost()).instance(room).preflight()
    server.sql("DROP USER weak@localhost")


def test_a_recovery_refuses_when_another_database_points_into_it(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    live.sql(
        f"CREATE DATABASE tied; CREATE TABLE tied.t (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES {quoted(NAME)}.mark (id))"
    )
    taken = Taken(live, tmp_path / "w", database=NAME)
    with pytest.raises(UsageError, match=r"foreign keys of tied\.t"):
        taken.instance(annexes, real=True, replace=frozenset({NAME})).preflight()


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
    instance = taken.instance(annexes, real=True, replace=frozenset({NAME}))
    with pytest.raises(SourceError, match="could not be restored"):
        taken.pour(instance)
    instance.close()
    assert names(live) == {NAME}
    assert [d for d in differences(old, snapshot(live, tmp_path / "now")) if "audit" not in d] == []


@pytest.mark.parametrize("step", ["_move", "_make", "_drop_code", "_like", "stop", "a program holds a table"])
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
    with pytest.raises(SourceError, match="the live databases stay as they were"):
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
        f"CREATE DATABASE second; CREATE TABLE second.s (id INT); INSERT INTO second.s VALUES (1), (2);"
        f"CREATE VIEW second.far AS SELECT COUNT(*) AS n FROM {quoted(NAME)}.mark"
    )
    taken = Taken(live, tmp_path / "w", databases=(NAME, "second"))
    live.sql("DELETE FROM second.s")
    instance = begun(taken, annexes, token="one", replace=frozenset({NAME, "second"}))
    made = swap.Swap._make_views

    def fails(self: swap.Swap, views: dict[str, bytes]) -> list[SourceError]:
        monkeypatch.setattr(swap.Swap, "_make_views", made)
        return [*made(self, views), SourceError("planted", hint="none")]

    monkeypatch.setattr(swap.Swap, "_make_views", fails)
    with pytest.raises(SourceError, match="planted"):
        instance.accept()
    assert live.sql("SELECT COUNT(*) FROM second.s") == [["0"]]

    instance.accept()
    instance.close()
    assert live.sql("SELECT COUNT(*) FROM second.s") == [["2"]]
    assert live.sql("SELECT n FROM second.far") == [["3"]]


def test_existing_accounts_are_not_changed_by_a_recovery(
    live: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    live.sql("CREATE USER gone@localhost IDENTIFIED BY 'x'; GRANT SELECT ON *.* TO gone@localhost")
    taken = Taken(live, tmp_path / "w", all=True)
    live.sql("DROP USER gone@localhost; SET PASSWORD FOR clerk@`%` = PASSWORD('a newer word')")
    before = live.sql("SHOW CREATE USER clerk@`%`")
    instance = begun(taken, annexes)
    instance.close()
    assert live.sql("SHOW CREATE USER clerk@`%`") == before
    assert "GRANT SELECT ON *.*" in live.sql("SHOW GRANTS FOR gone@localhost")[0][0]


def test_the_part_that_makes_events_is_put_to_sleep_and_aside() -> None:
    part = (b"\n-- Dumping events for database 'a'\n--\n/*!50106 CREATE*/ /*!50117 DEFINER=`x`@`y`*/ /*!50106 EVENT `e``1` ON "
            b"SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO select 'ON COMPLETION "
            b"PRESERVE ENABLE' */ ;;\n\n--\n-- Dumping routines for database 'a'\n--\nrest")  # fmt: skip
    aside: list[bytes] = []
    whole = b"".join(events_apart([b"tables" + part], "a", aside))
    assert whole.count(b"DISABLE") == 1 and whole.replace(b"DISABLE", b"ENABLE") == b"tables" + part
    assert awake(aside[0]) == {"e`1"} and awake(asleep(aside[0])) == set()
