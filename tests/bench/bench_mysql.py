"""A MariaDB source against the plain tools, with tables as pgbench has them: captured, and brought back for a drill.

Capture: the source's stream, hashed and stored as a backup does it, with rows counted and objects listed in its
snapshot, against `mariadb-dump --single-transaction | restic backup --stdin`. Restore: a drill's server made and
filled, against `restic dump | mariadb` into a server that runs already with the same settings. By the clock, and by the
processor seconds of both sides. Run: `python tests/bench/bench_mysql.py [--rows 1000000] [--repetitions 3]` (a million
rows are 57 MB of dump).
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dr.plan.source_kinds import MysqlSource
from dr.run.backup.fanout import pour
from dr.sources.driver import Stream
from dr.sources.mysql.driver import Mysql
from dr.sources.mysql.scratch import _FAST
from dr.tools.host import ThisHost
from dr.tools.restic_events import Stored
from scripts.servers.mariadb import MariadbServer
from tests.bench.bench_postgres import CAPTURE_GOAL, RESTORE_GOAL, repository, repository_at, restore, shell
from tests.bench.measure import costs, say_costs, scratch

DATABASE = "bench"
TABLES = """
create table accounts (aid int not null primary key, bid int, abalance int, filler char(84), key (bid)) engine=innodb;
insert into accounts select seq, seq % 100, 0, md5(seq) from seq_1_to_{rows};
create table history (tid int, bid int, aid int, delta int, mtime datetime, filler varchar(22)) engine=innodb;
insert into history select seq % 10, seq % 100, seq, seq, '2026-11-24 12:00:00', left(md5(seq), 22) from seq_1_to_{tenth};
"""


def source_of(server: MariadbServer) -> Mysql:
    """The source under test."""
    return Mysql("db", MysqlSource(database=DATABASE, socket=str(server.socket), user="root"), host=ThisHost())


def capture(home: Path, server: MariadbServer) -> float:
    """Capture by the source; return the seconds it took."""
    to, work = repository(home, "ours"), home / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    began = time.monotonic()
    stream = source_of(server).capture(work, None)
    assert isinstance(stream, Stream)
    _, size, results = pour(stream.chunks(), {"ours": to.backup_stream(stream.filename, tags={}, work=work)})
    stream.close()
    assert size and isinstance(results["ours"], Stored), results
    return time.monotonic() - began


def plain_capture(home: Path, server: MariadbServer) -> float:
    """The same by the plain tools."""
    to = repository(home, "plain")
    dump = f"mariadb-dump --no-defaults -uroot -S {server.socket} --single-transaction --routines --events {DATABASE}"
    return shell(f"{dump} | {to.program} backup -q --stdin --stdin-filename bench.sql", to.environment())


def plain_restore(home: Path, server: MariadbServer) -> float:
    """Restore by the plain tools into a server that runs."""
    to = repository_at(home, "plain")
    server.sql("drop database if exists copy; create database copy")
    load = f"mariadb --no-defaults -uroot -S {server.socket} copy"
    return shell(f"{to.program} dump -q latest bench.sql | {load}", to.environment())


def restore_ours(home: Path, server: MariadbServer, seconds: list[float]) -> float:
    """Bring back the one dump that the capture left: see `restore`."""
    (dump,) = [node["path"] for node in repository_at(home, "ours").ls("latest") if node["type"] == "file"]
    return restore(home, source_of(server), seconds, dump)


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    with scratch() as home, MariadbServer(home, "--max-allowed-packet=1G") as server:
        server.sql(f"create database {DATABASE}")
        server.sql(TABLES.format(rows=asked.rows, tenth=asked.rows // 10), DATABASE)
        acts: dict[str, Callable[[], object]]
        acts = {"ours": partial(capture, home, server), "plain": partial(plain_capture, home, server)}
        found = costs(asked.repetitions, [server.base / "pid"], **acts)
        size = sum(node.get("size", 0) for node in repository_at(home, "plain").ls("latest")) / 1e6
        title = f"capture / mariadb-dump | restic backup, {size:.0f} MB of dump"
        say_costs(title, found["ours"], found["plain"], CAPTURE_GOAL)
        measure_restore(home, server, asked.repetitions)


def measure_restore(home: Path, server: MariadbServer, repetitions: int) -> None:
    """Measure the restore alone, from the repositories that the captures left."""
    seconds: list[float] = []
    options = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M", "--max-allowed-packet=1G", *_FAST)
    (home / "running").mkdir()
    with MariadbServer(home / "running", *options) as running:
        acts = {"ours": partial(restore_ours, home, server, seconds), "plain": partial(plain_restore, home, running)}
        found = costs(repetitions, [running.base / "pid"], **acts)
    say_costs("drill restore, server made in it / restic dump | mariadb", found["ours"], found["plain"], RESTORE_GOAL)
    print(f"of it to make the server: {sorted(seconds)[repetitions // 2]:.2f} s")


if __name__ == "__main__":
    main()
