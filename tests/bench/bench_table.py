"""One small table out of a database that is large by another: what bringing it back takes, and what all would take.

`alone` loads the rows of that table; `all` is the same recovery with a condition that asks the other table, so that
its rows are loaded too. Both read the whole stream, and hash it. Run: `python tests/bench/bench_table.py [ROWS]`.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from scripts.servers.mariadb import MariadbServer
from scripts.servers.postgres import PostgresServer
from tests.bench.measure import dr, interleaved_best, make_disk, make_plan, say, scratch
from tests.databases import source_of

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000_000
ASKING = "id in (select 1 union select id from large where id < 0 union select id from small)"


def recover(home: Path, system: str, *more: str) -> float:
    """Bring the small table back; return the seconds it took."""
    to = home / "to"
    shutil.rmtree(to, ignore_errors=True)
    began = time.monotonic()
    dr(home, "recover", system, "--table", "small", "--to", str(to), "--yes", *more)
    return time.monotonic() - began


def compare(home: Path, system: str) -> None:
    """Bring it back both ways, in turn."""
    dr(home, "backup", system)
    best = interleaved_best(
        2, alone=lambda: recover(home, system), all=lambda: recover(home, system, "--where", ASKING)
    )
    size = sum(path.stat().st_size for path in (home / "disk" / system).rglob("*") if path.is_file()) / 1e6
    say(
        f"one small table of {system}, {ROWS:,} rows beside it ({size:,.0f} MB stored)",
        best["alone"],
        best["all"],
        "0.3",
    )


def main() -> None:
    """Compare for each kind of server."""
    with scratch() as home:
        home.chmod(0o755)  # servers run as users of their own
        make_disk(home)
        with PostgresServer(home / "postgres") as server:
            server.psql("create database school")
            server.psql(
                "create table small (id int primary key, name text); insert into small select g, 'x' || g from"
                " generate_series(1, 1000) g; create table large (id int primary key, name text, key int);"
                f" insert into large select g, md5(g::text) || md5((g + 1)::text), g % 1000 from"
                f" generate_series(1, {ROWS}) g; create index on large (name); create index on large (key)", "school",
            )  # fmt: skip
            make_plan(home, "postgres", source_of(server, "database: school").partition(": ")[2])
            compare(home, "postgres")
        (home / "mariadb").mkdir()
        with MariadbServer(home / "mariadb") as other:
            other.sql("create database school")
            other.sql(
                "create table small (id int primary key, name text); insert into small select seq, concat('x', seq)"
                " from seq_1_to_1000; create table large (id int primary key, name varchar(80), k int, index (name),"
                f" index (k)); insert into large select seq, concat(md5(seq), md5(seq + 1)), seq % 1000 from"
                f" seq_1_to_{ROWS}", "school",
            )  # fmt: skip
            make_plan(home, "mariadb", source_of(other, "database: school").partition(": ")[2])
            compare(home, "mariadb")


if __name__ == "__main__":
    main()
