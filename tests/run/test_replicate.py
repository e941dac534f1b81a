"""A repository's objects come to another place in an order that is valid at every instant, and none that is bad."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from dr.errors import DamageError, DrError
from dr.run.replication.copy_repository import PASSES, copy_repository, same_repository
from dr.run.verification.inventory import Inventory
from dr.run.verification.memory import Named
from dr.tools import s3
from dr.tools.disk import DiskStore
from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys
from dr.tools.store import ObjectStore, Stored


def put(store: ObjectStore, part: str, data: bytes | None = None) -> str:
    data = os.urandom(2_000) if data is None else data
    name = hashlib.sha256(data).hexdigest()
    name = f"data/{name[:2]}/{name}" if part == "data" else f"{part}/{name}"
    store.put(name, data)
    return name


def fill(store: ObjectStore) -> None:
    store.put("config", b"config of this repository")
    for part, count in (("keys", 1), ("data", 30), ("index", 3), ("snapshots", 2), ("locks", 1)):
        for _ in range(count):
            put(store, part)


def names(store: ObjectStore) -> set[str]:
    return {item.name for item in store.list()}


class Recorded(DiskStore):
    """A replica that notes what is written, in order."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.written: list[str] = []
        self._guard = threading.Lock()

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        with self._guard:
            self.written.append(name.partition("/")[0])
        return super().take(name, source, sha256=sha256, version=version)

    def put(self, name: str, data: bytes) -> None:
        self.written.append(name)
        super().put(name, data)


class Told:
    """An insight that a test writes."""

    def __init__(self, packs: Collection[str] = (), needs: dict[str, set[str]] | None = None) -> None:
        self.packs, self.needs = packs, needs or {}

    def named(self) -> Inventory:
        return Named.of(((pack, 0) for pack in self.packs), frozenset()).packs

    def needing(self, packs: Sequence[str]) -> Collection[str]:
        return {snapshot for pack in packs for snapshot in self.needs.get(pack, set())}


@pytest.fixture
def source(tmp_path: Path) -> DiskStore:
    store = DiskStore(tmp_path / "source")
    fill(store)
    return store


