"""The report as Markdown and as JSON tells what the page tells."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from dr.evidence.problem import SystemProblem
from dr.evidence.record import PassedOver
from dr.report import html, text, words
from dr.report.figures import IN_FULL, LISTED_RUNS, Numbers
from dr.report.json import document
from tests.report.district import (
    HEBREW,
    HOSTILE,
    NOW,
    REPORTS,
    backup,
    drill,
    failed_drill,
    plan,
    proof,
    report,
    row,
    undone_drill,
)


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_markdown_with_sound_tables(name: str) -> None:
    said = text.render(REPORTS[name]())
    assert said.startswith("# ") and said.endswith("|\n")
    columns = 0
    for line in said.splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not cells or not columns or cells == columns, line
        columns = cells
    for limit in words.LIMITS:
        assert limit in said


@pytest.mark.parametrize(
    ("isolated", "reason", "told"),
    [
        (True, "", "yes: what ran in the sandbox reached no network"),
        (False, "the kernel said no", "no (the kernel said no)"),
        (None, "", None),
    ],
)
def test_whether_a_sandbox_was_isolated_is_told_by_every_report(isolated: bool | None, reason: str, told: str) -> None:
    made = report(drill(isolated=isolated, isolated_reason=reason))
    for said in (text.render(made), re.sub("<[^>]*>", " ", html.render(made))):
        assert (told in said) if told else ("isolated" not in said.lower())
    assert (document(made)["drills"][0]["isolated"], document(made)["drills"][0]["isolated_reason"]) == (
        isolated,
        reason,
    )


def test_copies_passed_over_and_what_a_point_lacks_stand_with_the_verdict_and_not_in_the_timeline_alone() -> None:
    tried = PassedOver(run_id="20260101T000000Z-abcdef", target="vault", reason="stored data is damaged")
    made = report(drill(passed_over=(tried,), lacks=("2 files of uploads",), outcome="degraded", events=()))
    for said in (text.render(made), re.sub("<[^>]*>", " ", html.render(made))):
        place = said.index("point 20260101T000000Z-abcdef on vault, stored data is damaged.")
        assert place < said.index("Lacking: 2 files of uploads.") < said.index("Newest record found")
    without = report(drill())
    assert not any("Passed over" in said or "Lacking" in said for said in (text.render(without), html.render(without)))


def test_markdown_tells_the_drill_whole() -> None:
    made = report(drill(), rows=[row()], backups=[backup()], proofs=[proof()])
    said = text.render(made)
    for part in (
        "Objectives met in this drill", "| Recovery time (RTO) | 2 h | 14 min 18 s | met |", "| restore | 10 min 11 s |",
        "41,208 equal", "18.4 GB of 18.4 GB protected (100 %)", made.drills[0].digest, "sandbox made", "## Review",
        "4. **restored and equal**", "`dr audit`", "1 h 28 min",
    ):  # fmt: skip
        assert part in said, part


def test_a_failed_drill_has_no_time_in_markdown() -> None:
    assert "not achieved" in text.render(report(failed_drill()))
    assert "14 min 18 s" not in text.render(report(failed_drill())) and "14 min 18 s" in text.render(report(drill()))


def test_text_from_outside_is_no_markdown() -> None:
    fact = undone_drill(error=f"{HOSTILE}\n# a heading", machine="x|y", plan_digest="`<b>`")
    said = text.render(report(fact, plans=[plan(title=HOSTILE)], title="a\n# b"))
    assert "<script" not in said and "](https" not in said.replace("\\](https", "") and "\n# a heading" not in said
    assert "pipe \\`tick\\`" in said and "x\\|y" in said
    assert said.startswith("# a # b\n")


def test_right_to_left_marks_are_not_carried_over() -> None:
    said = text.render(report(drill(), plans=[plan(title=f"\u202e{HEBREW}")]))
    assert "\u05de\u05e2\u05e8\u05db\u05ea" in said and not re.search("[\u202a-\u202e\u2066-\u2069]", said)


def test_json_tells_all_and_shortens_nothing() -> None:
    runs = [backup(outcome="failed", error="x") for _ in range(30)]
    made = document(report(failed_drill(), drill(), rows=[row()], backups=runs, proofs=[proof()] * 30))
    again = json.loads(json.dumps(made, allow_nan=False))
    assert set(again) == {
        "title", "generated", "since", "headline", "results", "systems", "drills", "period", "backups", "proofs",
        "protection", "costs", "acts", "evidence", "versions", "limits", "left_out", "organisation", "site",
    }  # fmt: skip
    assert (len(again["drills"]), len(again["backups"]), len(again["proofs"])) == (2, 30, 30)
    assert again["generated"] == "2026-11-24T09:30:00.000000Z" and again["since"] is None
    assert set(again["evidence"]) == {"records", "head", "audit"}
    assert [d["rta_seconds"] for d in again["drills"]] == [858.42, None], "newest first"
    assert set(again["left_out"].values()) == {0}


def test_of_very_many_runs_the_newest_are_listed_and_the_rest_is_counted() -> None:
    drills = [drill(at=NOW - timedelta(hours=n)) for n in range(LISTED_RUNS + 5, 0, -1)]
    made = report(
        *drills, backups=[backup()], proofs=[proof()], numbers=Numbers(backups=7, proofs=9, faulty=23, acts=2)
    )
    told = document(made)
    assert told["left_out"] == {"drills": 5, "backups": 6, "proofs": 8, "acts": 2, "protection": 0}
    assert len(told["drills"]) == LISTED_RUNS and told["drills"][0]["drill_id"] == drills[-1].drill_id
    assert "5 older ones are not listed" in text.render(made) and "5 older ones are not listed" in html.render(made)


def test_of_very_many_systems_those_that_need_attention_are_told_in_full() -> None:
    plans = [plan(f"s{number}", f"System {number}") for number in range(IN_FULL + 3)]
    facts = [failed_drill(each.system) if number > IN_FULL else drill(each.system) for number, each in enumerate(plans)]
    made = report(*facts, plans=plans)
    assert (len(made.focus), made.focus_more, len(made.lines), len(made.trends)) == (IN_FULL, 3, IN_FULL + 3, IN_FULL)
    assert {view.fact.system for view in made.focus} >= {each.system for each in plans[IN_FULL + 1 :]}
    assert "3 more systems did no worse" in text.render(made) and "3 more systems did no worse" in html.render(made)


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_is_json(name: str) -> None:
    assert json.loads(json.dumps(document(REPORTS[name]()), allow_nan=False))["headline"]


def test_a_report_says_whose_it_is() -> None:
    whose = report(drill(), organisation="Example <b> District")
    assert "Recovery-test report of Example" in text.render(whose) and "<b>" not in html.render(whose)
    assert document(whose)["organisation"] == "Example <b> District"
    assert "Recovery-test report, made" in text.render(report(drill())), "where none is declared"


def test_what_is_wrong_with_what_all_systems_share_is_to_be_fixed_too() -> None:
    full = SystemProblem(
        kind="target_full", system="", severity="warning", subject="vault", text="vault <b> is nearly full", todo="see"
    )
    shown = report(drill(), rows=[row()], site=(full,))
    assert "- What all systems share: vault" in text.render(shown) and "vault &lt;b&gt; is nearly full" in html.render(
        shown
    )
    assert document(shown)["site"]["findings"][0]["subject"] == "vault"
    assert shown.also == "Today 1 thing is to be fixed: see “Systems today”."
    both = report(drill(), rows=[replace(row(), problems=(full,)), row()], site=(full,))
    assert both.also.startswith("Today 2 things in 1 of 2 systems and in what all share are to be fixed")
    whole = report(drill(), rows=[row()])
    assert "To be fixed" not in html.render(whole) and document(whole)["site"]["findings"] == [] and not whole.also
