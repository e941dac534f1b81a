"""Drills held on another host: restored there, served there, checked there, and nothing left there."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dr.run.recovery.place.remote_dirs import FarPlaces
from scripts.servers.mariadb import MariadbServer
from scripts.servers.owned import own_folder
from scripts.servers.postgres import PostgresServer
from tests.conftest import Site, plan_text
from tests.e2e.test_services import APP, district, library, mysql_source, outcomes, postgres_source
from tests.far import Far
from tests.waiting import LIMIT, soon

__all__ = ["district", "library"]
SECRET = "a-passphrase-that-stays-here"


class FarAway(Far):
    """Another host whose sessions keep temporary files in a place of their own, `temporary`, and bear a mark."""

    def __init__(self, place: Path, temporary: Path) -> None:
        super().__init__(place)
        self.temporary = temporary
        path = self.env["PATH"].replace(":/usr/bin", ":/usr/sbin:/usr/bin")
        self.env |= {"PATH": path, "THERE": "yes", "TMPDIR": str(temporary)}

    def left(self) -> list[Path]:
        """What drills have there now."""
        return list(self.temporary.iterdir())


@pytest.fixture
def short() -> Iterator[Path]:
    """A place with a short path, into which anybody may look."""
    place = own_folder("f-")
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def far(tmp_path: Path, short: Path) -> Iterator[FarAway]:
    with FarAway(tmp_path / "host", short) as server:
        yield server
    assert server.left() == [], "nothing is left there"


@pytest.fixture
def disk(site: Site) -> Site:
    site.target("disk", f"target: disk\nlocal: {{path: {site.root}/disk}}\n")
    (site.root / "passphrase").write_text(SECRET)
    (site.root / "passphrase").chmod(0o600)
    return site


def held_there(far: FarAway, *checks: str, more: str = "") -> str:
    listed = "".join(f"    - {check}\n" for check in checks)
    host = far.plan_host().replace(", mode: agent", "")
    return f"secrets: {{passphrase: {{file: ../passphrase}}}}\ndrill:\n  {host}{more}  checks:\n{listed}"


def files_and_more(disk: Site) -> tuple[str, ...]:
    """Sources that need no server: odd names, links, rights; a database file; a command's output."""
    tree = disk.root / "uploads"
    (tree / "deep" / "empty").mkdir(parents=True)
    for number in range(20):
        (tree / "deep" / f"photo {number} ü.jpg").write_bytes(random.Random(number).randbytes(5_000 + number))
    (tree / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"odd")
    (tree / "new\nline").write_text("first\nsecond line\n")
    (tree / "link").symlink_to("deep")
    (tree / "closed").mkdir(mode=0o500)
    os.mkfifo(tree / "pipe")
    (tree / "deep" / "photo 1 ü.jpg").chmod(0o4711)
    with closing(sqlite3.connect(disk.root / "small.db")) as database, database:
        database.execute("create table t (answer int, said text, seen text)")
        database.execute("insert into t values (42, 'it''s so', '2026-11-01T00:00:00Z')")
    return (
        f"uploads: {{files: {{paths: ['{tree}']}}}}",
        f"small: {{sqlite: {{path: '{disk.root}/small.db', newest: 'select max(seen) from t'}}}}",
        f"export: {{command: {{run: [{sys.executable}, -c, 'print(chr(65) * 70000)'], filename: export.txt}}}}",
    )


def smoke(disk: Site, text: str) -> None:
    """A program beside the plan."""
    path = disk.root / "config" / "plans" / "smoke"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


PLAIN = (
    "manifest",
    "sql: {source: small, query: 'select answer from t', expect: 42}",
    'sql: {source: small, query: "select said from t", expect: "it\'s so"}',
    "file: {source: uploads, path: 'deep/*.jpg', expect: 20, size: '>= 5000'}",
    "file: {source: uploads, path: 'new*', contains: '^second line$'}",
    "file: {source: export, path: export.txt, contains: 'A{70000}'}",
)


