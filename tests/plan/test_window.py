"""Windows: when work may begin, past midnight and through the two nights of summer time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.plan.window import opens, parse_window

NEW_YORK = "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "zone", "moment", "expected"),
    [
        ((), "UTC", "2026-03-02T12:00", "2026-03-02T12:00"),
        (("22:00-05:00",), "UTC", "2026-03-02T12:00", "2026-03-02T22:00"),
        (("22:00-05:00",), "UTC", "2026-03-02T22:00", "2026-03-02T22:00"),
        (("22:00-05:00",), "UTC", "2026-03-02T04:59", "2026-03-02T04:59"),
        (("22:00-05:00",), "UTC", "2026-03-02T05:00", "2026-03-02T22:00"),
        (("01:00-05:00", "12:00-13:00"), "UTC", "2026-03-02T08:00", "2026-03-02T12:00"),
        (("00:00-24:00",), "UTC", "2026-03-02T23:59", "2026-03-02T23:59"),
        (("22:00-24:00",), "UTC", "2026-03-02T00:00", "2026-03-02T22:00"),
        (("22:00-05:00",), NEW_YORK, "2026-01-10T02:00", "2026-01-10T03:00"),
        (("22:00-05:00",), NEW_YORK, "2026-07-10T01:00", "2026-07-10T02:00"),
        # The night in which 02:00 to 03:00 does not exist, and the one in which 01:00 to 02:00 comes twice.
        (("02:30-03:30",), NEW_YORK, "2026-03-08T06:00", "2026-03-08T07:00"),
        (("02:30-03:30",), NEW_YORK, "2026-03-08T07:30", "2026-03-09T06:30"),
        (("01:00-02:30",), NEW_YORK, "2026-03-08T07:00", "2026-03-09T05:00"),
        (("02:00-03:00",), NEW_YORK, "2026-03-08T06:00", "2026-03-09T06:00"),
        (("01:30-03:00",), NEW_YORK, "2026-11-01T05:00", "2026-11-01T05:30"),
    ],
)
def test_a_window_opens_by_the_clock_on_the_wall(
    windows: tuple[str, ...], zone: str, moment: str, expected: str
) -> None:
    assert opens(windows, zone, at(moment)) == at(expected)


@pytest.mark.parametrize("text", ["", "22-05", "25:00-01:00", "10:00-10:00", "10:00-24:30", "24:00-01:00", "1:5-2:00"])
def test_what_is_no_window_is_refused_in_plain_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a window: write it as|is never open"):
        parse_window(text)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda each: each.replace(tzinfo=UTC)),
    st.sampled_from(["22:00-05:00", "00:00-24:00", "02:15-02:45", "23:59-00:01", "13:00-12:00"]),
    st.sampled_from(["UTC", NEW_YORK, "Australia/Lord_Howe"]),
)
def test_what_opens_is_open_then_and_soon(moment: datetime, window: str, zone: str) -> None:
    opening = opens([window], zone, moment)
    assert opens([window], zone, opening) == opening >= moment
    assert opening - moment < timedelta(days=2)
