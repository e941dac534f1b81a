"""MariaDB brought back in a scratch server."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dr.errors import SourceError
from dr.sources.driver import RestoredSource, RestoreSlot
from dr.sources.mysql import Mysql, scratch
from dr.tools.host import ThisHost
from scripts.servers.mariadb import MariadbServer
from tests.sources.rich import BYTES, NAME, PUPIL, Taken, differences, quoted


@pytest.fixture
def server(rich_mariadb: MariadbServer) -> MariadbServer:
    return rich_mariadb


def restored(taken: Taken, annexes: Callable[[str], Path]) -> RestoredSource:
    """Bring it back in a scratch server."""
    instance = taken.restored(annexes)
    instance.provision()
    taken.pour(instance)
    return instance


def servers_of(place: Path) -> list[str]:
    """The servers that run in a place; shells of other tests, which close sockets, may name its socket too."""
    done = subprocess.run(["ps", "-ww", "-eo", "args="], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if f"={place}/" in line]


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
        ("DELETE FROM `-second`.s WHERE id = 2", ["rows: -second.s", "answers: \nSELECT COUNT(*) FROM s"]),
        ("DROP VIEW `-second`.across", ["columns of -second.across", "view -second.across"]),
        ("ALTER TABLE `-second`.s DROP INDEX k", ["index -second.s.k"]),
        ("ALTER TABLE `-second`.s MODIFY at DATE", ["columns of -second.s"]),
        ("DROP TRIGGER `-second`.tr", ["trigger -second.s.tr"]),
        ("ALTER EVENT `-second`.e DISABLE", ["event -second.e"]),
        ("DROP PROCEDURE `-second`.p", ["procedure -second.p"]),
        ("ALTER DATABASE `-second` COLLATE utf8mb4_bin", ["database -second"]),
    ],
)  # fmt: skip
def test_what_is_lost_after_the_restore_is_found(
    lossy: tuple[Taken, RestoredSource], change: str, found: list[str]
) -> None:
    taken, instance = lossy
    socket = instance.connection()["MYSQL_UNIX_PORT"]
    subprocess.run(["mariadb", "--no-defaults", "-uroot", f"--socket={socket}", "-e", change], check=True)
    seen = differences(taken.facts, instance.facts())
    assert all(any(name in each for each in seen) for name in found), seen


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Taken, RestoredSource]]:
    """A restored database, to be spoilt bit by bit."""
    work = tmp_path_factory.mktemp("lossy")
    with MariadbServer(work) as running, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as top:
        Path(top).chmod(0o755)
        running.sql(
            "CREATE DATABASE `-second`; USE `-second`; CREATE TABLE s (id INT PRIMARY KEY, at DATETIME, KEY k (at));"
            "INSERT INTO s VALUES (1, '2026-03-04'), (2, '2026-01-01'); CREATE VIEW across AS SELECT * FROM s;"
            "CREATE TRIGGER tr BEFORE INSERT ON s FOR EACH ROW SET NEW.at = NOW();"
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM s; CREATE PROCEDURE p() SELECT 1;"
        )
        taken = Taken(running, work / "w", ((None, "SELECT COUNT(*) FROM s"),), database="-second")
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
    lossy: tuple[Taken, RestoredSource], monkeypatch: pytest.MonkeyPatch
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
def test_a_query_cannot_write(lossy: tuple[Taken, RestoredSource], query: str) -> None:
    with pytest.raises(SourceError, match=r"the query failed .*\[\d{4}\]"):
        lossy[1].probe(query)


def test_a_query_that_fails_says_what_the_server_says(lossy: tuple[Taken, RestoredSource]) -> None:
    with pytest.raises(SourceError, match=r"Table '-second\.nowhere' doesn't exist"):
        lossy[1].probe("SELECT * FROM nowhere")
    with pytest.raises(SourceError, match="was not restored"):
        lossy[1].probe("SELECT 1", "elsewhere")


def test_programs_reach_the_scratch_server_by_its_environment(lossy: tuple[Taken, RestoredSource]) -> None:
    connection = lossy[1].connection()
    env = {"PATH": os.environ["PATH"], **{key: value for key, value in connection.items() if key.startswith("MYSQL")}}
    argv = [
        "mariadb",
        "--no-defaults",
        f"--user={connection['USER']}",
        "-N",
        "-e",
        "SELECT COUNT(*) > 0 FROM s",
        "--",
        "-second",
    ]
    assert subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout.strip() == "1"
    assert connection["DATABASE_URL"].startswith("mysql://root@localhost/-second?unix_socket=/")


def test_nothing_is_left_after_close(lossy: tuple[Taken, RestoredSource], annexes: Callable[[str], Path]) -> None:
    instance = restored(lossy[0], annexes)
    socket = Path(instance.connection()["MYSQL_UNIX_PORT"])
    assert servers_of(socket.parent)
    instance.close()
    instance.close()
    assert not servers_of(socket.parent) and not socket.exists()
    with pytest.raises(SourceError, match="does not run"):
        instance.probe("SELECT 1")


def test_a_question_that_takes_too_long_while_the_server_starts_is_asked_again(
    lossy: tuple[Taken, RestoredSource], annexes: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tmp_path / "mariadb"
    client.write_text(f'#!/bin/sh\nmkdir {tmp_path}/asked 2>/dev/null && exec sleep 600\nexec mariadb "$@"\n')
    client.chmod(0o755)
    monkeypatch.setattr(scratch, "_ANSWER_SECONDS", 3.0)
    declared = lossy[0].declared.model_copy(update={"bin": str(tmp_path)})
    room = RestoreSlot(root=tmp_path, apart=lossy[0].apart, annex=annexes, token="d-1a2b3c")
    instance = Mysql("db", declared, host=ThisHost()).restored(room)
    try:
        instance.provision()
    finally:
        instance.close()
    assert (tmp_path / "asked").is_dir()


def test_a_server_that_was_never_made_may_be_closed(
    lossy: tuple[Taken, RestoredSource], annexes: Callable[[str], Path]
) -> None:
    lossy[0].restored(annexes).close()


@pytest.mark.parametrize("broken", ["CREATE TABLE broken (", "INSERT INTO nowhere VALUES ('private');"])
def test_a_stream_that_the_server_refuses_is_an_error(
    lossy: tuple[Taken, RestoredSource], annexes: Callable[[str], Path], broken: str
) -> None:
    instance = lossy[0].restored(annexes)
    instance.provision()
    try:
        with pytest.raises(SourceError, match=r"database second could not be restored .*\[1\d{3}\]"):
            instance.pour("second.sql", iter([broken.encode(), b"\n;", b"SELECT 1;\n" * 500_000]))
    finally:
        instance.close()


@pytest.mark.long
@pytest.mark.slow
def test_hundreds_of_tables_come_back(server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]) -> None:
    server.sql("CREATE DATABASE wide; USE wide;" + "".join(
        f"CREATE TABLE t{n} (id INT PRIMARY KEY, a VARCHAR(20), KEY (a)); INSERT INTO t{n} VALUES (1, 'x'), ({n + 2}, 'y');"
        for n in range(300)
    ))  # fmt: skip
    taken = Taken(server, tmp_path / "w", database="wide")
    server.sql("DROP DATABASE wide")
    instance = restored(taken, annexes)
    try:
        assert len(taken.facts.rows) == 300 and set(taken.facts.rows.values()) == {2}
        assert differences(taken.facts, instance.facts()) == []
    finally:
        instance.close()


def test_it_is_made_with_a_place_of_its_own_for_temporary_tables(
    server: MariadbServer, tmp_path: Path, annexes: Callable[[str], Path]
) -> None:
    """Any other server that starts takes away the temporary tables that it finds in a shared place."""
    programs, told = tmp_path / "bin", tmp_path / "told"
    programs.mkdir()
    maker = programs / "mariadb-install-db"
    maker.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{told}\nexit 1\n")
    maker.chmod(0o755)
    for place in (programs, tmp_path, *(p for p in tmp_path.parents if "pytest" in str(p))):
        place.chmod(0o777)  # the server's user is another
    taken = Taken(server, tmp_path / "w", databases=("second",))
    instance = Mysql("db", taken.declared.model_copy(update={"bin": str(programs)}), host=ThisHost()).restored(
        RestoreSlot(root=tmp_path / "root", apart=tmp_path / "w", annex=annexes, token="d-1")
    )
    with pytest.raises(SourceError, match="could not be made"):
        instance.provision()
    (home,) = [line.partition("=")[2] for line in told.read_text().splitlines() if line.startswith("--tmpdir=")]
    assert f"--datadir={home}/data" in told.read_text()


def test_encrypted_tables_come_back_on_a_server_with_keys_of_its_own(
    tmp_path: Path, annexes: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with tempfile.TemporaryDirectory() as place:
        keys = Path(place, "keys")
        keys.write_text(f"1;{'ab' * 32}\n")
        for each in (keys.parent, keys):
            each.chmod(0o755)  # the server's user is another
        options = ("--plugin-load-add=file_key_management", f"--file-key-management-filename={keys}")
        with MariadbServer(tmp_path, *options) as running:
            running.sql(
                "CREATE DATABASE vault; CREATE TABLE vault.t (id INT) ENCRYPTED=YES; INSERT INTO vault.t VALUES (1)"
            )
            with caplog.at_level(logging.WARNING):
                taken = Taken(running, tmp_path / "w", database="vault")
    assert "encrypted on the server" in caplog.text and "vault.t" in caplog.text
    instance = restored(taken, annexes)
    try:
        instance.start()
        assert instance.probe("SELECT COUNT(*) FROM t") == "1"
        assert [each for each in differences(taken.facts, instance.facts()) if "needs" not in each] == []
    finally:
        instance.close()
