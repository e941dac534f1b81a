"""The last look at a target, held against its listing: as dictionaries of all objects would find it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dr.run.backup.last_look import compare, keep, kept
from dr.run.verification.inventory import Inventory, Listed
from dr.tools.store import Stored

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ODD = ["data/odd", "data/zz/" + "ab" * 32, "index/Über", "other", "locks/1", "config", "snapshots/line\nend"]


def by_dictionaries(
    before: Mapping[str, tuple[int, int | None]], there: list[Listed]
) -> tuple[bool, int, list[tuple[Listed, int]]]:
    """Whether anything needed is gone, the bytes that were added, and all that was written again."""
    now = {item.name: item for item in there}
    gone = any(name.startswith(("data/", "index/")) and name not in now for name in before)
    grown = sum(item.size for item in there if item.name.startswith("data/") and item.name not in before)
    again = []
    for item in there:
        if item.name in before and item.name.startswith(("data/", "index/", "snapshots/")):
            was, written = before[item.name]
            if item.size != was or (written is not None and item.modified != written):
                again.append((item.size == was, item, was))
    return gone, grown, [(item, was) for _, item, was in sorted(again)]


def _stored(dice: random.Random) -> list[Stored]:
    names = [f"{part}{dice.randbytes(32).hex()}" for part in ("index/", "snapshots/", "keys/") for _ in range(5)]
    idents = [dice.randbytes(32).hex() for _ in range(20)]
    names += [f"data/{ident[:2]}/{ident}" for ident in idents] + dice.sample(ODD, 4)
    return [Stored(name, dice.randrange(99), NOON + timedelta(microseconds=dice.randrange(10**9))) for name in names]


def _later(stored: list[Stored], dice: random.Random, *, much: float) -> list[Stored]:
    """What is listed after some things have happened."""
    later = [item for item in stored if dice.random() > much / 9]
    for place, item in enumerate(later):
        if dice.random() < much:
            size = item.size + dice.choice((0, 1, -1))
            later[place] = Stored(item.name, size, item.modified + timedelta(seconds=dice.choice((0, 1))))
    return later + _stored(dice)[: dice.randrange(30)]


@pytest.mark.parametrize("seed", range(20))
def test_a_listing_is_held_against_the_last_look_as_dictionaries_would(tmp_path: Path, seed: int) -> None:
    dice, path = random.Random(seed), tmp_path / "sis@disk.look"
    stored = _stored(dice)
    keep(path, Inventory(stored))
    once = [item for item in Inventory(stored) if item.name.startswith(("data/", "index/", "snapshots/"))]
    assert list(kept(path)) == [(item.name, item.size, item.modified) for item in once]
    there = Inventory(_later(stored, dice, much=dice.choice((0, 0.1, 0.9))))
    for known in (list(kept(path)), [(name, size, None) for name, size, _ in kept(path)], []):
        gone, grown, again = by_dictionaries({name: (size, at) for name, size, at in known}, list(there))
        found = compare(known, there, most=7)
        assert (found.known, found.gone, found.grown) == (bool(known), gone, grown)
        assert (found.number, found.again) == (len(again), again[:7])


@pytest.mark.parametrize(
    "spoilt", ["", "x", "[1]\n", '["data/a",1,2]\n', '["data/b",1,2]\n["data/a",1,2]\n2\n', "[]\n0\n"]
)
def test_a_look_that_is_torn_or_not_in_order_is_not_used(tmp_path: Path, spoilt: str) -> None:
    path = tmp_path / "sis@disk.look"
    assert list(kept(path)) == [], "none is kept"
    path.write_text(spoilt)
    with pytest.raises(ValueError, match=r"."):
        compare(kept(path), Inventory(), most=1)
