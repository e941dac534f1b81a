"""Times as people type them: RFC 3339, a date, an age like `3h` or `2d` ago, or as this program prints them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from dr.plan.units import parse_duration

_SAID_AS_UTC = re.compile(r"\s+(?:UTC|GMT|Z)$", re.IGNORECASE)
_WHOLE_SECOND = re.compile(r"(?:\d{2}:\d{2}:\d{2}|T\d{6})(?![\d.,])")


class Time(click.ParamType[datetime]):
    """`2026-11-24T06:00:00Z`, `2026-11-24 06:00 UTC`, `2026-11-24 06:00` (this machine's zone), `2026-11-24`, `now`,
    or `3h` (ago).

    Times are printed to the second, and what they are of lies within it. With `last`, a time that is typed to the
    second means the last moment of that second.
    """  # fmt: skip

    name = "time"

    def __init__(self, *, last: bool = False) -> None:
        self._last = last

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return an aware UTC datetime."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        moment = _of_the_calendar(text) or _ago(text)
        if moment is None:
            self.fail(f"{text!r} is not a time: write 2026-11-24T06:00:00Z, 2026-11-24, or 3h (ago)", param, ctx)
        return moment.replace(microsecond=999_999) if self._last and _WHOLE_SECOND.search(text) else moment


def _of_the_calendar(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(_SAID_AS_UTC.sub("Z", text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _ago(text: str) -> datetime | None:
    """Return so long ago. A number alone is none: it might be meant as a year."""
    if text.lower() == "now":
        return datetime.now(UTC)
    if text.isdecimal():
        return None
    try:
        return datetime.now(UTC) - timedelta(seconds=parse_duration(text.removesuffix(" ago")))
    except (ValueError, OverflowError):
        return None


TIME = Time()
#: For "the newest point not after this time".
LAST_MOMENT = Time(last=True)
