"""What it costs to keep locks alive: 10,000 objects, all due at once, then the same repository with nothing due.

Prints requests and seconds of each; restic's walk, which says what is needed, is measured on a repository of its own,
of 20,000 small files. Run: `python tests/bench/bench_locks.py`.
"""

from __future__ import annotations

import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dr.plan.target import Target
from dr.run.immutability import extend_locks as locks
from dr.run.immutability.extend_locks import extend_locks
from dr.run.workspace.toolbox import Place
from dr.targets.s3.bucket import open_locks
from dr.tools.restic import Repository
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server
from tests.bench.measure import environment, make_files, scratch

OBJECTS = 10_000


def main() -> None:
    """Measure."""
    locks.SKEW_SECONDS = 1e9  # the clock is ours: 21 days on
    count = int(sys.argv[1]) if len(sys.argv) > 1 else OBJECTS
    with scratch() as home, S3Server(home / "s3") as server:
        server.make_locked("bench", "compliance", 30)
        place = vault(home, server)
        fill(server, count)
        for name, after in (("first look, nothing due", 0), ("all due", 21), ("nothing due", 21)):
            assert place.target.s3
            bucket = open_locks(place.target.s3).child("sis")
            now = datetime.now(UTC) + timedelta(days=after)
            state = extend_locks(place, bucket, state=StateDir(home / "state"), now=now, live=()).state
            rate = f", {state.extended / state.seconds:.0f} a second" if state.extended else ""
            print(
                f"{count:,} objects, {name}: {state.calls:,} requests, {state.seconds:.1f} s, "
                f"{state.extended:,} extended{rate} ({state.scope}){state.error or ''}",
                flush=True,
            )
        walk(home, place.repository)


def vault(home: Path, server: S3Server) -> Place:
    """The place of a system in the locked bucket."""
    keys = server.write_keys(home / "keys")
    rules = {"mode": "compliance", "days": 30, "max_calls": 10**6}
    s3 = {"endpoint": server.endpoint, "bucket": "bench", "credentials": {"file": str(keys)}, "immutability": rules}
    target = Target.model_validate({"target": "vault", "s3": s3})
    assert target.s3
    env = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key, "RESTIC_PASSWORD": "x"}
    repository = Repository(
        program=environment(home)["DR_RESTIC"], location=f"s3:{server.endpoint}/bench/sis", where="sis on vault",
        host="sis", env=env, cache=home / "cache",
    )  # fmt: skip
    bucket = open_locks(target.s3).child("sis")
    return Place("vault", target, repository, bucket, bucket)


def fill(server: S3Server, count: int) -> None:
    """So many small objects, named as packs are; no repository names them, so that all of them are kept."""
    client = server.client()

    def put(number: int) -> None:
        body = str(number).encode()
        digest = hashlib.sha256(body).hexdigest()
        client.put_object(Bucket="bench", Key=f"sis/data/{digest[:2]}/{digest}", Body=body)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(count)))


def walk(home: Path, repository: Repository) -> None:
    """How long restic takes to say what is needed."""
    from dataclasses import replace

    other = replace(repository, location=repository.location.replace("/sis", "/walked"))
    make_files(home / "source", [2_000] * 20_000)
    other.init()
    other.backup_tree([str(home / "source")], cwd=home, tags={"source": "files"})
    began = time.monotonic()
    unneeded = other.unneeded_packs(timeout=600)
    print(f"restic's walk of 20,000 files: {time.monotonic() - began:.1f} s, {len(unneeded)} packs not needed")


if __name__ == "__main__":
    main()
