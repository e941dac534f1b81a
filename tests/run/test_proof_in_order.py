"""A proof that holds no dictionaries finds what one of dictionaries finds: missing, other size, ETag or time, rot,
unreferenced, new; of places that list in any order, with versions and without; run after run.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from dr.catalog.store import Catalog
from dr.errors import DamageError
from dr.evidence.stored_object import HeldObjects, StoredObject
from dr.operations.proof_memory import memory_of, remember
from dr.run.verification.decrypted_share import decrypt_share
from dr.run.verification.findings import Findings
from dr.run.verification.inventory import Inventory, listed
from dr.run.verification.memory import VerifyMemory
from dr.run.verification.rotation import ReadingRule
from dr.run.verification.stored_bytes import prove_bytes
from dr.tools.restic_events import Checked, Index
from dr.tools.state_dir import StateDir
from dr.tools.store import Stored
from tests.run import proof_by_dictionaries as reference

DAY = 86_400
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
CLEAN = Checked(0)
SEEDS = 6


@dataclass
class Bucket:
    """A repository of made-up bytes, and what its index says, as a place lists them."""

    rng: random.Random
    etags: bool
    ordered: bool
    items: dict[str, tuple[bytes, datetime, str]] = field(default_factory=dict)
    indexes: dict[str, dict[str, int]] = field(default_factory=dict)
    vanishing: set[str] = field(default_factory=set)  # listed, and not there when they are read
    where: str = "a bucket"

    def put(self, name: str, data: bytes, now: datetime) -> None:
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest() + self.rng.choice(("", "", "", "-2"))
        self.items[name] = data, now + timedelta(microseconds=self.rng.randrange(10**6)), etag if self.etags else ""

    def add(self, part: str, now: datetime) -> str:
        data = self.rng.randbytes(self.rng.randrange(1, 300))
        ident = hashlib.sha256(data).hexdigest()
        name = f"data/{ident[:2]}/{ident}" if part == "data/" else part + ident
        self.put(name, data, now)
        return ident

    def list(self, prefix: str = "") -> Iterator[Stored]:
        names = sorted(self.items)
        if not self.ordered:
            self.rng.shuffle(names)
        for name in names:
            data, modified, etag = self.items[name]
            yield Stored(name, len(data), modified, etag)

    def sha256(self, name: str) -> tuple[str, int]:
        if name in self.vanishing:
            raise DamageError("gone", name, hint="see there")
        data = self.items[name][0]
        return hashlib.sha256(data).hexdigest(), len(data)

    def indexed(self, ids: Collection[str]) -> Index:
        packs = dict[str, int]()
        for each in sorted(ids):
            packs |= self.indexes.get(each, {})
        return Index(packs, tuple(sorted(ids)))

    def check(self, *, read_data_subset: str) -> Checked:
        return CLEAN


def happens(bucket: Bucket, now: datetime) -> Checked | None:
    """Let some things happen to what is stored; return what restic's check says then."""
    rng, packs = bucket.rng, dict[str, int]()
    bucket.vanishing.clear()
    for _ in range(rng.randrange(4)):
        packs[bucket.add("data/", now)] = rng.randrange(1, 300)
    if packs and rng.random() < 0.8:
        bucket.indexes[bucket.add("index/", now)] = packs
    if rng.random() < 0.3:
        bucket.add(rng.choice(("snapshots/", "keys/", "data/")), now)
    for _ in range(rng.choice((0, 0, 1, 2))):
        harm(bucket, rng.choice(sorted(bucket.items)), now)
    if rng.random() < 0.2:
        bucket.put(rng.choice(("data/odd", "data/zz/" + "a" * 64, "index/x-tmp", "keys/Über", "other", "locks/1",
                               "data/" + "ab" * 32, "data/ab/" + "ab" * 32 + "-tmp-12")), b"?", now)  # fmt: skip
    name = rng.choice(sorted(name for name in bucket.items if name.startswith("data/")) or ["data/aa/" + "a" * 64])
    if rng.random() < 0.15:
        return Checked(1, errors=("x",), truncated={name.rpartition("/")[2]: (1, rng.randrange(400))})
    return rng.choice((None, CLEAN, CLEAN, CLEAN))


