"""The command status: the board, or the line of a Nagios probe."""

from __future__ import annotations

import click

from dr.cli import complete
from dr.cli.choose import declared_or_usable
from dr.cli.context import Context, pass_context
from dr.errors import OBJECTIVE_MISSED, OK, DrError, every_error


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
    if context.as_json:  # a thousand of them take a while
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
        state, text = nagios.unknown(error.sentence)
    context.put(nagios=nagios.document(state, text))
    context.say(text)
    context.ended(state)
