"""Durations, shares and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.plan.units import format_bytes, format_duration, parse_bytes, parse_duration, parse_percent, spell_bytes


@given(st.integers(0, 10**9))
def test_whole_seconds_come_back_as_they_were(seconds: int) -> None:
    parts = []
    rest = seconds
    for unit, size in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        parts.append(f"{rest // size}{unit}")
        rest %= size
    assert parse_duration(" ".join(parts)) == seconds == parse_duration(str(seconds)) == parse_duration(seconds)


@pytest.mark.parametrize("text", ["", "4 hors", "h", "-5", -5, True, None, 1.5, "1h30", [], "∞"])
def test_what_is_no_duration_is_refused_in_words(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "share"), [("100%", 1.0), ("5 %", 0.05), (0.25, 0.25), (1, 1.0), ("12.5%", 0.125)])
def test_shares(text: object, share: float) -> None:
    assert parse_percent(text) == share


@pytest.mark.parametrize("text", ["0%", "101%", 0, 2, "half", True, None])
def test_what_is_no_share_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="share"):
        parse_percent(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (4.24, "4.2 s"),
        (59, "59 s"),
        (90, "1 min 30 s"),
        (5400, "1 h 30 min"),
        (183600, "2 d 3 h"),
        (-60, "-1 min"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


def test_sizes_in_words() -> None:
    assert [format_bytes(n) for n in (0, 999, 1200, 250e6, 3.21e12)] == ["0 B", "999 B", "1.2 kB", "250 MB", "3.2 TB"]
    assert [format_bytes(n) for n in (999_499, 999_600, 99_960)] == ["999 kB", "1.0 MB", "100 kB"], (
        "rounded, then named"
    )


@pytest.mark.parametrize("text", ["50GiB", "500KB", "20GB", "1TiB", "3MB", "1500KiB", "0", "7", "60KB"])
def test_a_size_is_spelt_as_it_is_written(text: str) -> None:
    assert spell_bytes(parse_bytes(text)) == text
