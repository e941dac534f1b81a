"""Databases while they are written to, and what commands print."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dr.errors import SourceError
from dr.evidence import manifest
from dr.plan.source import Source
from dr.plan.source_kinds import CommandSource, SqliteSource
from dr.sources import sqlite
from dr.sources.driver import RestoredSource, RestoreSlot, SourceDriver, Stream, Tree, parse_timestamp
from dr.sources.kinds import open_source
from dr.sources.output import Output
from dr.sources.sqlite import Sqlite
from tests.sources.nobody import as_nobody
from tests.waiting import soon


def restored(doors: SourceDriver, root: Path) -> RestoredSource:
    """What a restore into `root` makes of a source."""
    return doors.restored(
        RestoreSlot(root=root, apart=root / ".apart", annex=lambda kind: root / kind, token="drill-1")
    )


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
    try:
        yield
    finally:
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
    restored(doors, work).start()
    assert int(str(restored(doors, work).probe("select count(*) from t"))) % 2 == 0
    (entry,) = manifest.read(work / "dr-manifest")
    assert entry.size == (work / path.name).stat().st_size
    assert not list(work.glob("*-wal"))


def grown(path: Path, journal: str, rows: int = 20_000) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"pragma journal_mode = {journal}")
        database.execute("create table t (x blob, n integer default 0)")
        database.executemany("insert into t (x) values (?)", [(b"q" * 1000,)] * rows)
        database.commit()


@contextmanager
def updater(path: Path) -> Iterator[list[int]]:
    """Another process that updates without a pause and without growth; yields how often it could, at the end."""
    script = (
        "import signal, sqlite3, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)\ni = 0\n"
        "try:\n  while True:\n    i += 1\n"
        "    c.execute('begin immediate')\n"
        "    c.execute('update t set n = n + 1 where rowid = 1')\n"
        "    c.execute('update t set n = n + 1 where rowid = 20000')\n"
        "    c.execute('commit')\n"
        "    if i == 4: print('go', flush=True)\n"
        "except KeyboardInterrupt:\n  print(i, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "go\n"
    counts: list[int] = []
    try:
        yield counts
    finally:
        child.send_signal(signal.SIGINT)
        counts += map(int, child.communicate()[0].split())


@pytest.mark.parametrize("small", [0, 1 << 30], ids=["tried without keeping writers", "writers kept at once"])
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_writer_that_never_pauses_cannot_keep_the_copy_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str, small: int
) -> None:
    path = tmp_path / "x.db"
    grown(path, journal)
    monkeypatch.setattr(sqlite, "_SMALL", small)
    monkeypatch.setattr(sqlite, "_PAGES", 200)  # so many steps that a writer always comes in between
    (tmp_path / "work").mkdir()
    doors = Sqlite("db", SqliteSource(path=str(path)))
    with updater(path) as counts:
        doors.capture(tmp_path / "work", None)
    assert counts and counts[0] > 3, "the writer was at work"
    restored(doors, tmp_path / "work").start()
    both = "select group_concat(distinct n) from t where rowid in (1, 20000)"
    assert "," not in str(restored(doors, tmp_path / "work").probe(both)), "one transaction, seen whole"


def test_copying_the_bare_file_would_have_torn_it(tmp_path: Path) -> None:
    """The negative control: what is in the write-ahead log is not in the file."""
    path = tmp_path / "x.db"
    grown(path, "wal", rows=10)
    with closing(sqlite3.connect(path)) as database:
        database.execute("insert into t (x) values ('in the log')")
        database.commit()
        shutil.copyfile(path, tmp_path / "bare.db")
        (tmp_path / "work").mkdir()
        doors = Sqlite("db", SqliteSource(path=str(path)))
        doors.capture(tmp_path / "work", None)
        assert restored(doors, tmp_path / "work").probe("select count(*) from t") == 11
    with closing(sqlite3.connect(tmp_path / "bare.db")) as bare:
        assert bare.execute("select count(*) from t").fetchone() == (10,)


@pytest.mark.parametrize("small", [0, 1 << 30])
def test_a_database_held_exclusively_is_an_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    grown(tmp_path / "x.db", "delete", rows=10)
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.3)
    monkeypatch.setattr(sqlite, "_SMALL", small)
    (tmp_path / "work").mkdir()
    doors = Sqlite("db", SqliteSource(path=str(tmp_path / "x.db")))
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as holder:
        holder.execute("begin exclusive")
        with pytest.raises(SourceError, match="database is locked") as caught:
            doors.capture(tmp_path / "work", None)
        assert "exclusively" in caught.value.hint
        holder.execute("rollback")
        doors.capture(tmp_path / "work", None)


def test_a_lock_taken_in_the_middle_of_the_copy_is_an_error_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.db"
    grown(path, "delete")
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.3)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        with closing(sqlite._read_only(path)) as source, closing(sqlite3.connect(tmp_path / "copy")) as target:
            holder.execute("begin exclusive")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                sqlite._pump(source, target, restarts=5)


def test_a_database_left_in_mid_transaction_by_a_crash_is_put_right_in_the_copy(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    grown(path, "delete", rows=5_000)
    crash = "import os, sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('pragma cache_size = 5')\n"
    crash += "c.execute('update t set n = 99')\nos._exit(0)"
    subprocess.run([sys.executable, "-c", crash, str(path)], check=True)
    journal = Path(f"{path}-journal")
    assert journal.stat().st_size > 0
    before = (path.read_bytes(), journal.read_bytes())
    work = tmp_path / "work"
    work.mkdir()
    doors = Sqlite("db", SqliteSource(path=str(path)))
    doors.capture(work, None)
    assert restored(doors, work).probe("select count(*) from t where n = 99") == 0, (
        "the half transaction is rolled back"
    )
    assert restored(doors, work).probe("select count(*) from t") == 5_000
    assert (path.read_bytes(), journal.read_bytes()) == before, "the original is as it was"
    assert sorted(p.name for p in work.iterdir()) == ["dr-manifest", "x.db"]
    shutil.copyfile(path, tmp_path / "bare.db")  # the negative control: without its journal it is half changed
    with closing(sqlite3.connect(tmp_path / "bare.db")) as bare:
        assert bare.execute("select count(*) from t where n = 99").fetchone() != (0,)


@pytest.mark.parametrize("logged", [False, True], ids=["ended well", "with a log left"])
def test_a_database_where_nothing_may_be_written_is_captured(tmp_path: Path, open_path: Path, logged: bool) -> None:
    folder, work = open_path / "disk", open_path / "work"
    folder.mkdir()
    grown(tmp_path / "made.db", "wal", rows=10)
    with closing(sqlite3.connect(tmp_path / "made.db")) as database:
        database.execute("insert into t (x) values (1)")
        database.commit()
        if not logged:
            database.execute("pragma wal_checkpoint(truncate)")
        for suffix in ("", "-wal") if logged else ("",):
            shutil.copyfile(f"{tmp_path}/made.db{suffix}", f"{folder}/x.db{suffix}")
    work.mkdir()
    work.chmod(0o777)
    with as_nobody():
        doors = Sqlite("db", SqliteSource(path=str(folder / "x.db")))
        folder.chmod(0o555) if os.geteuid() == folder.stat().st_uid else None
        doors.capture(work, None)
        assert restored(doors, work).probe("select count(*) from t") == 11
    assert not list(folder.glob("*-shm"))


def test_the_copy_keeps_owner_mode_and_date(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    grown(path, "wal", rows=3)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
    (tmp_path / "work").mkdir()
    Sqlite("db", SqliteSource(path=str(path))).capture(tmp_path / "work", None)
    copy, original = (tmp_path / "work" / "x.db").stat(), path.stat()
    assert (copy.st_mode, copy.st_uid, copy.st_gid) == (original.st_mode, original.st_uid, original.st_gid)
    assert abs(copy.st_mtime_ns - original.st_mtime_ns) < 1000
    left = [p.stat().st_uid for p in tmp_path.glob("x.db-*")]
    assert all(uid == original.st_uid for uid in left), "what SQLite lays beside it stays the database's owner's"


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
    restored(doors, tmp_path).start()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 4096)
    with pytest.raises(SourceError):
        restored(doors, tmp_path).start()


def test_a_probe_cannot_write(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as database:
        database.execute("create table t (x)")
    with pytest.raises(SourceError, match="readonly"):
        restored(Sqlite("db", SqliteSource(path=str(tmp_path / "x.db"))), tmp_path).probe("drop table t")


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


@pytest.mark.parametrize(
    "value",
    ["soon", "", None, True, b"2026", 5, 2461042.6, float("inf"), float("-inf"), float("nan"), -1e300, 10**40,
     "9" * 30, "0001-01-01T00:00:00+14:00", "2026-13-01"],
)  # fmt: skip
def test_what_is_no_timestamp_is_none(value: object) -> None:
    assert parse_timestamp(value) is None


def test_a_date_is_its_first_moment() -> None:
    assert parse_timestamp("2026-01-02") == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_command_that_prints_much_is_passed_on_piece_by_piece(tmp_path: Path) -> None:
    sizes = [len(block) for block in out(tmp_path, "head", "-c", "50000000", "/dev/zero").chunks()]
    assert sum(sizes) == 50_000_000
    assert max(sizes) <= 1 << 20


def test_what_a_failing_command_says_is_one_printable_line_of_a_few_words(tmp_path: Path) -> None:
    script = "printf 'first\\n\\033[31mred\\007 ' >&2; head -c 9000 /dev/zero | tr '\\0' x >&2; exit 1"
    with pytest.raises(SourceError) as caught:
        list(out(tmp_path, "sh", "-c", script).chunks())
    assert caught.value.cause.isprintable() and len(caught.value.cause) <= 300
    assert caught.value.cause.startswith("?[31mred?")


def test_a_command_is_no_shell_text(tmp_path: Path) -> None:
    assert b"".join(out(tmp_path, "echo", "$HOME; id").chunks()) == b"$HOME; id\n"


def test_a_command_may_be_closed_at_any_time_and_twice(tmp_path: Path) -> None:
    stream = out(tmp_path, "sh", "-c", "echo x; echo $$ > pid; exec sleep 100")
    assert next(iter(stream.chunks())) == b"x\n"
    pid = tmp_path / "pid"
    assert soon(lambda: pid.exists() and pid.read_text().endswith("\n"))
    stream.close()
    stream.close()
    assert not Path("/proc", pid.read_text().strip()).exists()


def test_each_kind_has_its_doors() -> None:
    declared = {
        "files": {"files": {"paths": ["/x"]}},
        "sqlite": {"sqlite": {"path": "/x"}},
        "command": {"command": {"run": ["x"], "filename": "x"}},
    }
    for kind, body in declared.items():
        doors = open_source("name", Source.model_validate(body))
        assert (doors.kind, doors.name) == (kind, "name")