def test_files_a_database_file_and_an_export_are_restored_and_checked_there(disk: Site, far: FarAway) -> None:
    smoke(disk, 'env | sort; test "$THERE" = yes && test -d "$DR_SOURCE_UPLOADS" && test "$PWD" = "$DR_SANDBOX"')
    checks = (
        *PLAIN,
        f"command: {{run: [./smoke], expect: {{exit: 0, stdout: 'matches DR_SANDBOX={far.temporary}/dr-drill-'}}}}",
    )
    disk.plan("sis", plan_text("sis", *files_and_more(disk), targets="[disk]", more=held_there(far, *checks)))
    disk.dr("validate")
    disk.dr("backup", "sis")
    (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
    assert {check["outcome"] for check in drill["checks"]} == {"ok"}, drill["checks"]
    assert drill["outcome"] == "ok" and drill["proof_level"] == 5 and drill["sandbox"] == "destroyed", drill
    assert drill["data_rpa_seconds"] is not None and drill["rta_seconds"] > 0
    (manifest,) = [c for c in drill["checks"] if c["source"] == "uploads" and c["check"] == "manifest"]
    assert "missing" not in manifest["observed"] and "extra" not in manifest["observed"], manifest
    report = disk.dr("report", "--drill", drill["drill_id"], "--format", "md").out
    assert f"sandbox made on {far.address}" in report and "GiB memory" in report
    assert far.left() == []


def test_databases_are_served_there_and_answer_every_check(
    disk: Site, far: FarAway, postgres: PostgresServer, district: str, mariadb: MariadbServer, library: str
) -> None:
    app = disk.root / "app.py"
    app.write_text(APP)
    books = mysql_source(mariadb, library).replace("database: {mysql", "books: {mysql")
    asked = '"select count(*) from students", expect: 500'
    serve = f"serve: [{sys.executable}, {app}, postgres], url: 'http://127.0.0.1:{{port}}/'"
    checks = (
        "manifest", "rows: {source: database}", "schema: {source: database}", f"sql: {{source: database, query: {asked}}}",
        "rows: {source: books}", "schema: {source: books}", f"sql: {{source: books, query: {asked}}}",
        "sql: {source: books, query: 'select max(name) from students', expect: captured}",
        "command: {run: [sh, -c, 'test \"$THERE\" = yes && psql -Atc \"select count(*) from students\"'], expect: {stdout: 500}}",
        "command: {run: [sh, -c, 'mariadb -Ne \"select count(*) from students\" \"$MYSQL_DATABASE\"'], expect: {stdout: 500}}",
        f"http: {{{serve}, expect: {{body: 'matches students: 500'}}, within: 30s}}",
        f"http: {{{serve}, expect: {{status: 404}}, within: 2s, mandatory: false}}",
    )  # fmt: skip
    sources = (postgres_source(postgres, district), books)
    # One place for programs at a time: servers that stand take none.
    more = held_there(far, *checks).replace("host: {", "host: {at_once: 1, ")
    disk.plan("sis", plan_text("sis", *sources, targets="[disk]", more=more))
    disk.dr("backup", "sis")
    drilling = disk.start("--json", "drill", "sis")
    seen = watch(far, drilling.poll)
    out, err = drilling.communicate(timeout=LIMIT)
    assert SECRET not in seen and "RESTIC_PASSWORD" not in seen and "AWS_" not in seen
    assert f"{far.temporary}/dr-postgres-" in seen and f"{far.temporary}/dr-mysql-" in seen, (out, err)
    (drill,) = json.loads(out)["drills"]
    assert outcomes(drill) == {
        "manifest": ["ok", "ok"], "rows": ["ok", "ok"], "schema": ["ok", "ok"], "sql": ["ok"] * 3, "command": ["ok", "ok"],
        "http": ["ok", "failed"],
    }, (drill["checks"], err)  # fmt: skip
    assert drill["proof_level"] == 5 and drill["data_rpa_seconds"] is not None and drill["sandbox"] == "destroyed"
    assert far.left() == []
    assert soon(lambda: all(str(far.temporary) not in line for line in lines_of(far))), "what was ended is gone soon"


def test_what_is_not_as_captured_is_seen_from_here(disk: Site, far: FarAway) -> None:
    """The negative controls: a tar that spoils one byte, one that drops a file, and a host that says so itself."""
    disk.plan("sis", plan_text("sis", *files_and_more(disk), targets="[disk]", more=held_there(far, *PLAIN)))
    disk.dr("backup", "sis")
    spoil = 'f=$(find . -name "photo 7*"); [ -z "$f" ] || printf X | dd of="$f" bs=1 seek=100 conv=notrunc 2>/dev/null'
    far.program("tar", f'/usr/bin/tar "$@" || exit; {spoil}')
    (drill,) = disk.dr("--json", "drill", "sis", code=1).document["drills"]
    (manifest,) = [c for c in drill["checks"] if c["source"] == "uploads" and c["check"] == "manifest"]
    assert manifest["outcome"] == "failed" and "1 differ" in manifest["observed"], manifest
    assert drill["rta_seconds"] is None and drill["sandbox"] == "destroyed"
    far.program("tar", '/usr/bin/tar "$@" --exclude="photo 7*" --exclude=small.db')
    (drill,) = disk.dr("--json", "drill", "sis", code=1).document["drills"]
    seen = {(c["check"], c["source"]): c["observed"] for c in drill["checks"] if c["outcome"] == "failed"}
    assert "1 missing" in seen["manifest", "uploads"] and "19 found" in seen["file", "uploads"], seen
    assert "not there" in seen["sql", "small"] and "does not start" in drill["error"]
    far.program("tar", '/usr/bin/tar "$@"; exit 3')
    (drill,) = disk.dr("--json", "drill", "sis", code=1).document["drills"]
    assert "tar failed on" in drill["error"]


def test_a_sample_is_restored_there_as_well(disk: Site, far: FarAway) -> None:
    checks = ("manifest", "file: {source: uploads, path: 'deep/*1*.jpg', size: '> 10'}")
    disk.plan("sis", plan_text("sis", *files_and_more(disk), targets="[disk]", more=held_there(far, *checks)))
    disk.dr("backup", "sis")
    (drill,) = disk.dr("--json", "drill", "sis", "--scenario", "file-loss", "--keep").document["drills"]
    assert drill["sandbox"] == "kept"
    (kept,) = far.left()
    names = {path.name for path in kept.rglob("*") if path.is_file()}
    assert "photo 1 ü.jpg" in names and "photo 2 ü.jpg" not in names, names
    disk.dr("drill", "sis", "--scenario", "file-loss")
    assert far.left() == [kept], "what is kept is nobody's to sweep"
    FarPlaces(disk.root / "state" / "sandboxes" / drill["drill_id"]).clear()
    assert {c["check"]: c["outcome"] for c in drill["checks"] if c["source"] == "uploads"} == {
        "manifest": "ok",
        "file": "ok",
    }
    assert drill["proof_level"] <= 3 and 11 <= drill["files"] <= 13, drill


def test_the_place_that_the_plan_names_there_is_used_and_a_sample_too_large_for_it_is_refused(
    disk: Site, far: FarAway
) -> None:
    place = far.temporary / "d"
    smoke(disk, f'case "$DR_SANDBOX" in {place}/dr-*) ;; *) echo "$DR_SANDBOX"; exit 1 ;; esac')
    more = held_there(far, "manifest", "command: {run: [./smoke]}", more=f"  sandbox: {place}\n  sample: 50KB\n")
    disk.plan("sis", plan_text("sis", *files_and_more(disk)[:1], targets="[disk]", more=more))
    disk.dr("backup", "sis")
    missing = disk.dr("drill", "sis", code=1).err
    assert "that directory is not there" in missing and f"Make {place} there, a path of at most 40" in missing, missing
    place.mkdir()
    (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
    seen = {check["check"]: check["outcome"] for check in drill["checks"]}
    assert seen["manifest"] == "ok" and seen["command"] != "failed" and not list(place.iterdir()), drill["checks"]
    assert 0 < drill["sampled"]["bytes"] <= 50_000 < drill["sampled"]["of_bytes"] and drill["rto_verdict"] == "unknown"
    far.program("df", "echo; echo /dev/x 1000 980 20 98% /")
    (drill,) = disk.dr("--json", "drill", "sis", code=1).document["drills"]
    assert f"available at {place}/" in drill["error"] and "the disk is too small" in drill["error"], drill["error"]
    assert drill["files"] == 0 and drill["sandbox"] == "destroyed" and not list(place.iterdir())
    assert "too small" in drill["error"] and drill["rpo_verdict"] == "unknown", "nothing was restored"
    place.rmdir()


def test_a_host_that_is_not_there_fails_the_drill_and_is_recorded(disk: Site, far: FarAway) -> None:
    disk.plan("sis", plan_text("sis", *files_and_more(disk), targets="[disk]", more=held_there(far, "manifest")))
    disk.dr("backup", "sis")
    far.kill()
    (drill,) = disk.dr("--json", "drill", "sis", code=1).document["drills"]
    assert drill["outcome"] == "failed" and "cannot be reached" in drill["error"]
    assert drill["sandbox"] == "destroyed", "nothing was made there"
    assert disk.dr("--json", "status", code=4).document["systems"][0]["last_drill_outcome"] == "failed"
    far.start()
    far.program("df", "echo; echo /dev/x 1000 990 10 99% /")
    (drill,) = disk.dr("--json", "drill", "sis", code=1).document["drills"]
    assert "the disk is too small" in drill["error"] and far.address in drill["error"]


def test_a_host_lost_in_mid_restore_is_swept_once_it_is_back(disk: Site, far: FarAway) -> None:
    disk.plan("sis", plan_text("sis", *files_and_more(disk), targets="[disk]", more=held_there(far, "manifest")))
    disk.dr("backup", "sis")
    far.program("tar", "sleep 300")
    drilling = disk.start("--json", "drill", "sis")
    assert soon(lambda: "sleep 300" in "\n".join(lines_of(far)))
    far.kill()
    out, err = drilling.communicate(timeout=LIMIT)
    (drill,) = json.loads(out)["drills"]
    assert drilling.returncode == 1 and drill["outcome"] == "failed" and drill["sandbox"] == "left behind", (drill, err)
    assert "rm -rf" in err or "could not be removed" in err, err
    assert far.left(), "the negative: it was left"
    far.plain()
    assert disk.dr("drill", "sis", code=1).err, "while it is away, it stays on record"
    assert far.left()
    far.start()
    disk.dr("drill", "sis")
    assert far.left() == []
    assert [path.name for path in (disk.root / "state" / "sandboxes").iterdir()] == [".lock"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_drill_ended_in_the_middle_leaves_nothing_there(
    disk: Site, far: FarAway, postgres: PostgresServer, district: str, end: signal.Signals
) -> None:
    more = held_there(far, "manifest", "command: {run: [sleep, '321']}")
    disk.plan("sis", plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=more))
    disk.dr("backup", "sis")
    drilling = disk.start("drill", "sis")
    assert soon(lambda: any("sleep 321" in line for line in lines_of(far)))
    assert len(far.left()) == 2, "the sandbox, and the place of the server"
    drilling.send_signal(end)
    drilling.communicate(timeout=LIMIT)
    assert soon(lambda: not any("sleep 321" in line or "dr-postgres" in line for line in lines_of(far)))
    if end == signal.SIGKILL:
        assert len(far.left()) == 2, "the negative: it was left"
        disk.plan(
            "sis",
            plan_text("sis", postgres_source(postgres, district), targets="[disk]", more=held_there(far, "manifest")),
        )
        disk.dr("drill", "sis")
    assert far.left() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can be let in by root only")
def test_without_root_there_all_runs_as_the_user_we_are(
    disk: Site, short: Path, postgres: PostgresServer, district: str, mariadb: MariadbServer, library: str
) -> None:
    (short / "t").mkdir()
    (short / "t").chmod(0o777)
    books = mysql_source(mariadb, library).replace("database: {mysql", "books: {mysql")
    sources = (*files_and_more(disk), postgres_source(postgres, district), books)
    far = FarAway(short / "host", short / "t")
    far.user = far.as_user = "postgres"
    with far:
        checks = (
            *PLAIN,
            "rows: {source: database}",
            "rows: {source: books}",
            "command: {run: [id, -un], expect: {stdout: postgres}}",
        )
        disk.plan("sis", plan_text("sis", *sources, targets="[disk]", more=held_there(far, *checks)))
        disk.dr("backup", "sis")
        (drill,) = disk.dr("--json", "drill", "sis").document["drills"]
        assert {check["outcome"] for check in drill["checks"]} == {"ok"}, drill["checks"]
        assert far.left() == [] and drill["sandbox"] == "destroyed"


def test_a_program_that_is_not_there_is_named(disk: Site, far: FarAway) -> None:
    disk.plan("sis", plan_text("sis", *files_and_more(disk), targets="[disk]", more=held_there(far, *PLAIN)))
    disk.dr("backup", "sis")
    far.program("find", "echo 'find: unknown predicate -printf' >&2; exit 1")
    assert "has no GNU find" in disk.dr("drill", "sis", code=1).err


def lines_of(far: FarAway) -> list[str]:
    """The command lines, with the environments, of all that runs on the other host: what bears its mark."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "environ").read_bytes() if entry.name.isdecimal() else b""
            # a server of PostgreSQL overwrites what it was told; where it works says where it belongs
            if f"TMPDIR={far.temporary}".encode() in told or str((entry / "cwd").readlink()).startswith(
                str(far.temporary)
            ):
                line = (entry / "cmdline").read_bytes()
                found.append((line + b" " + told).replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def watch(far: FarAway, over: Callable[[], object]) -> str:
    """All that is to be seen of programs there, until it is over."""
    seen: set[str] = set()
    while over() is None:
        seen |= set(lines_of(far))
        time.sleep(0.05)
    return "\n".join(seen)
