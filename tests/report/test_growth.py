"""The forecast by simulated histories: what grows, jumps, is pruned, shrinks, was not seen for months, or misdated."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import Requests
from dr.evidence.size import Growth, Observation
from dr.plan.target import Target
from dr.plan.units import MONTH_DAYS
from dr.report.forecast import Forecast, History, forecast
from dr.report.forecast_told import LABEL, forecast_document, forecast_lines
from dr.report.growth import growth, sound

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DAY = timedelta(days=1)
GB = 10**9
S3 = {"bucket": "vault", "endpoint": "https://s3.district.example"}
PRICES = {"currency": "USD", "storage": 0.02, "requests": {"write": 0.005, "read": 0.0004}, "egress": 0.09}


def seen(size: Callable[[int], float], days: int = 180, *, step: int = 1) -> list[Observation]:
    """Listings of so many days until now, of a size by the day."""
    return [Observation(NOW - (days - 1 - n) * DAY, round(size(n))) for n in range(0, days, step)]


def grown(size: Callable[[int], float], days: int = 180, *, step: int = 1) -> Growth:
    found = growth(sound(seen(size, days, step=step), NOW))
    assert found
    return found


def target(**more: object) -> Target:
    return Target.model_validate({"target": "offsite", "s3": S3, **more})


def of(history: History | list[Observation], **more: object) -> Forecast:
    whole = history if isinstance(history, History) else History(system="sis", seen=history)
    return forecast(target(**more), [whole], now=NOW)


# -- growth ------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(rate=st.floats(-0.5, 5), start=st.integers(100, 5_000), days=st.integers(15, 360), chance=st.integers(0, 2**32))
def test_a_line_is_found_through_noise_whether_it_rises_or_falls(
    rate: float, start: int, days: int, chance: int
) -> None:
    noise = random.Random(chance)
    found = grown(lambda day: (start + rate * day + noise.uniform(-0.3, 0.3)) * GB, days)
    assert found.bytes_per_month == pytest.approx(rate * MONTH_DAYS * GB, abs=2 * GB * MONTH_DAYS / days * 0.6)
    assert found.low <= found.bytes_per_month <= found.high


@pytest.mark.parametrize("at", [10, 60, 120, 170])
def test_one_jump_is_not_taken_for_growth_that_goes_on(at: int) -> None:
    found = grown(lambda day: (1000 + 0.1 * day + (500 if day >= at else 0)) * GB)
    assert found.bytes_per_month < 500 * GB * MONTH_DAYS / 180, "less than if it had come little by little"
    assert found.low <= 0.1 * MONTH_DAYS * GB * 1.01


@settings(max_examples=40, deadline=None)
@given(period=st.integers(3, 40), ramp=st.floats(1, 20), trend=st.floats(-1, 3), phase=st.integers(0, 39))
def test_a_saw_tooth_of_prunes_does_not_fool_it(period: int, ramp: float, trend: float, phase: int) -> None:
    days = 5 * period + 20
    found = grown(lambda day: (2000 + trend * day + ramp * ((day + phase) % period)) * GB, days)
    wrong = abs(found.bytes_per_month / MONTH_DAYS / GB - trend)
    assert wrong <= 0.25 * ramp + 0.01, "nowhere near the slope between two prunes"
    if ramp * (period - 1) > 0.03 * (2000 + 3 * days + ramp * period):  # each prune shows
        assert wrong <= 0.01


def test_what_is_full_of_prunes_and_does_not_grow_is_never_full() -> None:
    found = of(seen(lambda day: (2000 + 20 * (day % 14)) * GB, 100), capacity="3TB")
    assert found.capacity and found.capacity.months is None
    assert "not reached within 20 years" in "\n".join(forecast_lines(found))


def test_what_shrinks_reaches_no_bound() -> None:
    found = of(seen(lambda day: (3000 - 5 * day) * GB), capacity="3TB")
    assert found.growth and found.growth.high < 0
    assert found.capacity and (found.capacity.months, found.capacity.soonest) == (None, None)


def test_months_without_a_listing_change_nothing() -> None:
    whole = seen(lambda day: (1000 + day) * GB, 300)
    gap = [each for each in whole if not timedelta(days=40) < NOW - each.at < timedelta(days=200)]
    one, other = growth(sound(whole, NOW)), growth(sound(gap, NOW))
    assert one and other and one.bytes_per_month == pytest.approx(other.bytes_per_month)


@settings(max_examples=60, deadline=None)
@given(
    wrong=st.lists(st.integers(0, 119), min_size=1, max_size=10, unique=True),
    by=st.sampled_from([-4000, -90, -3, 2, 45, 5000]),
)
def test_a_clock_that_jumped_changes_nothing(wrong: list[int], by: int) -> None:
    listed = seen(lambda day: (1000 + 2 * day) * GB, 120)
    for number in wrong:
        listed[number] = replace(listed[number], at=listed[number].at + by * DAY)
    kept = sound(listed, NOW)
    assert kept == sorted(kept) and all(each.at <= NOW for each in kept)
    found = growth(kept)
    assert found and found.bytes_per_month == pytest.approx(2 * MONTH_DAYS * GB, rel=0.15)


@pytest.mark.parametrize("days", [0, 1, 2, 13])
def test_too_little_history_is_told_and_gives_no_number(days: int) -> None:
    found = of(seen(lambda day: (100 + day) * GB, days), capacity="1TB", budget=50, prices=PRICES)
    told = "\n".join(forecast_lines(found))
    assert found.growth is None and f"{LABEL} growth" not in told
    assert ("too little history of sis" in told) == (days > 0)
    assert ("sis was not listed there yet" in told) == (days == 0)
    for bound in (found.capacity, found.budget):
        assert bound is None if days == 0 else bound and bound.months is None


# -- what follows ------------------------------------------------------------------------------------


def test_months_to_a_bound_follow_from_the_growth_and_all_of_it_is_an_estimate() -> None:
    history = History(
        system="sis",
        seen=seen(lambda day: 100 * GB + day * 50 * GB / MONTH_DAYS, 180),
        freed=[Observation(NOW - 10 * DAY, 92 * GB)],
        traffic=[
            MonthlyTraffic(
                system="sis", target="offsite", month="2026-10", begun=NOW - timedelta(days=MONTH_DAYS), seen=NOW,
                requests=Requests(write=1000, read=10_000), received_bytes=30 * GB, restic_sent_bytes=5 * GB,
            )
        ],
    )  # fmt: skip
    prices = {**PRICES, "free_egress": "10GB", "minimum_days": 30}
    found = of(history, capacity="1TB", budget=20, prices=prices)
    stored = found.stored_bytes
    assert stored and stored == history.seen[-1].bytes and found.stored_at == NOW
    assert found.capacity and found.capacity.months == pytest.approx((1000 * GB - stored) / (50 * GB), rel=0.01)
    assert found.cost and found.cost.requests == pytest.approx(0.005 + 0.004, rel=0.01)
    assert found.cost.egress == pytest.approx(20 * 0.09, rel=0.01), "the first ten are free"
    assert found.cost.storage == pytest.approx(stored / GB * 0.02)
    assert found.cost.in_12_months == pytest.approx(found.cost.now + 12 * 50 * 0.02, rel=0.01)
    assert found.cost.early_removal == pytest.approx(92 * MONTH_DAYS / 92 * 0.02 * 30 / MONTH_DAYS)
    assert found.budget and found.budget.months == pytest.approx((20 - found.cost.now) / (50 * 0.02), rel=0.01)
    assert found.reached_within(12) == ["budget"] and found.reached_within(1) == []
    first, *others = forecast_lines(found)
    assert "as listed on 2026-11-28" in first and LABEL not in first
    assert all(line.startswith((f"  {LABEL} ", "  note: ")) for line in others)
    document = forecast_document(found)
    assert document["stored_bytes"] == stored and document["estimate"]["label"] == LABEL  # type: ignore[index]
    assert set(document) == {"target", "systems", "stored_bytes", "stored_at", "estimate", "notes"}


def test_a_bound_that_was_reached_says_so_and_of_other_systems_nothing_is_guessed() -> None:
    history = History(system="sis", seen=seen(lambda day: (900 + day) * GB, 60))
    assert of(history, capacity="900GB").reached_within(0) == ["capacity"]
    told = forecast(target(capacity="2TB"), [history], now=NOW, others=["finance"])
    assert told.capacity is None and any("finance" in note for note in told.notes)


def test_nothing_is_priced_where_no_prices_are_declared_and_nothing_is_counted_of_a_disk() -> None:
    assert of(seen(lambda day: GB)).cost is None
    disk = Target.model_validate({"target": "disk", "local": {"path": "/x"}, "capacity": "2GB"})
    found = forecast(disk, [History(system="sis", seen=seen(lambda day: GB))], now=NOW)
    assert found.rates is None and found.notes == ("traffic is not counted: this is a directory",) and found.capacity


def test_a_budget_without_prices_and_a_currency_that_is_none_are_refused() -> None:
    with pytest.raises(ValueError, match="budget needs prices"):
        target(budget=5)
    with pytest.raises(ValueError, match="'usd' is not a currency"):
        target(prices={**PRICES, "currency": "usd"})
