"""The command recover: the real thing, or single files and tables of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dr.cli import complete
from dr.cli.choose import chosen, require_target, unsound_told
from dr.cli.context import Context, pass_context
from dr.cli.drill import known_point
from dr.cli.drill_result import say_drills
from dr.cli.files import warn_of_holds
from dr.cli.foreseen import agreed_to, selected_by
from dr.cli.in_place import ask_in_place
from dr.cli.tables import refuse_mixed, table_options
from dr.cli.times import LAST_MOMENT
from dr.cli.typed import whole_path
from dr.errors import UsageError

if TYPE_CHECKING:
    from dr.plan.declarations import Loaded
    from dr.run.recovery.request import RecoveryRequest


@click.command("recover")
@click.argument("system", shell_complete=complete.systems)
@click.option("--to", "to", type=click.Path(path_type=Path), help="The directory to recover into.")
@click.option("--at", type=LAST_MOMENT, help="Use the newest point not after this time.")
@click.option("--point", metavar="RUN_ID", help="Recover this point: of one that is not whole, what is there.")
@click.option("--target", metavar="TARGET", shell_complete=complete.targets, help="Recover from this target.")
@click.option("--replace", "replaced", multiple=True, metavar="DATABASE", help="Replace this live database.")
@click.option(
    "--accept-missing", "accepted", multiple=True, metavar="OBJECT",
    help="Go on without this object, DATABASE.OBJECT, where the server refuses it.",
)  # fmt: skip
@click.option("--dumps", "as_files", is_flag=True, help="Leave database dumps as files; load them into no server.")
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Bring back this file or folder only: absolute, or relative to what the plan declares; `*` and `**` match "
    "many; may be given again.",
)
@table_options
@click.option("--source", metavar="SOURCE", help="With --path or --table: of this source only.")
@click.option(
    "--in-place",
    is_flag=True,
    help="With --path: put the files back where they were; what they overwrite is kept beside.",
)
@click.option("--because", default="", metavar="TEXT", help="Why, and for whom; kept as evidence.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Recover into a directory that holds other data.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@pass_context
def recover_command(context: Context, /, system: str, to: Path | None, yes: bool, dry_run: bool, **asked: Any) -> None:
    """Recover a system for real: files into a directory, databases into their server, beside the live ones.

    With --path only the files named, each proven by the hash taken at capture; with --table only the tables named,
    their rows counted in what was restored and in what was written. The system itself is left as it is then.
    May be run again after an interruption: it goes on.
    """
    loaded = chosen(context, (system,), everything=False, tell=False)[0]
    hurried = yes and not dry_run and bool(asked["paths"]) and not asked["in_place"]
    with unsound_told(context, [loaded], after=hurried):
        _recover(context, loaded, to, yes=yes, dry_run=dry_run, **asked)


def _recover(context: Context, loaded: Loaded, to: Path | None, /, *, yes: bool, dry_run: bool, **asked: Any) -> None:
    require_target(loaded, asked["target"])
    known_point(context, [loaded], asked["point"], asked["at"])
    from dr.operations.drill import recover
    from dr.run.recovery.request import RecoveryRequest

    replaced, accepted = (frozenset(asked.pop(key)) for key in ("replaced", "accepted"))
    to = whole_path(to) if to else None
    request = RecoveryRequest(to=to, replaced=replaced, accepted=accepted, **asked)
    refuse_mixed(request)
    _fits_together(request)
    if request.paths:
        warn_of_holds(context, loaded)
    if request.in_place:
        agreed = ask_in_place(context, loaded, request, yes=yes, dry_run=dry_run)
        if agreed is None:
            return
        request = agreed
    else:
        selected = selected_by(context, loaded, request)
        if not agreed_to(context, loaded, request, selected, yes=yes, dry_run=dry_run):
            return
        request = replace(request, size=selected.bytes if selected else None)
    done = recover(context.session, loaded, request)
    say_drills(context, [done])
    if request.to and request.paths and done.record.outcome in ("ok", "degraded"):
        for source in done.record.sources:
            context.say(f"  lies in    {request.to / source}, each file by its whole path")
    for table in done.record.tables if request.to else ():
        context.say(f"  lies in    {request.to}: {table.table}.sql and .csv")


def _fits_together(request: RecoveryRequest) -> None:
    """Refuse, before anything is touched, options that do not go together."""
    if not request.in_place and not request.beside and request.to is None:
        hint = (
            "name a directory; or, for files named with --path, say --in-place to put them back where they were;"
            " or, for a table, --beside NAME"
        )
        raise UsageError("say where to recover to", "--to", hint=hint)
    if request.in_place and (request.to or request.force):
        raise UsageError(
            "--in-place puts files back where they were: it goes with no other place", "--in-place",
            hint="leave out --to and --force, or leave out --in-place",
        )  # fmt: skip
    if not request.paths and request.in_place:
        raise UsageError("--in-place goes with --path", "--in-place", hint="name the files with --path")
    if not request.selected and request.source:
        hint = "name the files with --path, or a table with --table"
        raise UsageError("--source goes with --path or --table", "--source", hint=hint)
    if request.paths and (request.replaced or request.accepted or request.as_files):
        raise UsageError(
            "--path brings back files, and loads no database", "--path",
            hint="leave out --replace, --accept-missing and --dumps, or recover the system without --path",
        )  # fmt: skip
