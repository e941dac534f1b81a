"""The problems of the board as values: what makes one the same as before, and that each says what to do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from dr.evidence.problem import ProblemKind, SystemProblem
from dr.evidence.system_status import LastDrill, LastRun, LostThere, PlaceState
from dr.plan.target import Target
from dr.report.board import Row, row_of
from dr.report.documents import row_document, status_document
from tests.report.district import NOW, ago, plan, row, standing

RPO = timedelta(seconds=plan().objectives.rpo)


def last(outcome: Any, error: str | None = None) -> LastRun:
    return LastRun(outcome=outcome, started=ago(hours=7), ref="r", error=error)


def drilled(outcome: Any = "ok", **more: Any) -> LastDrill:
    return LastDrill(outcome=outcome, started=ago(hours=7), ref="d", **more)


def replicated(outcome: Any) -> PlaceState:
    return PlaceState(target="vault", replication=outcome, replicated=ago(hours=7), problem="it is full")


def unproven() -> PlaceState:
    return PlaceState(target="vault", proof="failed", proven=ago(hours=8))


def growing() -> Row:
    kept = plan(targets=["offsite"], retention={"last": 2, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0})
    offsite = Target.model_validate({"target": "offsite", "local": {"path": "/srv/offsite"}})
    places = {"offsite": PlaceState(target="offsite", points=3)}
    return row_of(kept, standing(places=places), now=NOW, targets={"offsite": offsite})


ONE_OF_EACH: list[tuple[Callable[[], Row], tuple[str, str, str, Any]]] = [
    (lambda: row(consistency_time=None, known_since=ago(hours=1)), ("rpo", "", "warning", ago(hours=1))),
    (lambda: row(consistency_time=None, known_since=ago(hours=9)), ("rpo", "", "missed", ago(hours=9) + RPO)),
    (lambda: row(consistency_time=ago(hours=9)), ("rpo", "", "missed", ago(hours=9) + RPO)),
    (lambda: row(drill=drilled(rta_seconds=999_999.0)), ("rto", "", "missed", ago(hours=7))),
    (lambda: row(backup=last("failed", "it is full")), ("backup_failed", "", "failed", ago(hours=7))),
    (lambda: row(backup=last("degraded", "it is full")), ("backup_failed", "", "degraded", ago(hours=7))),
    (lambda: row(verify=last("failed")), ("proof_failed", "", "failed", ago(hours=7))),
    (
        lambda: row(plan(targets=["offsite"], replicas=["vault"]), verify=last("ok"), places={"vault": unproven()}),
        ("proof_failed", "vault", "failed", ago(hours=8)),
    ),
    (
        lambda: row(plan(targets=["offsite"], replicas=["vault"]), verify=last("failed"), places={"vault": unproven()}),
        ("proof_failed", "", "failed", ago(hours=7)),  # it is that one
    ),
    (lambda: row(drill=drilled("failed")), ("drill_failed", "", "failed", ago(hours=7))),
    (lambda: row(drill=None), ("never_drilled", "", "warning", None)),
    (lambda: row(overdue=["backup"]), ("backup_overdue", "", "warning", ago(hours=3))),
    (lambda: row(overdue=["verify"]), ("proof_overdue", "", "warning", ago(hours=3))),
    (lambda: row(overdue=["drill"]), ("drill_overdue", "", "warning", ago(hours=3))),
    (lambda: row(overdue=["replicate"]), ("replica_overdue", "", "warning", ago(hours=3))),
    (
        lambda: row(plan(targets=["offsite"], replicas=["vault"]), places={"vault": replicated("failed")}),
        ("replica_failed", "vault", "failed", ago(hours=7)),
    ),
    (lambda: row(expire=last("degraded")), ("expiry_failed", "", "degraded", ago(hours=7))),
    (lambda: row(prune=last("failed")), ("prune_failed", "", "failed", ago(hours=7))),
    (lambda: row(overdue=["expire"]), ("expiry_overdue", "", "warning", ago(hours=3))),
    (lambda: row(overdue=["prune"]), ("prune_overdue", "", "warning", ago(hours=3))),
    (growing, ("target_grows", "offsite", "warning", None)),
    (lambda: row(interrupted=("recovery",)), ("interrupted", "recovery", "warning", None)),
    (lambda: row(retention_frozen="it is suspect", frozen_since=ago(hours=2)), ("suspect", "", "degraded", ago(hours=2))),
    (lambda: row(ahead=True), ("clock", "", "degraded", None)),
    (lambda: row(unlocked_points=2), ("locks_expired", "", "degraded", None)),
    (lambda: row(strangers={"vault": 3}), ("foreign_points", "vault", "degraded", None)),
    (lambda: row(lost=(LostThere("vault", 2, ago(hours=5)),)), ("points_lost", "vault", "failed", ago(hours=5))),
    (lambda: row(damaged_points=2, doubtful_points=1), ("damage", "", "failed", None)),
    (lambda: row(damaged_points=2, doubtful_points=2), ("damage", "", "degraded", None)),
]  # fmt: skip
#: Those that the state directory knows of, not the catalog; they are made where that is read.
ELSEWHERE = {
    "escrow_key_missing", "old_keys", "foreign_keys", "recovery_under_way", "plan_unusable", "channel_failed",
    "unit_failed",
}  # fmt: skip
#: Not on the board: whoever watches from outside notices that no sign of life comes.
UNSHOWN = {"heartbeat_failed"}
#: Of targets, whatever systems are there: each is tried in `test_bounds.py`.
OF_TARGETS = {"target_full", "over_budget"}


def value_of(problem: SystemProblem) -> tuple[str, str, str, Any]:
    return problem.kind, problem.subject, problem.severity, problem.since


@pytest.mark.parametrize(("made", "value"), ONE_OF_EACH)
def test_each_problem_has_a_kind_a_subject_a_severity_and_its_time(
    made: Callable[[], Row], value: tuple[Any, ...]
) -> None:
    (problem,) = made().problems
    assert value_of(problem) == value
    assert problem.system == "sis" and problem.todo and problem.text
    assert problem.todo in problem.sentence and problem.text in problem.sentence


def test_every_kind_that_is_declared_is_made_and_tried() -> None:
    tried = {value[0] for _, value in ONE_OF_EACH}
    assert tried | ELSEWHERE | UNSHOWN | OF_TARGETS == set(get_args(ProblemKind)) and not tried & ELSEWHERE
    queries = "".join(path.read_text() for path in (Path(__file__).parents[2] / "dr" / "queries").glob("*.py"))
    assert all(f'kind="{kind}"' in queries for kind in ELSEWHERE)


def test_a_drill_that_waits_too_long_misses_the_objective_and_is_told_once() -> None:
    daily = plan(cadence={"drill": "every day"})
    (problem,) = row(daily, drill=LastDrill(outcome="ok", started=ago(days=3), ref="d", rta_seconds=5.0),
                     overdue=["drill"]).problems  # fmt: skip
    assert value_of(problem) == ("drill_overdue", "", "missed", ago(days=2))
    (problem,) = row(daily, drill=None, known_since=ago(days=3), overdue=["drill"]).problems
    assert value_of(problem) == ("never_drilled", "", "missed", ago(days=2))


def test_a_problem_stays_the_same_one_while_its_text_and_severity_change() -> None:
    (before,), (after,) = row(backup=last("degraded", "a")).problems, row(backup=last("failed", "b")).problems
    assert before != after and before.identity == after.identity == ("backup_failed", "sis", "")
    (here,), (there,) = row(strangers={"vault": 3}).problems, row(strangers={"disk": 3}).problems
    assert here.identity != there.identity, "the negative control"


def test_a_sentence_says_what_to_do_once() -> None:
    (clock,) = row(ahead=True).problems
    assert clock.sentence == clock.text and clock.text.count(clock.todo) == 1
    (failed,) = row(backup=last("failed", "it is full")).problems
    assert failed.sentence == "the last backup failed: it is full; remove the cause, then run `dr backup sis`"


def test_the_documents_hold_problems_in_words_and_as_values() -> None:
    made = row(strangers={"vault": 3}, ahead=True)
    for document in (status_document(made, {}), row_document(made)):
        assert document["problems"] == [problem.text for problem in made.problems]
        assert [(each["kind"], each["subject"]) for each in document["findings"]] == [
            ("clock", ""),
            ("foreign_points", "vault"),
        ]
        assert set(document["findings"][0]) == {"kind", "subject", "severity", "since", "text", "todo"}
    late = status_document(row(overdue=["backup"]), {})["findings"][0]
    assert late["since"] == "2026-11-24T06:30:00.000000Z"
