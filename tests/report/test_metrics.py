"""Figures for monitoring: what is shown, under which names, that nothing is shown that nobody knows; and Nagios' line."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import Requests
from dr.evidence.problem import SystemProblem
from dr.evidence.size import KnownSize, Observation
from dr.evidence.system_status import Attempts, LastRun, PlaceState
from dr.plan.target import Target
from dr.report import nagios
from dr.report.bounds import Rated, Room
from dr.report.metrics import Measured, families, render
from tests.report.district import NOW, ago, plan, row, standing

ROOT = Path(__file__).parents[2]
BACKUP = LastRun(outcome="failed", started=ago(hours=1), ref="b", seconds=61.5, files=7, bytes=900, bytes_added=30)
PLACES = {
    "offsite": PlaceState(
        target="offsite",
        points=3,
        newest=ago(hours=2),
        proof_level=3,
        proven=ago(hours=1),
        proof="ok",
        oldest_read=ago(days=9),
        whole_within_seconds=30 * 86_400,
        unread_objects=0,
        stored_bytes=5_000,
    )
}


PRICES = {"currency": "EUR", "requests": {"write": 5}, "egress": 2}
OFFSITE = {"target": "offsite", "s3": {"bucket": "vault"}, "prices": PRICES, "capacity": "2TB"}
MOVED = [
    MonthlyTraffic(
        system="sis", target=target, month=month, begun=NOW, seen=NOW, requests=Requests(write=600, read=3),
        received_bytes=2 * 10**9, restic_sent_bytes=70,
    )
    for target in ("offsite", "gone") for month in ("2026-10", "2026-11")
]  # fmt: skip

ROOM = Room(
    target="offsite", capacity=1000, budget=10.0, rated=Rated(of_a_byte=0.0, beside=5.0, currency="EUR"),
    sizes=[KnownSize(seen=Observation(NOW, 1000))],
)  # fmt: skip


def measured(**more: Any) -> Measured:
    odd = 'a "title"\\ of\nlines'
    state = standing(backup=BACKUP, places=PLACES, attempts={"backup": Attempts(begun=ago(hours=1)), odd: Attempts()})
    given = {
        "now": NOW, "version": "1.2.3", "rows": [row(backup=BACKUP)], "standings": {"sis": state},
        "due": {"sis": {"backup": ago(hours=3), "drill": None}}, "holds": Counter(sis=2),
        "runs": {("sis", "backup", "ok"): 41, ("sis", "backup", odd): 1},
        "traffic": MOVED, "targets": {"offsite": Target.model_validate(OFFSITE)}, "rooms": [ROOM], **more,
    }  # fmt: skip
    return Measured(**given)


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = text_string_to_metric_families(text)
    return {(x.name, tuple(sorted(x.labels.items()))): x.value for family in found for x in family.samples}


def test_each_figure_has_its_value_and_what_nobody_knows_is_left_out() -> None:
    seen = values(render(families(measured())))
    sis = ("system", "sis")
    assert seen["dr_objective_seconds", (("objective", "rpo"), sis)] == plan().objectives.rpo
    assert seen["dr_objective_verdict", (("objective", "rpo"), sis, ("verdict", "met"))] == 1
    assert seen["dr_objective_verdict", (("objective", "rpo"), sis, ("verdict", "missed"))] == 0
    assert seen["dr_recovery_point_timestamp_seconds", (sis,)] == ago(hours=1, minutes=24).timestamp()
    assert seen["dr_last_run_outcome", (("outcome", "failed"), sis, ("verb", "backup"))] == 1
    assert seen["dr_last_run_duration_seconds", (sis, ("verb", "backup"))] == 61.5
    assert (seen["dr_backup_bytes", (sis,)], seen["dr_holds", (sis,)]) == (900, 2)
    assert seen["dr_due_timestamp_seconds", (sis, ("verb", "backup"))] == ago(hours=3).timestamp()
    assert seen["dr_runs_total", (("outcome", "ok"), sis, ("verb", "backup"))] == 41
    assert seen["dr_runs_total", (("outcome", 'a "title"\\ of\nlines'), sis, ("verb", "backup"))] == 1, (
        "escaped, and back"
    )
    assert seen["dr_target_recovery_points", (sis, ("target", "offsite"))] == 3
    assert seen["dr_problem", (("kind", "backup_failed"), ("severity", "failed"), ("subject", ""), sis)] == 1
    there = (sis, ("target", "offsite"))
    assert seen["dr_target_requests_total", (("class", "write"), *there)] == 1200
    assert seen["dr_target_received_bytes_total", there] == 4 * 10**9
    assert seen["dr_target_restic_sent_bytes_total", there] == 140
    assert seen["dr_target_traffic_cost_total", (("currency", "EUR"), *there)] == pytest.approx(1.2 * 5 + 4 * 2)
    assert seen["dr_target_capacity_bytes", (("target", "offsite"),)] == 2 * 10**12
    assert not [labels for _, labels in seen if ("target", "gone") in labels], "it is not declared any more"
    names = {name for name, _ in seen}
    assert (
        "dr_last_success_timestamp_seconds" not in names
        and ("dr_due_timestamp_seconds", (sis, ("verb", "drill"))) not in seen
    )
    unknown = row(consistency_time=None, exposure_seconds=None)
    bare = measured(rows=[unknown], standings={"sis": standing(consistency_time=None, proven_at=None, proof_level=0)})
    left = {name for name, _ in values(render(families(bare)))}
    assert not left & {"dr_recovery_point_timestamp_seconds", "dr_exposure_seconds", "dr_proof_timestamp_seconds"}


def test_the_names_that_boards_for_restic_read_come_on_request_alone() -> None:
    six = {
        "restic_check_success", "restic_snapshots_total", "restic_backup_timestamp", "restic_backup_files_total",
        "restic_backup_size_total", "restic_backup_snapshots_total",
    }  # fmt: skip
    found = {family.name: family for family in families(measured(), restic_names=True)}
    assert {name for name in found if name.startswith("restic_")} == six
    assert found["restic_backup_size_total"].samples[0].value == 900
    assert found["restic_backup_timestamp"].samples[0].labels["client_hostname"] == "sis"
    assert not [family for family in families(measured()) if family.name.startswith("restic_")]


@pytest.fixture(scope="module")
def promtool() -> str:
    done = subprocess.run([ROOT / "scripts" / "get-promtool"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def check(promtool: str, what: str, *arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [promtool, "check", what, *arguments], input=given, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_promtool_finds_no_fault_in_the_metrics_and_the_alerts(promtool: str, tmp_path: Path) -> None:
    text = render(families(measured()))
    done = check(promtool, "metrics", given=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    alerts = ROOT / "docs" / "monitoring" / "dr-alerts.yml"
    assert check(promtool, "rules", alerts).returncode == 0
    assert check(promtool, "metrics", given=text.replace("dr_runs_total", "dr_runs")).returncode != 0, "the control"
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(alerts.read_text().replace("time() -", "time() - -)", 1))
    assert check(promtool, "rules", wrong).returncode != 0


def test_alerts_dashboard_and_docs_speak_of_metrics_that_there_are() -> None:
    there = {family.name for family in families(measured(), restic_names=True)} | {
        "dr_last_success_timestamp_seconds", "dr_running"
    }  # fmt: skip
    pages = {name: (ROOT / "docs" / name).read_text() for name in (
        "monitoring.md", "monitoring/dr-alerts.yml", "monitoring/dr-grafana.json")}  # fmt: skip
    for name, text in pages.items():
        spoken = set(re.findall(r"\b(?:dr|restic)_[a-z_]+[a-z]\b", text)) - {"restic_locks_total"}
        assert spoken and spoken <= there, (name, spoken - there)
    listed = set(re.findall(r"\bdr_[a-z_]+[a-z]\b", pages["monitoring.md"]))
    assert {name for name in there if name.startswith("dr_")} == listed, "all are described"
    panels = json.loads(pages["monitoring/dr-grafana.json"])["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 10


# -- Nagios --------------------------------------------------------------------------------------------


def problem(severity: Any, text: str = "it broke") -> SystemProblem:
    return SystemProblem(kind="rpo", system="sis", severity=severity, text=text, todo="fix it")


@pytest.mark.parametrize(
    ("severities", "state", "word"),
    [([], 0, "OK"), (["warning"], 1, "WARNING"), (["degraded"], 1, "WARNING"), (["warning", "missed"], 2, "CRITICAL"),
     (["failed"], 2, "CRITICAL")],
)  # fmt: skip
def test_the_probe_says_the_worst_in_one_line_with_its_figures(severities: list[str], state: int, word: str) -> None:
    shown = replace(row(), problems=tuple(problem(each, f"{each} | of\ntwo lines") for each in severities))
    code, line = nagios.line([shown])
    assert code == state and line.startswith(f"DR {word} - ") and "\n" not in line
    told, data = line.split(" | ")
    if severities:
        assert told.startswith(f"DR {word} - sis: {severities[-1]} / of two lines"), "the worst first"
    assert re.fullmatch(r"('[a-z0-9_-]+'=\d+s?;;\d*;0(;6)?( |$))+", data), data
    assert f"'sis_rpo_age'=5040s;;{plan().objectives.rpo};0" in data


def test_without_a_system_the_probe_knows_nothing() -> None:
    assert nagios.line([]) == (3, "DR UNKNOWN - no system has a plan")
