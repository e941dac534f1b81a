"""What a target may declare of locks: bounded, and with its faults said in plain words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dr.plan.target_kind import Immutability


def test_the_margin_is_a_third_of_the_days_unless_it_is_declared() -> None:
    assert Immutability(mode="compliance", days=30).margin == 10
    assert Immutability(mode="compliance", days=30, margin_days=12).margin == 12
    assert Immutability(mode="governance", days=1).margin < 1, "a lock of a day is not extended by every run"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"days": 100}, "more than max_lock_days"),
        ({"days": 0}, "at least 1"),
        ({"days": 10, "margin_days": 10}, "not less than days"),
        ({"max_calls": 0}, "greater than or equal to 1"),
        ({"price_per_1000": -1}, "greater than or equal to 0"),
    ],
)
def test_what_cannot_be_kept_is_refused(declared: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Immutability.model_validate({"mode": "compliance", **declared})


def test_without_a_lock_nothing_is_asked_of_its_days() -> None:
    assert Immutability(days=0, margin_days=99).mode == "none"
