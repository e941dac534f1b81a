"""A PostgreSQL source against the plain tools, with pgbench's tables: captured, and brought back for a drill.

Capture: the doors' stream, hashed and stored as a backup does it, with rows counted and objects listed in its
snapshot, against `pg_dump -Fc -Z0 | restic backup --stdin`. Restore: a drill's server made and filled, against the
faster of `restic dump | pg_restore` and `restic dump > FILE; pg_restore -j FILE` into a server that runs already
with the same settings. By the clock, and by the processor seconds of both sides. Run:
`python tests/bench/bench_postgres.py [--scale 20] [--repetitions 3]` (65 is 1 GB, 330 is 5 GB).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from dr.plan.source_kinds import PostgresSource
from dr.run.backup.fanout import pour
from dr.sources.driver import RestoreSlot, SourceDriver, Stream
from dr.sources.postgres import scratch as own_server
from dr.sources.postgres.driver import Postgres
from dr.tools.host import ThisHost
from dr.tools.restic import Repository
from dr.tools.restic_events import Stored
from dr.tools.restic_program import find_restic
from scripts.servers.postgres import PostgresServer, program
from tests.bench.measure import costs, say_costs, scratch

CAPTURE_GOAL, RESTORE_GOAL = "1.05", "1.0"
DATABASE = "bench"


def repository(home: Path, name: str) -> Repository:
    """A fresh repository."""
    for place in (home / name, home / f"cache-{name}"):
        shutil.rmtree(place, ignore_errors=True)
    made = Repository(
        program=find_restic(os.environ), location=str(home / name), where=name, host="bench",
        env={"RESTIC_PASSWORD": "bench"}, cache=home / f"cache-{name}",
    )  # fmt: skip
    made.init()
    return made


def doors_of(server: PostgresServer) -> Postgres:
    """The source under test."""
    declared = PostgresSource(database=DATABASE, host=str(server.socket), user=server.user)
    return Postgres("db", declared.model_copy(update={"bin": str(Path(program("pg_dump")).parent)}), host=ThisHost())


def capture(home: Path, server: PostgresServer) -> float:
    """Capture by the doors; return the seconds it took."""
    to = repository(home, "ours")
    work = home / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    began = time.monotonic()
    stream = doors_of(server).capture(work, None)
    assert isinstance(stream, Stream)
    _, size, results = pour(stream.chunks(), {"ours": to.backup_stream(stream.filename, tags={}, work=work)})
    stream.close()
    assert size and isinstance(results["ours"], Stored), results
    return time.monotonic() - began


def shell(script: str, env: Mapping[str, str]) -> float:
    """Run a pipe as typed; return the seconds it took."""
    began = time.monotonic()
    subprocess.run(["bash", "-o", "pipefail", "-ec", script], env={**os.environ, **env}, check=True)
    return time.monotonic() - began


def plain_capture(home: Path, server: PostgresServer) -> float:
    """The same by the plain tools."""
    to = repository(home, "plain")
    store = f"{to.program} backup -q --stdin --stdin-filename bench.dump"
    return shell(f"{program('pg_dump')} -Fc -Z0 {DATABASE} | {store}", {**to.environment(), **server.environment})


def plain_restore(home: Path, server: PostgresServer, how: str) -> float:
    """Restore by the plain tools into a server that runs."""
    to = repository_at(home, "plain")
    server.psql("drop database if exists copy")
    server.psql("create database copy template template0")
    dump, load = f"{to.program} dump -q latest bench.dump", f"{program('pg_restore')} -d copy"
    scripts = {
        "stream": f"{dump} | {load}",
        "spool": f"{dump} > {home}/spool; {load} -j {os.cpu_count()} {home}/spool; rm {home}/spool",
    }
    return shell(scripts[how], {**to.environment(), **server.environment})


def repository_at(home: Path, name: str) -> Repository:
    """A repository that was made before."""
    return Repository(
        program=find_restic(os.environ), location=str(home / name), where=name, host="bench",
        env={"RESTIC_PASSWORD": "bench"}, cache=home / f"cache-{name}",
    )  # fmt: skip


def restore(home: Path, source: SourceDriver, seconds: list[float], dump: str = f"/{DATABASE}.dump") -> float:
    """Bring it back for a drill, from nothing to a server that answers; return the seconds without its end.

    Those that making the server took are added to `seconds`.
    """
    place = Path(tempfile.mkdtemp(prefix="dr-bench-", dir="/var/tmp"))
    room = RestoreSlot(root=home / "work", apart=home / "work", annex=lambda kind: place, token="bench")
    instance = source.restored(room)
    began = time.monotonic()
    try:
        instance.provision()
        seconds.append(time.monotonic() - began)
        with repository_at(home, "ours").reading("latest", dump) as chunks:
            instance.pour(dump.lstrip("/"), chunks)
        instance.start()
        ended = time.monotonic()
        assert instance.captured() is not None and instance.facts() == instance.captured()
        return ended - began
    finally:
        instance.close()
        shutil.rmtree(place)


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=20)
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    with scratch() as home, PostgresServer() as server:
        server.psql(f"create database {DATABASE}")
        argv = [program("pgbench"), "-i", "-q", "-s", str(asked.scale), DATABASE]
        subprocess.run(argv, env=server.environment, check=True, capture_output=True)
        size = server.psql(f"select pg_size_pretty(pg_database_size('{DATABASE}'))")
        acts = {"ours": partial(capture, home, server), "plain": partial(plain_capture, home, server)}
        found = costs(asked.repetitions, [server.data / "postmaster.pid"], **acts)
        say_costs(f"capture / pg_dump | restic backup, {size}", found["ours"], found["plain"], CAPTURE_GOAL)
        measure_restore(home, server, asked.repetitions)


def measure_restore(home: Path, server: PostgresServer, repetitions: int) -> None:
    """Measure the restore alone, from the repositories that the captures left."""
    seconds: list[float] = []
    with PostgresServer(settings=own_server.SETTINGS) as running:
        acts: dict[str, Callable[[], object]] = {
            "ours": partial(restore, home, doors_of(server), seconds),
            "stream": partial(plain_restore, home, running, "stream"),
            "spool": partial(plain_restore, home, running, "spool"),
        }
        found = costs(repetitions, [running.data / "postmaster.pid"], **acts)
    best = min((found["stream"], found["spool"]))
    for name, how in (("stream", "streamed"), ("spool", "by a file, several at once")):
        print(f"plain restore {how}: {found[name][0]:.2f} s, {found[name][1]:.2f} CPU s")
    say_costs("drill restore, server made in it / the faster plain one", found["ours"], best, RESTORE_GOAL)
    print(f"of it to make the server: {sorted(seconds)[repetitions // 2]:.2f} s")


if __name__ == "__main__":
    main()
