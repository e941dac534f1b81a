"""Expectations hold or do not; what cannot be compared does not."""

from __future__ import annotations

import pytest

from dr.plan.expect import check_expectation, describe, holds


@pytest.mark.parametrize(
    ("expect", "observed", "verdict"),
    [
        (">= 1000", 1000, True), (">= 1000", 999, False), (">= 1000", "1000", True), (">= 1000", None, False),
        (">= 1000", "many", False), ("< 5", 4.5, True), ("!= 0", 1, True), ("== 3", 3, True),
        ("between 1 and 9", 9, True), ("between 1 and 9", 10, False), ("matches ^ok", "ok then", True),
        ("matches ^ok", "not ok", False), (0, 0, True), (0, "0", True), (0, 1, False), ("ok", "ok", True),
        ("ok", "no", False), (">= 2026-01-01", "2026-01-02T00:00:00Z", True), (">= 2026-01-03", "2026-01-02", False),
        (True, 1, True), (0, None, False), ("ok\n", "ok", True),
    ],
)  # fmt: skip
def test_holds(expect: object, observed: object, verdict: bool) -> None:
    assert holds(expect, observed) is verdict  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["matches (", "between 1", ">=", "between and 9"])
def test_what_can_never_be_judged_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        check_expectation(text)


def test_described_in_words() -> None:
    assert [describe(x) for x in (">=  5", 0, "matches ^ok")] == [">= 5", "= 0", "matches ^ok"]
