"""Peak memory of what might be held of all that is stored or captured, at two sizes: whether it grows with them.

A proof of so many objects, without their bytes, of which earlier runs read all but a few; a sample's choice of so many
files; a capture of so many files by SFTP, and by their own host; `dr points rebuild` of so many runs on record, with
all that the program needs. Each in a process of its own. Run: `python tests/bench/bench_memory.py [--act proof]
[--sizes 10000 100000]`; the captures of 100,000 files take minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from dr.catalog import chain
from dr.catalog.store import Catalog
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.record import Proof
from dr.evidence.seal import seal
from dr.evidence.stored_object import HeldObjects, StoredObject, moment
from dr.operations.proof_memory import memory_of, remember
from dr.plan.source_kinds import FilesSource
from dr.run.recovery.sample import choose, summed_up
from dr.run.verification.comparison import ListingComparison
from dr.run.verification.inventory import Inventory, id_of
from dr.run.verification.memory import Expected, Named, Seen, VerifyMemory
from dr.run.verification.rotation import ReadingRule, coverage_of, to_read
from dr.sources.agent import AgentFiles
from dr.sources.remote_files import RemoteFiles
from dr.tools.agent import Agent
from dr.tools.restic import Repository
from dr.tools.restic_program import find_restic
from dr.tools.ssh import SshHost
from dr.tools.state_dir import StateDir
from dr.tools.store import Stored
from tests.bench.bench_manifest import make_small
from tests.bench.measure import dr, dr_used, make_disk, make_files, make_plan
from tests.far import Far, reached

NOW = 1_800_000_000_000_000
#: Of so many objects one is new.
NEW = 1_000
_AGE = 90_000_000_000
_WRITTEN = moment(NOW - _AGE)


def proof(number: int) -> None:
    """A daily proof of so many objects, without the bytes; with what is known of them in a catalog."""
    with TemporaryDirectory() as folder:
        _in_another_process(_known, Path(folder), number)
        with Catalog.open(StateDir(Path(folder))) as catalog:
            spent = time.process_time()
            _prove(catalog, number)
            print(f"  {number:,} objects: {(time.process_time() - spent) / number * 1e6:.1f} us of processor time each")


def _prove(catalog: Catalog, number: int) -> None:
    previous = memory_of(catalog, "sis", "vault")
    stored = Inventory(Stored(name, size, _WRITTEN, version) for name, size, version in _stored(number))
    rule = ReadingRule(budget=50 << 30, interval=86_400)
    against = ListingComparison(stored, previous.objects, NOW)
    for row in to_read(against, rule, NOW):
        item = stored.at(row)
        stored.note(item, id_of(item.name), item.size)
    bad = against.damage(Expected(), config_hash="config")
    assert not bad, bad[:3]
    named = Named(before=True)
    strays = against.strays(named)
    assert len(strays) == -(-number // NEW)
    assert coverage_of(against, rule, NOW, began=NOW).objects == number + 1
    after = VerifyMemory(Seen(stored, previous.objects, now=NOW, named=named))
    remember(catalog, "sis", "vault", before=previous, after=after)


def _known(folder: Path, number: int) -> None:
    """Fill a catalog with what earlier runs saw."""
    objects = {
        name: StoredObject(size, NOW - _AGE, version, read=NOW - each % 29 * 86_400_000_000, indexed=size)
        for each, (name, size, version) in enumerate(_stored(number))
        if each % NEW
    }
    with Catalog.open(StateDir(folder)) as catalog:
        catalog.keep_stored_objects("sis", "vault", HeldObjects(objects))


def _in_another_process(act: Callable[..., None], *arguments: object) -> None:
    process = multiprocessing.get_context("spawn").Process(target=act, args=arguments)
    process.start()
    process.join()


def _stored(number: int) -> Iterator[tuple[str, int, str]]:
    """Yield names, sizes (bytes) and versions, in the order of names."""
    yield "config", 155, "c" * 32
    for each in range(number):
        ident = f"{each * (256**4 // number):08x}" + hashlib.sha256(str(each).encode()).hexdigest()[8:]
        yield f"data/{ident[:2]}/{ident}", 17_000_000 + each, ident[32:]


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


def sftp(number: int) -> None:
    """A capture of so many files of a host that has nothing but sshd."""
    with TemporaryDirectory() as folder:
        home, work = Path(folder), Path(folder, "work")
        work.mkdir()
        with _many(home, number) as host:
            tree = RemoteFiles("docs", FilesSource(paths=(str(home / "source"),)), host).capture(work, None)
            assert tree.files == number
            assert tree.settler is not None and not tree.settler(()).changed


def agent(number: int) -> None:
    """A capture of so many files by the restic of their own host, and what is looked at again after it."""
    with TemporaryDirectory() as folder:
        home, work = Path(folder), Path(folder, "work")
        work.mkdir()
        program = find_restic(os.environ)
        to = Repository(
            program=program, location=str(home / "disk"), where="disk", host="docs", env={"RESTIC_PASSWORD": "x"},
            cache=home / "cache",
        )  # fmt: skip
        to.init()
        with _many(home, number) as host:
            declared = FilesSource(paths=(str(home / "source"),))
            sent = AgentFiles("docs", declared, Agent(host, program)).capture(work, None).send(to, {"run": "r"})
        assert sent.files == number


@contextmanager
def _many(home: Path, number: int) -> Iterator[SshHost]:
    make_small(home / "source", number)
    (home / "far").mkdir()
    with Far(home / "far") as server, reached(server) as host:
        yield host


def rebuild(number: int) -> None:
    """`dr points rebuild` of a system with so many runs on record at its target."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        make_disk(home)
        make_files(home / "source", [1_000])
        make_plan(home, "sis", f"{{files: {{paths: [{home}/source]}}}}")
        dr(home, "backup", "sis")
        _in_another_process(_on_record, home, number)
        (home / "state" / "catalog.sqlite").unlink()
        used = dr_used(home, "points", "rebuild")
        print(f"  {number:,} records: {used.seconds / number * 1e6:.0f} us of processor time each")
        print(used.peak)
        sys.exit()


def _on_record(home: Path, number: int) -> None:
    """Put so many proofs on record, and beside the repository."""
    now = moment(NOW)
    with Catalog.open(StateDir(home / "state")) as catalog:
        evidence = next((home / "disk").glob("**/00000001-*.json")).parent
        with catalog._connections.writing() as db:
            seq, last = chain.head(db)
            for each in range(number):
                fact = Proof(
                    run_id=f"verify-{each}", system="sis", target="disk", outcome="ok", started=now, finished=now,
                    level_asked=3, level_reached=3, points=tuple(f"run-{each + n}" for n in range(10)),
                )  # fmt: skip
                sealed = seal(seq=seq + 1, prev=last, fact=fact)
                (evidence / sealed.name).write_bytes(sealed.to_json())
                seq, last = sealed.seq, sealed.digest


ACTS = {"proof": proof, "sample": sample, "sftp": sftp, "agent": agent, "rebuild": rebuild}


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
            *more, taken, _ = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
            more = [line for line in more if line.startswith(" ")]
            print(*more, f"{act}, {size:,}: {float(taken):.0f} MB", sep="\n", flush=True)


if __name__ == "__main__":
    main()
