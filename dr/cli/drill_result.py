"""What is said of drills and recoveries once they are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dr.cli.context import Context, way_on
from dr.cli.tables import lines_of
from dr.plan.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from dr.evidence.record import Drill
    from dr.operations.lifecycle import Finished


def say_drills(context: Context, results: list[Finished[Drill]]) -> None:
    """Tell of drills and recoveries, and note their exit codes."""
    from dr.report.documents import drill_document

    context.put(drills=[drill_document(result.record, evidence_digest=result.digest) for result in results])
    for result in results:
        _say_drill(context, result)
        context.ended(result.exit_code)


def _say_drill(context: Context, result: Finished[Drill]) -> None:
    from dr.report import words

    fact = result.record
    what = "recovery" if fact.real else f"drill ({fact.scenario})"
    context.say(f"{fact.system}: {what} {fact.outcome}, {fact.drill_id}")
    for event in fact.events:
        if fact.noticed and event.at <= fact.noticed:
            context.say(f"  before     {event.what}")
    if fact.seen_at:
        context.say(f"  seen       {fact.target} as it was at {fact.seen_at:%Y-%m-%d %H:%M:%S} UTC")
    if fact.run_id:
        restored = f"{counted(fact.files, 'file')}, {format_bytes(fact.bytes)}" if fact.sources else "nothing restored"
        context.say(f"  point      {fact.run_id} from {fact.target}, {restored}")
    if fact.sampled:
        context.say(f"  sampled    {fact.sampled.in_words(format_bytes)}")
    for each in fact.passed_over:
        context.say(f"  passed     {each.run_id} on {each.target}: {each.reason}")
    for lack in fact.lacks:
        context.say(f"  LACKING    {lack}")
    if fact.suspect:
        context.say(f"  SUSPECT    the last point before it that is not: {fact.last_unsuspected_point or 'none'}")
    phases = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in fact.phases.items())
    if phases:
        context.say(f"  phases     {phases}")
    for check in fact.checks:
        about = f"{check.check} {check.source}" if check.source else check.check
        need = "" if check.mandatory else " (not mandatory)"
        context.say(
            f"  check      {about}{need}: {check.outcome}; expected {check.expected}; observed {check.observed}"
        )
    (_say_selected if fact.selected else _say_objectives)(context, fact)
    if fact.because:
        context.say(f"  because    {fact.because}")
    if not fact.selected:
        context.say(f"  sandbox    {fact.sandbox}")
    if fact.isolated is not None:
        context.say(f"  isolated   {words.isolated(fact)}")
    context.say(f"  evidence   {result.digest}")
    for name, why in fact.hollow.items():
        what, hint = f"it holds nothing ({why}), and proves no recovery", "see why its data is not there"
        context.complain(what, f"{fact.system}: source {name}", hint)
    if fact.error:
        there = f"{fact.system} on "  # where an error that names its place begins
        where = "" if fact.error.startswith(there) else fact.system
        context.complain(
            fact.error.removeprefix(f"{fact.system}: "),
            where,
            "; ".join(filter(None, (fact.error_hint, result.hint))) or way_on(fact.outcome),
        )
    elif result.hint:
        context.complain("what came back is not what was stored", fact.system, result.hint)
    for check in fact.checks:
        if check.outcome == "failed":
            context.complain(
                f"check {check.check} failed: expected {check.expected}, observed {check.observed}",
                f"{fact.system}: {check.source or 'the system'}",
            )


def _say_objectives(context: Context, fact: Drill) -> None:
    from dr.report.verdict import rpo_verdict, rto_estimate, rto_verdict

    rta = "not achieved" if fact.rta_seconds is None else f"back in {format_duration(fact.rta_seconds)}"
    if (estimate := rto_estimate(fact)) is not None:
        rta = f"the sample was {rta}; ESTIMATE for the whole {format_duration(estimate)}"
    rta = "nothing was recovered" if fact.of_nothing else rta
    rpa = "not measured" if fact.rpa_seconds is None else f"data lost {format_duration(fact.rpa_seconds)}"
    if fact.outcome == "aborted":
        rta = rpa = "it was interrupted"
    wanted = fact.objectives
    context.say(f"  RTO        {rto_verdict(fact).word}: {rta}; objective {format_duration(wanted.rto_seconds)}")
    context.say(f"  RPO        {rpo_verdict(fact).word}: {rpa}; objective {format_duration(wanted.rpo_seconds)}")


def _say_selected(context: Context, fact: Drill) -> None:
    """Tell of files and tables that a person named: the system's objectives are not judged by them."""
    for line in lines_of(fact):
        context.say(line)
    for event in fact.events:
        if " in its place: " in event.what:
            context.say(f"  in place   {event.what.replace(' in its place: ', ': ', 1)}")
    if fact.rta_seconds is not None:
        context.say(f"  took       {format_duration(fact.rta_seconds)}")
    if fact.rpa_seconds is not None:
        context.say(f"  as of      {format_duration(fact.rpa_seconds)} before it was asked for")
