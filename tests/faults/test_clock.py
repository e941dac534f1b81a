"""A clock that jumps: nothing is skipped for years, nothing is repeated for ever, and no time is made up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dr.operations.backup import backup_one
from dr.operations.run_due import run_due
from dr.operations.verify import verify_one
from dr.queries.status import board
from dr.session import Session
from tests.conftest import Site, plan_text


@pytest.fixture
def at(files_site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], Session]:
    """A session whose clock is off by so much."""
    site = files_site
    more = "cadence: {backup: every 4 hours, verify: never, drill: every 7 days}\ndrill: {checks: [{manifest: {}}]}\n"
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", more=more))
    for name, value in site.env.items():
        monkeypatch.setenv(name, value)

    def session(off: timedelta) -> Session:
        return site.session(clock=lambda: datetime.now(UTC) + off)

    return session


def test_after_a_clock_was_years_ahead_backups_go_on_at_their_pace(at: Callable[[timedelta], Session]) -> None:
    ahead = run_due(at(timedelta(days=4000)))
    assert [b.record.outcome for b in ahead.backups] == ["ok"] and [d.record.outcome for d in ahead.drills] == ["ok"]
    corrected = run_due(at(timedelta()))
    assert [b.record.outcome for b in corrected.backups] == ["ok"], "due at once, not in eleven years"
    assert [d.record.outcome for d in corrected.drills] == ["ok"]
    assert run_due(at(timedelta())).backups == [], "done once, not at every look"
    later = run_due(at(timedelta(hours=4, minutes=1)))
    assert [b.record.outcome for b in later.backups] == ["ok"]
    session = at(timedelta(hours=5))
    assert session.catalog.audit().first_bad is None, "the chain is by order, not by time"


@pytest.mark.parametrize("cadence", ["", "replicate: every 4 hours, "], ids=["after each backup", "by a cadence"])
def test_after_a_clock_was_years_ahead_replicas_are_brought_up_to_date(
    at: Callable[[timedelta], Session], cadence: str
) -> None:
    plan = at(timedelta()).config / "plans" / "share.yaml"
    text = plan.read_text().replace("cadence: {", "cadence: {" + cadence)
    plan.write_text(text.replace("targets: [disk, vault]", "targets: [disk]\nreplicas: [vault]"))
    for off in (timedelta(days=4000), timedelta()):
        done = run_due(at(off))
        assert [(b.record.outcome, b.record.complete) for b in done.backups] == [("ok", True)], off
        assert [each.record.outcome for each in done.replications] == ["ok"], off
    assert run_due(at(timedelta())).replications == [], "done once, not at every look"


def test_the_board_claims_nothing_from_a_point_of_the_future(at: Callable[[timedelta], Session]) -> None:
    run_due(at(timedelta(days=4000)))
    session = at(timedelta())
    (row,) = board(session, session.chosen((), everything=True))
    assert row.next_due["backup"] is not None and row.next_due["backup"] <= datetime.now(UTC)
    assert row.row.rpo.word == "unknown", "a point of the future proves no freshness"
    assert any("clock" in problem.text for problem in row.row.problems)


def test_a_drill_with_the_clock_set_back_says_what_there_is(at: Callable[[timedelta], Session]) -> None:
    from dr.operations.drill import drill_one
    from dr.run.recovery.request import RecoveryRequest

    run_due(at(timedelta()))
    session = at(timedelta(days=-4000))
    (loaded,) = session.chosen(["share"])
    drill = drill_one(session, loaded, RecoveryRequest()).record
    assert drill.outcome == "failed" and drill.rta_seconds is None
    assert "no complete recovery point from" in (drill.error or "")


def test_a_clock_that_jumps_during_a_drill_does_not_bend_what_is_measured(at: Callable[[timedelta], Session]) -> None:
    from dr.operations.drill import drill_one
    from dr.run.recovery.request import RecoveryRequest

    run_due(at(timedelta()))
    session = at(timedelta())
    looks = 0

    def jumping() -> datetime:
        nonlocal looks
        looks += 1
        return datetime.now(UTC) + (timedelta(hours=9) if looks > 4 else timedelta())

    session.clock = jumping
    (loaded,) = session.chosen(["share"])
    drill = drill_one(session, loaded, RecoveryRequest()).record
    assert drill.outcome == "ok"
    assert drill.rta_seconds is not None and drill.rta_seconds < 3600


@pytest.mark.parametrize("years", [10, -20])
def test_a_clock_that_jumps_during_a_backup_or_a_proof_does_not_bend_what_it_took(
    at: Callable[[timedelta], Session], years: int
) -> None:
    session, looks = at(timedelta()), 0

    def jumping() -> datetime:
        nonlocal looks
        looks += 1
        return datetime.now(UTC) + timedelta(days=365 * years if looks > 4 else 0)

    session.clock = jumping
    (loaded,) = session.chosen(["share"])
    done = backup_one(session, loaded)
    assert done.record.outcome == "ok" and 0 < done.seconds < 3600
    looks = 0
    for proof in verify_one(session, loaded, level=2):
        assert proof.record.outcome == "ok" and 0 < proof.record.seconds < 3600
    assert session.catalog.audit().first_bad is None
