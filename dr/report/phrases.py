"""How values are put into words, the same for every renderer."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from dr.plan.units import format_duration

#: Unicode's category Cc, but for the ends of lines and tabs.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def duration(seconds: float | None, none: str = "not measured") -> str:
    """Return a duration in words; `none` where it is not known."""
    if seconds is None:
        return none
    return "under 0.1 s" if 0 <= seconds < 0.05 else format_duration(seconds)


def when(moment: datetime | None) -> str:
    """Return a moment in UTC to the second; "never" where there is none."""
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(moment: datetime) -> str:
    """Return the day of a moment in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def count(number: int) -> str:
    """Return a whole number with narrow spaces between its thousands."""
    return f"{number:,}".replace(",", "\u202f")


def counted(number: int, one: str, many: str = "") -> str:
    """Return "1 drill", "2 drills"; `many` where an added s does not do."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Return a share in percent; never 100 % when something is missing, never 0 % when something is there."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.999 < share < 1:
        return "over 99.9 %"
    return f"{share * 100:.3g} %" if share <= 1 else f"{share * 100:.0f} %"


def writable(text: str) -> str:
    """Return text that every file can hold: lone surrogates and control characters are replaced."""
    if text.isprintable():
        return text
    return _CONTROL.sub("\ufffd", text).encode("utf-8", "replace").decode("utf-8")


def isolated(text: str) -> str:
    """Return a name so marked that, written from right to left, it does not turn the sentence around it."""
    turns = any(unicodedata.bidirectional(c) in ("R", "AL", "AN", "RLE", "RLO", "RLI") for c in text)
    return f"\u2068{text}\u2069" if turns else text
