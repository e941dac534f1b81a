"""When each verb was last attempted: kept beside the runs, and always what the runs themselves say."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from dr.catalog.store import Catalog
from dr.catalog.values import micros
from dr.evidence.record import Drill, ObjectivesThen
from dr.evidence.system_status import Attempts
from dr.tools.state_dir import StateDir

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ACTS = st.lists(
    st.tuples(
        st.integers(-5, 5),  # hours from noon; some bear a later time, from before the clock was set back
        st.sampled_from(["ok", "degraded", "failed", "aborted", "open"]),
        st.sampled_from(["system-loss", "file-loss"]),
        st.sampled_from(["sis", "finance"]),
    ),
    max_size=12,
)


def _drill(name: str, system: str, scenario: str, outcome: str, at: datetime) -> Drill:
    return Drill(
        drill_id=name, system=system, scenario=scenario, real=False, outcome=outcome,  # type: ignore[arg-type]
        t_loss=at, started=at, finished=at, objectives=ObjectivesThen(rto_seconds=1, rpo_seconds=1),
    )  # fmt: skip


def _said_by_runs(catalog: Catalog, system: str, now: datetime, scenario: str) -> Attempts | None:
    with catalog._connections.reading() as db:
        rows = db.execute("select * from runs where system = ? and scenario = ?", (system, scenario)).fetchall()
    rows = [row for row in rows if row["started"] <= micros(now)]
    if not rows:
        return None

    def last(*outcomes: str | None) -> datetime | None:
        found = [row["started"] for row in rows if row["outcome"] in outcomes]
        return datetime.fromtimestamp(max(found) / 1e6, UTC) if found else None

    settled = last("ok", "degraded", "failed", None)
    return Attempts(
        begun=last("aborted", "ok", "degraded", "failed", None), settled=settled, worked=last("ok", "degraded")
    )


@settings(max_examples=25, deadline=None)
@given(ACTS, st.integers(-6, 6))
def test_the_last_attempts_are_those_of_the_runs_whatever_happened_in_whichever_order(
    acts: list[tuple[int, str, str, str]], hour: int
) -> None:
    now = NOON + timedelta(hours=hour)
    with tempfile.TemporaryDirectory() as folder, Catalog.open(StateDir(Path(folder))) as catalog:
        catalog._connections._connection().execute("pragma synchronous = off")
        for number, (hours, outcome, scenario, system) in enumerate(acts):
            at, name = NOON + timedelta(hours=hours), f"d{number}"
            catalog.open_run(
                run_id=name, verb="drill", system=system, scenario=scenario, started=at, plan_digest="", plan_text=""
            )
            if outcome != "open":
                catalog.record(_drill(name, system, scenario, outcome, at))
        found = catalog.attempts(["sis", "finance"], now=now)
        for system in ("sis", "finance"):
            for scenario in ("system-loss", "file-loss"):
                assert found.get((system, f"drill:{scenario}")) == _said_by_runs(catalog, system, now, scenario)
