"""Cadence: when something is due, in the plan's words and time zone. Pure.

A missed time is caught up once: `due` names one moment, however many were missed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from dr.late_dataclass import dataclass

_UNITS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_DAYS = {
    name: i for i, name in enumerate(("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"))
}
#: Seconds of the longest interval: who backs up less often than every five years made a typing mistake.
LONGEST = 5 * 366 * 86_400
_EVERY = re.compile(r"every\s+(?:(\d+)\s+)?(second|minute|hour|day|week)s?", re.IGNORECASE)
_AT = re.compile(r"every\s+(day|weekday|weekend|[a-z]+day)s?\s+at\s+(\d{1,2}):(\d{2})", re.IGNORECASE)
#: Once a day, on some days of the week: hour, days.
_WEEKLY = re.compile(r"\d{1,2} (\d{1,2}) \* \* (\*|[0-6](?:-[0-6])?(?:,[0-6](?:-[0-6])?)*)")
_FORMS = "write 'every 4 hours', 'every day at 02:00', 'every monday at 03:00' or 'cron 0 5 1 * *'"


class Rule(Protocol):
    """A parsed cadence."""

    def due(self, last: datetime | None, now: datetime) -> datetime:
        """Return when it is due, or became due first, after `last`; `now` when it was never done."""

    def interval_seconds(self) -> float:
        """Return the longest time between two dues, in seconds."""


@dataclass(frozen=True)
class Interval:
    """Every so many seconds after the last time."""

    seconds: int

    def due(self, last: datetime | None, now: datetime) -> datetime:
        """See `Rule`. A `last` in the future (the clock was set back) counts as now."""
        return now if last is None else min(last, now) + timedelta(seconds=self.seconds)

    def interval_seconds(self) -> float:
        """See `Rule`."""
        return float(self.seconds)


@dataclass(frozen=True)
class Calendar:
    """At times of the calendar: a cron expression in a time zone, with daylight saving as cron has it."""

    expression: str
    timezone: str

    def due(self, last: datetime | None, now: datetime) -> datetime:
        """See `Rule`."""
        return now if last is None else next(self._after(min(last, now)))

    def interval_seconds(self) -> float:
        """See `Rule`: the longest gap of the coming 400 times, or of two years."""
        if found := _WEEKLY.fullmatch(self.expression):
            return _longest_of_week(int(found[1]), found[2], self.timezone)
        start = datetime(2026, 1, 1, tzinfo=UTC)
        times, longest = self._after(start), 0.0
        before = next(times)
        for _, moment in zip(range(400), times, strict=False):
            longest = max(longest, (moment - before).total_seconds())
            if moment - start > timedelta(days=730):
                break
            before = moment
        return longest

    def _after(self, moment: datetime) -> Iterator[datetime]:
        local = moment.astimezone(ZoneInfo(self.timezone))
        return (found.astimezone(UTC) for found in CronSim(self.expression, local))


@functools.lru_cache(maxsize=1024)
def _longest_of_week(hour: int, days: str, timezone: str) -> float:
    """Return the longest gap of what comes once a day on some days of the week, in seconds.

    As walking the calendar finds it, in a hundredth of the time: a thousand plans name a thousand times of day. No
    clock is put forward or back but at a full hour, so the minute makes no gap longer.
    """
    zone, at = ZoneInfo(timezone), datetime(2026, 1, 1, hour)  # noqa: DTZ001 - the time on the wall, of any zone
    wanted = range(7) if days == "*" else {(int(day) - 1) % 7 for part in days.split(",") for day in _span(part)}
    longest, before = 0.0, None
    for _ in range(731):
        if at.weekday() in wanted:
            moment = at - (zone.utcoffset(at) or timedelta())
            longest = max(longest, (moment - before).total_seconds()) if before else 0.0
            before = moment
        at += timedelta(days=1)
    return longest


def _span(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


@functools.lru_cache(maxsize=4096)
def parse(text: str, timezone: str = "UTC") -> Rule:
    """Return the rule a plan's words mean. Raises `ValueError` in plain words."""
    checked_zone(timezone)
    words = " ".join(str(text).split())
    if found := _EVERY.fullmatch(words):
        seconds = int(found[1] or 1) * _UNITS[found[2].lower()]
        if not 0 < seconds <= LONGEST:
            raise ValueError(f"{text!r} is not a cadence: {_FORMS}")
        return Interval(seconds)
    return _calendar(words, timezone)


def _calendar(words: str, timezone: str) -> Calendar:
    expression = words[5:] if words.lower().startswith("cron ") else _cron(words)
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"{words!r} is not a cadence: {_FORMS}") from error
    return Calendar(expression, timezone)


def _cron(words: str) -> str:
    found = _AT.fullmatch(words)
    if not found or int(found[2]) > 23 or int(found[3]) > 59:
        raise ValueError(f"{words!r} is not a cadence: {_FORMS}")
    days = {"day": "*", "weekday": "1-5", "weekend": "0,6"} | {name: str(i) for name, i in _DAYS.items()}
    day = days.get(found[1].lower())
    if day is None:
        raise ValueError(f"{words!r} is not a cadence: {_FORMS}")
    return f"{int(found[3])} {int(found[2])} * * {day}"


# -- time zones ----------------------------------------------------------------------------------------


def known_zone(name: str) -> bool:
    """Whether a name is one of the time zone database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def checked_zone(name: str) -> str:
    """Return the name. Raises `ValueError` in plain words when it is not known."""
    if not known_zone(name):
        raise ValueError(f"{name!r} is not a time zone: write one like America/New_York or UTC")
    return name
