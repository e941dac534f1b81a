"""Durations, shares and sizes as people write them, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Days of a month, on average: prices of storage, and growth, are by the month.
MONTH_DAYS = 365.25 / 12
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST = 100 * 366 * 86_400
_LARGEST = 2**53 - 1
_PART = re.compile(r"(\d+)\s*([wdhms])", re.IGNORECASE)
_WHOLE = re.compile(r"(?:\s*\d+\s*[wdhms]\s*)+", re.IGNORECASE)


def parse_duration(value: object) -> int:
    """Return whole seconds from "90s", "15m", "2h", "1d", "1w", "1h30m" or a number of seconds.

    At most a hundred years: calendars and numbers in JSON hold no more. Raises `ValueError` in plain words.
    """
    seconds = _seconds(value)
    if seconds is None:
        raise ValueError(f"{value!r} is not a duration: write it as 90s, 15m, 2h, 1d, 1w or 1h30m")
    if seconds < 0:
        raise ValueError(f"a duration cannot be negative: {value}")
    if seconds > _LONGEST:
        raise ValueError(f"{value!r} is longer than a hundred years")
    return seconds


def _seconds(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    if text.isdecimal():
        return int(text) if len(text) < 20 else _LONGEST + 1
    if _WHOLE.fullmatch(text) and len(text) < 200:
        return sum(int(number) * _SECONDS[unit.lower()] for number, unit in _PART.findall(text))
    return None


def spell_duration(seconds: int) -> str:
    """Return whole seconds as a plan has them, in one unit: "90s", "15m", "2h"; weeks as days."""
    unit = next((unit for unit, size in _SECONDS.items() if unit != "w" and seconds and seconds % size == 0), "s")
    return f"{seconds // _SECONDS[unit]}{unit}"


def format_duration(seconds: float) -> str:
    """Return a duration in words of at most two units: "4.2 s", "1 h 30 min", "2 d 3 h"."""
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return _two(whole // 60, "min", whole % 60, "s")
    if whole < 86_400:
        return _two(whole // 3_600, "h", whole % 3_600 // 60, "min")
    return _two(whole // 86_400, "d", whole % 86_400 // 3_600, "h")


def _two(big: int, unit: str, small: int, subunit: str) -> str:
    return f"{big} {unit} {small} {subunit}" if small else f"{big} {unit}"


def parse_percent(value: object) -> float:
    """Return a share between 0 and 1 from "100%", "5%" or a number between 0 and 1."""
    share: float | None = None
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*%\s*", value):
        share = float(value.strip().rstrip("%")) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    if share is None or not 0 < share <= 1:
        raise ValueError(f"{value!r} is not a share: write it as 100% or 5%")
    return share


_SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_UNITS = ((4, "T"), (3, "G"), (2, "M"), (1, "K"))
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?|)b?(?:/s)?\s*", re.IGNORECASE)


def parse_bytes(value: object) -> int:
    """Return a number of bytes from "5MB", "512KiB", "5MB/s" or a number.

    At most 9 PB: numbers in JSON hold no more. Raises `ValueError` in plain words.
    """
    size = _bytes(value)
    if size > _LARGEST:
        raise ValueError(f"{value!r} is more than 9 PB")
    return size


def _bytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
    if not found:
        raise ValueError(f"{value!r} is not a size: write it as 512KiB, 5MB or 1GiB")
    return int(float(found[1]) * _SIZES[found[2].lower()])


def spell_bytes(count: int) -> str:
    """Return a number of bytes as a plan has it: in the largest unit that it is a whole number of, "50GiB", "500KB"."""
    units = ((f"{unit}{end}", (1024 if end == "iB" else 1000) ** n) for n, unit in _UNITS for end in ("iB", "B"))
    unit, size = next(((unit, size) for unit, size in units if count and count % size == 0), ("", 1))
    return f"{count // size}{unit}"


def counted(number: int, noun: str) -> str:
    """Return "1 file", "2 files"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Return "a, b, c and 2 more"."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def format_bytes(count: float | None) -> str:
    """Return a size in decimal units: "1.2 GB"; "unknown" of one that nobody knows."""
    if count is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if round(abs(count)) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" or abs(count) >= 99.95 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")
