"""Records that were found on targets: which of them are taken, however many there are and in whatever order they come."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dr.catalog import reading
from dr.catalog.gathered import Gathered
from dr.catalog.store import Catalog
from dr.errors import CatalogError
from dr.evidence.seal import GENESIS, Sealed, seal, verify_chain
from dr.tools.state_dir import StateDir
from tests.catalog.adoption import adopt, by_dictionaries
from tests.evidence.test_seal import chain, run


def goes_on(before: list[Sealed], count: int, *, first: int) -> list[Sealed]:
    """Records that follow others, with facts of their own."""
    made = list(before)
    for number in range(first, first + count):
        prev = made[-1].digest if made else GENESIS
        made.append(seal(seq=len(made) + 1, prev=prev, fact=run(number)))
    return made


@pytest.fixture
def one_chain(tmp_path: Path) -> Any:
    def taken(found: list[Sealed]) -> list[Sealed]:
        with Gathered(tmp_path) as records:
            for record in found:
                records.add(record.to_json())
            return list(records.fitting(()))

    return taken


@given(st.sets(st.integers(1, 12)), st.randoms(use_true_random=False))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_chain_with_any_gaps_is_kept_whole_in_whatever_order_it_was_found(
    one_chain: Any, lost: set[int], random: Any
) -> None:
    there = [record for record in chain(12) if record.seq not in lost]
    found = there * 2
    random.shuffle(found)
    assert one_chain(found) == there


@pytest.mark.parametrize(("shared", "one", "other"), [(1, 0, 0), (1, 3, 2), (3, 2, 6), (6, 4, 4)])
def test_of_two_chains_that_part_the_longer_is_kept_and_is_whole(
    one_chain: Any, shared: int, one: int, other: int
) -> None:
    """A catalog set back to an older state goes on with numbers that are taken."""
    stem = chain(shared)
    left, right = goes_on(stem, one, first=100), goes_on(stem, other, first=200)
    kept = one_chain([*left, *right])
    assert len(kept) == shared + max(one, other)
    assert verify_chain(kept).first_bad is None


def test_a_chain_begun_anew_takes_no_number_from_the_longer_one(one_chain: Any) -> None:
    old, new = chain(5), goes_on([], 3, first=50)
    assert one_chain([*new, *old]) == old
    assert one_chain([*new, *old[3:]]) == new, "nothing of another chain is put after it as if it followed"


def _found(dice: random.Random) -> list[Sealed]:
    """Records of some chains that part, with gaps; some altered, some twice, in any order."""
    found = stem = chain(dice.randrange(1, 9))
    for number in range(dice.randrange(4)):
        branch = goes_on(found[: dice.randrange(len(stem) + 1)], dice.randrange(7), first=100 * (number + 1))
        found = found + branch
    found = [record for record in found if dice.random() < 0.85]
    found += [dataclasses.replace(record, at="2020-01-01T00:00:00Z") for record in found if dice.random() < 0.2]
    found += [dataclasses.replace(found[0], seq=10**30, ref="\ud800", digest="\ud800")] if found else []
    return dice.sample(found, len(found))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_taken_is_what_dictionaries_of_all_records_take(tmp_path: Path, seed: int) -> None:
    """Into an empty catalog and into one with gaps; and what is strange is what is not on the chain then."""
    dice = random.Random(seed)
    for turn in range(8):
        with Catalog.open(StateDir(tmp_path / str(turn))) as catalog:
            found = _found(dice)
            for some in (dice.sample(found, dice.randrange(len(found) + 1)), found):
                with catalog._connections.reading() as db:
                    there = {seq: (prev, digest) for seq, prev, digest in reading.links(db)}
                expected = by_dictionaries(some, there)
                with Gathered(tmp_path / "work") as records:
                    for record in some:
                        records.add(_text(record))
                    assert catalog.adopt(records).records == len(expected)
                    known = {record.digest: record for record in catalog.records()}
                    assert set(known) == {own for _, own in there.values()} | {each.digest for each in expected}
                    assert catalog.audit().first_bad is None
                    strange = [record for record in some if record.digest not in known]
                    assert records.strangers() == len({record.digest for record in strange})
                    refs = {record.ref for record in some}
                    assert records.strange(refs) == {record.ref for record in strange}


def _text(record: Sealed) -> bytes:
    """Return a record as JSON, also one whose numbers and letters have no canonical form."""
    import json

    return json.dumps({each.name: getattr(record, each.name) for each in dataclasses.fields(record)}).encode()


@pytest.mark.parametrize("damaged_first", [True, False])
def test_of_two_records_of_one_digest_that_counts_which_is_as_it_was_sealed(
    one_chain: Any, damaged_first: bool
) -> None:
    good = chain(2)
    bad = dataclasses.replace(good[0], body={**good[0].body, "outcome": "failed"})
    assert one_chain([bad, *good] if damaged_first else [*good, bad]) == good


def test_of_a_place_that_goes_away_midway_no_record_is_taken(tmp_path: Path) -> None:
    records = chain(4)
    with Gathered(tmp_path) as gathered:
        with gathered.whole():
            gathered.add(records[0].to_json())
        with pytest.raises(ValueError, match="away"), gathered.whole():
            for record in records:
                gathered.add(record.to_json())
            raise ValueError("away")
        assert list(gathered.fitting(())) == records[:1]


def test_records_that_are_gathered_leave_no_file_and_a_folder_that_takes_none_is_named(tmp_path: Path) -> None:
    with Gathered(tmp_path / "work") as records:
        records.add(chain(1)[0].to_json())
        assert list((tmp_path / "work").iterdir()) == [], "whoever is killed now leaves nothing"
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError) as told:
        Gathered(tmp_path / "file")
    assert str(tmp_path / "file") in str(told.value)


def _killed(folder: Path, found: list[Sealed]) -> None:
    class Killing(Gathered):
        def fitting(self, there: Any, *more: Any, **named: Any) -> Iterator[Sealed]:
            for number, record in enumerate(super().fitting(there, *more, **named)):
                if number == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield record

    with Catalog.open(StateDir(folder)) as catalog, Killing(folder / "work") as gathered:
        for record in found:
            gathered.add(record.to_json())
        catalog.adopt(gathered)


def test_who_is_killed_while_records_are_taken_leaves_the_catalog_as_it_was(tmp_path: Path) -> None:
    records = chain(9)
    with Catalog.open(StateDir(tmp_path)) as catalog:
        adopt(catalog, records[:2])
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path, records))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with Catalog.open(StateDir(tmp_path)) as catalog:
        assert list(catalog.records()) == records[:2] and catalog.audit().first_bad is None
        assert adopt(catalog, records) == 7 and catalog.audit().first_bad is None
    assert list((tmp_path / "work").iterdir()) == []
