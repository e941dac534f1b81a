"""Windows: the times of the day at which work may begin. Pure; in a time zone, with its summer time.

Written `22:00-05:00`: from the first minute on, up to and without the last; past midnight where the end is not later.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from dr.late_dataclass import dataclass

#: What waits for windows.
Held = Literal["backup", "verify", "drill", "replicate", "expire", "prune"]

_FORM = re.compile(r"\s*(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*")


@dataclass(frozen=True)
class DayWindow:
    """From `start` to `end`, in minutes after midnight, as the clock on the wall shows them."""

    start: int
    end: int

    def on(self, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return when it opens on a day, and when it closes then."""
        closes = day if self.end > self.start else day + timedelta(days=1)
        return _moment(day, self.start, zone), _moment(closes, self.end, zone)


@dataclass(frozen=True)
class HeldBack:
    """Work that is due, and waits until a window opens."""

    system: str
    verb: str
    opens: datetime

    @property
    def in_words(self) -> str:
        """What is told of it."""
        return f"{self.system}: {self.verb} is due and waits until its window opens, {self.opens:%Y-%m-%d %H:%M}Z"


def _moment(day: date, minutes: int, zone: ZoneInfo) -> datetime:
    """Return when the clock on the wall shows a time; one that it skips in spring is when it jumps."""
    if minutes == 24 * 60:
        day, minutes = day + timedelta(days=1), 0
    wall = datetime.combine(day, time(minutes // 60, minutes % 60))
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if _wall(moment, zone) == wall:
        return moment
    moment = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while _wall(moment, zone) < wall:
        moment += timedelta(minutes=1)
    return moment


def _wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what the clock on the wall shows."""
    return moment.astimezone(zone).replace(tzinfo=None)


@functools.lru_cache(maxsize=256)
def parse_window(text: str) -> DayWindow:
    """Return the window a text means. Raises `ValueError` in plain words."""
    found = _FORM.fullmatch(text)
    parts = [int(part) for part in found.groups()] if found else [99, 0, 0, 0]
    start, end = parts[0] * 60 + parts[1], parts[2] * 60 + parts[3]
    if max(parts[1], parts[3]) > 59 or start >= 24 * 60 or end > 24 * 60:
        raise ValueError(f"{text!r} is not a window: write it as 22:00-05:00, in quotes")
    if start == end:
        raise ValueError(f"{text!r} is never open: write 00:00-24:00 for the whole day")
    return DayWindow(start, end)


def opens(windows: Sequence[str], timezone: str, moment: datetime) -> datetime:
    """Return `moment` when a window is open then, or none is declared; else when the next one opens."""
    if not windows:
        return moment
    zone = ZoneInfo(timezone)
    today = moment.astimezone(zone).date()
    spans = [parse_window(text).on(today + timedelta(days=more), zone) for text in windows for more in (-1, 0, 1, 2)]
    if any(start <= moment < end for start, end in spans):
        return moment
    return min(start for start, end in spans if start > moment and end > start)
