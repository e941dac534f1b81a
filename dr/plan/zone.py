"""Names of time zones, as plans and servers give them."""

from __future__ import annotations

from zoneinfo import ZoneInfo


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
