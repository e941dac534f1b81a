"""`dr recover --table`: its options, what does not go with it, and what is said of the tables that came back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from dr.errors import UsageError
from dr.plan.units import counted

if TYPE_CHECKING:
    from dr.evidence.record import Drill
    from dr.run.recovery.request import RecoveryRequest

F = TypeVar("F", bound=Callable[..., None])


def table_options(command: F) -> F:
    """Add the options of single tables."""
    named = "Bring back this table only, as SQL and CSV in --to, or --beside the live one; may be given again."
    chosen, new = (
        "With one --table: only rows for which this holds.",
        "With one --table: load it beside the live one so.",
    )
    for option in (
        click.option("--beside", default="", metavar="NAME", help=new),
        click.option("--where", default="", metavar="CONDITION", help=chosen),
        click.option("--table", "tables", multiple=True, metavar="DB.TABLE", help=named),
    ):
        command = option(command)
    return command


def refuse_mixed(request: RecoveryRequest) -> None:
    """Raise `UsageError` for options that do not go together; nothing is touched."""
    if not request.tables:
        for option, value in (("--where", request.where), ("--beside", request.beside)):
            if value:
                raise UsageError(f"{option} goes with --table", option, hint="name the table with --table")
        return
    if request.paths or request.in_place or request.replaced or request.accepted or request.as_files:
        raise UsageError(
            "--table brings back tables, and nothing else", "--table",
            hint="leave out --path, --in-place, --replace, --accept-missing and --dumps",
        )  # fmt: skip
    if len(request.tables) > 1 and (request.where or request.beside):
        raise UsageError(
            f"{'--where' if request.where else '--beside'} goes with one table", "--table",
            hint="bring back one table at a time",
        )  # fmt: skip
    if request.to and request.beside:
        raise UsageError(
            "--to writes files, --beside loads into the live database", "--beside", hint="leave out one of them"
        )
    if request.beside and request.force:
        raise UsageError(
            "--beside writes over nothing, whatever is said", "--force", hint="leave it out, or choose another name"
        )
    if "." in request.beside:
        raise UsageError(
            f"--beside takes a new name alone, not {request.beside!r}", "--beside",
            hint="leave out the database and the schema: the table stays in its own",
        )  # fmt: skip


def lines_of(fact: Drill) -> list[str]:
    """Return a line for each table that came back, and one for each thing that did not come along."""
    lines = []
    for each in fact.tables:
        rows = counted(each.rows, "row") + (" chosen by --where" if each.filtered else "")
        how = f"loaded beside it as {each.beside}" if each.beside else "as SQL and CSV"
        lines.append(f"  table      {each.table}: {rows}, {how}")
        lines += [f"             {what}" for what in each.left_out]
    return lines
