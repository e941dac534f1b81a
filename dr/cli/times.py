"""Times as people type them: RFC 3339, a date, or an age like `3h` or `2d` ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from dr.plan.units import parse_duration


class Time(click.ParamType[datetime]):
    """`2026-11-24T06:00:00Z`, `2026-11-24 06:00` (this machine's zone), `2026-11-24`, or `3h` (ago)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return an aware UTC datetime."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except ValueError:
            pass
        try:
            return datetime.now(UTC) - timedelta(seconds=parse_duration(text.removesuffix(" ago")))
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no time: write 2026-11-24T06:00:00Z, 2026-11-24, or 3h (ago)", param, ctx)


TIME = Time()
