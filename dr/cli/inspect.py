"""The commands of those who look: status, audit, report."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import declared_or_usable
from dr.cli.context import Context, pass_context
from dr.cli.times import TIME
from dr.errors import FAILED, OBJECTIVE_MISSED, OK, DrError, UsageError, every_error

if TYPE_CHECKING:
    from dr.report.figures import Report


@click.command("status")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@click.option("--nagios", is_flag=True, help="One line for Nagios and Icinga; exit 0-3 as their plugins do.")
@pass_context
def status_command(context: Context, systems: tuple[str, ...], nagios: bool) -> None:
    """Show each system's objectives against the facts. Exit 4 when any objective is missed."""
    from dr.queries.status import board, site_problems
    from dr.report.documents import entry_document, site_document
    from dr.report.standing import status_lines, status_row

    context.session.reading = True
    if nagios:
        _probe(context, systems)
        return
    found = board(context.session, declared_or_usable(context, systems))
    now = context.session.clock()
    context.put(systems=[entry_document(each.row, each.next_due, each.holds, now=now) for each in found])
    context.plain_rows([status_row(entry.row) for entry in found])
    for entry in found:
        for line in status_lines(entry.row, entry.holds, asked=bool(systems)):
            context.say(f"{entry.row.system}: {line}")
    beside = list(site_problems(context.session))
    context.put(site=site_document(beside))
    for problem in beside:
        context.say(f"this site: {problem.sentence}")
    missed = any("missed" in (entry.row.rpo.word, entry.row.rto.word) for entry in found)
    context.ended(OBJECTIVE_MISSED if missed else OK)


def _probe(context: Context, systems: tuple[str, ...]) -> None:
    """Say the board in one line; what keeps it from being told is a state too."""
    from dr.queries.status import board, site_problems
    from dr.report import nagios

    try:
        with every_error():
            session = context.session
            items, faults = (session.chosen(systems), ()) if systems else session.usable()
            beside = () if systems else tuple(site_problems(session))
            state, text = nagios.line([entry.row for entry in board(session, items)], beside)
            if faults and state != nagios.CRITICAL:
                state, text = nagios.unknown(f"{faults[0].where}: {faults[0].what}")
    except DrError as error:
        state, text = nagios.unknown(f"{error.what} ({error.cause})" if error.cause else error.what)
    context.put(nagios=nagios.document(state, text))
    context.say(text)
    context.ended(state)


@click.command("audit")
@pass_context
def audit_command(context: Context) -> None:
    """Verify the chain of evidence: name the first record that was edited, removed or reordered."""
    from dr.report.documents import audit_document

    context.session.reading = True
    result = context.session.catalog.audit()
    bad = result.first_bad
    context.put(**audit_document(result))
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
