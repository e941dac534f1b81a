"""A daily proof that reads in turn against one that reads all, over S3: 0.1 % is new each day, all is read in 30 days.

First level 2 alone, with its listing and its memory in the catalog, for thirty simulated days: of packs, and of small
objects, where requests cost more than bytes. Then the whole commands, which also ask restic for the structure.
Run: `python tests/bench/bench_proof_in_turn.py`; `python tests/bench/bench_proof_in_turn.py 20` takes a twentieth.
"""

from __future__ import annotations

import hashlib
import random
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dr.catalog.store import Catalog
from dr.evidence.stored_object import HeldObjects
from dr.operations.proof_memory import memory_of, remember
from dr.run.verification.comparison import ListingComparison
from dr.run.verification.inventory import listed
from dr.run.verification.memory import Expected, Named, Seen, VerifyMemory
from dr.run.verification.object_hashes import hash_all
from dr.run.verification.rotation import ReadingRule, coverage_of
from dr.run.verification.stored_bytes import read_part
from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys
from dr.tools.state_dir import StateDir
from scripts.servers.s3 import S3Server
from tests.bench.measure import dr, interleaved, make_files, make_offsite, make_plan, say, scratch

DAYS, DAY = 30, 86_400
#: All is read too on each so many days.
_EVERY = 5


def main() -> None:
    """Measure."""
    part = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with scratch() as home, S3Server(home / "s3") as server:
        server.client().create_bucket(Bucket="bench")
        _days(home, server, "packs", "1 GB in packs of 4 MB", size=4_000_000, number=250 // part, goal="0.06")
        _days(home, server, "small", "2,000 objects of 2 KB", size=2_000, number=2_000 // part, goal="none")
        _commands(home, server, part)


def _store(server: S3Server, prefix: str) -> S3Store:
    keys = S3Keys(server.access_key, server.secret_key)
    return S3Store(endpoint=server.endpoint, bucket="bench", prefix=prefix, keys=keys)


def _days(home: Path, server: S3Server, prefix: str, what: str, *, size: int, number: int, goal: str) -> None:
    """Thirty days of level 2, each day both ways; processor seconds of this process."""
    store, rng = _store(server, prefix), random.Random(1)

    def put(size: int) -> None:
        data = rng.randbytes(size)
        name = hashlib.sha256(data).hexdigest()
        store.put(f"data/{name[:2]}/{name}", data)

    store.put("config", b"config")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [size] * number))
    total = size * number
    rule = ReadingRule(whole_within=DAYS * DAY, budget=total // 3, interval=DAY)
    with Catalog.open(StateDir(home / f"state-{prefix}")) as catalog:
        _in_turn(store, catalog, prefix, rule.whole(), 0)
        turn, whole, read = 0.0, 0.0, 0
        for day in range(1, DAYS + 1):
            for _ in range(max(1, number // 1_000)):
                put(min(size, total // 1_000))
            seconds, count = _timed(lambda day=day: _in_turn(store, catalog, prefix, rule, day))  # type: ignore[misc]
            turn, read = turn + seconds, read + count
            if day % _EVERY == 0:
                whole += _timed(lambda: _all(store))[0]
    title = f"daily proof in turn / reading all, {what} over S3, processor time"
    say(title, turn / DAYS, whole / (DAYS // _EVERY), goal)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  of the bytes {read / DAYS / total:.3f} were read a day; memory {memory:.0f} MB", flush=True)


def _timed(act: Callable[[], int]) -> tuple[float, int]:
    began = time.process_time()
    found = act()
    return time.process_time() - began, found


def _in_turn(store: S3Store, catalog: Catalog, system: str, rule: ReadingRule, day: int) -> int:
    """One day's level 2 as `dr verify` does it; return the bytes read."""
    now = day * DAY * 1_000_000
    before = memory_of(catalog, system, "offsite")
    stored = listed(store)
    against = ListingComparison(stored, before.objects, now)
    read_part(store, against, rule, now=now)
    bad = {item.object for item in against.damage(Expected(), config_hash=before.config_hash)}
    after = Seen(stored, before.objects, bad=bad, now=now, named=Named(before=True))
    seen = coverage_of(against, rule, now, began=now, bad=bad)
    remember(catalog, system, "offsite", before=before, after=VerifyMemory(after))
    if bad or seen.oldest_read is None or now / 1e6 - seen.oldest_read.timestamp() > rule.whole_within:
        raise SystemExit(f"an object is damaged, or was not read in time: {seen}")
    return seen.read_bytes


def _all(store: S3Store) -> int:
    stored = listed(store)
    hash_all(store, stored)
    if ListingComparison(stored, HeldObjects(), 0).damage(Expected(), config_hash=""):
        raise SystemExit("an object is damaged")
    return stored.read_bytes


def _commands(home: Path, server: S3Server, part: int) -> None:
    make_offsite(home, server.endpoint, "bench", server.access_key, server.secret_key)
    make_files(home / "source", [8_000_000] * (100 // part) + [1_000_000] * (200 // part))
    make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}", targets="[offsite]")
    with (home / "config" / "plans" / "files.yaml").open("a") as plan:
        plan.write(f"proof: {{whole_within: {DAYS}d, budget: {400_000_000 // part}}}\n")
    dr(home, "backup", "files")
    dr(home, "verify", "files", "--level", "2", "--whole")
    found = interleaved(
        3,
        turn=lambda: dr(home, "verify", "files", "--level", "2"),
        whole=lambda: dr(home, "verify", "files", "--level", "2", "--whole"),
    )
    say("dr verify --level 2, in turn / with --whole, 1 GB over S3, restic's check in both", *found.values(), "none")


if __name__ == "__main__":
    main()
