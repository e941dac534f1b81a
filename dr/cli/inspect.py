"""The commands of those who look: status, audit, report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import declared_or_usable
from dr.cli.context import Context, pass_context
from dr.cli.times import TIME
from dr.errors import FAILED, OBJECTIVE_MISSED, OK, DrError, UsageError, every_error
from dr.plan.units import format_duration

if TYPE_CHECKING:
    from dr.evidence.acts import Hold
    from dr.report.board import Row
    from dr.report.figures import Report
    from dr.report.verdict import Verdict


@click.command("status")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@click.option("--nagios", is_flag=True, help="One line for Nagios and Icinga; exit 0-3 as their plugins do.")
@pass_context
def status_command(context: Context, systems: tuple[str, ...], nagios: bool) -> None:
    """Show each system's objectives against the facts. Exit 4 when any objective is missed."""
    from dr.evidence.problem import texts
    from dr.queries.status import board, site_problems
    from dr.report.documents import finding_document, hold_document, status_document

    context.put(systems=[])
    context.session.reading = True
    if nagios:
        _probe(context, systems)
        return
    found = board(context.session, declared_or_usable(context, systems))
    now = context.session.clock()
    context.put(
        systems=[
            {
                **status_document(entry.row, entry.next_due),
                "holds": [hold_document(hold, now=now) for hold in entry.holds],
            }
            for entry in found
        ]
    )
    rows = [_line(entry.row) for entry in found]
    context.plain_rows(rows)
    for entry in found:
        for problem in entry.row.problems:
            context.say(f"{entry.row.system}: {problem.text}")
        for hold in entry.holds:
            context.say(f"{entry.row.system}: {_held(hold)}")
        for line in _about_copies(entry.row, asked=bool(systems)):
            context.say(f"{entry.row.system}: {line}")
    beside = list(site_problems(context.session))
    context.put(site={"problems": texts(beside), "findings": [finding_document(problem) for problem in beside]})
    for problem in beside:
        context.say(f"this site: {problem.sentence}")
    missed = any("missed" in (entry.row.rpo.word, entry.row.rto.word) for entry in found)
    context.ended(OBJECTIVE_MISSED if missed else OK)


def _probe(context: Context, systems: tuple[str, ...]) -> None:
    """Say the board in one line; what keeps it from being told is a state too."""
    from dr.queries.status import board
    from dr.report import nagios

    try:
        with every_error():
            session = context.session
            items, faults = (session.chosen(systems), ()) if systems else session.usable()
            state, text = nagios.line([entry.row for entry in board(session, items)])
            if faults and state != nagios.CRITICAL:
                state, text = nagios.unknown(f"{faults[0].where}: {faults[0].what}")
    except DrError as error:
        state, text = nagios.unknown(f"{error.what} ({error.cause})" if error.cause else error.what)
    context.put(nagios={"state": state, "line": text})
    context.say(text)
    context.ended(state)


def _held(hold: Hold) -> str:
    on = f"point {hold.point}" if hold.point else "all points"
    until = f" until {hold.until:%Y-%m-%d}" if hold.until else ""
    return f"{on} on hold{until} ({hold.hold_id}): {hold.reason}"


def _about_copies(row: Row, *, asked: bool) -> Iterator[str]:
    """When a disk that is taken away was last there; and what 3-2-1-1-0 lacks, where the system was named."""
    for place in row.places:
        if place.offline:
            seen = f"{place.seen:%Y-%m-%d %H:%M}Z" if place.seen else "never"
            newest = f"{place.newest:%Y-%m-%d %H:%M}Z" if place.newest else "none"
            yield f"the disk {place.target} was last there: {seen}; its newest point: {newest}"
    if asked and row.copies and not row.copies.met:
        yield f"3-2-1-1-0 is not met. Missing: {'; '.join(row.copies.missing)}"


