"""A catalog that somebody altered: what targets hold whole is put back, and nothing vanishes without a trace."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from dr.catalog.adopting import Adopted
from dr.catalog.gathered import Gathered
from dr.catalog.store import Catalog
from dr.evidence.seal import Sealed, seal
from dr.tools.state_dir import StateDir
from tests.evidence.test_seal import run


class Altered:
    """A catalog with six records, to be altered by SQL, and what was set aside of it."""

    def __init__(self, folder: Path) -> None:
        """Make it."""
        self.folder, self.aside = folder, list[dict[str, Any]]()
        with Catalog.open(StateDir(folder)) as catalog:
            self.records = [catalog.record(run(number)) for number in range(1, 7)]

    def by(self, statement: str, *values: object) -> None:
        """Alter it."""
        with sqlite3.connect(self.folder / "catalog.sqlite") as db:
            db.execute(statement, values)
        db.close()
        assert self.bad() is not None, "the audit names it"

    def bad(self) -> tuple[int, str] | None:
        """Return what the audit names."""
        with Catalog.open(StateDir(self.folder)) as catalog:
            return catalog.audit().first_bad

    def rebuilt(self, found: Iterable[Sealed], *, whole: bool = True) -> Adopted:
        """Let it take what targets hold."""
        with Catalog.open(StateDir(self.folder)) as catalog, Gathered(self.folder / "work") as gathered:
            for record in found:
                gathered.add(record.to_json())
            return catalog.adopt(gathered, whole=whole, aside=lambda lines: self.aside.extend(map(json.loads, lines)))

    def kept(self) -> list[Sealed]:
        """Return the records there are."""
        with Catalog.open(StateDir(self.folder)) as catalog:
            return list(catalog.records())

    def missing(self) -> list[tuple[int, int]]:
        """Return which are known to be missing."""
        with Catalog.open(StateDir(self.folder)) as catalog:
            return catalog.missing()


@pytest.fixture
def altered(tmp_path: Path) -> Altered:
    return Altered(tmp_path)


EDITS = {
    "body": "update evidence set body = replace(body, '\"ok\"', '\"failed\"') where seq = 3",
    "body that is none": "update evidence set body = '{' where seq = 3",
    "body that is no text": "update evidence set body = cast(x'7bff7d' as text) where seq = 3",
    "body of bytes": "update evidence set body = x'7bff7d' where seq = 3",
    "run that is no text": "update evidence set ref = cast(x'ff' as text) where seq = 3",
    "kind and digest that are no text": "update evidence set kind = cast(x'ff' as text), digest = cast(x'fe' as text)"
    " where seq = 3",
    "all bodies": "update evidence set body = '{}'",
    "digest": "update evidence set digest = 'f' where seq = 3",
    "prev": "update evidence set prev = 'f' where seq = 3",
    "time": "update evidence set at = '2020' where seq = 3",
    "system": "update evidence set system = 'other' where seq = 3",
    "ref": "update evidence set ref = 'other' where seq = 3",
    "kind": "update evidence set kind = 'verify' where seq = 3",
    "number": "update evidence set seq = 30 where seq = 3",
    "two numbers": "update evidence set seq = case seq when 3 then 40 else 30 end where seq in (3, 4)",
    "last": "update evidence set body = '{}' where seq = 6",
    "first": "update evidence set body = '{}' where seq = 1",
    "removed": "delete from evidence where seq = 3",
    "first removed": "delete from evidence where seq = 1",
    "cut at the end": "delete from evidence where seq > 4",
    "all removed": "delete from evidence",
    "head": "update meta set value = 'f' where key = 'head_digest'",
    "head lowered": "update meta set value = '2' where key = 'head_seq'",
    "gaps": "insert or replace into meta values ('gaps', '[[2, 3]]')",
    "first number": "insert or replace into meta values ('first', '3')",
    "index of runs": "update runs set outcome = 'failed' where run_id = 'r3'",
    "system of a run": "update runs set system = 'other' where run_id = 'r3'",
    "run removed": "delete from runs where run_id = 'r3'",
}


@pytest.mark.parametrize("statement", EDITS.values(), ids=EDITS)
def test_whatever_was_altered_is_as_it_was_once_targets_were_read(altered: Altered, statement: str) -> None:
    altered.by(statement)
    done = altered.rebuilt(altered.records)
    assert altered.bad() is None and altered.kept() == altered.records and altered.missing() == []
    assert done.set_aside == () and bool(done.put_back) == bool(altered.aside)
    assert altered.rebuilt(altered.records).records == 0, "and nothing is left to do"


def test_what_was_altered_is_named_and_handed_over_as_it_was_stored(altered: Altered) -> None:
    altered.by("update evidence set body = '{\"x\": 1}', kind = 'verify' where seq in (2, 3, 5)")
    assert altered.rebuilt(altered.records).put_back == ((2, 3), (5, 5))
    assert [(row["table"], row["seq"], row["kind"], row["body"]) for row in altered.aside] == [
        ("evidence", seq, "verify", '{"x": 1}') for seq in (2, 3, 5)
    ]


def sealed_anew(altered: Altered, seq: int, prev: str) -> None:
    """Put another record in place of one, sealed as it should be."""
    forged = seal(seq=seq, prev=prev, fact=run(70 + seq))
    values = (json.dumps(forged.body), forged.ref, forged.at, forged.prev, forged.digest, seq)
    altered.by("update evidence set body = ?, ref = ?, at = ?, prev = ?, digest = ? where seq = ?", *values)


@pytest.mark.parametrize("seq", [1, 3, 6])
@pytest.mark.parametrize("linked", [True, False])
def test_a_record_that_was_sealed_anew_gives_way_to_the_one_that_the_others_tell_of(
    altered: Altered, seq: int, linked: bool
) -> None:
    sealed_anew(altered, seq, altered.records[seq - 1].prev if linked else "e" * 64)
    done = altered.rebuilt(altered.records)
    assert altered.bad() is None and altered.kept() == altered.records
    assert done.put_back == ((seq, seq),) and altered.aside[0]["ref"] == f"r{70 + seq}"


@pytest.mark.parametrize("whole", [True, False])
def test_a_record_that_no_target_holds_stays_until_all_were_read_and_is_missing_then(
    altered: Altered, whole: bool
) -> None:
    altered.by(EDITS["body"])
    others = [record for record in altered.records if record.seq != 3]
    done = altered.rebuilt(others, whole=whole)
    if whole:
        assert done.set_aside == ((3, 3),) and altered.missing() == [(3, 3)] and altered.aside[0]["seq"] == 3
        assert altered.bad() is None and altered.kept() == others
    else:
        assert done.set_aside == () and altered.aside == [] and (altered.bad() or (0,))[0] == 3
    assert altered.rebuilt(altered.records).records == 1, "a target that was away had it"
    assert altered.bad() is None and altered.kept() == altered.records and altered.missing() == []


def test_a_chain_cut_at_the_end_goes_on_behind_the_numbers_that_were_taken(altered: Altered) -> None:
    altered.by(EDITS["cut at the end"])
    altered.rebuilt(altered.records[:3])
    assert altered.bad() is None and altered.missing() == [(5, 6)]
    with Catalog.open(StateDir(altered.folder)) as catalog:
        assert catalog.record(run(7)).seq == 7
    assert altered.bad() is None and altered.missing() == [(5, 6)]
    altered.rebuilt(altered.records)
    assert altered.bad() is None and len(altered.kept()) == 7 and altered.missing() == []


@pytest.mark.parametrize("told", ["runs", "sent"])
def test_a_chain_cut_at_the_end_with_its_head_is_seen_by_what_was_sent_and_what_has_run(
    altered: Altered, told: str
) -> None:
    with Catalog.open(StateDir(altered.folder)) as catalog:
        catalog.mark_sent("sis", "t", 6)
    head = f"update meta set value = case key when 'head_seq' then '4' else '{altered.records[3].digest}' end"
    with sqlite3.connect(altered.folder / "catalog.sqlite") as db:
        db.execute(f"{head} where key in ('head_seq', 'head_digest')")
        db.execute("delete from runs where seq > 4" if told == "sent" else "delete from sent")
    db.close()
    altered.by("delete from evidence where seq > 4")
    assert altered.bad() == (5, "removed, and the head was set back: there were records up to 6")
    altered.rebuilt(altered.records[:5])
    assert altered.bad() is None and altered.missing() == [(6, 6)]
    with Catalog.open(StateDir(altered.folder)) as catalog:
        assert catalog.record(run(7)).seq == 7, "no number is given twice"
    assert altered.bad() is None and altered.missing() == [(6, 6)]


def test_a_record_of_another_chain_takes_no_altered_record_s_place(altered: Altered) -> None:
    """It follows the same record, as after a catalog that was set back."""
    altered.by(EDITS["last"])
    other = seal(seq=6, prev=altered.records[4].digest, fact=run(99))
    assert altered.rebuilt([*altered.records[:5], other], whole=False).put_back == ()
    assert altered.rebuilt([other, *altered.records]).put_back == ((6, 6),)
    assert altered.kept() == altered.records and altered.bad() is None


def test_what_a_run_moved_is_counted_once_however_often_its_record_comes_back(tmp_path: Path) -> None:
    from dataclasses import replace

    from dr.evidence.posture import Traffic

    moved = replace(run(1), traffic=(Traffic(target="t", sent_bytes=5),))
    with Catalog.open(StateDir(tmp_path)) as catalog:
        records = [catalog.record(moved), catalog.record(run(2))]
        before = catalog.traffic(["sis"])
    for statement in ("update evidence set body = '{}' where seq = 1", "delete from evidence where seq = 1"):
        with sqlite3.connect(tmp_path / "catalog.sqlite") as db:
            db.execute(statement)
        db.close()
        with Catalog.open(StateDir(tmp_path)) as catalog, Gathered(tmp_path / "work") as gathered:
            for record in records:
                gathered.add(record.to_json())
            assert catalog.adopt(gathered).records == 1
            assert catalog.traffic(["sis"]) == before and before[0].sent_bytes == 5


def test_a_chain_without_a_head_that_bears_it_out_is_not_passed_off_as_whole(altered: Altered) -> None:
    """Where only some targets were read."""
    altered.by(EDITS["last"])
    altered.rebuilt(altered.records[:3], whole=False)
    assert (altered.bad() or (0,))[0] == 6
