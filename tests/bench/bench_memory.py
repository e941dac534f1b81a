"""Peak memory of what is held in lists and dictionaries, at two sizes: whether it grows with what is stored.

The proof's dictionaries: a target lists so many objects, of which earlier runs read all but a few; a run chooses what
to read, judges, and keeps what is known then. A sample's choice of so many files. Each in a process of its own. Run:
`python tests/bench/bench_memory.py [--sizes 10000 100000]`; with a million it takes two minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.stored_object import StoredObject
from dr.run.recovery.sample import choose, summed_up
from dr.run.verification.memory import VerifyMemory, with_index
from dr.run.verification.object_hashes import Inventory
from dr.run.verification.rotation import ReadingRule, coverage_of, to_read
from dr.run.verification.stored_bytes import judged, remembered
from dr.tools.restic_events import Index

NOW = 1_800_000_000_000_000
#: Of so many objects one is new.
NEW = 1_000


def _id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def proof(number: int) -> None:
    """A daily proof of so many objects, without the bytes."""
    stored, objects, packs = Inventory(), dict[str, StoredObject](), dict[str, int]()
    for each in range(number):
        name = f"data/{_id(each)[:2]}/{_id(each)}"
        stored.sizes[name], stored.modified[name] = 17_000_000 + each, NOW / 1e6 - 90_000
        stored.versions[name], packs[_id(each)] = _id(each)[:32], 17_000_000 + each
        if each % NEW:
            objects[f"data/{_id(each)[:2]}/{_id(each)}"] = StoredObject(
                size=17_000_000 + each, modified=NOW - 90_000_000_000, version=_id(each)[:32],
                read=NOW - each * 1_000_000, indexed=17_000_000 + each,
            )  # fmt: skip
    stored.sizes["config"], stored.modified["config"] = 155, NOW / 1e6 - 90_000
    previous = VerifyMemory(objects)
    rule = ReadingRule(budget=50 << 30, interval=86_400)
    for name in to_read(stored, previous.objects, rule, NOW):
        stored.hashes[name], stored.lengths[name] = name[-64:], stored.sizes[name]
    bad = judged(stored, previous, previous.needed, ())
    assert not bad, bad[:3]
    memory = remembered(stored, previous, previous.needed, bad=(), now=NOW)
    coverage_of(stored, memory.objects, rule, NOW)
    assert len(with_index(memory.objects, Index(packs, ()))) == number + 1


def sample(number: int) -> None:
    """A drill's choice among so many files."""
    with TemporaryDirectory() as folder:
        listed = Path(folder, "dr-manifest")
        manifest.write(listed, {}, _entries(number))
        files = {"data": partial(manifest.read, listed)}
        found = choose(files, {}, limit=number * 1_000, begin=0)
        assert found is not None and summed_up(found, files, {}).files


def _entries(number: int) -> Iterator[Entry]:
    for each in range(number):
        yield Entry(b"/srv/%d/%d.jpg" % (each % 1_000, each), "file", each % 20_000, "0" * 64, mtime_ns=each)


ACTS = {"proof": proof, "sample": sample}


def main() -> None:
    """Measure all; or, named one and a size, do that and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--act", choices=ACTS)
    asked = parser.parse_args()
    if asked.act:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ACTS[asked.act](asked.sizes[0])
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
        return
    for act in ACTS:
        for size in asked.sizes:
            argv = [sys.executable, __file__, "--act", act, "--sizes", str(size)]
            taken = float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()[0])
            print(f"{act}, {size:,}: {taken:.0f} MB, {taken * 1024 * 1024 / size:.0f} bytes each", flush=True)


if __name__ == "__main__":
    main()
