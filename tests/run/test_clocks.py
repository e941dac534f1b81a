"""The clock of a service held against ours: how long its answer took is not a difference."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dr.run.timetravel.point_in_time import clock_difference

START = datetime(2026, 11, 28, 12, tzinfo=UTC)


def asking(took: list[float], ahead: float) -> tuple[Callable[[], datetime], Callable[[], datetime]]:
    """A service whose clock is ahead, whose answers take so many seconds each and are made in the middle."""
    now = [START]

    def there() -> datetime:
        seconds = took.pop(0)
        made = now[0] + timedelta(seconds=seconds / 2 + ahead)
        now[0] += timedelta(seconds=seconds)
        return made.replace(microsecond=0)

    return there, lambda: now[0]


@pytest.mark.parametrize("took", [[0.1], [20.0, 0.1], [20.0, 15.0, 30.0]])
def test_a_slow_answer_is_not_a_clock_that_differs(took: list[float]) -> None:
    left = list(took)
    there, here = asking(left, 0.0)
    assert clock_difference(there, here) == timedelta() and not left


@pytest.mark.parametrize("ahead", [60.0, -60.0, 86_400.0])
@pytest.mark.parametrize("took", [[0.1], [20.0, 0.1]])
def test_a_clock_that_differs_is_seen_however_slow_the_first_answer(took: list[float], ahead: float) -> None:
    there, here = asking(list(took), ahead)
    assert abs(clock_difference(there, here).total_seconds() - ahead) <= 2


def test_a_service_that_does_not_say_the_time_does_not_differ() -> None:
    assert clock_difference(lambda: None, lambda: START) == timedelta()
