"""What proofs saw at targets: kept in rows, written only where they changed, taken over from what was kept before."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from dr.catalog.migrations import STEPS
from dr.catalog.store import Catalog
from dr.evidence.stored_object import HeldObjects, StoredObject
from dr.operations.proof_memory import memory_of, remember
from dr.run.verification.memory import VerifyMemory
from dr.tools.state_dir import StateDir

PACK, INDEX = "ab" * 32, "cd" * 32
#: The step by which a memory became rows.
ROWS = next(number for number, step in enumerate(STEPS, 1) if "create table stored_objects" in step)


def _kept_before(where: Path, texts: dict[str, str]) -> Catalog:
    """A catalog of before there were rows, with these texts kept of `sis`, by target."""
    where.mkdir()
    with sqlite3.connect(where / "catalog.sqlite") as old:
        for statement in ";".join(STEPS[: ROWS - 1]).split(";"):
            old.execute(statement)
        old.execute(f"pragma user_version = {ROWS - 1}")
        old.executemany("insert into memory values ('sis', ?, ?)", texts.items())
    old.close()
    return Catalog.open(StateDir(where))


def test_what_was_kept_as_one_text_is_taken_over_and_counts_as_never_read(tmp_path: Path) -> None:
    objects = {"config": 155, f"data/ab/{PACK}": 900, f"index/{INDEX}": 80, "data/ee/" + "ee" * 32: 7}
    text = {"objects": objects, "config_hash": "c0ffee", "share": 4, "packs": {PACK: 850}, "indexes": [INDEX]}
    learned = {"objects": {}, "config_hash": "", "share": 0, "packs": {PACK: 850}, "indexes": [INDEX]}
    kept = {
        "disk": json.dumps(text), "disk/index": json.dumps(learned), "/seen": "1764331200000000",
        "disk/expire": json.dumps({"20261124T010000Z-aaaaaa": "daily"}), "odd": "no JSON {",
        "edited": json.dumps({"objects": {"config": "many"}, "packs": [3], "indexes": {"a": 1}}),
    }  # fmt: skip
    with _kept_before(tmp_path / "old", kept) as catalog:
        memory = memory_of(catalog, "sis", "disk")
        assert {name: item.size for name, item in memory.objects.in_order()} == objects
        assert {item.read for _, item in memory.objects.in_order()} == {None}, "nobody noted how it was listed then"
        assert (memory.config_hash, memory.indexes, _packs(memory)) == ("c0ffee", (INDEX,), {PACK: 850})
        assert dict(memory.needed) == {name: size for name, size in objects.items() if "ee/" not in name}
        assert _packs(memory_of(catalog, "sis", "disk/index")) == {PACK: 850}
        edited = memory_of(catalog, "sis", "edited").objects.in_order()
        assert all(item.read is item.size is None for _, item in edited)
        for name in ("/seen", "disk/expire", "odd"):
            assert catalog.memory("sis", name) == kept[name] and memory_of(catalog, "sis", name).empty


def _packs(memory: VerifyMemory, indexes: tuple[str, ...] = (INDEX,), **read: dict[str, int]) -> dict[str, int]:
    """Return the packs that index files name: `read` are those that must be read for that, by the first letter."""
    named = memory.named_by(indexes, lambda each: read[each[0]].items())
    assert named.indexes == frozenset(indexes)
    return {item.name.rpartition("/")[2]: item.size for item in named.packs}


def test_an_index_file_that_was_read_is_not_read_again_and_what_one_named_that_is_gone_is_not() -> None:
    known = {f"data/{PACK[:2]}/{PACK}": StoredObject(indexed=850), f"index/{INDEX}": StoredObject(indexed=1)}
    memory, new, other = VerifyMemory(HeldObjects(known)), "ef" * 32, "aa" * 32
    assert _packs(memory) == {PACK: 850}
    assert _packs(memory, (INDEX, new), e={other: 3}) == {PACK: 850, other: 3}
    assert _packs(memory, (new,), e={other: 3}) == {other: 3}
    assert _packs(VerifyMemory(), (new,), e={other: 3}) == {other: 3}


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    known = {f"data/{n:02x}/{n:064x}": StoredObject(n, n, since=1, read=5) for n in range(200)}
    before = VerifyMemory(HeldObjects(known), "c0ffee")
    with Catalog.open(StateDir(tmp_path)) as catalog:
        remember(catalog, "sis", "disk", before=VerifyMemory(), after=before)
        memory = memory_of(catalog, "sis", "disk")
        assert (dict(memory.objects.in_order()), memory.config_hash) == (known, "c0ffee")
        assert memory_of(catalog, "sis", "vault").empty
        gone, again, *_ = known
        after = known | {again: known[again]._replace(read=9), "config": StoredObject(3)}
        del after[gone]
        assert catalog.keep_stored_objects("sis", "disk", HeldObjects(after)) == 3
        assert catalog.keep_stored_objects("sis", "disk", HeldObjects(after)) == 0
        assert dict(catalog.stored_objects("sis", "disk").in_order()) == after
        catalog.forget_stored_objects("sis", "disk", {again, "never there"})
        assert dict(catalog.stored_objects("sis", "disk").in_order()).keys() == after.keys() - {again}
