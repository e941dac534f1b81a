"""Databases while they are written to, and what commands print."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dr.errors import SourceError
from dr.evidence import manifest
from dr.plan.source import CommandSource, SqliteSource
from dr.sources.door import Stream, Tree, parse_timestamp
from dr.sources.output import Output
from dr.sources.sqlite import Sqlite


@contextmanager
def writer(path: Path) -> Iterator[None]:
    """Pairs of rows in one transaction each: a torn copy would show an odd number."""
    done = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            while not done.is_set():
                with database:
                    database.executemany("insert into t (x) values (?)", [(b"z" * 500,), (b"y" * 500,)])

    thread = threading.Thread(target=write)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_database_under_a_live_writer_is_copied_whole(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "a b?.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"pragma journal_mode = {journal}")
        database.execute("create table t (x blob)")
        database.executemany("insert into t values (?)", [(b"q" * 1000,)] * 20_000)
        database.commit()
    work = tmp_path / "work"
    work.mkdir()
    doors = Sqlite("db", SqliteSource(path=str(path), newest="select max(rowid) from t"))
    with writer(path):
        tree = doors.capture(work, None)
    assert isinstance(tree, Tree) and tree.paths == ("a b?.db",)
    doors.start(work)
    assert int(str(doors.probe(work, "select count(*) from t"))) % 2 == 0
    (entry,) = manifest.read(work / "dr-manifest")
    assert entry.size == (work / path.name).stat().st_size
    assert not list(work.glob("*-wal"))


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SourceError, match="file is not a database"):
        Sqlite("db", SqliteSource(path=str(tmp_path / "x.db"))).capture(tmp_path, None)
    with pytest.raises(SourceError, match="is not there"):
        Sqlite("db", SqliteSource(path=str(tmp_path / "none.db"))).capture(tmp_path, None)


def test_a_damaged_database_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table t (x)")
        database.executemany("insert into t values (?)", [("v" * 100,)] * 5000)
        database.commit()
    doors = Sqlite("db", SqliteSource(path=str(path)))
    doors.start(tmp_path)
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)
    with pytest.raises(SourceError):
        doors.start(tmp_path)


def test_a_probe_cannot_write(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        database.execute("create table t (x)")
    with pytest.raises(SourceError, match="readonly"):
        Sqlite("db", SqliteSource(path=str(tmp_path / "x.db"))).probe(tmp_path, "drop table t")


def out(tmp_path: Path, *argv: str, **more: object) -> Stream:
    return Output("dump", CommandSource.model_validate({"run": argv, "filename": "out", **more})).capture(
        tmp_path, None
    )


def test_what_a_command_prints_is_the_stream(tmp_path: Path) -> None:
    assert b"".join(out(tmp_path, "sh", "-c", "seq 1 3").chunks()) == b"1\n2\n3\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo half; echo why >&2; exit 3", "exit code 3.*why"), ("kill -9 $$", "signal 9"), ("true", "wrote nothing")],
)
def test_a_command_that_fails_is_an_error_even_after_its_last_byte(tmp_path: Path, script: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        list(out(tmp_path, "sh", "-c", script).chunks())


def test_a_command_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="did not end within"):
        list(out(tmp_path, "sh", "-c", "echo x; sleep 100 & sleep 100", timeout="1s").chunks())


def test_a_command_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not on this machine"):
        out(tmp_path, "no-such-program")


def test_a_command_does_not_see_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    monkeypatch.setenv("RESTIC_PASSWORD", "planted")
    assert b"planted" not in b"".join(out(tmp_path, "env").chunks())


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04:05",
        1767323045,
        "1767323045",
        1767323045000,
        "2026-01-02T04:04:05+01:00",
    ],
)
def test_timestamps_as_databases_give_them(value: object) -> None:
    assert parse_timestamp(value) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_what_is_no_timestamp_is_none() -> None:
    assert parse_timestamp("soon") is None
