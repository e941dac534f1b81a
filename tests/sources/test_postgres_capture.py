"""PostgreSQL databases while they are written to, lost, refused; each against a real server."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from dr.errors import REFUSED, SourceError
from dr.plan.source_kinds import PostgresSource
from dr.sources import database_inventory as facts
from dr.sources.database_inventory import DatabaseInventory, key_of
from dr.sources.driver import Stream
from dr.sources.postgres import capture, connection
from dr.sources.postgres.driver import Postgres
from dr.sources.postgres.names import database_of, dumps_in, file_of, with_suffix
from dr.sources.postgres.rights import Sight
from dr.tools.command import Running
from dr.tools.host import ThisHost
from dr.tools.ssh import SshHost
from scripts.servers.postgres import PostgresServer, program
from scripts.servers.sshd import Sshd
from tests.databases import locked_table
from tests.far import login
from tests.waiting import soon

_PASSWORD = "throw-away"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(tcp=True) as running:
        running.psql("create role reader login password 'read-only'")
        yield running


@pytest.fixture
def school(server: PostgresServer) -> Iterator[str]:
    """A database with a few rows."""
    server.psql("create database school")
    server.psql(
        "create table pupils as select g as id, repeat('x', 100) as name from generate_series(1, 500) g", "school"
    )
    server.psql("grant select on pupils to reader", "school")
    yield "school"
    server.psql("drop database school with (force)")


Declare = Callable[..., Stream]


def opened(server: PostgresServer, work: Path, *questions: tuple[str | None, str], **declared: object) -> Stream:
    whole = {"host": str(server.socket), "port": server.port, "user": "postgres", **declared}
    doors = Postgres("db", PostgresSource.model_validate(whole), host=ThisHost(), questions=questions)
    return doors.capture(work, None)


def taken(stream: Stream, work: Path) -> tuple[bytes, DatabaseInventory]:
    """Take a stream to its end, as the engine does."""
    try:
        data = b"".join(stream.chunks())
    finally:
        stream.close()
    found = facts.read(work / facts.FILENAME)
    assert found is not None
    return data, found


def sessions(server: PostgresServer) -> int:
    """How many sessions of ours the server has, after time to end."""

    def count() -> int:
        return int(server.psql("select count(*) from pg_stat_activity where application_name = 'dr'"))

    soon(lambda: not count())
    return count()


def programs(folder: Path, pg_dump: str) -> str:
    """A directory of PostgreSQL's programs in which pg_dump is a script."""
    folder.mkdir()
    for name in ("psql", "pg_dumpall"):
        (folder / name).symlink_to(program(name))
    script = folder / "pg_dump"
    script.write_text(f"#!/bin/sh\nREAL={program('pg_dump')}\n{pg_dump}\n")
    script.chmod(0o755)
    return str(folder)


