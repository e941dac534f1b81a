"""Verdicts: each has its negative control."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.cli import drill_result
from dr.cli.context import Context
from dr.errors import DEGRADED, FAILED, OBJECTIVE_MISSED, OK, REFUSED
from dr.evidence.record import ObjectivesThen
from dr.report.documents import drill_document
from dr.report.text import render as markdown
from dr.report.verdict import checks_verdict, drill_exit_code, judge, mtd_verdict, rpo_verdict, rto_verdict
from tests.report.district import CHECKS, aborted_drill, check, drill, failed_drill, report, undone_drill


def test_just_within_is_met_and_a_moment_more_is_missed() -> None:
    assert judge(7200, 7200, unknown="").word == "met"
    assert judge(7200.001, 7200, unknown="").word == "missed"


@pytest.mark.parametrize("actual", [None, -1.0, float("nan"), float("inf"), float("-inf")])
def test_what_is_no_time_is_unknown_and_never_met(actual: float | None) -> None:
    assert judge(actual, 7200, unknown="not measured").word == "unknown"


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.integers(1, 10**9))
def test_a_longer_time_never_gets_a_better_verdict(one: float, more: float, objective: int) -> None:
    order = ("met", "missed")
    assert order.index(judge(one, objective, unknown="").word) <= order.index(
        judge(one + more, objective, unknown="").word
    )


def test_a_good_drill_meets_every_objective() -> None:
    fact = drill()
    assert (rto_verdict(fact).word, rpo_verdict(fact).word, checks_verdict(fact)) == ("met", "met", "passed")
    mtd = mtd_verdict(fact)
    assert mtd is not None and mtd.word == "met"
    assert drill_exit_code(fact) == OK


def test_too_slow_misses_the_rto_although_the_mtd_holds() -> None:
    fact = drill(rta_seconds=7_201.0)
    mtd = mtd_verdict(fact)
    assert rto_verdict(fact).word == "missed" and mtd is not None and mtd.word == "met"
    assert drill_exit_code(fact) == OBJECTIVE_MISSED


def test_too_old_misses_the_rpo_alone() -> None:
    fact = drill(rpa_seconds=14_401.0)
    assert (rto_verdict(fact).word, rpo_verdict(fact).word) == ("met", "missed")
    assert drill_exit_code(fact) == OBJECTIVE_MISSED


def test_the_newest_record_is_told_but_not_judged() -> None:
    assert rpo_verdict(drill(data_rpa_seconds=1_000_000.0)).word == "met"


def test_a_failed_mandatory_check_misses_the_rto_and_says_which() -> None:
    fact = failed_drill()
    assert rto_verdict(fact).word == "missed" and "sql of database" in rto_verdict(fact).reason
    assert (checks_verdict(fact), drill_exit_code(fact)) == ("failed", FAILED)


def test_a_failed_mandatory_check_outweighs_a_time_that_was_within() -> None:
    assert rto_verdict(replace(failed_drill(), rta_seconds=1.0)).word == "missed"


def test_a_check_that_is_not_mandatory_may_fail() -> None:
    fact = drill(outcome="degraded", checks=(*CHECKS, check("file", "uploads", "", "", "failed", mandatory=False)))
    assert (rto_verdict(fact).word, checks_verdict(fact), drill_exit_code(fact)) == ("met", "passed", DEGRADED)


def test_a_drill_that_could_not_run_is_a_miss_with_the_reason_and_has_run_no_check() -> None:
    fact = undone_drill()
    assert rto_verdict(fact).word == "missed" and "does not answer" in rto_verdict(fact).reason
    assert rpo_verdict(fact).word == "unknown" and checks_verdict(fact) == "not run"
    assert drill_exit_code(fact) == FAILED
    assert drill_exit_code(replace(fact, error_code=REFUSED)) == REFUSED


def test_a_drill_that_restored_nothing_meets_no_rpo_however_young_its_point() -> None:
    nothing = drill(outcome="failed", error="the target does not answer", rta_seconds=None, checks=(), sources=())
    found = rpo_verdict(nothing)
    assert (found.word, found.reason) == ("unknown", "nothing was restored: the target does not answer")
    assert rpo_verdict(replace(nothing, sources=("database",))).word == "met", "the negative control: data came back"
    assert rpo_verdict(replace(nothing, rpa_seconds=14_401.0)).word == "missed", "too old already"


def test_a_drill_that_failed_after_good_checks_did_not_pass_them() -> None:
    assert checks_verdict(drill(outcome="failed", error="database does not start", rta_seconds=None)) == "failed"


def test_an_interrupted_drill_shows_nothing_and_is_no_success() -> None:
    fact = aborted_drill()
    assert (rto_verdict(fact).word, rpo_verdict(fact).word, checks_verdict(fact)) == ("unknown", "unknown", "not run")
    assert drill_exit_code(fact) != OK
    assert checks_verdict(drill(outcome="aborted")) == "not run", "not all were made"


@pytest.mark.parametrize("real", [False, True])
def test_nothing_is_met_by_what_was_interrupted_whatever_was_measured_before(
    real: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    within = drill(
        outcome="ok", real=real, objectives=ObjectivesThen(rto_seconds=9_000, rpo_seconds=90_000, mtd_seconds=90_000)
    )
    for fact, word in ((within, "met"), (replace(within, outcome="aborted"), "unknown")):
        mtd = mtd_verdict(fact)
        assert (rto_verdict(fact).word, rpo_verdict(fact).word, mtd and mtd.word) == (word, word, word)
        told = drill_document(fact, evidence_digest="")
        assert (told["rto_verdict"], told["rpo_verdict"]) == (word, word)
        drill_result._say_drill(
            Context(), SimpleNamespace(record=fact, sealed=SimpleNamespace(digest=""), digest="", hint="")
        )
        said = capsys.readouterr().out
        assert (f"RPO        {word}" in said) and (f"RTO        {word}" in said)
        assert ("data lost" in said, "it was interrupted" in said) == (word == "met", word != "met")
        written = markdown(report(fact))
        assert ("| met |" in written, "The data used was" in written) == (word == "met", word == "met")


def test_without_a_mandatory_check_nothing_is_measured() -> None:
    fact = drill(outcome="degraded", rta_seconds=None, checks=(check("manifest", "uploads", "", "", mandatory=False),))
    assert rto_verdict(fact).word == "unknown" and "no mandatory check" in rto_verdict(fact).reason
    assert (checks_verdict(fact), drill_exit_code(fact)) == ("not run", DEGRADED)


def test_a_plan_without_an_mtd_has_no_verdict_on_it() -> None:
    fact = drill()
    assert mtd_verdict(replace(fact, objectives=replace(fact.objectives, mtd_seconds=None))) is None