def harm(bucket: Bucket, name: str, now: datetime) -> None:
    rng, (data, at, etag) = bucket.rng, bucket.items[name]
    how = rng.choice(("missing", "size", "etag", "time", "rot", "moved", "vanishing", "copied", "empty"))
    if how in ("missing", "moved"):
        del bucket.items[name]
    if how == "vanishing":
        bucket.vanishing.add(name)
    if how in ("moved", "copied"):
        bucket.items[f"data/zz/{name.rpartition('/')[2]}"] = data, at, etag
    spoilt = bytes(255 - each for each in data)
    changed = {"size": (data[:-1], at, etag), "etag": (data, at, "e" * 32), "time": (data, now, etag),
               "rot": (spoilt, at, etag), "empty": (b"", at, etag)}  # fmt: skip
    if how in changed:
        bucket.items[name] = changed[how]


def test_what_is_found_and_remembered_is_the_same_with_and_without_dictionaries(tmp_path: Path) -> None:
    seen = Counter[str]()
    for seed in range(SEEDS):
        _live(seed, tmp_path / str(seed), seen)
    problems = {"missing", "truncated", "corrupt", "unreferenced"}
    assert seen.keys() >= problems | {"level 0", "level 2", "level 3", "in turn", "whole", "not all read"}, seen


def _live(seed: int, state: Path, seen: Counter[str]) -> None:
    """Prove a repository run after run, in both ways, whatever happens to it meanwhile."""
    rng, now = random.Random(seed), NOON
    bucket = Bucket(rng, etags=seed % 3 > 0, ordered=seed % 2 > 0)
    bucket.put("config", b"config", now)
    for part in ("keys/", "snapshots/", *["data/"] * 20):
        bucket.add(part, now)
    held: tuple[reference.Objects, str] = ({}, "")
    place = cast("Any", SimpleNamespace(store=bucket, repository=bucket, system="sis"))
    with Catalog.open(StateDir(state)) as catalog:
        for _ in range(25):
            now += timedelta(seconds=DAY * rng.choice((0.5, 1, 1, 3)))
            checked, level = happens(bucket, now), rng.choice((2, 3))
            rule = ReadingRule(whole_within=5 * DAY, budget=rng.choice((None, 400, 900, 10**6)), interval=DAY)
            on_record = frozenset(name for name in bucket.items if rng.random() < 0.9)
            theirs, there = Findings(on_record=on_record), reference.Listing.of(bucket.list())
            ours = _proven(place, Findings(on_record=on_record), checked, catalog, rule, now, level)
            held = reference.prove(
                place, theirs, there, checked, held, rule=rule, clock=lambda now=now: now, level=level
            )
            kept = memory_of(catalog, "sis", "vault")
            assert (ours.damage, ours.level, ours.coverage) == (theirs.damage, theirs.level, theirs.coverage)
            assert (ours.objects, ours.bytes, ours.share) == (theirs.objects, theirs.bytes, theirs.share)
            assert (dict(kept.objects.in_order()), kept.config_hash) == held
            seen.update([*(item.problem for item in ours.damage), f"level {ours.level}"])
            seen.update(["whole" if rule.reads_all(10**5) else "in turn", "not all read" if ours.behind else ""])
            gone = {item.object for item in theirs.damage if rng.random() < 0.5}
            for name in gone:  # repaired, and off the record
                bucket.items.pop(name, None)
            held = ({name: item for name, item in held[0].items() if name not in gone}, held[1])
            catalog.forget_stored_objects("sis", "vault", gone)
            if "config" not in bucket.items and rng.random() < 0.5:
                bucket.put("config", b"config", now)


