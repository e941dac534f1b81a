"""MariaDB while it is dumped: what is in the dump, what is said of it, and what is no dump."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dr.errors import REFUSED, SourceError
from dr.plan.host import SshHost
from dr.plan.source_kinds import MysqlSource
from dr.sources import database_inventory as facts
from dr.sources import several
from dr.sources.database_inventory import DatabaseInventory
from dr.sources.hosts import open_host
from dr.sources.mysql import Mysql
from dr.sources.mysql import capture as capture_module
from dr.sources.mysql.capture import Capture
from dr.sources.mysql.split_dump import Text, cut, database_of, file_of, renamed
from dr.tools.host import Host, ThisHost
from scripts.servers.mariadb import MariadbServer
from scripts.servers.sshd import Sshd
from tests.waiting import soon

OTHERS = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"
OPEN: list[Capture] = []
MINIMAL = ("SELECT ON *.*", "SHOW VIEW ON *.*", "TRIGGER ON *.*", "EVENT ON *.*")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariadbServer]:
    """One server for the tests that leave it alive."""
    with MariadbServer(tmp_path_factory.mktemp("mariadb")) as running:
        running.sql(
            "CREATE DATABASE shop; USE shop; CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, x VARCHAR(300));"
            "INSERT INTO t (x) SELECT REPEAT(MD5(seq), 8) FROM seq_1_to_20000;"
            "CREATE TABLE empty (id INT); CREATE DATABASE other; CREATE TABLE other.o (id INT);"
            "INSERT INTO other.o VALUES (1), (2); CREATE VIEW other.far AS SELECT COUNT(*) AS n FROM shop.t"
        )
        yield running


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[MariadbServer]:
    """A server of a test's own, to be killed."""
    with MariadbServer(tmp_path) as running:
        running.sql(
            "CREATE DATABASE shop; USE shop; CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(300));"
            "INSERT INTO shop.t SELECT seq, REPEAT(MD5(seq), 8) FROM seq_1_to_40000"
        )
        yield running


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def begin(server: MariadbServer, work: Path, **more: Any) -> Capture:
    """Begin a capture."""
    questions, host = more.pop("questions", ()), more.pop("host", ThisHost())
    declared = MysqlSource.model_validate(server.declared(**more))
    work.mkdir(parents=True, exist_ok=True)
    stream = Mysql("db", declared, host=host, questions=questions).capture(work, None)
    assert isinstance(stream, Capture)
    OPEN.append(stream)
    return stream


def captured(server: MariadbServer, work: Path, **more: Any) -> tuple[bytes, DatabaseInventory]:
    """Capture to the end."""
    stream = begin(server, work, **more)
    try:
        data = b"".join(stream.chunks())
    finally:
        stream.close()
    found = facts.read(work / facts.FILENAME)
    assert found is not None
    return data, found


