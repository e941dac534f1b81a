"""Canonical JSON: the quick way writes what the library that knows the whole RFC writes, or leaves it to that."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dr.evidence.canonical import canonical, quoted

#: Every double there is, by its bits: exponents of all sizes as often as others.
DOUBLES = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
NUMBERS = DOUBLES | st.floats() | st.integers() | st.integers(-(2**54), 2**54) | st.integers().map(float)
SCALARS = NUMBERS | st.text() | st.booleans() | st.none()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


def _by_the_rfc(value: Any) -> str | None:
    try:
        return rfc8785.dumps(value).decode()
    except ValueError:
        return None


@settings(max_examples=300, deadline=None)
@given(VALUES)
@example({"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "\r": 4, "1": 5, "\u0080": 6, "\u00f6": 7})
@example([1e21, 1e20, 1e16, 1e15 + 0.5, 1e-4, 9.9e-5, 1e-6, 1e-7, 5e-324, -0.0, 0.1, 333333333.33333329, 2.0**53])
@example({"a": "\ud800"})
@example({"\udfff": 1})
@example([math.inf])
@example([math.nan])
@example('\x7f\x80\u2028\u2029\x00\x1f"\\/\b\f\n\r\t')
def test_the_quick_way_writes_what_the_rfc_asks_for(value: Any) -> None:
    expected = _by_the_rfc(value)
    if expected is None:
        with pytest.raises(ValueError):
            canonical(value)
    else:
        assert canonical(value) == expected


@settings(deadline=None)
@given(st.text())
def test_a_quoted_text_is_the_canonical_text(text: str) -> None:
    expected = _by_the_rfc(text)
    assert expected is None or quoted(text) == expected


@pytest.mark.parametrize("value", [{1: 2}, {"a": {2, 3}}, b"bytes", 2**53, -(2**53)])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical(value)