@pytest.fixture(params=["disk to disk", "disk to bucket", "bucket to disk", "one service", "two services"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ObjectStore, ObjectStore]:
    def bucket(server: str) -> ObjectStore:
        service, name = request.getfixturevalue(server), f"test-{os.urandom(6).hex()}"
        service.client().create_bucket(Bucket=name)
        keys = S3Keys(service.access_key, service.secret_key)
        return S3Store(endpoint=service.endpoint, bucket=name, prefix="x", keys=keys)

    disks = iter((DiskStore(tmp_path / "one"), DiskStore(tmp_path / "two")))
    source: ObjectStore = next(disks) if request.param.startswith("disk") else bucket("s3")
    fill(source)
    if request.param.endswith("disk"):
        return source, next(disks)
    return source, bucket("other_s3" if request.param == "two services" else "s3")


def test_everything_but_locks_comes_over_once(ends: tuple[ObjectStore, ObjectStore]) -> None:
    source, to = ends
    done = copy_repository(source, to)
    assert names(to) == {name for name in names(source) if not name.startswith("locks/")}
    assert all(to.get(name) == source.get(name) for name in names(to))
    assert done.objects == done.objects_copied == 37 and done.bytes == done.bytes_copied and done.passes == 1
    assert len(done.snapshots) == 2 and not (done.corrupt or done.missing or done.held)
    put(source, "data")
    again = copy_repository(source, to)
    assert (again.objects, again.objects_copied, again.bytes_copied) == (38, 1, 2_000)


def test_a_corrupt_object_is_named_and_never_written(ends: tuple[ObjectStore, ObjectStore]) -> None:
    source, to = ends
    bad = sorted(name for name in names(source) if name.startswith("data/"))[7]
    good = source.get(bad)
    source.put(bad, good[:-1] + bytes([good[-1] ^ 1]))
    done = copy_repository(source, to)
    assert done.corrupt == {bad} and bad not in names(to)
    assert len(done.held) == 2 and not done.snapshots, "without the passphrase nothing vouches for a snapshot"
    source.put(bad, good)
    assert len(copy_repository(source, to).snapshots) == 2


@pytest.mark.parametrize("ends", ["one service", "two services"], indirect=True)
def test_what_is_too_large_for_one_request_goes_in_parts(
    ends: tuple[ObjectStore, ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, to = ends
    monkeypatch.setattr(s3, "_ONE_COPY", 1_000_000)
    name = put(source, "data", os.urandom(9_000_000))
    copy_repository(source, to)
    assert to.get(name) == source.get(name)


@pytest.mark.parametrize("ends", ["one service"], indirect=True)
def test_a_copy_that_the_service_made_wrong_is_an_error(
    ends: tuple[ObjectStore, ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, to = ends

    def wrong(self: S3Store, name: str, source: S3Store, *, size: int) -> bool:
        self.put(name, b"0" * size)
        return True

    monkeypatch.setattr(S3Store, "_copied_there", wrong)
    with pytest.raises(DamageError, match="is not what was copied"):
        copy_repository(source, to)
    assert not any(name.startswith("snapshots/") for name in names(to))


def test_the_order_is_keys_and_config_then_data_then_index_then_snapshots(source: DiskStore, tmp_path: Path) -> None:
    to = Recorded(tmp_path / "to")
    copy_repository(source, to)
    assert list(dict.fromkeys(to.written)) == ["keys", "config", "data", "index", "snapshots"]


def test_only_snapshots_that_need_what_is_corrupt_are_held_back(source: DiskStore, tmp_path: Path) -> None:
    one, two = (name.rpartition("/")[2] for name in sorted(names(source)) if name.startswith("snapshots/"))
    bad = next(name for name in sorted(names(source)) if name.startswith("data/"))
    pack = bad.rpartition("/")[2]
    (source.root / bad).write_bytes(b"rotten")
    done = copy_repository(source, DiskStore(tmp_path / "to"), insight=Told(needs={pack: {one}}))
    assert done.held == {one} and done.snapshots == {two}


def test_a_pack_that_is_nowhere_holds_back_what_needs_it(source: DiskStore, tmp_path: Path) -> None:
    one, two = (name.rpartition("/")[2] for name in sorted(names(source)) if name.startswith("snapshots/"))
    gone = next(name for name in sorted(names(source)) if name.startswith("data/"))
    pack = gone.rpartition("/")[2]
    (source.root / gone).unlink()
    done = copy_repository(source, DiskStore(tmp_path / "to"), insight=Told({pack}, {pack: {two}}))
    assert done.missing == {gone} and done.held == {two} and done.snapshots == {one}


def test_what_the_replica_has_whole_is_not_lost_with_the_source(source: DiskStore, tmp_path: Path) -> None:
    to = DiskStore(tmp_path / "to")
    copy_repository(source, to)
    bad = next(name for name in sorted(names(source)) if name.startswith("data/"))
    (source.root / bad).write_bytes(b"cut")
    new = put(source, "snapshots").rpartition("/")[2]
    done = copy_repository(source, to)
    assert done.corrupt == {bad} and new in done.snapshots and not done.held
    assert hashlib.sha256(to.get(bad)).hexdigest() == bad.rpartition("/")[2]


def test_what_is_damaged_at_the_replica_is_written_anew_when_named(source: DiskStore, tmp_path: Path) -> None:
    to = DiskStore(tmp_path / "to")
    copy_repository(source, to)
    bad = next(name for name in sorted(names(to)) if name.startswith("data/"))
    (to.root / bad).write_bytes(b"x" * 2_000)
    assert copy_repository(source, to).objects_copied == 0, "by name and size alone it is not seen"
    assert copy_repository(source, to, again=[bad]).objects_copied == 1
    assert to.get(bad) == source.get(bad)


def test_nothing_is_deleted_with_the_source(source: DiskStore, tmp_path: Path) -> None:
    to = DiskStore(tmp_path / "to")
    copy_repository(source, to)
    before = names(to)
    for name in sorted(names(source)):
        if name.startswith("data/"):
            (source.root / name).unlink()
    copy_repository(source, to)
    assert names(to) == before


def test_another_repository_is_never_mixed_in(source: DiskStore, tmp_path: Path) -> None:
    to = DiskStore(tmp_path / "to")
    to.put("config", b"another")
    assert not same_repository(source, to)
    with pytest.raises(DrError, match="another repository"):
        copy_repository(source, to)
    assert names(to) == {"config"}, "not even a key: with the same passphrase it would lock the owner out"


def test_a_corrupt_index_holds_back_what_is_new(source: DiskStore, tmp_path: Path) -> None:
    class Unreadable(Told):
        def named(self) -> Inventory:
            raise DrError("the index cannot be read", hint="none")

    bad = next(name for name in sorted(names(source)) if name.startswith("index/"))
    (source.root / bad).write_bytes(b"rotten")
    done = copy_repository(source, DiskStore(tmp_path / "to"), insight=Unreadable())
    assert done.corrupt == {bad} and len(done.held) == 2 and not done.snapshots


def test_an_index_that_restic_cannot_read_for_another_reason_is_an_error(source: DiskStore, tmp_path: Path) -> None:
    class Unreadable(Told):
        def named(self) -> Inventory:
            raise DrError("the index cannot be read", hint="none")

    with pytest.raises(DrError, match="cannot be read"):
        copy_repository(source, DiskStore(tmp_path / "to"), insight=Unreadable())
    assert not [name for name in names(DiskStore(tmp_path / "to")) if name.startswith("snapshots/")]


class Pruned(DiskStore):
    """A source where a prune rewrites index and packs while the data is listed, so many times."""

    def __init__(self, root: Path, times: int) -> None:
        super().__init__(root)
        self.times = times

    def list(self, prefix: str = "") -> Iterator[Stored]:
        if prefix == "data/" and self.times:
            self.times -= 1
            old = [min(item.name for item in DiskStore.list(self, part)) for part in ("index/", "data/")]
            put(self, "index")
            for name in old:
                (self.root / name).unlink()
        return super().list(prefix)


def test_a_prune_meanwhile_has_all_listed_anew(source: DiskStore, tmp_path: Path) -> None:
    to = DiskStore(tmp_path / "to")
    done = copy_repository(Pruned(source.root, 2), to)
    assert done.passes == 3 and len(done.snapshots) == 2
    wanted = {name for name in names(source) if not name.startswith("locks/")}
    assert wanted <= names(to)


def test_a_source_that_never_stands_still_gives_no_snapshot(source: DiskStore, tmp_path: Path) -> None:
    to = DiskStore(tmp_path / "to")
    with pytest.raises(DrError, match="each time again"):
        copy_repository(Pruned(source.root, PASSES), to)
    assert not [name for name in names(to) if name.startswith("snapshots/")]


def test_what_a_killed_writer_left_is_swept(source: DiskStore, tmp_path: Path) -> None:
    to = DiskStore(tmp_path / "to")
    copy_repository(source, to)
    left = to.root / "data" / "00" / f".{'0' * 64}.deadbeef"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    (to.root / ".dr-target").write_text("ours")
    assert to.tidy() == 1 and not left.exists() and (to.root / ".dr-target").exists()
