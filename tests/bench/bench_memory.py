"""Peak memory of what might be held of all that is stored or captured, at two sizes: whether it grows with them.

Each row of `ROWS` is done in a process of its own, once for each size. What is held is counted above what the process
held before; of whole commands all that the program needs is in it. Run: `python tests/bench/bench_memory.py`, or one
row at any sizes: `… --act sftp --sizes 500000`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from uuid import UUID

from dr.catalog import chain
from dr.catalog.store import Catalog
from dr.evidence import manifest
from dr.evidence.manifest import Entry
from dr.evidence.record import Proof
from dr.evidence.seal import seal
from dr.evidence.stored_object import HeldObjects, StoredObject, moment
from dr.operations.proof_memory import memory_of, remember
from dr.plan.source_kinds import FilesSource
from dr.plan.target_kind import Immutability
from dr.run.backup.last_look import compare, keep, kept
from dr.run.immutability.extend_locks import extend_locks
from dr.run.recovery.sample import choose, summed_up
from dr.run.replication.copy_repository import copy_repository
from dr.run.replication.retention.forget import look as look_at_both
from dr.run.replication.retention.pending_deletion import looked
from dr.run.verification.comparison import ListingComparison
from dr.run.verification.inventory import Inventory, id_of
from dr.run.verification.memory import Expected, Named, Seen, VerifyMemory
from dr.run.verification.rotation import ReadingRule, coverage_of, to_read
from dr.run.workspace.toolbox import Place
from dr.sources.agent import AgentFiles
from dr.sources.remote_files import RemoteFiles
from dr.tools.agent import Agent
from dr.tools.rclone import Rclone
from dr.tools.rclone_store import RcloneStore
from dr.tools.rest import RestService
from dr.tools.rest_store import RestStore
from dr.tools.restic import Repository
from dr.tools.restic_program import find_restic
from dr.tools.s3_bucket import S3Bucket
from dr.tools.s3_versions import Lock
from dr.tools.ssh import SshHost
from dr.tools.state_dir import StateDir
from dr.tools.store import ObjectStore, Stored, Version
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


class Listing:
    """A place that lists so many objects; but for some, where it is a `replica`. It takes what it is given."""

    where = "a listing"

    def __init__(self, number: int, *, replica: bool = False) -> None:
        self.number, self.replica = number, replica

    def list(self, prefix: str = "") -> Iterator[Stored]:
        for each, (name, size, version) in enumerate(_stored(self.number)):
            if name.startswith(prefix) and not (self.replica and each % NEW == 0):
                yield Stored(name, size, _WRITTEN, version)
        for part in ("index/",) if self.replica else ("index/", "snapshots/"):
            if part.startswith(prefix):
                yield Stored(f"{part}{'a' * 64}", 1_000, _WRITTEN)

    def get(self, name: str) -> bytes:
        return b"config"

    def exists(self, name: str) -> bool:
        return True

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        return True


class _ByIndex:
    """What the index names of so many objects, beside what is known of them."""

    def __init__(self, known: VerifyMemory, number: int) -> None:
        self._known, self._number = known, number

    def named(self) -> Inventory:
        data = ((id_of(name), size) for name, size, _ in _stored(self._number) if name != "config")
        return self._known.named_by({"a" * 64}, lambda each: data).packs

    def needing(self, packs: object) -> tuple[str, ...]:
        return ()


def replicate(number: int) -> None:
    """A copying of what is new of so many objects, to where the others are."""
    with TemporaryDirectory() as folder:
        _in_another_process(_known, Path(folder), number)
        with Catalog.open(StateDir(Path(folder))) as catalog:
            known = memory_of(catalog, "sis", "vault")
            source, to = (cast("ObjectStore", Listing(number, replica=replica)) for replica in (False, True))
            done = copy_repository(source, to, insight=_ByIndex(known, number), proven=known.objects)
            assert done.objects_copied == number // NEW + 2 and len(done.snapshots) == 1, done


def look(number: int) -> None:
    """A backup's look at a target that holds so many objects, held against the last one."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "sis@disk.look")
        keep(path, Inventory(Listing(number, replica=True).list()))
        there = Inventory(Listing(number).list())
        found = compare(kept(path), there, most=100)
        assert found.known and found.grown and not (found.gone or found.number)
        keep(path, there)


def forget(number: int) -> None:
    """A look at a primary and its replica, of which one in a thousand objects is at the replica alone."""
    places = (cast("ObjectStore", Listing(number, replica=replica)) for replica in (True, False))
    seen = look_at_both(*places)
    now = datetime.now(UTC)
    gone = looked([], seen.sizes, seen.at_primary, now=now, delay=86_400)
    assert len(gone) == number // NEW + 1, len(gone)


