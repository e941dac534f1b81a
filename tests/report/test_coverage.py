"""What a proof rests on, in words; and that what was not read in time is a problem by itself, also where no run tells."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dr.evidence.coverage import Coverage
from dr.evidence.record import Proof
from dr.evidence.system_status import PlaceState
from dr.report.coverage import said
from dr.report.kept import ProofView
from tests.report.district import NOW, ago, plan, row


def coverage(**more: Any) -> Coverage:
    given = {
        "objects": 100, "bytes": 5_000, "read_objects": 4, "read_bytes": 170, "oldest_read": ago(days=22),
        "whole_within_seconds": 30 * 86_400, **more,
    }  # fmt: skip
    return Coverage(**given)


def test_it_says_within_how_long_all_was_read_or_what_is_left() -> None:
    assert said(coverage()) == "read within 30 d, oldest 2026-11-02 09:30:00 UTC"
    assert said(coverage(oldest_read=None, unread_objects=60)) == "60 objects still to be read within 30 d"
    assert said(coverage(oldest_read=None)) == "", "what is damaged is told as damage"
    proof = Proof(
        run_id="v", system="sis", target="vault", started=NOW, finished=NOW, outcome="ok", level_asked=3,
        level_reached=3, coverage=coverage(),
    )  # fmt: skip
    assert ProofView.of(proof).observed == "no damage; read within 30 d, oldest 2026-11-02 09:30:00 UTC"


def test_it_holds_for_as_long_as_nothing_is_unread_for_longer_than_the_bound() -> None:
    assert coverage().holds(NOW) and coverage().holds(NOW + timedelta(days=8))
    assert not coverage().holds(NOW + timedelta(days=8, seconds=1))
    assert not coverage().holds(NOW, within=21 * 86_400), "of a plan that asks for more by now"
    assert not coverage(oldest_read=None).holds(NOW)


@pytest.mark.parametrize(
    ("oldest", "proof", "problems"),
    [(29, "ok", 0), (31, "ok", 1), (31, "degraded", 0), (None, "ok", 0)],
    ids=["in time", "too long ago", "the run says so itself", "not known"],
)
def test_what_was_read_too_long_ago_is_a_problem(oldest: int | None, proof: Any, problems: int) -> None:
    state = PlaceState(target="vault", proof=proof, oldest_read=ago(days=oldest) if oldest else None)
    found = [x for x in row(plan(), places={"vault": state}).problems if x.kind == "proof_overdue"]
    assert len(found) == problems
    for each in found:
        assert (each.subject, each.since, each.severity) == ("vault", ago(days=1), "warning")
        assert "read longer than 30 d ago, the oldest 2026-10-24" in each.text and "dr verify sis" in each.todo