def _proven(
    place: Any, found: Findings, checked: Checked | None, catalog: Catalog, rule: ReadingRule, now: datetime, level: int
) -> Findings:
    before, stored = memory_of(catalog, "sis", "vault"), listed(place.store)
    how = {"rule": rule, "clock": lambda: now}
    after = prove_bytes(place, found, stored, checked, before, keep=print, **how)
    if level == 3 and found.level == 2:
        after = decrypt_share(place, found, after, stored, **how)
    remember(catalog, "sis", "vault", before=before, after=after)
    return found


def test_an_inventory_tells_of_each_object_as_it_was_listed_in_whatever_order() -> None:
    rng, now = random.Random(3), NOON
    bucket = Bucket(rng, etags=True, ordered=False)
    for part in ("data/", "index/", "keys/", "snapshots/") * 30:
        bucket.add(part, now)
    for name in ("config", "data/" + "a" * 64, "data/00/" + "b" * 64, "snapshots/deep/" + "c" * 64):
        bucket.put(name, b"odd", now)
    items = list(bucket.list())
    others = {"data/", "data/ab/short", "data/00/" + "A" * 64, "snapshots/é", "index/" + "d" * 64 + "-tmp-1"}
    strange = [Stored(name, 3, NOON, "") for name in others]
    twice = Inventory([*items, items[5], Stored(items[7].name, 9, NOON, "newer"), *strange])
    assert twice.left.keys() == others, "restic passes over them"
    found = list(twice)
    assert [item.name for item in found] == sorted(bucket.items) and len(twice) == len(bucket.items)
    assert sorted(item.row for item in found) == list(range(len(twice)))
    for item in found:
        data, modified, etag = bucket.items[item.name]
        if item.name == items[7].name:
            data, modified, etag = b"9" * 9, NOON, "newer"
        assert item[1:4] == (len(data), round(modified.timestamp() * 1e6), etag)
        assert twice.at(item.row) == item == twice.find(item.name)
    assert twice.bytes == sum(item.size for item in found)
    for part in ("data/", "index/", "keys/", "snapshots/"):
        assert [x.name for x in twice.in_order(part)] == sorted(x for x in bucket.items if x.startswith(part))
    for absent in ("data/ab/" + "ab" * 32, "index/" + "0" * 64, "index/", "", "snapshots/" + "f" * 64):
        assert absent not in twice


def test_rows_are_read_in_pages_while_what_lies_behind_is_written(tmp_path: Path) -> None:
    objects = {f"data/{n % 256:02x}/{n:064x}": StoredObject(n, n, since=1) for n in range(5_000)}
    objects |= {"config": StoredObject(3), "index/" + "0" * 64: StoredObject(4)}
    with Catalog.open(StateDir(tmp_path)) as catalog:
        assert catalog.keep_stored_objects("sis", "disk", HeldObjects(objects)) == len(objects)
        assert catalog.keep_stored_objects("sis", "disk", HeldObjects(objects)) == 0
        rows = catalog.stored_objects("sis", "disk")
        assert list(rows.in_order()) == sorted(objects.items())
        assert [name for name, _ in rows.in_order("index/")] == ["index/" + "0" * 64]
        seen = VerifyMemory(rows).without_keys({"x"}).objects
        assert catalog.keep_stored_objects("sis", "disk", _Every(seen)) == len(objects), "made of itself on the way"
        read = {name: item._replace(read=7) for name, item in objects.items() if int(item.size or 0) % 2}
        assert list(rows.in_order()) == sorted(read.items())


@dataclass
class _Every:
    """Each second object, as read; of the others nothing is known any more."""

    objects: Any

    def in_order(self, part: str = "") -> Iterator[tuple[str, StoredObject]]:
        return ((name, item._replace(read=7)) for name, item in self.objects.in_order(part) if item.size % 2)