class _Vault:
    """A bucket with Object Lock that holds so many objects, each locked for thirty days, but lists no restic."""

    where, calls, number = "a vault", 0, 0

    def now(self) -> None:
        """See `S3Bucket`."""

    def versions(self) -> Iterator[Version]:
        for name, size, version in _stored(self.number):
            yield Version(name, str(UUID(version)), size, _WRITTEN, latest=True)

    def lock_of(self, name: str, version: str) -> Lock:
        return Lock("compliance", _WRITTEN + timedelta(days=30))


def locks(number: int) -> None:
    """Two runs that look at the locks of so many objects, of which none is due."""
    bucket = _Vault()
    bucket.number = number
    rules = Immutability.model_validate({"mode": "compliance", "days": 30})
    place = SimpleNamespace(
        name="vault", target=SimpleNamespace(locks=rules, place=("s3", "vault")), repository=SimpleNamespace(host="sis")
    )
    with TemporaryDirectory() as folder:
        for _ in range(2):
            found = extend_locks(
                cast("Place", place), cast("S3Bucket", bucket), state=StateDir(Path(folder)), now=moment(NOW), live=()
            )
            assert found.state.outcome == "ok" and found.state.needed == number + 1, found.state
            assert found.of_snapshots(["none"]) is None and found.needed
            del found


class _Answering(BaseHTTPRequestHandler):
    """A REST server with so many objects."""

    number = 0

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        mark = b"["
        for name, size, _ in _stored(self.number) if self.path.endswith("/data/") else ():
            if name != "config":
                self.wfile.write(mark + json.dumps({"name": id_of(name), "size": size}).encode())
                mark = b","
        self.wfile.write(b"]" if mark == b"," else b"[]")

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


def _answer(number: int, port: Any) -> None:
    _Answering.number = number
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        port.send(server.server_address[1])
        server.serve_forever()


def rest(number: int) -> None:
    """A listing of so many objects by a REST server."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_answer, args=(number, there))
    server.start()
    try:
        store = RestStore(RestService(f"http://127.0.0.1:{here.recv()}"), "sis")
        assert sum(1 for _ in store.list()) == number
    finally:
        server.terminate()
        server.join()


def rclone(number: int) -> None:
    """A listing of so many objects by rclone, of a directory."""
    with TemporaryDirectory() as folder:
        for name, _, _ in _stored(number):
            path = Path(folder, "sis", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        config = Path(folder, "rclone.conf")
        config.write_text("[disk]\ntype = local\n")
        store = RcloneStore(Rclone(f"disk:{folder}", config), "sis")
        assert sum(1 for _ in store.list()) == number + 1


def sample(number: int) -> None:
    """A drill's choice among so many files."""
    with TemporaryDirectory() as folder:
        listed = Path(folder, "dr-manifest")
        manifest.write(listed, {}, _entries(number))
        files = {"data": partial(manifest.read, listed)}
        found = choose(files, {}, limit=number * 500, begin=0)
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


class Row(NamedTuple):
    """What is done, and at which sizes; how many MB it may hold at the largest, and more than at the smallest."""

    act: Callable[[int], None]
    sizes: tuple[int, ...]
    most: int
    grows: int = 10

    @property
    def name(self) -> str:
        """What it is called."""
        return self.act.__name__


ROWS = (
    Row(proof, (10_000, 100_000), 300, grows=30),
    Row(look, (10_000, 100_000), 300, grows=30),
    Row(replicate, (10_000, 100_000), 300, grows=30),
    Row(forget, (10_000, 100_000), 300, grows=30),
    Row(locks, (10_000, 100_000), 300, grows=30),
    Row(rest, (10_000, 100_000), 150),
    Row(rclone, (10_000, 100_000), 150),
    Row(sample, (10_000, 100_000), 150),
    Row(sftp, (10_000, 40_000), 150),
    Row(agent, (10_000, 40_000), 150),
    Row(rebuild, (10_000, 40_000), 150),
)


def main() -> None:
    """Measure all rows, or one; or, as the process of one row and size, do that and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--act", choices=[row.name for row in ROWS])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    for row in ROWS:
        if asked.act in (None, row.name):
            if asked.here:
                _do(row.act, *asked.sizes)
            else:
                _measure(row, asked.sizes or row.sizes)


def _do(act: Callable[[int], None], size: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    act(size)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def _measure(row: Row, sizes: Sequence[int]) -> None:
    taken = []
    for size in sizes:
        argv = [sys.executable, __file__, "--here", "--act", row.name, "--sizes", str(size)]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()
        *more, last, _ = said  # the last line is of the processor
        taken.append(float(last))
        goal = f" (goal {row.most} MB)" if size <= max(row.sizes) else ""
        print(
            *(line for line in more if line.startswith(" ")),
            f"{row.name}, {size:,}: {taken[-1]:.0f} MB{goal}",
            sep="\n",
        )
    if len(taken) > 1:
        print(f"  {taken[-1] - taken[0]:+.0f} MB from {sizes[0]:,} to {sizes[-1]:,} (goal {row.grows} MB)", flush=True)


if __name__ == "__main__":
    main()