def _line(row: Row) -> dict[str, str]:
    def told(seconds: float | None, none: str) -> str:
        return none if seconds is None else format_duration(seconds)

    def judged(verdict: Verdict, seconds: float | None, none: str, goal: int) -> str:
        """`met (3 s of 4 h)`, or `unknown (no point, 4 h wanted)`."""
        wanted = format_duration(goal)
        known = f"{none}, {wanted} wanted" if seconds is None else f"{format_duration(seconds)} of {wanted}"
        return f"{verdict.word} ({known})"

    undrilled = "not achieved" if row.last_drill else "no drill"
    age = f" ({told(row.proof_age_seconds, '')} ago)" if row.proof_age_seconds is not None else ""
    return {
        "system": row.system,
        "rpo": judged(row.rpo, row.freshness_seconds, "no point", row.rpo_target_seconds),
        "exposure": told(row.exposure_seconds, "unknown"),
        "rto": judged(row.rto, row.last_rta_seconds, undrilled, row.rto_target_seconds),
        "proof": f"{row.proof_level}{age}",
        "3-2-1-1-0": "unknown" if row.copies is None else "met" if row.copies.met else f"no ({row.copies.numbers})",
        "last drill": f"{row.last_drill_outcome} {row.last_drill:%Y-%m-%d}" if row.last_drill else "never",
    }


@click.command("audit")
@pass_context
def audit_command(context: Context) -> None:
    """Verify the chain of evidence: name the first record that was edited, removed or reordered."""
    context.session.reading = True
    result = context.session.catalog.audit()
    bad = result.first_bad
    context.put(
        records=result.records,
        head=result.head,
        outcome=result.outcome,
        first_bad={"record": bad[0], "problem": bad[1]} if bad else None,
    )
    context.say(f"{result.records} records, head {result.head}: {result.outcome}")
    if bad:
        context.complain(
            f"record {bad[0]} was {bad[1]}",
            "the chain of evidence",
            "compare it with the records beside the repositories, under _evidence",
        )
    context.ended(FAILED if bad else OK)


@click.command("report")
@click.option("--drill", "drill_id", metavar="ID", help="Tell of one drill or recovery, by its id.")
@click.option("--system", metavar="SYSTEM", shell_complete=complete.systems, help="Tell of one system.")
@click.option("--since", type=TIME, help="Tell of what happened since this time.")
@click.option("--format", "form", type=click.Choice(("html", "md", "json")), default="html", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file; `-` is stdout."
)
@pass_context
def report_command(
    context: Context,
    drill_id: str | None,
    system: str | None,
    since: datetime | None,
    form: str,
    output: Path | None,
) -> None:
    """Write a report for reviewers: one file, readable offline and on paper."""
    from dr.queries.report import report

    context.session.reading = True
    items = declared_or_usable(context, (system,) if system else ())
    made = report(context.session, items, drill=drill_id, since=None if drill_id else since)
    if drill_id and system and made.focus[0].fact.system != system:
        raise UsageError(f"the drill {drill_id} is not one of {system}", "--drill", hint="name the drill alone")
    text = _rendered(made, form)
    if output and str(output) != "-":
        _write(output, text)
        context.put(report=str(output.absolute()), format=form)
        context.say(f"wrote {output}")
    elif context.as_json:
        context.put(format=form, report=json.loads(text) if form == "json" else text)
    else:
        click.echo(text, nl=False)


def _rendered(made: Report, form: str) -> str:
    if form == "html":
        from dr.report.html import render

        return render(made)
    if form == "md":
        from dr.report.text import render as render_text

        return render_text(made)
    from dr.report.json import document

    return json.dumps(document(made), indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    """Write whole or not at all: an old report is better than half a new one.

    Through a link into what it leads to; and into a device or a pipe, which no file is to take the place of.
    """
    to = path if path.exists() and not path.is_file() else path.resolve()
    beside = to.with_name(f".{to.name}.new")
    try:
        if to.exists() and not to.is_file():
            to.write_text(text, "utf-8")
            return
        beside.write_text(text, "utf-8")
        beside.replace(to)
    except OSError as error:
        raise DrError(
            "the report cannot be written", str(path), error.strerror or "", hint="see the directory and its space"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
