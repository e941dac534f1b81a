"""The command report: for reviewers, on stdout or in a file."""

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
from dr.errors import DrError, UsageError

if TYPE_CHECKING:
    from dr.report.figures import Report


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
        with context.going_on(1):
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
