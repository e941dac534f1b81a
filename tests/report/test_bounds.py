"""When what a target's file allows is used up: said by the share that is stored, and by when growth reaches it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dr.evidence.size import Growth, KnownSize, Observation
from dr.report import nagios
from dr.report.bounds import Rated, Room, problems
from dr.report.metrics import Measured, families
from tests.report.district import NOW, row

TB = 10**12
GROWS = Growth(bytes_per_month=TB / 10, low=TB / 20, high=TB / 5, observations=30, since=NOW - timedelta(days=60))


def size(bytes: int, growth: Growth | None = None) -> KnownSize:
    return KnownSize(seen=Observation(NOW - timedelta(days=1), bytes), growth=growth, reckoned=NOW)


def room(*sizes: KnownSize, budget: float | None = None, rated: Rated | None = None) -> Room:
    capacity = None if budget else 5 * TB
    return Room(target="offsite", capacity=capacity, budget=budget, sizes=sizes, rated=rated)


@pytest.mark.parametrize(
    ("given", "severity", "said"),
    [
        (room(size(3 * TB), size(22 * TB // 10)), "degraded", "holds 5.2 TB, more than its capacity of 5.0 TB, as li"),
        (room(size(47 * TB // 10)), "warning", "holds 4.7 TB, 94 % of its capacity of 5.0 TB, as listed on"),
        (
            room(size(4 * TB, GROWS), size(2 * TB // 10, replace(GROWS, bytes_per_month=3 * TB / 10, low=-TB))),
            "warning",
            "holds 4.2 TB, and by ESTIMATE reaches its capacity of 5.0 TB in 2.0 months (soonest 2.0 months, latest nev",
        ),
        (
            replace(room(size(6 * TB)), unlisted=2),
            "degraded",
            "holds at least 6.0 TB, more than its capacity of 5.0 TB, as listed on 2026-11-23; 2 systems there never",
        ),
        (
            room(size(TB), budget=10, rated=Rated(of_a_byte=9 / TB, beside=2, currency="EUR")),
            "warning",
            "costs 11.00 EUR a month by ESTIMATE, more than its budget of 10.00 EUR a month",
        ),
    ],
)
def test_a_bound_that_is_reached_or_near_is_a_problem(given: Room, severity: str, said: str) -> None:
    (found,) = problems(given)
    assert (found.subject, found.system, found.severity) == ("offsite", "", severity)
    assert found.text.startswith(f"offsite {said}")
    assert found.kind == ("over_budget" if given.budget else "target_full") and "`dr forecast`" in found.todo


@pytest.mark.parametrize(
    "given",
    [
        room(size(4 * TB)),  # how it grows is not known
        room(size(4 * TB, replace(GROWS, high=10 * TB))),  # in ten months, however soon it might be
        room(size(4 * TB, replace(GROWS, bytes_per_month=-TB))),
        room(size(4 * TB), budget=1.0),  # nobody has reckoned a price
        replace(room(size(9 * TB)), capacity=None),
    ],
)
def test_what_is_far_or_not_known_is_no_problem(given: Room) -> None:
    assert list(problems(given)) == []


def test_it_is_in_the_metrics_and_in_the_line_for_nagios() -> None:
    full = room(size(5 * TB, GROWS))
    wrong = list(problems(full))
    known = Measured(now=NOW, version="1", rows=(), standings={}, due={}, rooms=[full], site=wrong)
    told = {family.name: family.samples for family in families(known)}
    assert [each.value for each in told["dr_target_capacity_used_ratio"]] == [1.0]
    assert [each.value for each in told["dr_target_capacity_reached_seconds"]] == [0.0]
    assert "dr_target_budget_used_ratio" not in told, "none is declared"
    assert [(x.labels["kind"], x.labels["system"]) for x in told["dr_problem"]] == [("target_full", "")]
    fine = replace(row(), problems=())
    assert nagios.line([fine])[0] == nagios.OK
    assert (
        nagios.line([fine], wrong)[0] == nagios.WARNING and "this site: offsite holds" in nagios.line([fine], wrong)[1]
    )


def test_what_is_kept_of_a_size_comes_back_and_what_cannot_be_read_is_nothing() -> None:
    assert KnownSize.of(size(5, GROWS).to_json()) == size(5, GROWS)
    assert KnownSize.of(size(5).to_json()) == size(5)
    assert [KnownSize.of(text) for text in ("", "[]", "{}", '{"seen": {}, "growth": 1}')] == [None] * 4
