"""The rules by which a replica forgets, each by itself: what retention keeps, what time counts, what may go together."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.evidence.acts import Hold
from dr.evidence.forgetting import Absence
from dr.evidence.record import Copy, Point, Proof
from dr.plan.plan import Plan
from dr.run.points.retention import expired, kept
from dr.run.replication.retention.decide import Situation, choose, judge, obstacles
from dr.run.replication.retention.forget import _read_since
from dr.run.replication.retention.garbage import sweepable
from dr.run.replication.retention.pending_deletion import due, looked, ripe

DAY = timedelta(days=1)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DELAY = (30 * DAY).total_seconds()


def plan(**retention: int) -> Plan:
    none = dict.fromkeys(("daily", "weekly", "monthly", "yearly"), 0)
    return Plan.model_validate(
        {
            "system": "sis",
            "objectives": {"rto": "2h", "rpo": "1d"},
            "sources": {"a": {"files": {"paths": ["/srv"]}}},
            "targets": ["first"],
            "replicas": ["second"],
            "retention": {"last": 1, **none, **retention},
        }
    )


def point(days: float, *, complete: bool = True, targets: tuple[str, ...] = ("first", "second")) -> Point:
    at = NOON + days * DAY
    name = f"p{days:g}"
    copies = tuple(
        Copy(target=t, complete=complete, snapshots={"a": snapshot(name)}, proof_level=3) for t in targets
    )  # fmt: skip
    return Point(
        run_id=name, system="sis", consistency_time=at, finished=at, outcome="ok", kinds={"a": "files"}, copies=copies
    )


def snapshot(name: str) -> str:
    return name.encode().hex().rjust(64, "0")


# -- what retention keeps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retention", "wanted"),
    [
        ({"last": 2}, {"p9", "p8"}),
        ({"last": 1, "daily": 3}, {"p9", "p8", "p7"}),
        ({"last": 1, "weekly": 2}, {"p9", "p6"}),  # 2026-06-10 is a Wednesday; the Sunday before is the 7th
        ({"last": 1, "monthly": 3}, {"p9"}),
        ({"last": 1, "yearly": 2}, {"p9", "p-200"}),
    ],
)
def test_the_newest_of_each_period_is_kept(retention: dict[str, int], wanted: set[str]) -> None:
    points = [point(days) for days in range(10)] + ([point(-200)] if "yearly" in retention else [])
    assert kept(plan(**retention), points) == wanted


def test_what_failed_pushes_nothing_out_and_goes_once_a_whole_one_came() -> None:
    points = [point(0), point(1), point(2, complete=False), point(3, complete=False)]
    assert kept(plan(last=2), points) == {"p0", "p1"} and expired(plan(last=2), points) == set()
    assert expired(plan(last=2), [*points, point(4)]) == {"p0", "p2", "p3"}
    assert expired(plan(last=1), [point(0, complete=False), point(1, complete=False)]) == set()


@given(st.sets(st.integers(0, 900), min_size=1), st.integers(1, 4), st.integers(0, 5), st.integers(0, 3))
def test_what_was_dropped_before_makes_nothing_else_be_dropped(
    days: set[int], last: int, daily: int, monthly: int
) -> None:
    points = [point(day / 3) for day in days]
    wanted = kept(plan(last=last, daily=daily, monthly=monthly), points)
    left = [each for each in points if each.run_id in wanted]
    assert kept(plan(last=last, daily=daily, monthly=monthly), left) == wanted


# -- what time counts --------------------------------------------------------------------------------

NAME = f"snapshots/{snapshot('x')}"


def after(*steps: timedelta, counts: bool = True) -> Absence:
    now, rows = NOON, looked([], {NAME: 9}, [], now=NOON, delay=DELAY)
    for step in steps:
        now += step
        rows = looked(rows, {NAME: 9}, [], now=now, delay=DELAY, counts=counts)
    return rows[0]


def test_time_counts_from_the_first_look() -> None:
    assert not ripe(after(), DELAY) and due(after(), DELAY) == NOON + 30 * DAY
    assert not ripe(after(*[DAY] * 29), DELAY) and ripe(after(*[DAY] * 30), DELAY)
    assert ripe(after(*[10 * DAY] * 3), DELAY), "three looks after the first are the least"


@given(st.lists(st.integers(-4_000, 4_000), max_size=2))
def test_no_two_leaps_of_a_clock_are_enough(leaps: list[int]) -> None:
    assert not ripe(after(*(days * DAY for days in leaps)), DELAY)


def test_a_step_back_begins_anew_and_what_does_not_count_is_lost() -> None:
    row = after(*[9 * DAY] * 3, -DAY)
    assert (row.waited, row.since) == (0, NOON + 26 * DAY)
    assert after(*[DAY] * 60, counts=False).waited == 0


def test_what_came_back_or_is_not_explained_is_not_counted() -> None:
    rows = [after(*[DAY] * 20)]
    now = NOON + 21 * DAY
    assert looked(rows, {NAME: 9}, [NAME], now=now, delay=DELAY) == []
    assert looked(rows, {}, [], now=now, delay=DELAY) == []
    assert looked(rows, {NAME: 9}, [], now=now, delay=DELAY, anew=[NAME])[0].waited == 0


def test_only_what_a_repository_names_by_hash_is_ever_absent() -> None:
    there = {
        "config": 1,
        f"keys/{snapshot('k')}": 1,
        "snapshots/README": 1,
        ".dr-target": 1,
        f"index/{snapshot('i')}": 1,
    }
    assert [row.name for row in looked([], there, [], now=NOON, delay=DELAY)] == [f"index/{snapshot('i')}"]


# -- what may go together ----------------------------------------------------------------------------


def test_an_index_stays_while_it_alone_names_a_pack_that_stays() -> None:
    names = {"new": {"c"}, "old": {"a", "b"}, "older": {"a"}}
    assert sweepable(names, ["older", "old"], {"a", "b"}) == ({"old", "older"}, {"a", "b"})
    assert sweepable(names, ["older", "old"], {"a"}) == ({"older"}, set()), "`old` alone names b, and names a too"
    assert sweepable(names, ["older", "old"], set()) == ({"older"}, set()), "what it names is named elsewhere"
    assert sweepable(names, [], {"a", "b"}) == (set(), set()), "a pack that an index names stays"
    assert sweepable(names, [], {"z"}) == (set(), {"z"}), "a pack that no index names"


@given(st.integers(0, 10_000))
def test_whatever_goes_what_is_left_names_nothing_that_is_not_there(seed: int) -> None:
    rng = random.Random(seed)
    packs = [f"p{n}" for n in range(rng.randint(1, 12))]
    names = {f"i{n}": set(rng.sample(packs, rng.randint(0, len(packs)))) for n in range(rng.randint(1, 6))}
    absent = [each for each in names if rng.random() < 0.7]
    unneeded = {each for each in packs if rng.random() < 0.5}
    indexes, going = sweepable(names, absent, unneeded)
    left = {index: named for index, named in names.items() if index not in indexes}
    assert going <= unneeded and indexes <= set(absent)
    assert not any(named & going for named in left.values()), "no index that stays names what goes"
    told, before = (set().union(*each.values(), set()) for each in (left, names))
    assert before - going <= told, "each pack that stays is still named"


# -- the judgement -----------------------------------------------------------------------------------


def situation(points: list[Point], lost: set[str], **more: Any) -> Situation:
    there = {f"snapshots/{snapshot(each.run_id)}": 1 for each in points}
    gone = {f"snapshots/{snapshot(name)}" for name in lost}
    values: dict[str, Any] = {
        "plan": plan(last=3), "primary": "first", "replica": "second", "points": points, "holds": (), "frozen": None,
        "at_primary": there.keys() - gone, "there": there, "now": NOON, "delay": DELAY,
    }  # fmt: skip
    return Situation(**(values | more))


FIVE = [point(days) for days in range(5)]


def test_only_what_retention_explains_is_gone_and_all_else_is_alarm() -> None:
    found = judge(situation(FIVE, {"p0", "p1"}))
    assert set(found.gone) == {"p0", "p1"} and found.alarm is None
    found = judge(situation(FIVE, {"p0", "p3"}))
    assert "p3" in (found.alarm or "") and set(found.anew) == {f"snapshots/{snapshot('p3')}"}
    assert next(obstacles(situation(FIVE, {"p0", "p3"}), found, ["p0"])) == found.alarm


def test_a_snapshot_of_no_point_on_record_stays() -> None:
    here = replace(situation(FIVE, {"p0"}), points=FIVE[1:])
    found = judge(here)
    assert found.strangers == 1 and not found.gone and not choose(here, found, []).points


def test_three_whole_points_stay_whatever_the_plan_keeps() -> None:
    here = replace(situation(FIVE, {"p0", "p1", "p2"}), plan=plan(last=1), delay=0)
    rows = looked([], here.there, here.at_primary, now=NOON, delay=0)
    found = choose(here, judge(here), rows)
    assert set(found.points) == {"p0", "p1"} and found.kept == ["p2 is one of the last 3 there"]


def test_what_was_begun_goes_on_though_its_point_is_on_record_no_more() -> None:
    left = f"snapshots/{snapshot('p0')}"
    here = replace(situation(FIVE, {"p0"}), points=FIVE[1:], begun={left})
    row = Absence(name=left, size=1, since=NOON, seen=NOON, state="going", point="p0")
    found = judge(here)
    assert not found.strangers and choose(here, found, [row]).snapshots == {left}
    held = Hold(hold_id="h", system="sis", reason="a lawsuit", placed=NOON, point="p0")
    assert not choose(replace(here, holds=(held,)), found, [row]).snapshots


def test_a_newer_point_must_be_proven_and_at_both_places() -> None:
    here = situation(FIVE, {"p0"})
    assert list(obstacles(here, judge(here), ["p0"])) == []
    only = situation(FIVE, {"p0"}, at_primary=set())
    assert any("is proven" in text for text in obstacles(only, judge(here), ["p0"]))
    assert any("is proven" in text for text in obstacles(here, judge(here), ["p4"])), "none is newer"


def test_every_share_must_be_read_after_the_primary_lost_it() -> None:
    def proof(share: str, days: float, *, outcome: str = "ok", level: int = 3) -> Proof:
        at = NOON + days * DAY
        return Proof(
            run_id="v", system="sis", target="second", started=at, finished=at, outcome=outcome,  # type: ignore[arg-type]
            level_asked=3, level_reached=level, share=share,
        )  # fmt: skip

    assert _read_since([], NOON) == "nothing was decrypted"
    assert _read_since([proof("1/1", 1)], NOON) is None
    assert _read_since([proof("1/1", -1)], NOON) is not None
    assert _read_since([proof("1/3", 1), proof("3/3", 2)], NOON) == "2 of 3 shares were decrypted"
    assert _read_since([proof("1/3", 1), proof("2/3", 1), proof("3/3", 2)], NOON) is None
    assert _read_since([proof("1/1", 1, outcome="failed"), proof("1/1", 1, level=2)], NOON) is not None
