"""Several scenarios of one system, each drilled by a cadence of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from dr.operations.drill import drill_one
from dr.operations.run_due import run_due
from dr.run.recovery.request import RecoveryRequest
from dr.session import Session
from tests.conftest import Site

PLAN = """\
system: share
objectives: {{rto: 2h, rpo: 100d}}
sources: {{docs: {{files: {{paths: [{root}/source]}}}}}}
targets: [first]
replicas: [second]
cadence: {{backup: every 90 days, verify: never, drill: every 7 days, scenarios: {{target-loss: every 30 days}}}}
drill: {{checks: [{{manifest: {{}}}}]}}
"""


@pytest.fixture
def at(files_site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Session]:
    """A session so long from now."""
    site = files_site
    for name in ("first", "second"):
        site.target(name, f"target: {name}\nlocal: {{path: {site.root}/{name}}}\n")
    site.plan("share", PLAN.format(root=site.root))
    for name, value in site.env.items():
        monkeypatch.setenv(name, value)

    def session(**off: float) -> Session:
        clock = lambda: datetime.now(UTC) + timedelta(**off)  # noqa: E731
        return site.session(clock=clock)

    return session


def held(session: Session) -> list[tuple[str, str]]:
    """Do what is due, and return the drills held."""
    done = run_due(session)
    assert not done.faults
    return [(result.record.scenario, result.record.outcome) for result in done.drills]


def test_each_scenario_is_drilled_when_it_is_due_and_one_at_a_time(at: Callable[..., Session]) -> None:
    assert held(at()) == [("system-loss", "ok")]
    assert held(at(minutes=1)) == [("target-loss", "ok")]
    assert held(at(minutes=2)) == []
    assert held(at(days=8)) == [("system-loss", "ok")]
    session = at(days=12)
    (loaded,) = session.chosen(["share"])
    assert drill_one(session, loaded, RecoveryRequest(scenario="file-loss")).record.outcome == "ok"
    assert held(at(days=16)) == [], "one that has no cadence of its own counts as the plan's"
    assert held(at(days=31)) == [("system-loss", "ok")], "the most overdue first"
    assert held(at(days=31, minutes=1)) == [("target-loss", "ok")]
    assert held(at(days=31, minutes=2)) == []


def test_dr_drill_due_holds_the_one_that_is_due(at: Callable[..., Session], files_site: Site) -> None:
    held(at())
    due = files_site.dr("status", "--json").document["systems"][0]["next_due"]["drill"]
    assert datetime.fromisoformat(due) < datetime.now(UTC)
    drills = files_site.dr("drill", "--due", "--json").document["drills"]
    assert [(drill["scenario"], drill["outcome"]) for drill in drills] == [("target-loss", "ok")]
    assert files_site.dr("drill", "--due", "--json").document["drills"] == []
