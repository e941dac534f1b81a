"""`dr points`: list recovery points, make the catalog again, trust a suspect point."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import declared_or_usable
from dr.cli.context import Context, pass_context
from dr.cli.times import LAST_MOMENT
from dr.cli.verbs import Verbs
from dr.errors import UsageError

if TYPE_CHECKING:
    from dr.plan.declarations import Loaded

_TRUST = "dr points trust SYSTEM RUN_ID --because TEXT"


@click.group("points", cls=Verbs, default="list")
def points_command() -> None:
    """List recovery points with their proof; make the catalog again; trust a suspect point.

    Without a verb it lists: `dr points SYSTEM` is `dr points list SYSTEM`.
    """


@points_command.command("list", short_help="List recovery points, newest first, with their proof.")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@click.option("--calendar", is_flag=True, help="Show day by day for a year what retention keeps and removes.")
@click.option("--rebuild", "renew", is_flag=True, hidden=True)
@click.option("--at", type=LAST_MOMENT, hidden=True)
@click.option("--adopt", multiple=True, metavar="ID", hidden=True)
@click.option("--trust", "trusted", metavar="RUN_ID", hidden=True)
@click.option("--because", metavar="TEXT", hidden=True)
@pass_context
def list_command(
    context: Context,
    /,
    systems: tuple[str, ...],
    calendar: bool,
    renew: bool,
    at: datetime | None,
    adopt: tuple[str, ...],
    trusted: str | None,
    because: str | None,
) -> None:
    """List recovery points, newest first, with their proof."""
    if bool(trusted) != bool(because) or (trusted and len(systems) != 1):
        raise UsageError(
            "a point is trusted by one person for one reason", "dr points trust", hint=f"say all: {_TRUST}"
        )
    for option, given in (("--at", at), ("--adopt", adopt)):
        if given and not renew:
            raise UsageError(f"{option} is for a rebuild", option, hint=f"type dr points rebuild {option} …")
    context.session.reading = not (renew or trusted)
    items = declared_or_usable(context, systems)
    if trusted and because:
        _trust(context, items[0], trusted, because)
    if renew:
        _rebuild(context, items, at, adopt)
    if calendar:
        from dr.cli.expire import say_calendar

        say_calendar(context, items)
    else:
        _list(context, items)


@points_command.command("rebuild", short_help="Make the catalog again from the targets.")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@click.option("--at", type=LAST_MOMENT, help="From the targets as they were at this time.")
@click.option(
    "--adopt", multiple=True, metavar="ID", help="Take over what this other installation made; may be given again."
)
@pass_context
def rebuild_command(context: Context, systems: tuple[str, ...], at: datetime | None, adopt: tuple[str, ...]) -> None:
    """Make the catalog again from the targets, then list the recovery points.

    May be run again at any time: what is known stays where the targets say the same.
    """
    items = declared_or_usable(context, systems)
    _rebuild(context, items, at, adopt)
    _list(context, items)


@points_command.command("trust", short_help="Mark a suspect recovery point as trusted.")
@click.argument("system", shell_complete=complete.systems)
@click.argument("run_id", metavar="RUN_ID")
@click.option("--because", required=True, metavar="TEXT", help="Why; kept as evidence.")
@pass_context
def trust_command(context: Context, system: str, run_id: str, because: str) -> None:
    """Say that what is out of the ordinary in a point was expected; then list the system's points.

    Points may be expired again, and later ones are judged by it. Recorded as an act.
    """
    items = declared_or_usable(context, (system,))
    _trust(context, items[0], run_id, because)
    _list(context, items)


def _list(context: Context, items: list[Loaded]) -> None:
    from dr.queries.points import listed, strangers
    from dr.report.points import listed_document, points_table, strange_document, strange_in_words

    points, now = listed(context.session, items), context.session.clock()
    context.put(points=[listed_document(each) for each in points])
    context.plain_rows(points_table(points, now))
    for loaded in items:
        if frozen := context.session.catalog.retention_frozen(loaded.plan.system):
            context.say(f"{loaded.plan.system}: retention is frozen: {frozen}")
    others = strangers(context.session, items)
    context.put(strangers=[strange_document(each) for each in others])
    for other in others:
        context.say(strange_in_words(other))
    if not points:
        context.say("no recovery points yet")


def _trust(context: Context, loaded: Loaded, run_id: str, because: str) -> None:
    from dr.operations.trust import trust

    sealed, system = trust(context.session, loaded, run_id, because=because), loaded.plan.system
    left = context.session.catalog.retention_frozen(system)
    context.put(trusted=run_id, evidence_digest=sealed.digest, retention_frozen=left)
    context.say(f"{system}: the point {run_id} is trusted; recorded as {sealed.ref}")
    if left:
        context.warn(f"retention stays frozen: {left}", system)


def _rebuild(context: Context, items: list[Loaded], at: datetime | None, adopt: tuple[str, ...]) -> None:
    from dr.operations.gather_evidence import altered_in_words, missing_in_words
    from dr.operations.rebuild import rebuild

    done = rebuild(context.session, items, at=at, adopt=adopt)
    fact, read = done.fact, len(done.fact.targets) - len(done.problems)
    context.say(f"rebuilt: {fact.points} points and {fact.records} records from {read} repositories")
    for note in done.notes:
        context.say(f"  {note}")
    for other in done.others:
        context.warn(other, hint="take them over, if no other machine stores there, by `dr points rebuild --adopt ID`")
    for odd in done.odd:
        for text in odd.in_words():
            context.warn(text, odd.where, "see who can write there: `dr target check`")
    if done.altered:
        context.warn(
            altered_in_words(fact), str(done.altered), "see who can write into the state directory; then `dr audit`"
        )
    if done.missing:
        context.warn(
            missing_in_words(done.missing), "the chain of evidence", "rebuild again with all plans and targets"
        )
    for where, error in done.problems:
        hint = error.hint or "fix the target"
        context.complain(error.sentence, where, f"{hint}; then rebuild")
    if done.strangers:
        context.warn(
            f"records on the targets that are not of this chain stay there: {done.strangers}",
            hint="they were altered, or the catalog was begun again meanwhile",
        )
    context.ended(done.exit_code)
