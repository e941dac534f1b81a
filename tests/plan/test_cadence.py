"""When something is due: time zones, daylight saving, missed times."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dr.plan import cadence

NY = "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def test_what_was_never_done_is_due_now() -> None:
    now = at("2026-11-24T10:00:00Z")
    for text in ("every 4 hours", "every day at 02:00", "cron 0 5 1 * *"):
        assert cadence.parse(text).due(None, now) == now


def test_an_interval_counts_from_the_last_time() -> None:
    last = at("2026-11-24T10:00:00Z")
    assert cadence.parse("every 4 hours").due(last, last) == last + timedelta(hours=4)
    assert cadence.parse("every 90 minutes").due(last, last) == last + timedelta(minutes=90)
    assert cadence.parse("every hour").interval_seconds() == 3600


def test_a_time_of_day_is_that_of_its_zone_across_daylight_saving() -> None:
    rule = cadence.parse("every day at 02:00", NY)
    assert rule.due(at("2026-10-31T12:00:00Z"), at("2026-10-31T12:00:00Z")) == at("2026-11-01T02:00:00-05:00")
    assert rule.due(at("2026-07-01T12:00:00Z"), at("2026-07-01T12:00:00Z")) == at("2026-07-02T02:00:00-04:00")
    assert rule.interval_seconds() == 25 * 3600


def test_a_time_that_the_clock_skips_in_spring_still_comes() -> None:
    rule = cadence.parse("every day at 02:30", NY)
    due = rule.due(at("2026-03-07T12:00:00Z"), at("2026-03-07T12:00:00Z"))
    assert at("2026-03-08T06:00:00Z") <= due <= at("2026-03-08T08:00:00Z")


def test_a_missed_time_is_caught_up_once() -> None:
    rule = cadence.parse("every day at 02:00")
    now = at("2026-11-24T10:00:00Z")
    assert rule.due(at("2026-11-20T02:00:01Z"), now) <= now
    assert rule.due(now, now) > now


def test_a_clock_set_back_does_not_put_the_next_backup_off() -> None:
    now = at("2026-11-24T10:00:00Z")
    assert cadence.parse("every 4 hours").due(now + timedelta(days=300), now) == now + timedelta(hours=4)
    assert cadence.parse("every day at 02:00").due(now + timedelta(days=300), now) < now + timedelta(days=2)


MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


@given(MOMENTS, MOMENTS, MOMENTS, st.sampled_from(["every 3 hours", "every day at 02:30", "every monday at 03:00"]))
def test_due_is_monotone_in_now_and_later_than_the_last(a: datetime, b: datetime, last: datetime, text: str) -> None:
    rule = cadence.parse(text, NY)
    earlier, later = sorted((a, b))
    assert rule.due(last, earlier) <= rule.due(last, later)
    assert rule.due(last, later) > min(last, later)


@pytest.mark.parametrize(
    "text", ["every dya", "every 0 hours", "every day at 25:00", "cron 99 * * * *", "", "daily", "every day at"]
)
def test_what_is_no_cadence_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="every 4 hours"):
        cadence.parse(text)


def test_what_is_no_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        cadence.parse("every 4 hours", "America/Gotham")


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(["*", "0", "3", "6", "1-5", "0,6", "1,3-4"]),
    st.sampled_from(["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"]),
)
def test_the_longest_gap_of_a_weekly_rule_is_that_of_walking_its_calendar(
    minute: int, hour: int, days: str, zone: str
) -> None:
    rule = cadence.Calendar(f"{minute} {hour} * * {days}", zone)
    walked = cadence.Calendar(f"{minute} {hour} */1 * {days}", zone) if days == "*" else None
    times = rule._after(datetime(2026, 1, 1, tzinfo=UTC))
    found = [moment for moment in itertools.islice(times, 401) if moment < datetime(2028, 1, 1, tzinfo=UTC)]
    longest = max((b - a).total_seconds() for a, b in itertools.pairwise(found))
    assert rule.interval_seconds() == longest
    assert walked is None or walked.interval_seconds() == longest, "the same rule, written so that it is walked"