def children() -> list[str]:
    """The command lines of the programs that run below this process."""
    done = subprocess.run(
        ["ps", "-ww", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if "mariadb" in line and "mariadbd" not in line]


def script(folder: Path, name: str, text: str) -> None:
    """Put a program of that name in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def with_dump(folder: Path, text: str) -> str:
    """Return a folder with the real client, and a dump program that does as the text says."""
    script(folder, "mariadb", 'exec mariadb "$@"')
    script(folder, "mariadb-dump", text)
    return str(folder)


@contextmanager
def writer(server: MariadbServer, database: str = "shop") -> Iterator[list[float]]:
    """Insert and delete as fast as it goes, in one transaction; yields how long each took."""
    took: list[float] = []
    stop = threading.Event()
    process = subprocess.Popen(
        server.client("--batch", "--skip-column-names", "--unbuffered", f"--database={database}"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip

    def write() -> None:
        assert process.stdin and process.stdout
        while not stop.is_set():
            began = time.monotonic()
            process.stdin.write(b"INSERT INTO t (x) VALUES ('new'), ('newer'); SELECT 1;\n")
            process.stdin.flush()
            if not process.stdout.readline():
                return
            took.append(time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert soon(lambda: len(took) >= 20)
        yield took
    finally:
        stop.set()
        thread.join()
        assert process.stdin
        process.stdin.close()
        process.wait()


def goes_on(took: list[float]) -> bool:
    """Whether the writer is let in: whoever it is that looks, so many begun later are through."""
    before = len(took)
    return soon(lambda: len(took) > before + 2)


def test_one_database_is_one_file_that_the_client_takes(server: MariadbServer, tmp_path: Path) -> None:
    stream = begin(server, tmp_path, database="shop")
    data = b"".join(stream.chunks())
    stream.close()
    assert stream.filename == "shop.sql"
    server.sql("CREATE DATABASE copy")
    server.sql(data, "copy")
    assert server.sql("CHECKSUM TABLE shop.t, copy.t")[0][1] == server.sql("CHECKSUM TABLE shop.t, copy.t")[1][1]
    server.sql("DROP DATABASE copy")


def test_equal_data_gives_equal_bytes(server: MariadbServer, tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        data, _ = captured(server, tmp_path / str(number), databases=("shop", "other"))
        digests.add(hashlib.sha256(data).hexdigest())
        time.sleep(1.1)
    assert len(digests) == 1


def test_several_databases_are_a_tar_of_one_file_each_and_then_of_their_views(
    server: MariadbServer, tmp_path: Path
) -> None:
    data, found = captured(server, tmp_path, databases=("other", "shop"))
    names = [(name, b"".join(content)) for name, content in several.unpack([data])]
    assert [name for name, _ in names] == ["other.sql", "shop.sql", "other.views.sql", "shop.views.sql"]
    assert b"CREATE DATABASE" not in data and b"\nUSE " not in data
    assert b"VIEW `far` AS select" in names[2][1]
    assert found.databases == ("other", "shop")
    assert found.rows == {"other.o": 2, "shop.t": 20000, "shop.empty": 0}


def test_all_is_every_database_but_the_servers_own_with_its_accounts(server: MariadbServer, tmp_path: Path) -> None:
    server.account("clerk", "pass-of-clerk", "SELECT ON shop.*")
    stream = begin(server, tmp_path, all=True)
    names = [name for name, content in several.unpack(stream.chunks()) if [*content]]
    stream.close()
    assert [name for name in names if ".views" not in name] == ["other.sql", "shop.sql"]
    assert stream.filename == "databases.tar" and "globals.sql" in stream.sidecars
    text = (tmp_path / "globals.sql").read_text()
    assert "CREATE USER IF NOT EXISTS `clerk`@`localhost`" in text and "GRANT SELECT ON `shop`.*" in text
    assert (tmp_path / "globals.sql").stat().st_mode & 0o777 == 0o600
    server.sql("DROP USER clerk@localhost")


def test_an_account_without_rights_on_accounts_captures_the_data(server: MariadbServer, tmp_path: Path) -> None:
    server.account("reader", "pass-of-reader", "SELECT ON shop.*", "SHOW VIEW, TRIGGER, EVENT ON shop.*")
    (tmp_path / "secret").write_text("pass-of-reader\n")
    stream = begin(server, tmp_path, database="shop", user="reader", password={"file": str(tmp_path / "secret")})
    assert b"INSERT INTO `t`" in b"".join(stream.chunks())
    stream.close()
    assert stream.sidecars == (facts.FILENAME,)
    server.sql("DROP USER reader@localhost")


def test_facts_tell_objects_needs_and_answers(server: MariadbServer, tmp_path: Path) -> None:
    questions = [
        (None, "SELECT COUNT(*) FROM t"),
        ("other", "SELECT NULL"),
        ("other", "SELECT 'NULL';"),
        (None, "SELEC"),
    ]
    _, found = captured(server, tmp_path, databases=("shop", "other"), questions=questions)
    assert found.server.startswith("MariaDB 1")
    assert found.answers == {
        "\nSELECT COUNT(*) FROM t": "20000", "other\nSELECT NULL": None, "other\nSELECT 'NULL';": "NULL",
    }  # fmt: skip
    assert {"database shop", "table shop.t", "columns of shop.t", "index shop.t.PRIMARY", "view other.far"} <= {
        *found.objects
    }
    assert {"engine InnoDB", "account 'root'@'localhost'"} <= {*found.needs}


@pytest.mark.parametrize(
    "query", ["SELECT 1; DROP TABLE empty", "\\! touch PLACE", "system touch PLACE", "SELECT 'open"]
)
def test_a_question_is_one_statement_and_no_command_of_the_client(
    server: MariadbServer, tmp_path: Path, query: str
) -> None:
    query = query.replace("PLACE", str(tmp_path / "touched"))
    _, found = captured(server, tmp_path, database="shop", questions=[(None, query)])
    assert found.answers == {} and found.rows["shop.empty"] == 0
    assert not (tmp_path / "touched").exists()


def test_tables_that_no_snapshot_holds_are_named(
    server: MariadbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.sql("CREATE TABLE other.old (id INT) ENGINE=MyISAM; CREATE TABLE other.safe (id INT) ENGINE=Aria")
    with caplog.at_level(logging.WARNING):
        _, found = captured(server, tmp_path, database="other")
    server.sql("DROP TABLE other.old, other.safe")
    assert "other.old (MyISAM)" in caplog.text and "other.safe (Aria)" in caplog.text
    assert found.objects["not held still other.old"] == "MyISAM"
    assert "engine MyISAM" in found.needs


def test_old_versions_of_rows_are_captured(server: MariadbServer, tmp_path: Path) -> None:
    server.sql(
        "CREATE DATABASE past; CREATE TABLE past.t (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING;"
        "INSERT INTO past.t VALUES (1, 1); UPDATE past.t SET x = 2; UPDATE past.t SET x = 3"
    )
    data, found = captured(server, tmp_path, database="past")
    server.sql("DROP DATABASE past")
    assert found.rows == {"past.t": 3}
    assert data.count(b"\n(1,") + data.count(b"VALUES (1,") == 3


def test_facts_and_dump_are_one_snapshot_although_a_writer_is_at_work(alone: MariadbServer, tmp_path: Path) -> None:
    alone.sql("ALTER TABLE shop.t MODIFY id INT AUTO_INCREMENT")
    questions = [(None, "SELECT COUNT(*) FROM t")]
    for number in range(3):
        with writer(alone) as took:
            stream = begin(alone, tmp_path / str(number), database="shop", questions=questions)
            assert goes_on(took), "writers wait for the dump to begin, not for its end"
            data = b"".join(stream.chunks())
            stream.close()
        found = facts.read(tmp_path / str(number) / facts.FILENAME)
        assert found is not None
        alone.sql("DROP DATABASE IF EXISTS copy; CREATE DATABASE copy")
        alone.sql(data, "copy")
        dumped = alone.sql("SELECT COUNT(*) FROM copy.t")[0][0]
        assert (found.rows["shop.t"], found.answers["\nSELECT COUNT(*) FROM t"]) == (int(dumped), dumped)
        assert int(alone.sql("SELECT COUNT(*) FROM shop.t")[0][0]) > int(dumped)


@pytest.mark.parametrize("locked", [True, False])
def test_a_dump_that_is_slow_to_begin_is_waited_for_under_the_lock(
    alone: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locked: bool
) -> None:
    alone.sql("ALTER TABLE shop.t MODIFY id INT AUTO_INCREMENT")
    then = "sleep 0.5"
    if not locked:  # the negative control: who only says it has the lock is found out
        monkeypatch.setattr(Capture, "_lock", lambda self: True)
        then = shlex.join(alone.client("--execute=INSERT INTO shop.t (x) VALUES ('between')"))
    slow = with_dump(tmp_path / "bin", f'{then}; exec mariadb-dump "$@"')
    with writer(alone):
        data, found = captured(alone, tmp_path / "w", database="shop", bin=slow)
    alone.sql("CREATE DATABASE copy")
    alone.sql(data, "copy")
    dumped = int(alone.sql("SELECT COUNT(*) FROM copy.t")[0][0])
    assert (found.rows["shop.t"] == dumped) is locked


def test_without_the_right_to_lock_only_what_stays_equal_is_a_fact(alone: MariadbServer, tmp_path: Path) -> None:
    alone.sql(
        "ALTER TABLE shop.t MODIFY id INT AUTO_INCREMENT; CREATE TABLE shop.still (id INT);"
        "INSERT INTO shop.still VALUES (1)"
    )
    alone.account("reader", "pw", *MINIMAL)
    (tmp_path / "secret").write_text("pw")
    questions = [(None, "SELECT COUNT(*) FROM t"), (None, "SELECT COUNT(*) FROM still")]
    with writer(alone) as took:
        stream = begin(
            alone, tmp_path / "w", database="shop", user="reader", password={"file": str(tmp_path / "secret")},
            questions=questions,
        )  # fmt: skip
        assert goes_on(took)
        assert [*stream.chunks()]
    found = facts.read(tmp_path / "w" / facts.FILENAME)
    assert found is not None
    assert found.rows == {"shop.still": 1}
    assert found.answers == {"\nSELECT COUNT(*) FROM still": "1"}


def test_a_lock_that_is_not_got_at_once_is_done_without(
    alone: MariadbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_module, "_LOCK_WAIT", 2)
    holder = subprocess.Popen(alone.client("--unbuffered"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin and holder.stdout
    holder.stdin.write(b"LOCK TABLES shop.t WRITE; SELECT 1;\n")
    holder.stdin.flush()
    holder.stdout.readline()
    with caplog.at_level(logging.INFO):
        stream = begin(alone, tmp_path / "w", database="shop")
    assert "dumped without a lock" in caplog.text
    holder.stdin.close()
    holder.wait()
    assert [*stream.chunks()]
    found = facts.read(tmp_path / "w" / facts.FILENAME)
    assert found is not None and found.rows == {"shop.t": 40000}


def test_a_server_killed_in_mid_dump_is_an_error_that_may_pass(alone: MariadbServer, tmp_path: Path) -> None:
    stream = begin(alone, tmp_path / "w", database="shop")
    with pytest.raises(SourceError, match=r"failed|lost|cut short|cannot be reached") as caught:
        for number, _ in enumerate(stream.chunks()):
            if number == 2:
                alone.kill()
    stream.close()
    assert caught.value.retryable
    assert not (tmp_path / "w" / facts.FILENAME).exists() and children() == []


def dumping(server: MariadbServer) -> list[str]:
    """The connections that read a table for a dump."""
    return [row[0] for row in server.sql(f"{OTHERS} AND INFO LIKE '%SQL_NO_CACHE%'")]


def test_a_dump_whose_connection_is_killed_is_an_error(alone: MariadbServer, tmp_path: Path) -> None:
    stream = begin(alone, tmp_path / "w", database="shop")
    with pytest.raises(SourceError, match="dump failed with exit code"):
        for number, _ in enumerate(stream.chunks()):
            if number == 2:  # much of it is still to come
                assert soon(lambda: bool(dumping(alone)))
                alone.sql(f"KILL {dumping(alone)[0]}")
    stream.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('mariadb-dump "$@" | head -c 5000000', "cut short"),
        ('mariadb-dump "$@" | head -c 5000000; echo why >&2; exit 3', "exit code 3.*why"),
        ("kill -9 $$", "signal 9|did not come"),
        ("true", "cut short|did not come"),
        ('mariadb-dump "$@"; exit 2', "exit code 2"),
    ],
    ids=["truncated", "fails half way", "killed", "writes nothing", "fails after its last byte"],
)
def test_a_dump_that_is_not_whole_is_an_error(server: MariadbServer, tmp_path: Path, text: str, words: str) -> None:
    stream = begin(server, tmp_path / "w", database="shop", bin=with_dump(tmp_path / "bin", text))
    with pytest.raises(SourceError, match=words):
        list(stream.chunks())
    stream.close()
    assert not (tmp_path / "w" / facts.FILENAME).exists() and children() == []


def test_a_dump_that_hangs_is_ended_and_lets_writers_go_at_once(
    server: MariadbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_module, "_LOCK_KEPT", 1.0)
    stream = begin(server, tmp_path / "w", database="shop", timeout="12s", bin=with_dump(tmp_path / "bin", "sleep 100"))
    assert stream.lock_seconds >= 1
    server.sql("INSERT INTO other.o VALUES (3); DELETE FROM other.o WHERE id = 3")
    assert [line for line in children() if "mariadb-dump" in line], "writers are let in while it hangs"
    with pytest.raises(SourceError, match="did not end within 12 s"):
        list(stream.chunks())
    stream.close()
    assert children() == []


def test_a_capture_may_be_closed_at_any_time_and_twice(server: MariadbServer, tmp_path: Path) -> None:
    stream = begin(server, tmp_path / "w", database="shop")
    next(iter(stream.chunks()))
    stream.close()
    stream.close()
    begin(server, tmp_path / "x", database="shop").close()
    assert soon(lambda: server.connections() == 0) and children() == []


def test_a_database_that_is_not_there_is_said(server: MariadbServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="database absent is not on the server"):
        begin(server, tmp_path, databases=("shop", "absent"))


def test_a_server_that_is_not_there_is_said_and_may_come_back(server: MariadbServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        begin(server, tmp_path, database="shop", socket="/nowhere/s")
    assert caught.value.retryable and "socket" in caught.value.hint


def test_a_password_that_is_refused_is_said_and_never_shown(
    server: MariadbServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "secret").write_text("wrong-word")
    server.account("locked", "right-word", "SELECT ON *.*")
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceError, match="Access denied") as caught:
        begin(server, tmp_path, database="shop", user="locked", password={"file": str(tmp_path / "secret")})
    server.sql("DROP USER locked@localhost")
    assert caught.value.exit_code == REFUSED and not caught.value.retryable
    assert "wrong-word" not in caplog.text + str(caught.value)


def test_the_password_is_on_no_command_line(server: MariadbServer, tmp_path: Path) -> None:
    server.account("locked", "right-word", *MINIMAL, "RELOAD ON *.*")
    (tmp_path / "secret").write_text("right-word")
    stream = begin(server, tmp_path, database="shop", user="locked", password={"file": str(tmp_path / "secret")})
    seen = children()
    stream.close()
    server.sql("DROP USER locked@localhost")
    assert len(seen) == 2 and "right-word" not in "".join(seen)


def test_the_password_may_lie_in_an_option_file(server: MariadbServer, tmp_path: Path) -> None:
    server.account("locked", "right-word", *MINIMAL, "RELOAD ON *.*")
    (tmp_path / "options.cnf").write_text("[client]\nuser = locked\npassword = right-word\n")
    declared = {"user": None, "defaults_file": str(tmp_path / "options.cnf")}
    _, found = captured(server, tmp_path, database="shop", **declared)
    server.sql("DROP USER locked@localhost")
    assert found.rows["shop.t"] == 20000


def test_a_program_that_is_missing_is_said(server: MariadbServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"mariadb or mysql is not in .* on this host"):
        begin(server, tmp_path, database="shop", bin=str(tmp_path))


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Sshd]:
    """Another host."""
    with Sshd(tmp_path / "sshd") as running:
        yield running


def over(far: Sshd) -> Host:
    """How it is reached."""
    return open_host(SshHost(ssh=far.address, known_hosts=far.known_hosts, key=far.key))


def test_a_server_on_another_host_is_captured_all_the_same(server: MariadbServer, tmp_path: Path, far: Sshd) -> None:
    server.account("locked", "right-word", *MINIMAL, "RELOAD ON *.*")
    (tmp_path / "secret").write_text("right-word")
    more = {
        "user": "locked",
        "password": {"file": str(tmp_path / "secret")},
        "questions": [(None, "SELECT COUNT(*) FROM t")],
    }
    here, found_here = captured(server, tmp_path / "here", database="shop", **more)
    stream = begin(server, tmp_path / "there", host=over(far), database="shop", **more)
    there = b"".join(stream.chunks())
    stream.close()
    server.sql("DROP USER locked@localhost")
    assert there == here and facts.read(tmp_path / "there" / facts.FILENAME) == found_here
    assert 0 < stream.lock_seconds < 60


def test_a_host_that_is_lost_in_mid_dump_is_an_error_that_may_pass(
    server: MariadbServer, tmp_path: Path, far: Sshd
) -> None:
    server.sql(
        "CREATE DATABASE huge; CREATE TABLE huge.t (x LONGBLOB);"
        "INSERT INTO huge.t SELECT REPEAT('x', 1000000) FROM mysql.help_keyword LIMIT 60"
    )
    stream = begin(server, tmp_path / "w", host=over(far), database="huge")
    with pytest.raises(SourceError) as caught:
        for number, _ in enumerate(stream.chunks()):
            if number == 2:
                far.kill()
    stream.close()
    server.sql("DROP DATABASE huge")
    assert caught.value.retryable and not (tmp_path / "w" / facts.FILENAME).exists()


@pytest.mark.parametrize("name", ["shop", "a b", "a.b", "a%2Eb", "schüler", "`", "x'y\"z", "$", "a.views"])
def test_a_databases_file_has_a_safe_name_that_leads_back(name: str) -> None:
    for views in (False, True):
        file = file_of(name, views=views)
        assert "/" not in file and database_of(file) == name
    assert file_of(name) != file_of(name, views=True)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_mark_is_found_wherever_blocks_end(size: int) -> None:
    whole = b"first--MARK--second--MARKnot--MARK--third"
    text = Text((whole[at : at + size] for at in range(0, len(whole), size)), "db")
    assert [b"".join(text.until(b"--MARK--")) for _ in range(2)] == [b"first", b"second--MARKnot"]
    assert b"".join(text.rest()) == b"third"
    with pytest.raises(SourceError, match="did not come"):
        list(text.until(b"--MARK--"))


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_lines_that_name_the_database_follow_its_new_name(size: int) -> None:
    whole = b"x\nALTER DATABASE `a` CHARACTER SET utf8mb4 ;\ny ALTER DATABASE `a` CHARACTER SET\nALTER DATABASE `ab` "
    blocks = (whole[at : at + size] for at in range(0, len(whole), size))
    assert b"".join(renamed(blocks, "a", "a_b")) == whole.replace(b"\nALTER DATABASE `a`", b"\nALTER DATABASE `a_b`")


def test_a_dump_that_lacks_a_database_is_refused() -> None:
    with pytest.raises(SourceError, match="did not come"):
        list(cut([b"-- header\n", b"CREATE TABLE x;\n-- Dump completed\n"], ["a", "b"], "db"))
