"""A repository is copied as it would be by dictionaries of all objects: the same comes over, is held back and is told."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from dr.errors import DamageError, DrError
from dr.evidence.stored_object import HeldObjects, StoredObject
from dr.run.replication.copy_repository import Copied, copy_repository
from dr.run.verification.inventory import Inventory
from dr.run.verification.memory import Named
from dr.tools.store import ObjectStore, Stored, is_object

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
PARTS = ("keys/", "data/", "index/", "snapshots/")
Objects = dict[str, bytes]


@dataclass
class Held:
    """A place in memory that lists in any order, and notes what is taken there, in which version."""

    objects: Objects
    dice: random.Random
    taken: dict[str, str] = field(default_factory=dict)
    where: str = "memory"

    def list(self, prefix: str = "") -> Iterator[Stored]:
        names = [name for name in self.objects if name.startswith(prefix)]
        for name in self.dice.sample(names, len(names)):
            yield Stored(name, len(self.objects[name]), NOON)

    def get(self, name: str) -> bytes:
        return self.objects[name]

    def exists(self, name: str) -> bool:
        return name in self.objects

    def put(self, name: str, data: bytes) -> None:
        self.objects[name] = data

    def sha256(self, name: str) -> tuple[str, int]:
        return hashlib.sha256(self.objects[name]).hexdigest(), len(self.objects[name])

    def take(self, name: str, source: ObjectStore, *, sha256: str, version: str = "") -> bool:
        self.taken[name] = version
        if source.sha256(name)[0] == sha256:
            self.objects[name] = source.get(name)
            return True
        return False


@dataclass
class Told:
    packs: Mapping[str, int]
    needs: Mapping[str, set[str]]

    def named(self) -> Inventory:
        return Named.of(self.packs.items(), frozenset()).packs

    def needing(self, packs: Sequence[str]) -> Collection[str]:
        return {snapshot for pack in packs for snapshot in self.needs.get(pack, ())}


def by_dictionaries(
    source: Objects, to: Objects, again: Collection[str], proven: Mapping[str, str], told: Told
) -> tuple[Objects, dict[str, str], Copied]:
    """What is at the place then, what was taken in which version, and what is told of it."""
    stored = {n: data for n, data in source.items() if n.startswith(PARTS) and is_object(n)}
    there, taken, done = dict(to), dict[str, str](), Copied(objects=1 + len(stored))
    done.bytes = sum(map(len, stored.values())) + len(source["config"])
    snapshots = {name for name in stored if name.startswith("snapshots/")}
    curious, before = not snapshots <= to.keys(), set(to)

    def copy(part: str) -> None:
        for name, data in stored.items():
            lacks = name not in to or len(to[name]) != len(data) or name in again
            if not name.startswith(part) or not lacks or _id(name) in done.held:
                continue
            taken[name] = proven.get(name, "")
            if _is_whole(name, data):
                there[name] = data
                done.objects_copied += 1
                done.bytes_copied += len(data)
            else:
                done.corrupt.add(name)

    if "config" not in to:
        there["config"] = source["config"]
        done.objects_copied, done.bytes_copied = 1, len(source["config"])
    for part in ("keys/", "data/"):
        copy(part)
    packs = {f"data/{pack[:2]}/{pack}" for pack in told.packs} if curious else set()
    done.missing = {name for name in packs if name not in there and name not in source}
    copy("index/")
    lacking = {n for n in done.corrupt | done.missing if not (n in there and _is_whole(n, there[n]))}
    new = {_id(name) for name in snapshots if name not in before}
    if any(name.startswith("index/") for name in lacking):
        done.held = new
    else:
        done.held = new & set(told.needing([_id(name) for name in lacking if name.startswith("data/")]))
    copy("snapshots/")
    done.snapshots = {_id(name) for name in there if name.startswith("snapshots/") and is_object(name)}
    return there, taken, done


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _is_whole(name: str, data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == _id(name)


def _repository(dice: random.Random) -> Objects:
    made = {"config": b"config", "locks/" + "1" * 64: b"lock", "data/" + "ab" * 32 + "-tmp-1": b"part"}
    for part, number in (("keys/", 2), ("data/", 14), ("index/", 3), ("snapshots/", 4)):
        for _ in range(dice.randrange(number + 1)):
            data = dice.randbytes(dice.randrange(1, 40))
            ident = hashlib.sha256(data).hexdigest()
            made[f"data/{ident[:2]}/{ident}" if part == "data/" else part + ident] = data
    made |= {name: b"?" for name in ("data/odd", "index/Über", "other") if dice.random() < 0.1}
    return made


@pytest.mark.parametrize("seed", range(30))
def test_what_is_copied_and_told_is_what_dictionaries_of_all_objects_give(seed: int) -> None:
    dice = random.Random(seed)
    source = _repository(dice)
    to = {name: data for name, data in source.items() if dice.random() < dice.choice((0, 0.5, 0.95, 1))}
    to |= _repository(dice) if dice.random() < 0.3 else {}
    names = [name for name in source if name.startswith(PARTS)]
    for name in dice.sample(names, min(len(names), dice.choice((0, 0, 1, 4)))):
        spoilt = dice.choice((source, to))
        if name in spoilt:
            spoilt[name] = dice.choice((spoilt[name] + b"!", bytes(255 - each for each in spoilt[name])))
    packs = {_id(name): 1 for name in source if name.startswith("data/") and len(_id(name)) == 64}
    for name in [name for name in source if name.startswith("data/") and dice.random() < 0.1]:
        del source[name]
    snapshots = [_id(name) for name in source if name.startswith("snapshots/")]
    told = Told(packs, {pack: {each for each in snapshots if dice.random() < 0.3} for pack in packs})
    again = dice.sample(sorted(source), 2)
    proven = {name: f"version of {name}" for name in source if dice.random() < 0.5}
    there, taken, expected = by_dictionaries(source, to, again, proven, told)
    kept = HeldObjects({name: StoredObject(version=each, read=1) for name, each in proven.items()})
    place, done = Held(to, dice), Copied()
    copy_repository(Held(source, dice), place, insight=told, again=again, proven=kept, done=done)  # type: ignore[arg-type]
    assert (place.objects, place.taken) == (there, taken)
    for name in ("objects", "bytes", "objects_copied", "bytes_copied", "corrupt", "missing", "held", "snapshots"):
        assert getattr(done, name) == getattr(expected, name), name


def test_what_was_seen_and_never_read_vouches_for_no_version() -> None:
    dice = random.Random(1)
    source = _repository(dice)
    seen = HeldObjects({name: StoredObject(version="v") for name in source})
    place = Held({}, dice)
    copy_repository(Held(source, dice), place, proven=seen)  # type: ignore[arg-type]
    assert set(place.taken.values()) == {""}


def test_an_object_that_cannot_be_read_ends_the_copying(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(2)
    source = Held(_repository(dice), dice)

    def refused(*_: object, **__: object) -> bool:
        raise DamageError("cannot be read", hint="see there")

    monkeypatch.setattr(Held, "take", refused)
    with pytest.raises(DrError, match="cannot be read"):
        copy_repository(source, Held({}, dice))  # type: ignore[arg-type]
