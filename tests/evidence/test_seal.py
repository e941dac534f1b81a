"""The chain: any single change to what was sealed is found, and named."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.evidence.acts import KitAct, KitRepository, Rebuild
from dr.evidence.record import (
    BackupRun,
    CheckResult,
    CleanRoom,
    Drill,
    Event,
    ObjectivesThen,
    Proof,
    SourceCapture,
    TargetState,
)
from dr.evidence.seal import GENESIS, Sealed, decode, digest_of, encode, is_readable, seal, verify_chain

NOON = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)


def run(number: int) -> BackupRun:
    return BackupRun(
        run_id=f"r{number}",
        system="sis",
        outcome="ok",
        started=NOON,
        finished=NOON + timedelta(seconds=number),
        consistency_time=NOON,
        complete=True,
        targets=(TargetState(target="t", outcome="ok", snapshots={"a": "x"}),),
        sources=(SourceCapture(source="a", kind="files", outcome="ok", files=3, bytes=2**40, seconds=0.5),),
    )


def chain(count: int) -> list[Sealed]:
    records: list[Sealed] = []
    for number in range(1, count + 1):
        records.append(seal(seq=number, prev=records[-1].digest if records else GENESIS, fact=run(number)))
    return records


FACTS = [
    run(1),
    KitAct(
        run_id="kit-1",
        act="tested",
        outcome="degraded",
        started=NOON,
        finished=NOON,
        kit_id="kit-20261124-ab12cd",
        threshold=2,
        custodians=("Superintendent", "Business manager"),
        shares=(1, 2),
        repositories=(KitRepository(system="s", target="t", opened=True, key="escrow", snapshots=3),),
        stale=("the plan of s has changed",),
    ),
    Drill(
        drill_id="drill-clean",
        system="s",
        scenario="control-loss",
        real=False,
        outcome="ok",
        t_loss=NOON,
        started=NOON,
        finished=NOON,
        objectives=ObjectivesThen(rto_seconds=1, rpo_seconds=2),
        clean_room=CleanRoom(kit_id="k", shares=2, threshold=2, self_copy="x.age", taken_from="kit"),
    ),
    Proof(
        run_id="v", system="s", target="t", started=NOON, finished=NOON, outcome="ok", level_asked=3, level_reached=2
    ),
    Drill(
        drill_id="d",
        system="s",
        scenario="system-loss",
        real=False,
        outcome="ok",
        t_loss=NOON,
        started=NOON,
        finished=NOON,
        objectives=ObjectivesThen(rto_seconds=1, rpo_seconds=2),
        phases={"restore": 1.5},
        rta_seconds=2.0,
        events=(Event(at=NOON, what="x"),),
        checks=(
            CheckResult(check="sql", source="a", mandatory=True, outcome="ok", expected="1", observed="1", newest=NOON),
        ),
    ),
    Rebuild(run_id="b", started=NOON, finished=NOON, outcome="ok"),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_fact_comes_back_as_it_was(fact: object) -> None:
    sealed = seal(seq=1, prev=GENESIS, fact=fact)  # type: ignore[arg-type]
    assert sealed.fact == fact
    assert Sealed.from_json(sealed.to_json()) == sealed


def test_what_a_later_release_adds_is_left_out() -> None:
    body = {**encode(run(1)), "added_later": 1}
    assert decode("backup", body) == run(1)


def test_a_whole_chain_is_whole() -> None:
    records = chain(5)
    result = verify_chain(records, head=(5, records[-1].digest))
    assert (result.outcome, result.records, result.first_bad) == ("ok", 5, None)


@given(st.integers(1, 6), st.sampled_from(["kind", "ref", "system", "at", "prev", "digest", "body"]), st.data())
def test_any_single_edit_is_found_at_its_record(number: int, field: str, data: st.DataObject) -> None:
    records = chain(6)
    old = records[number - 1]
    value = (
        {**old.body, "outcome": "failed"}
        if field == "body"
        else getattr(old, field) + data.draw(st.sampled_from("xyz"))
    )
    records[number - 1] = dataclasses.replace(old, **{field: value})
    bad = verify_chain(records, head=(6, chain(6)[-1].digest)).first_bad
    assert bad is not None and bad[0] == number and "edited" in bad[1]


@given(st.integers(1, 6))
def test_a_record_that_was_removed_is_named(number: int) -> None:
    records = chain(6)
    head = (6, records[-1].digest)
    del records[number - 1]
    bad = verify_chain(records, head=head).first_bad
    assert bad is not None and bad[0] == number and "removed" in bad[1]


def test_a_resealed_record_breaks_the_one_after_it() -> None:
    records = chain(4)
    records[1] = seal(seq=2, prev=records[0].digest, fact=dataclasses.replace(run(2), outcome="failed"))
    bad = verify_chain(records, head=(4, chain(4)[-1].digest)).first_bad
    assert bad is not None and bad[0] == 3


def test_two_that_changed_places_are_named() -> None:
    records = chain(5)
    records[1], records[2] = records[2], records[1]
    assert verify_chain(records, head=(5, chain(5)[-1].digest)).first_bad is not None


def test_what_was_altered_or_is_of_an_unknown_kind_is_not_readable() -> None:
    good = chain(1)[0]
    assert is_readable(good)
    assert not is_readable(dataclasses.replace(good, at="2020-01-01T00:00:00Z"))
    for parts in ({"kind": "exorcism"}, {"body": {}}, {"body": {**good.body, "started": "noon"}}):
        changed = dataclasses.replace(good, **parts)
        sealed_so = dataclasses.replace(changed, digest=digest_of(dataclasses.asdict(changed)))
        assert not is_readable(sealed_so)
