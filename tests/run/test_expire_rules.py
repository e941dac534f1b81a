"""What expires where backups write, what stays whatever retention says, and what stands in the way; each by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dr.evidence.acts import Expiration, Hold
from dr.evidence.record import Copy, Point
from dr.plan.plan import Plan
from dr.queries.calendar import year_of
from dr.run.expiry.calendar import calendar
from dr.run.expiry.rules import Decision, ExpirySituation, bound, decide
from dr.run.points.retention import rules

DAY = timedelta(days=1)
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
NONE = dict.fromkeys(("daily", "weekly", "monthly", "yearly"), 0)


def plan(cadence: dict[str, str] | None = None, **retention: int) -> Plan:
    return Plan.model_validate(
        {
            "system": "sis",
            "objectives": {"rto": "2h", "rpo": "1d"},
            "sources": {"a": {"files": {"paths": ["/srv"]}}},
            "targets": ["first", "second"],
            "cadence": cadence or {},
            "retention": {"last": 2, **NONE, **retention},
        }
    )


def snapshot(name: str) -> str:
    return name.encode().hex().rjust(64, "0")


def point(days: float, *, level: int = 3, at: tuple[str, ...] = ("first",), **more: Any) -> Point:
    name, complete = f"p{days:g}", more.pop("complete", True)
    copies = tuple(Copy(target=t, complete=complete, snapshots={"a": snapshot(name)}, proof_level=level) for t in at)
    moment = NOON + days * DAY
    return Point(run_id=name, system="sis", consistency_time=moment, finished=moment, outcome="ok",
                 kinds={"a": "files"}, copies=copies, **more)  # fmt: skip


def here(points: list[Point], *, lost: tuple[str, ...] = (), **more: Any) -> ExpirySituation:
    listed = {each for p in points for copy in p.copies for each in copy.ids if p.run_id not in lost}
    given = {"plan": plan(), "now": NOON, "proof": "ok", "proven_lately": True, "confirmed": True, **more}
    return ExpirySituation(target="first", points=points, listed=listed, **given)


SIX = [point(-days) for days in range(1, 7)]


def test_what_retention_does_not_keep_goes_by_point_oldest_first_with_its_rule() -> None:
    found = decide(here(SIX))
    assert list(found.may) == ["p-6", "p-5", "p-4", "p-3"] and not found.blocked
    assert set(found.may.values()) == {"no longer kept by last 2"}
    assert found.ids(["p-6"]) == [snapshot("p-6")]
    assert found.kept == {"p-2": "last", "p-1": "last, the last complete"}


def stays(found: Decision, run_id: str, why: str) -> None:
    assert run_id not in found.going and why in found.kept[run_id], found


def test_the_last_proven_the_last_restored_and_the_last_that_is_not_suspect_stay() -> None:
    some = [point(-1, level=0), point(-2, level=1), point(-3, level=2), point(-4, level=4), point(-5)]
    found = decide(here(some, plan=plan(last=1)))
    stays(found, "p-3", "the last proven")
    stays(found, "p-4", "the last that a drill restored")
    assert list(found.may) == ["p-5"], "and what is newer than the last proven waits"
    stays(found, "p-2", "newer than the last proven")
    odd = [point(-days, suspect="everything changed") for days in (1, 2)] + SIX[2:]
    stays(decide(here(odd, plan=plan(last=1))), "p-3", "the last that is not suspect")


def hold(point_id: str | None, until: datetime | None = None) -> Hold:
    return Hold(hold_id="hold-1", system="sis", reason="a lawsuit", placed=NOON - DAY, point=point_id, until=until)


def test_a_point_on_hold_stays_until_the_hold_runs_out() -> None:
    stays(decide(here(SIX, holds=[hold("p-6")])), "p-6", "on hold (hold-1)")
    assert "p-6" in decide(here(SIX, holds=[hold("p-6", until=NOON - DAY / 2)])).may


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"frozen": "p-1 is suspect"}, "retention is frozen: p-1 is suspect"),
        ({"holds": [hold(None)]}, "the system is on hold"),
        ({"clock": "this machine's clock is 3 h off that of first"}, "3 h off"),
        ({"lost": ("p-2",)}, "first has lost p-2, which the plan's retention keeps"),
        ({"proof": "failed"}, "the last verification of first was not ok"),
        ({"proven_lately": False}, "the newest proof on first is older than 2 d"),
        ({"confirmed": False}, "4 of 6 recovery points on first would expire at once, more than 50%"),
    ],
)
def test_while_anything_is_odd_nothing_expires(more: dict[str, Any], why: str) -> None:
    found = decide(here(SIX, **more))
    assert found.may == {} and found.going and any(why in text for text in found.blocked), found.blocked
    assert found.is_odd == ("holds" not in more), "a hold is ordered: nothing is wrong"


def test_a_hold_hides_nothing_else_that_is_in_the_way_and_asks_for_no_confirmation() -> None:
    assert not decide(here(SIX, holds=[hold(None)], confirmed=False)).is_odd
    assert decide(here(SIX, holds=[hold(None)], proof="failed")).is_odd


def test_while_nothing_is_proven_nothing_expires_and_that_is_an_obstacle() -> None:
    found = decide(here([point(-days, level=0) for days in range(1, 7)]))
    assert found.may == {} and found.blocked == ["no recovery point on first is proven: run `dr verify sis`"]


def test_where_nothing_is_to_go_nothing_stands_in_the_way() -> None:
    assert decide(here(SIX[:2], proof="failed", frozen="odd")).blocked == []


def test_many_may_go_at_once_where_the_same_retention_did_so_before_and_not_where_it_was_changed() -> None:
    def last(**retention: int) -> Expiration:
        return Expiration(run_id="e", system="sis", target="first", started=NOON, finished=NOON, outcome="ok",
                          retention={"last": 2, **NONE, **retention})  # fmt: skip

    assert len(decide(here(SIX, confirmed=False, last=last())).may) == 4
    assert decide(here(SIX, confirmed=False, last=last(daily=30))).may == {}
    assert len(decide(here(SIX[:4], confirmed=False)).may) == 2, "half of them is not too many"


def test_a_target_is_judged_by_what_it_lists_and_not_by_what_lies_on_another() -> None:
    """The newest of a day lies on the second target alone: the first keeps what it has of that day."""
    other = point(-2.9, at=("second",))
    some = [point(-1), point(-2), point(-3), other, point(-4)]
    found = decide(here(some, plan=plan(last=1, daily=3)))
    assert "p-2.9" not in found.kept and list(found.may) == ["p-4"]
    stays(found, "p-3", "daily")


def test_what_a_run_that_was_cut_off_removed_is_found_and_what_it_left_goes_on() -> None:
    found = decide(here(SIX, lost=("p-6", "p-5"), begun={"p-6": "the rule of then", "p-4": "the rule of then"}))
    assert found.gone == {"p-6": "the rule of then"}, "only what was noted is put on record"
    assert found.may["p-4"] == "the rule of then" and "p-5" not in found.may


def test_what_is_not_whole_goes_once_a_newer_point_is() -> None:
    some = [point(-1, complete=False, level=0), point(-2), point(-3, complete=False, level=0), point(-4)]
    found = decide(here(some))
    assert found.may == {"p-3": "not whole, and a newer point is"}
    assert found.kept["p-1"] == "not whole, and no newer point is"


def test_a_copy_whose_keys_were_destroyed_is_left_alone() -> None:
    dead = replace(SIX[5], copies=(replace(SIX[5].copies[0], destroyed=True, complete=False),))
    found = decide(here([*SIX[:5], dead]))
    assert "p-6" not in found.may and "p-6" not in found.kept


def test_a_proof_may_be_twice_as_old_as_the_plan_s_time_between_two() -> None:
    assert bound(plan()) == 2 * 86_400 and bound(plan({"verify": "every 6 hours"})) == 12 * 3_600
    assert bound(plan({"verify": "never"})) == 31 * 86_400


# -- the year ahead ------------------------------------------------------------------------------------


def test_each_point_says_which_rules_keep_it() -> None:
    found = rules(plan(last=1, daily=2, weekly=2), SIX)
    assert found == {"p-1": ("last", "daily", "weekly"), "p-2": ("daily",), "p-3": ("weekly",)}


def test_the_year_ahead_is_what_expiring_each_day_comes_to() -> None:
    """The calendar against the rules themselves, a day at a time; and each point says why it goes."""
    wanted = plan({"backup": "every 12 hours"}, last=2, daily=4, weekly=3, monthly=2)
    year = list(calendar(wanted, SIX, now=NOON))
    assert len(year) == 365 and year[0].day == NOON.date()
    there, made = {each.run_id: each for each in SIX}, NOON
    for day in year[:60]:
        while made.date() == day.day:
            there[f"{made}"] = replace(point(0), run_id=f"{made}", consistency_time=made)
            made += DAY / 2
        kept = set(rules(wanted, there.values()))
        assert len(day.goes) == len(there) - len(kept) and day.stay == len(kept)
        assert {each.run_id for each in day.goes if each.run_id} == {x for x in there if x[0] == "p"} - kept
        there = {run_id: each for run_id, each in there.items() if run_id in kept}
    gone = [each for day in year for each in day.goes if each.run_id]
    assert {each.run_id for each in gone} == {each.run_id for each in SIX}
    assert {each.why for each in gone} >= {"no longer kept as daily", "no longer kept as weekly"}


def test_what_is_on_hold_stays_the_whole_year_and_without_backups_nothing_more_comes() -> None:
    year = list(calendar(plan({"backup": "never"}, last=1), SIX, now=NOON, held={"p-6"}))
    assert (year[0].stay, len(year[0].goes), sum(day.made for day in year)) == (2, 4, 0)


def test_while_the_whole_system_is_on_hold_the_year_ahead_shows_nothing_going() -> None:
    own = plan({"backup": "every 12 hours"}, last=2)
    year = year_of(own, "first", SIX, holds=[hold(None)], now=NOON)
    assert not any(day.goes for day in year.days) and year.days[1].stay > len(SIX) and year.on_hold == ("hold-1",)
    ends = year_of(own, "first", SIX, holds=[hold(None, until=NOON + 10 * DAY)], now=NOON).days
    assert not any(day.goes for day in ends[:10]) and len(ends[10].goes) > len(SIX)
    assert year_of(own, "first", SIX, holds=[hold(None, until=NOON - DAY / 2)], now=NOON).days[0].goes