def test_a_database_that_is_dropped_while_all_are_captured_is_left_out_by_another_try(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    server.psql("create database zoo")
    stream = opened(server, tmp_path, all=True)
    server.psql("drop database zoo")
    with pytest.raises(SourceError, match="zoo was dropped while the source was captured") as caught:
        taken(stream, tmp_path)
    assert caught.value.retryable and "plan" not in caught.value.hint
    assert taken(opened(server, tmp_path, all=True), tmp_path)[1].databases == (school,)


def test_one_database_is_what_pg_dump_writes_and_pg_restore_reads(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    stream = opened(server, tmp_path, database=school)
    data, found = taken(stream, tmp_path)
    assert (stream.filename, stream.sidecars) == ("school.dump", ("dr-facts.json", "globals.sql"))
    listed = subprocess.run([program("pg_restore"), "-l"], input=data, capture_output=True, check=True).stdout
    assert b"TABLE DATA public pupils" in listed
    assert b"x" * 100 in data, "compressed data would not deduplicate"
    assert found.rows == {"school.public.pupils": 500}
    assert found.databases == ("school",)
    assert found.server.startswith("PostgreSQL 1")
    assert "table school.public.pupils" in found.objects


def test_several_databases_are_one_tar_of_dumps(server: PostgresServer, school: str, tmp_path: Path) -> None:
    server.psql('create database "Old/Archive"')
    try:
        stream = opened(server, tmp_path, databases=["school", "postgres"])
        data, found = taken(stream, tmp_path)
        names = {member.name for member in tarfile.TarFile(fileobj=io.BytesIO(data))}
        assert (stream.filename, names) == ("databases.tar", {"school.dump/00000001", "postgres.dump/00000001"})
        assert found.databases == ("school", "postgres")
        whole, _ = taken(opened(server, tmp_path, all=True), tmp_path)
        assert [name for name, blocks in dumps_in("databases.tar", iter([whole])) if b"".join(blocks)] == [
            "Old/Archive", "school",
        ]  # fmt: skip
    finally:
        server.psql('drop database "Old/Archive"')


def test_all_takes_the_database_postgres_only_when_somebody_keeps_something_there(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    assert taken(opened(server, tmp_path, all=True), tmp_path)[1].databases == ("school",)
    server.psql("create table notes (x int)")
    try:
        assert taken(opened(server, tmp_path, all=True), tmp_path)[1].databases == ("postgres", "school")
    finally:
        server.psql("drop table notes")


@pytest.mark.parametrize("name", ["sis", "a b", "q\"uo'te", "Ünï", "a/b\\c", ".x", "50%", "..", "a\nb"])
def test_a_name_of_a_database_is_a_file_name_and_back(name: str) -> None:
    assert database_of(file_of(name)) == name
    assert "/" not in file_of(name) and not file_of(name).startswith(".")


def test_a_name_beside_another_fits_an_identifier() -> None:
    name = with_suffix("ü" * 31, "before", "20261124T010000Z-aaaaaa")
    assert len(name.encode()) <= 63 and name.endswith("_before_20261124T010000Z-aaaaaa") and name.startswith("ü")


@contextmanager
def writer(server: PostgresServer, database: str) -> Iterator[None]:
    """Pairs of rows, one transaction each, without a pause."""
    pair = "insert into pupils values (0, 'new'), (0, 'new');\n"
    env = server.environment
    argv = [program("psql"), "-Xq", "-d", database]
    done = threading.Event()
    child = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, text=True)
    assert child.stdin is not None

    def write() -> None:
        while not done.is_set():
            child.stdin.write(pair)
            child.stdin.flush()
            time.sleep(0.001)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        child.communicate()


def test_the_rows_counted_are_those_of_the_dump_while_others_write(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    server.psql("insert into pupils select g, repeat('y', 1000) from generate_series(1, 5000) g", school)
    query = "select count(*) from pupils"

    def more_than(rows: int) -> bool:
        return soon(lambda: int(server.psql(query, school)) > rows)

    with writer(server, school):
        assert more_than(5500)
        stream = opened(server, tmp_path, (None, query), database=school)
        blocks = []
        for block in stream.chunks():
            blocks.append(block)
            if len(blocks) < 5:  # the dump waits for its reader while rows go on coming
                assert more_than(int(server.psql(query, school)))
        stream.close()
    found = facts.read(tmp_path / facts.FILENAME)
    assert found is not None
    counted, after = found.rows["school.public.pupils"], int(server.psql(query, school))
    server.psql("create database copy")
    try:
        argv = [program("pg_restore"), "-d", "copy"]
        subprocess.run(argv, input=b"".join(blocks), env=server.environment, check=True)
        restored = int(server.psql(query, "copy"))
    finally:
        server.psql("drop database copy")
    assert 5500 < counted < after, "nobody wrote: the test shows nothing"
    assert restored == counted and found.answers == {key_of(None, query): str(counted)}


def test_answers_are_kept_under_the_question_and_a_wrong_one_stops_nothing(
    server: PostgresServer, school: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = [(None, "select max(id), 1 from pupils"), ("school", "select null"), (None, "select nothing from nowhere"),
             ("elsewhere", "select 1"), (None, "select E'two\\nlines; -- \\x41'")]  # fmt: skip
    _, found = taken(opened(server, tmp_path, *asked, database=school), tmp_path)
    assert found.answers == {
        key_of(None, "select max(id), 1 from pupils"): "500",
        key_of("school", "select null"): None,
        key_of(None, asked[4][1]): "two\nlines; -- A",
    }
    assert 'relation "nowhere" does not exist' in caplog.text


def test_a_question_cannot_write(server: PostgresServer, school: str, tmp_path: Path) -> None:
    taken(opened(server, tmp_path, (None, "commit; delete from pupils"), database=school), tmp_path)
    assert server.psql("select count(*) from pupils", school) == "500"


def test_a_server_that_dies_amid_the_dump_is_an_error_that_may_be_retried(tmp_path: Path) -> None:
    with PostgresServer() as doomed:
        doomed.psql("create table t as select repeat('x', 1000) as x from generate_series(1, 30000) g")
        stream = opened(doomed, tmp_path, database="postgres")
        blocks = stream.chunks()
        assert next(blocks)
        doomed.kill()
        with pytest.raises(SourceError) as caught:
            list(blocks)
        stream.close()
    assert caught.value.retryable, caught.value
    assert not (tmp_path / facts.FILENAME).exists()


def test_a_counting_session_that_is_lost_fails_the_capture_although_the_dump_is_whole(
    server: PostgresServer, school: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, through = capture.inventory.take, tmp_path / "through"

    def lose(session: connection.Session, database: str, sight: Sight) -> object:
        assert soon(through.exists)
        session.kill()
        return real(session, database, sight)

    monkeypatch.setattr(capture.inventory, "take", lose)
    bin = programs(tmp_path / "bin", f'"$REAL" "$@" || exit; touch {through}')
    stream = opened(server, tmp_path, database=school, bin=bin)
    with pytest.raises(SourceError, match="could not be asked"):
        list(stream.chunks())
    stream.close()


SKEW = r"pg_dump: error: server version mismatch\npg_dump: detail: server version: 99.1; pg_dump version: 15.1\n"
FAILING = {
    "after half": (
        '"$REAL" "$@" | head -c 20000; echo "pg_dump: error: query failed: disk" >&2; exit 1',
        "failed.*disk",
    ),
    "after all": ('"$REAL" "$@"; exit 1', "exit code 1"),
    "by a signal": ('"$REAL" "$@" | head -c 20000; kill -9 $$', "signal 9"),
    "with nothing": ("exit 0", "is empty"),
    "as too old": (f"printf '{SKEW}' >&2; exit 1", "pg_dump 15 is older than the server, which is PostgreSQL 99"),
}


@pytest.mark.parametrize("how", FAILING)
def test_a_dump_that_fails_leaves_no_facts_and_is_an_error(
    server: PostgresServer, school: str, tmp_path: Path, how: str
) -> None:
    script, words = FAILING[how]
    stream = opened(server, tmp_path, database=school, bin=programs(tmp_path / "bin", script))
    with pytest.raises(SourceError, match=words) as caught:
        list(stream.chunks())
    stream.close()
    assert caught.value.hint
    assert not (tmp_path / facts.FILENAME).exists()
    assert sessions(server) == 0


def test_a_dump_that_hangs_is_ended_in_time_with_all_it_started(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    script = f'"$REAL" "$@" | head -c 1000; echo $$ > {tmp_path}/pid; sleep 1000'
    bin = programs(tmp_path / "bin", script)
    stream = opened(server, tmp_path, database=school, bin=bin, timeout=12)
    with pytest.raises(SourceError, match="did not end within"):
        list(stream.chunks())
    stream.close()
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    assert sessions(server) == 0


def test_a_table_that_is_locked_for_good_is_a_timeout(server: PostgresServer, school: str, tmp_path: Path) -> None:
    with locked_table(server, school, "pupils"), pytest.raises(SourceError, match="did not end within"):
        list(opened(server, tmp_path, database=school, timeout=12).chunks())


def test_a_capture_may_be_closed_at_any_time_and_twice(server: PostgresServer, school: str, tmp_path: Path) -> None:
    unread = opened(server, tmp_path, database=school)
    unread.close()
    server.psql("insert into pupils select g, repeat('y', 1000) from generate_series(1, 5000) g", school)
    begun = opened(server, tmp_path, database=school)
    assert next(begun.chunks())
    begun.close()
    begun.close()
    assert sessions(server) == 0


def test_a_missing_database_is_named_with_those_that_are_there(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match="schol") as caught:
        opened(server, tmp_path, database="schol")
    assert not caught.value.retryable
    with pytest.raises(SourceError, match=r"no database 'schol'.*there are: postgres, school"):
        opened(server, tmp_path, databases=[school, "schol"])


def test_a_server_that_does_not_answer_may_be_retried(server: PostgresServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        opened(server, tmp_path, database="x", host=str(tmp_path))
    assert caught.value.retryable and "whether the server runs" in caught.value.hint


def by_env(server: PostgresServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("THE_PASSWORD", _PASSWORD)
    return {"password": {"env": "THE_PASSWORD"}}


def by_passfile(server: PostgresServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    (home / "pass").write_text(f"127.0.0.1:*:*:postgres:{_PASSWORD}\n")
    (home / "pass").chmod(0o600)
    return {"passfile": home / "pass"}


def by_service(server: PostgresServer, home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    lines = [
        "[sis]",
        "host=127.0.0.1",
        f"port={server.port}",
        "user=postgres",
        f"password={_PASSWORD}",
        "dbname=nowhere",
    ]
    (home / "services").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("PGSERVICEFILE", str(home / "services"))
    return {"service": "sis", "host": None, "port": None, "user": None}


@pytest.mark.parametrize("way", [by_env, by_passfile, by_service])
def test_a_password_reaches_the_server_and_no_command_line(
    server: PostgresServer, school: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    way: Callable[[PostgresServer, Path, pytest.MonkeyPatch], Mapping[str, object]],
) -> None:  # fmt: skip
    seen: list[str] = []
    real = Running.__init__

    def watch(self: Running, argv: Sequence[str], **more: object) -> None:
        seen.extend(argv)
        real(self, argv, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Running, "__init__", watch)
    declared = {"database": school, "host": "127.0.0.1", **way(server, tmp_path, monkeypatch)}
    assert taken(opened(server, tmp_path, **declared), tmp_path)[1].rows
    assert len(seen) > 20 and not [each for each in seen if _PASSWORD in each]


def test_a_wrong_password_is_said_plainly_and_not_shown(
    server: PostgresServer, school: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_PASSWORD", "mistyped")
    with pytest.raises(SourceError, match="password authentication failed") as caught:
        opened(server, tmp_path, database=school, host="127.0.0.1", password={"env": "THE_PASSWORD"})
    assert not caught.value.retryable and "mistyped" not in repr(caught.value)
    assert caught.value.exit_code == REFUSED and caught.value.hint.startswith("correct the password")
    with pytest.raises(SourceError, match="no password supplied"):  # and nobody is asked for it
        opened(server, tmp_path, database=school, host="127.0.0.1")
    with pytest.raises(SourceError, match="THE_OTHER is not set"):
        opened(server, tmp_path, database=school, password={"env": "THE_OTHER"})
    with pytest.raises(SourceError, match=r"password file .* is not there"):
        opened(server, tmp_path, database=school, passfile=tmp_path / "none")


def test_accounts_are_kept_for_our_eyes_with_passwords_only_where_they_may_be_read(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    accounts = tmp_path / "globals.sql"
    taken(opened(server, tmp_path, database=school), tmp_path)
    assert "CREATE ROLE reader" in accounts.read_text() and "SCRAM-SHA-256" in accounts.read_text()
    assert stat.S_IMODE(accounts.stat().st_mode) == 0o600
    taken(opened(server, tmp_path, database=school, user="reader"), tmp_path)
    assert "CREATE ROLE reader" in accounts.read_text() and "SCRAM" not in accounts.read_text()


class Elsewhere(ThisHost):
    """Another host, as far as the source can tell: what it starts is noted."""

    name, here = "sis.district.example", False

    def __init__(self) -> None:
        self.started: list[str] = []

    def start(self, argv: Sequence[str], **more: object) -> Running:  # type: ignore[override]
        self.started.append(os.path.basename(argv[0]))
        return super().start(argv, **more)  # type: ignore[arg-type]


def test_every_program_is_started_on_the_host_of_the_server(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    host = Elsewhere()
    where = {"host": str(server.socket), "port": server.port, "user": "postgres", "passfile": "/only/there"}
    doors = Postgres("db", PostgresSource.model_validate({"database": school, **where}), host=host)
    assert taken(doors.capture(tmp_path, None), tmp_path)[1].rows
    assert set(host.started) == {"psql", "pg_dump", "pg_dumpall"}


def test_a_database_of_another_host_is_captured_over_ssh_even_one_program_at_a_time(
    server: PostgresServer, school: str, tmp_path: Path
) -> None:
    with Sshd(tmp_path / "sshd") as sshd:
        host = SshHost(login(sshd, at_once=1))
        where = {"host": str(server.socket), "port": server.port, "user": "postgres"}
        declared = PostgresSource.model_validate({"database": school, **where})
        doors = Postgres("db", declared, host=host, questions=[(None, "select count(*) from pupils")])
        data, found = taken(doors.capture(tmp_path, None), tmp_path)
        stream = doors.capture(tmp_path, None)
        server.psql("insert into pupils select g, repeat('y', 1000) from generate_series(1, 9000) g", school)
        blocks = stream.chunks()
        assert next(blocks)
        sshd.kill()
        with pytest.raises(SourceError) as caught:
            list(blocks)
        stream.close()
        host.close()
    assert found.rows == {"school.public.pupils": 500} and list(found.answers.values()) == ["500"]
    assert data.startswith(b"PGDMP") and (tmp_path / "globals.sql").is_file()
    assert caught.value.retryable, caught.value


@pytest.mark.slow
def test_a_thousand_tables_are_counted_in_a_few_statements(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.psql("create database wide")
    make = (
        "do $$ begin for i in 1..1000 loop execute format('create table t%s as select %s as x', i, i); end loop; end $$"
    )
    server.psql(make, "wide")
    asked: list[str] = []
    real = connection.Session.rows
    monkeypatch.setattr(connection.Session, "rows", lambda self, sql: asked.append(sql) or real(self, sql))
    _, found = taken(opened(server, tmp_path, database="wide"), tmp_path)
    server.psql("drop database wide")
    assert len(found.rows) == 1000 and set(found.rows.values()) == {1}
    assert len(asked) < 20
