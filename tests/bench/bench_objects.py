"""Many small objects in a bucket: processor time of listing and of hashing them, ours against boto3's own way.

Run: `python tests/bench/bench_objects.py [OBJECTS]`. The service's own processor time is not in it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys
from scripts.servers.s3 import S3Server
from tests.bench.measure import interleaved_best, say, scratch


def spent(act: Callable[[], object]) -> Callable[[], float]:
    """The processor seconds of an act, in all threads."""

    def measured() -> float:
        began = time.process_time()
        act()
        return time.process_time() - began

    return measured


def main(objects: int) -> None:
    """Measure."""
    with scratch() as home, S3Server(home / "s3") as server, ThreadPoolExecutor(16) as pool:
        server.client().create_bucket(Bucket="bench")
        store = S3Store(endpoint=server.endpoint, bucket="bench", keys=S3Keys(server.access_key, server.secret_key))
        names = [f"data/{number:06}" for number in range(objects)]
        list(pool.map(lambda name: store.put(name, os.urandom(2048)), names))
        plain = server.client()

        def stock_list() -> None:
            for page in plain.get_paginator("list_objects_v2").paginate(Bucket="bench"):
                assert page["Contents"]

        def stock_hash(name: str) -> None:
            plain.get_object(Bucket="bench", Key=name)["Body"].read()

        some = names[:2000]
        found = interleaved_best(
            3,
            listing=spent(lambda: list(store.list())),
            stock_listing=spent(stock_list),
            hashing=spent(lambda: list(pool.map(store.sha256, some))),
            stock_hashing=spent(lambda: list(pool.map(stock_hash, some))),
        )
        say(f"listing {objects:,} objects / boto3's own", found["listing"], found["stock_listing"], "0.1")
        say(
            f"hashing {len(some):,} objects of 2 KB / boto3 reading them",
            found["hashing"],
            found["stock_hashing"],
            "0.2",
        )
        listing, hashing = found["listing"] / objects * 1e6, found["hashing"] / len(some) * 1e3
        print(f"per object: listing {listing:.1f} µs (goal 12), hashing {hashing:.2f} ms (goal 0.4)", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
