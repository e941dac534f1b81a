"""Times as typed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click
import pytest

from dr.cli.times import LAST_MOMENT, TIME

SIX = datetime(2026, 11, 24, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("2026-11-24T06:00:00Z", SIX),
        ("20261124T060000Z", SIX),
        ("2026-11-24 06:00:00Z", SIX),
        ("2026-11-24 06:00:00 UTC", SIX),  # as a report and an error print it
        ("2026-11-24 06:00 utc", SIX),
        ("2026-11-24T11:30:00+05:30", SIX),
        ("2026-11-24 01:00", SIX),  # this machine's zone
        ("2026-11-24T06:00:00.250000Z", SIX + timedelta(milliseconds=250)),
        ("2026-11-24", datetime(2026, 11, 24, 5, tzinfo=UTC)),
        ("2026-07-24", datetime(2026, 7, 24, 4, tzinfo=UTC)),  # daylight saving
    ],
)
def test_a_moment_is_read_in_the_zone_that_is_named_or_this_machines(typed: str, meant: datetime) -> None:
    assert TIME.convert(typed, None, None) == meant


@pytest.mark.parametrize(
    ("typed", "ago"), [("now", 0), ("90s", 90), ("3h", 10_800), ("2d ago", 172_800), ("1h30m", 5_400)]
)
def test_an_age_counts_back_from_now(typed: str, ago: int) -> None:
    found = (datetime.now(UTC) - TIME.convert(typed, None, None)).total_seconds()
    assert found == pytest.approx(ago, abs=30)


@pytest.mark.parametrize(
    "typed", ["", "2026", "0", "tomorrow", "-3h", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "9999999w"]
)
def test_what_is_no_time_is_refused_in_plain_words(typed: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a time: write"):
        TIME.convert(typed, None, None)


@pytest.mark.parametrize("typed", ["2026-11-24 06:00:00Z", "2026-11-24T06:00:00+00:00", "20261124T060000Z"])
def test_the_time_of_a_point_as_it_is_printed_is_not_before_that_point(typed: str) -> None:
    point = SIX + timedelta(milliseconds=733)
    assert TIME.convert(typed, None, None) < point
    assert point <= LAST_MOMENT.convert(typed, None, None) < SIX + timedelta(seconds=1)


def test_a_time_to_the_minute_or_to_the_fraction_is_taken_as_it_is() -> None:
    for typed in ("2026-11-24T06:00Z", "2026-11-24T06:00:00.000000Z"):
        assert LAST_MOMENT.convert(typed, None, None) == SIX
