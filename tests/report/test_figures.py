"""Figures: the laws of exposure, the board in every state, and a report's headline."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dr.evidence.coverage import Sampled
from dr.evidence.problem import texts
from dr.evidence.record import ObjectivesThen, Point
from dr.evidence.system_status import Attempts, LastDrill, LastRun
from dr.report.board import overdue
from dr.report.chart import charts
from dr.report.figures import LISTED
from dr.report.kept import exposure_seconds
from dr.report.phrases import counted, duration, percent
from dr.report.verdict import rpo_verdict, rto_verdict
from tests.report.district import (
    NOW,
    aborted_drill,
    ago,
    backup,
    check,
    damaged_proof,
    drill,
    failed_drill,
    plan,
    point,
    proof,
    report,
    row,
    undone_drill,
)

BEGIN = NOW - timedelta(days=10)
LOST = "if its catalog was lost, `dr points rebuild` finds its points"
SPANS = st.lists(st.tuples(st.integers(0, 100_000), st.integers(1, 20_000)), max_size=12)


def points_of(spans: list[tuple[int, int]]) -> list[Point]:
    return [
        point(at=BEGIN + timedelta(seconds=start), took=took, run_id=str(n)) for n, (start, took) in enumerate(spans)
    ]


def worst_seen(points: list[Point], *, since: datetime, now: datetime) -> float | None:
    """Exposure by its definition: at each moment, the age of the newest point complete just before it."""
    moments = [p.finished for p in points if since <= p.finished <= now] + [now]
    ages = []
    for moment in moments:
        held = [p.consistency_time for p in points if p.finished < moment or (moment == now and p.finished == now)]
        if held:
            ages.append((moment - max(held)).total_seconds())
    return max(ages, default=None)


@given(SPANS, st.integers(0, 130_000))
def test_exposure_is_the_worst_moment_of_the_period(spans: list[tuple[int, int]], since: int) -> None:
    points, now = points_of(spans), BEGIN + timedelta(seconds=130_000)
    start = BEGIN + timedelta(seconds=since)
    unique = list({p.finished: p for p in points}.values())  # two that end at once have no order
    assert exposure_seconds(unique, since=start, now=now) == worst_seen(unique, since=start, now=now)


@given(SPANS, st.integers(0, 9_999))
def test_one_more_point_never_makes_the_present_worse(spans: list[tuple[int, int]], start: int) -> None:
    now = BEGIN + timedelta(seconds=200_000)
    points = points_of([(0, 1), *spans])
    more = [*points, point(at=BEGIN + timedelta(seconds=130_000 + start), took=1, run_id="more")]
    assert (exposure_seconds(more, since=now, now=now) or 0) <= (exposure_seconds(points, since=now, now=now) or 0)


def test_exposure_runs_from_consistency_to_the_finish_of_the_next_not_to_its_start() -> None:
    points = [point(at=ago(hours=9)), point(at=ago(hours=5), took=3_600), point(at=ago(hours=2), took=60)]
    assert exposure_seconds(points, since=BEGIN, now=NOW) == 5 * 3_600
    assert exposure_seconds(points[:1], since=BEGIN, now=NOW) == 9 * 3_600, "to now, for the last"


def test_a_point_that_is_not_complete_or_damaged_ends_no_exposure() -> None:
    whole = [point(at=ago(hours=9)), point(at=ago(hours=3))]
    lame = replace(whole[1], copies=tuple(replace(c, complete=False) for c in whole[1].copies))
    bad = replace(whole[1], copies=tuple(replace(c, damaged=True) for c in whole[1].copies))
    assert exposure_seconds(whole, since=BEGIN, now=NOW) < 9 * 3_600  # type: ignore[operator]
    assert exposure_seconds([whole[0], lame], since=BEGIN, now=NOW) == 9 * 3_600
    assert exposure_seconds([whole[0], bad], since=BEGIN, now=NOW) == 9 * 3_600
    assert exposure_seconds([lame], since=BEGIN, now=NOW) is None


# -- the board ---------------------------------------------------------------------------------------


def test_a_system_in_order_has_no_problems() -> None:
    made = row()
    assert (made.rpo.word, made.rto.word, made.problems) == ("met", "met", ())
    assert (made.freshness_seconds, made.proof_age_seconds) == (5_040, 7_200)


def last(outcome: str, error: str | None = None) -> LastRun:
    return LastRun(outcome=outcome, started=NOW, ref="r", error=error)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"consistency_time": None}, "no complete recovery point yet"),
        ({"consistency_time": ago(hours=5)}, "the newest recovery point is too old: 5 h is longer than 4 h"),
        ({"backup": last("failed", "the dump ended early")}, "the last backup failed: the dump ended early"),
        ({"backup": last("degraded", "vault: it does not answer")}, "the last backup was done in part: vault: it does not answer"),
        ({"verify": last("failed", "1 damaged object")}, "the last verification failed: 1 damaged object"),
        ({"drill": None}, "never drilled: nothing shows that this system comes back"),
        ({"drill": LastDrill(outcome="failed", started=NOW, ref="d", error="sql check failed")}, "the last drill failed: sql check failed"),
        ({"drill": LastDrill(outcome="aborted", started=NOW, ref="d")}, "the last drill was interrupted"),
        ({"ahead": True}, "runs on record bear a later time than now: see this machine's clock"),
        ({"damaged_points": 1}, "damage found: 1 recovery point cannot be used on the target concerned"),
        ({"interrupted": ("verify",)}, "a verification was interrupted"),
        ({"overdue": ["drill"]}, "a drill is overdue"),
    ],
)  # fmt: skip
def test_each_problem_is_said_in_plain_words_and_alone(changes: dict[str, object], said: str) -> None:
    assert texts(row(**changes).problems) == [said]  # type: ignore[arg-type]


def test_an_interrupted_last_drill_meets_nothing_on_the_board_whatever_time_it_took() -> None:
    made = row(drill=LastDrill(outcome="aborted", started=NOW, ref="d", rta_seconds=1.0)).rto
    assert made.word == "unknown" and "interrupted" in made.reason


def test_a_failed_last_drill_misses_the_rto_on_the_board_whatever_time_it_took() -> None:
    assert row(drill=LastDrill(outcome="failed", started=NOW, ref="d", rta_seconds=1.0)).rto.word == "missed"


@pytest.mark.parametrize(
    ("known", "word", "reason"),
    [
        (None, "unknown", "no complete recovery point yet"),
        (ago(hours=3), "unknown", f"no complete recovery point yet; 1 h are left of 4 h since its plan was first seen; {LOST}"),
        (ago(hours=20), "missed", "no complete recovery point yet, 20 h after its plan was first seen"),
    ],
)  # fmt: skip
def test_what_was_never_backed_up_misses_its_rpo_as_soon_as_that_is_over(
    known: datetime | None, word: str, reason: str
) -> None:
    made = row(consistency_time=None, known_since=known)
    assert (made.rpo.word, made.rpo.reason) == (word, reason)
    assert made.problems[0].text == reason
    tried = row(consistency_time=None, known_since=ago(hours=20), attempts={"backup": Attempts(begun=NOW)})
    assert tried.rpo.reason == "no complete recovery point yet, 20 h after the first try"
    spoilt = row(consistency_time=None, known_since=ago(hours=20), damaged_points=2)
    assert spoilt.rpo.reason.startswith("no complete recovery point any more, 20 h after")


@pytest.mark.parametrize(
    ("standing", "word", "reason"),
    [
        ({"drill": None, "known_since": ago(days=3)}, "unknown", "never drilled; the plan asks for a drill every 7 days"),
        ({"drill": None, "known_since": ago(days=8)}, "missed",
         f"never drilled since {ago(days=8):%Y-%m-%d}, although the plan asks for a drill every 7 days"),
        ({"attempts": {"drill": Attempts(begun=NOW, settled=ago(days=6))}}, "met", "14 min 18 s is within 2 h"),
        ({"attempts": {"drill": Attempts(begun=NOW, settled=ago(days=8))}}, "missed",
         f"the last drill was on {ago(days=8):%Y-%m-%d}, although the plan asks for a drill every 7 days"),
    ],
)  # fmt: skip
def test_what_was_not_drilled_for_longer_than_its_cadence_misses_its_rto(
    standing: dict[str, object], word: str, reason: str
) -> None:
    declared = plan()
    declared = declared.model_copy(update={"cadence": declared.cadence.model_copy(update={"drill": "every 7 days"})})
    made = row(declared, **standing)  # type: ignore[arg-type]
    assert (made.rto.word, made.rto.reason) == (word, reason)
    assert sum(reason in problem.text for problem in made.problems) == (word == "missed")


def test_a_plan_that_asks_for_no_drill_misses_no_rto_for_want_of_one() -> None:
    declared = plan()
    declared = declared.model_copy(update={"cadence": declared.cadence.model_copy(update={"drill": "never"})})
    assert row(declared, drill=None, known_since=ago(days=400)).rto.reason == "never drilled"


def test_samples_brought_back_meet_no_rto_on_the_board() -> None:
    found = row(drill=LastDrill(outcome="ok", started=NOW, ref="d", rta_seconds=1.0, partial=True)).rto
    assert (found.word, found.reason) == ("unknown", "the last drill brought back samples only")


def test_overdue_waits_for_an_hour() -> None:
    assert not overdue(None, now=NOW) and not overdue(ago(minutes=59), now=NOW) and overdue(ago(minutes=61), now=NOW)


# -- the report --------------------------------------------------------------------------------------


def test_the_headline_of_one_drill_is_its_own_sentence() -> None:
    made = report(drill())
    assert made.headline == (
        "Objectives met in this drill: Student information system was back in 14 min 18 s; its objective is 2 h."
    )
    assert (made.tone, made.label, made.also) == ("good", "Met", "")


def test_the_headline_hides_nothing_that_is_wrong_today() -> None:
    made = report(drill(), rows=[row(damaged_points=1)])
    assert made.tone == "good" and "1 thing is to be fixed" in made.also
    assert report(drill(), rows=[row(damaged_points=1)], focus=drill().drill_id).also == "", "that is about one drill"


def test_suspect_data_is_in_the_verdict_and_never_makes_it_milder() -> None:
    frozen = row(retention_frozen="the point p1 is suspect")
    one = report(drill(), rows=[frozen])
    assert (one.tone, one.label) == ("odd", "Suspect")
    assert one.headline.endswith("Its newest data is suspect: look before it is relied on.")
    both = report(drill(), rows=[row(retention_frozen="x", consistency_time=ago(hours=7)), row()])
    assert (both.tone, both.label) == (
        "bad",
        "Missed today",
    ) and "In 1 of 2 systems the newest data is" in both.headline
    failed = report(failed_drill(), rows=[frozen])
    assert (failed.tone, failed.label) == ("bad", "Failed")
    fact = drill()
    assert report(fact, rows=[frozen], focus=fact.drill_id).label == "Met", "one drill is told alone"


def test_an_objective_that_is_missed_today_is_in_the_verdict_whatever_the_last_drill_showed() -> None:
    late = row(consistency_time=ago(hours=19))
    made = report(drill(), rows=[late])
    assert (made.tone, made.label) == ("bad", "Missed today")
    assert made.headline.endswith("But today its newest recovery point is older than the objective allows.")
    plans = [plan(), plan("finance", "Finance")]
    both = report(drill(), drill("finance"), plans=plans, rows=[row(), row(plans[1], consistency_time=ago(hours=19))])
    assert both.tone == "bad" and "But today in 1 of 2 systems the newest recovery point" in both.headline
    assert both.headline.startswith("2 of 2 systems came back")
    failed = report(failed_drill(), rows=[late])
    assert (failed.tone, failed.label) == ("bad", "Failed"), "what is worse stays first"
    never = report(rows=[late])
    assert (never.tone, never.label) == ("bad", "Missed today")
    assert report(drill(), rows=[late], focus=drill().drill_id).label == "Met", "that is about one drill"


@pytest.mark.parametrize(
    ("fact", "tone", "label", "said"),
    [
        (drill(rta_seconds=8_000.0), "bad", "Missed", "Objective missed in this drill (recovery time)"),
        (drill(rpa_seconds=20_000.0), "bad", "Missed", "(recovery point)"),
        (drill(rta_seconds=8_000.0, rpa_seconds=20_000.0), "bad", "Missed", "(recovery time and recovery point)"),
        (failed_drill(), "bad", "Failed", "did not come back in this drill: a mandatory check failed (sql of database)"),
        (undone_drill(), "bad", "Failed", "did not come back in this drill: target offsite: it does not answer"),
        (aborted_drill(), "odd", "Interrupted", "was interrupted: it shows nothing"),
        (drill(outcome="degraded"), "odd", "Met, with warnings", "Objectives met in this drill, with warnings"),
        (drill(sample=0.05), "odd", "Met, in part", "Objectives met in this drill, in part"),
        (drill(scenario="file-loss"), "odd", "Met, in part", "in part"),
        (drill(sources=("database",)), "odd", "Met, in part", "in part"),
        (drill(outcome="degraded", rta_seconds=None, checks=()), "odd", "Not measured", "nothing says how soon: no mandatory check"),
        (drill(rpa_seconds=None), "odd", "Not measured", "Not all was measured"),
        (drill(rpa_seconds=-5.0), "odd", "Not measured", "the clocks disagree"),
        (drill(real=True), "good", "Met", "Objectives met in this recovery"),
    ],
)  # fmt: skip
def test_every_ending_has_its_own_sentence(fact: object, tone: str, label: str, said: str) -> None:
    made = report(fact)  # type: ignore[arg-type]
    assert (made.tone, made.label) == (tone, label)
    assert said in made.headline


def test_a_system_that_was_never_drilled_counts_against_the_whole() -> None:
    plans = [plan(), plan("finance", "Finance")]
    made = report(drill(), plans=plans)
    assert made.headline == "1 of 2 systems came back within their objectives when last tested."
    assert (made.tone, [line.label for line in made.lines]) == ("odd", ["No drill", "Met"])
    both = report(drill(), drill("finance"), plans=plans)
    assert (both.tone, both.headline[:6]) == ("good", "2 of 2")


def test_only_the_newest_drill_of_a_system_is_told_in_full_and_all_are_listed() -> None:
    made = report(failed_drill(at=ago(days=2)), drill(at=ago(days=1)))
    assert [view.tone for view in made.focus] == ["good"] and [v.tone for v in made.drills] == ["good", "bad"]
    asked = report(failed_drill(at=ago(days=2)), drill(at=ago(days=1)), focus=failed_drill(at=ago(days=2)).drill_id)
    assert [view.tone for view in asked.focus] == ["bad"] and asked.tone == "bad"


def test_scope_says_what_was_left_out_and_how_much_of_the_bytes_came_back() -> None:
    fact = drill(sources=("database",), bytes=4_600_000_000)
    scope = report(fact).focus[0].scope
    assert (scope.whole, scope.left_out, scope.bytes_share) == (False, ("uploads",), 0.25)
    assert scope.text.startswith("In part: 1 of 2 sources restored")
    assert report(undone_drill()).focus[0].scope.text == "Nothing was restored."
    assert "no file compared" in report(drill(sample=0.0)).focus[0].scope.text


def test_what_one_drill_does_not_show_follows_from_what_it_did() -> None:
    every = " ".join(
        report(drill(sample=0.1, data_rpa_seconds=None, checks=(check("manifest", "uploads", "", ""),))).focus[0].limits
    )
    for said in ("no more", "directory", "newest record", "asked the restored service", "the machine it ran on"):
        assert said in every
    assert "no more" not in " ".join(report(drill()).focus[0].limits)


def test_phases_never_reached_are_told_as_such_and_shares_fill_the_bar() -> None:
    phases = report(undone_drill()).focus[0].phases
    assert [p.seconds for p in phases] == [5.1, None, None, None, None]
    assert sum(p.share for p in report(drill()).focus[0].phases) == pytest.approx(100)
    assert report(aborted_drill()).focus[0].phases == ()


def test_a_failed_drill_has_no_time_in_the_trend_even_when_its_fact_has_one() -> None:
    made = report(drill(at=ago(days=2)), replace(failed_drill(at=ago(days=1)), rta_seconds=3.0))
    assert [moment.rta for moment in made.trends[0].moments] == [858.42, None]


def test_real_recoveries_and_interrupted_drills_are_not_in_the_trend() -> None:
    assert report(drill(real=True), aborted_drill()).trends == ()


def test_charts_judge_each_drill_by_the_objective_of_its_day() -> None:
    old = drill(at=ago(days=2), objectives=ObjectivesThen(rto_seconds=60, rpo_seconds=60))
    rta, rpa = charts(report(old, drill(at=ago(days=1))).trends[0])
    assert [mark.missed for mark in rta.marks] == [True, False] == [mark.missed for mark in rpa.marks]
    assert " V" in rta.goal, "a step where it changed"
    assert "1 of 2 drills within the RTO of its day" in rta.summary


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e7)), min_size=1, max_size=30))
def test_all_that_is_drawn_lies_inside_its_chart(values: list[float | None]) -> None:
    facts = [
        drill(at=ago(hours=100 - n), rta_seconds=v, outcome="ok" if v is not None else "failed")
        for n, v in enumerate(values)
    ]
    for chart in charts(report(*facts).trends[0]):
        marks = [*chart.marks, *chart.gaps]
        assert len(marks) == len(values)
        assert all(74 <= mark.x <= 468 and 20 <= mark.y <= 217 for mark in marks)
        assert all(20 <= y <= 217 for y, _ in chart.ticks) and 20 <= chart.goal_y <= 217


def test_backups_are_summed_up_with_the_exposure_of_the_period() -> None:
    runs = [
        backup(at=ago(hours=9)),
        backup(at=ago(hours=6), outcome="failed"),
        backup(at=ago(hours=1), outcome="skipped"),
    ]
    held = {p.run_id: p for p in (point(at=ago(hours=9)), point(at=ago(hours=2)))}
    kept = report(backups=runs, points=held).kept[0]
    assert (kept.runs, kept.ok, kept.failed, kept.points) == (2, 1, 1, 2)
    assert (kept.exposure_seconds, kept.verdict.word) == (7 * 3_600 + 240, "missed")


def test_faults_are_listed_newest_first_with_their_reason_and_the_rest_is_counted() -> None:
    runs = [backup(at=ago(hours=99 - n), outcome="failed", error=f"reason {n}") for n in range(LISTED + 3)]
    made = report(backups=runs)
    assert (made.faulty[0].reason, len(made.faulty), made.faulty_more) == (f"reason {LISTED + 2}", LISTED, 3)


def test_a_degraded_run_gives_the_reason_of_its_parts() -> None:
    run = backup(outcome="degraded")
    run = replace(run, targets=(run.targets[0], replace(run.targets[1], outcome="failed", error="it does not answer")))
    assert report(backups=[run]).faulty[0].reason == "target vault: it does not answer"
    assert report(backups=[backup(outcome="aborted")]).faulty[0].reason == "no reason was recorded"


def test_damage_is_counted_by_kind_and_no_object_is_named() -> None:
    observed = report(proofs=[proof(), damaged_proof()]).proofs[0].observed
    assert observed == "1 corrupt object, 1 missing object, 1 recovery point cannot be used"
    assert report(proofs=[proof()]).proofs[0].observed == "no damage"


def test_a_record_that_is_no_drill_is_refused() -> None:
    from tests.report.district import chain

    with pytest.raises(TypeError, match="record 1 is not a drill"):
        report(records=chain([backup()]))


# -- phrases -----------------------------------------------------------------------------------------


def test_a_share_is_never_rounded_to_all_or_nothing() -> None:
    assert [percent(x) for x in (0, 0.0001, 0.05, 0.5, 0.9999, 1, 1.5)] == [
        "0 %", "under 0.1 %", "5 %", "50 %", "over 99.9 %", "100 %", "150 %",
    ]  # fmt: skip


def test_words_are_counted_as_people_do() -> None:
    assert (counted(1, "drill"), counted(0, "drill"), counted(1_234, "drill")) == (
        "1 drill",
        "0 drills",
        "1\u202f234 drills",
    )
    assert (duration(0.0), duration(None), duration(None, "x"), duration(61)) == (
        "under 0.1 s",
        "not measured",
        "x",
        "1 min 1 s",
    )


def test_a_file_that_was_brought_back_says_nothing_of_its_system() -> None:
    """Neither that it comes back, nor within which time; the drill before stays what the report rests on."""
    file = drill(
        at=NOW, drill_id="recovery-1", scenario="file-loss", real=True, selected=True, files=1, rta_seconds=3.0
    )
    assert (rto_verdict(file).word, rpo_verdict(file).word) == ("unknown", "unknown")
    before = drill(at=NOW - timedelta(days=3))
    both = report(before, file)
    assert [view.fact.drill_id for view in both.focus] == [before.drill_id] and len(both.drills) == 2
    assert both.headline == report(before).headline
    alone = report(file)
    assert not alone.focus and "was not drilled yet" in alone.lines[0].sentence
    (asked,) = report(before, file, focus="recovery-1").focus
    assert asked.label == "Recovered" and asked.sentence == (
        "1 file of Student information system recovered in 3.0 s, as asked for: no objective of the system is judged by it."
    )
    assert "only what was asked for" in asked.scope.text


def test_a_drill_of_a_sample_says_that_a_sample_was_back() -> None:
    some = Sampled(limit_bytes=10, files=3, of_files=9, bytes=10, of_bytes=30, newest=1, begin="0" * 16, end="8" * 16)
    (line,) = report(drill(sampled=some)).lines
    assert "a sample of Student information system was back in" in line.sentence
    (whole,) = report(drill()).lines
    assert "a sample" not in whole.sentence
