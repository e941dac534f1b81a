"""What is known of locks, in rows and in a file: what was put in comes back, also from what an earlier release kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from dr.evidence.stored_object import micros, moment
from dr.run.immutability.lock_state import LockMemory, NeededLocks
from dr.run.immutability.original_versions import originals
from dr.tools.s3_versions import S3Versions
from dr.tools.store import Version

AT = moment(1_800_000_000_250_000)
DAY = timedelta(days=1)
PLACE = ["https://s3.district.example", "vault"]
IDS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(40)]
NAMES = [
    "config", "config?oldest", "index/notes", f"data/zz/{IDS[0]}", f"data/{IDS[0]}", "data/n\udcffn",
    *(f"{part}/{each}" for part, each in zip(("index", "keys", "snapshots"), IDS, strict=False)),
    *(f"data/{each[:2]}/{each}" for each in IDS),
]  # fmt: skip
VERSIONS = ["null", "3L4kqtJlcpXroDTDmBy8hzM7xTBN9wDr", "d" * 32, "4c0f3a2e-6a8a-4f6e-9d0e-0f6c8a1b2c3d", "A" * 32]


def there(names: Iterable[str] = NAMES) -> list[tuple[str, Version, bool]]:
    return [
        (name, Version(name, VERSIONS[number % 5], 1, AT + number * DAY), number % 2 == 0)
        for number, name in enumerate(names)
    ]


def test_what_is_there_comes_back_by_its_name_and_what_is_kept_of_it_by_its_version(tmp_path: Path) -> None:
    memory = LockMemory.load(tmp_path / "locks", place=PLACE)
    assert memory.take(there()) and len(memory) == len(NAMES)
    assert {memory.name(row) for row in range(len(memory))} == set(NAMES) and memory.find("data/ab/other") is None
    for name, version, on_top in there():
        row = memory.find(name)
        assert row is not None and memory.name(row) == name and memory.is_head(row) is on_top
        assert (memory.at(row).version, memory.at(row).modified, memory.at(row).until) == (
            version.id,
            AT + DAY * NAMES.index(name),
            None,
        )
    assert memory.pack(IDS[3][:8]) == memory.find(f"data/{IDS[3][:2]}/{IDS[3]}") and memory.pack("00000000") is None
    first, *others = range(len(memory))
    memory.locked(first, AT + DAY)
    for row in others:
        memory.locked(row, AT + 9 * DAY)
    memory.spare([others[0]])
    memory.frozen = AT
    memory.save()
    again = LockMemory.load(tmp_path / "locks", place=PLACE)
    anew = [(name, version, True) for name, version, _ in there()]
    anew[5] = ("data/n\udcffn", Version("", "another", 1, AT), True)
    assert again.take(reversed(anew)) and again.frozen == AT
    changed = again.find("data/n\udcffn")
    assert list(again.new()) == [changed] and set(again.due(AT + 2 * DAY)) == {changed, first}
    needed = NeededLocks(again)
    assert len(needed) == len(NAMES) - 1 == len(set(needed)) and memory.name(others[0]) not in needed
    assert needed[memory.name(first)].until == AT + DAY
    other = LockMemory.load(tmp_path / "locks", place=["elsewhere"])
    assert other.take(there()) and other.frozen is None and len(other.new()) == len(NAMES)


def test_what_an_earlier_release_kept_is_read(tmp_path: Path) -> None:
    objects = {
        name: [version.id, version.modified.timestamp(), (AT + DAY).timestamp(), 1] for name, version, _ in there()
    }
    objects["config"] = ["null", AT.timestamp(), None, 1]
    kept = {"place": PLACE, "objects": objects, "spare": [NAMES[7]], "frozen": AT.timestamp()}
    (tmp_path / "locks").write_text(json.dumps(kept))
    memory = LockMemory.load(tmp_path / "locks", place=PLACE)
    assert memory.take(there()) and memory.frozen == AT and not memory.new()
    (spare,) = [name for name in NAMES if name not in NeededLocks(memory)]
    row = memory.find("config")
    assert row is not None and memory.times(row) == (micros(AT), None)
    assert spare == NAMES[7] and memory.at(row).until is None and memory.first_to_run_out([row, 3])[0] == row


@pytest.mark.parametrize("spoil", ["[", '["config","null"]', '["config","null","x",0]', "{}", "\udcff"])
def test_of_a_file_that_cannot_be_understood_nothing_counts(tmp_path: Path, spoil: str) -> None:
    memory = LockMemory.load(tmp_path / "locks", place=PLACE)
    memory.take(there())
    for row in range(len(memory)):
        memory.locked(row, AT)
    memory.save()
    with (tmp_path / "locks").open("a", errors="surrogateescape") as file:
        file.write(f"{spoil}\n")
    again = LockMemory.load(tmp_path / "locks", place=PLACE)
    again.take(there())
    assert len(again.new()) == len(NAMES)


def test_a_listing_in_no_order_is_noticed() -> None:
    name, other = NAMES[-1], NAMES[-2]
    versions = [Version(each, "v", 1, AT) for each in (name, other, name)]
    bucket = cast("S3Versions", None)
    memory = LockMemory(Path("none"), ())
    assert not memory.take(originals(bucket, versions))
    assert memory.take(originals(bucket, sorted(versions, key=lambda version: version.name))) and len(memory) == 2
