"""`dr hold`: keep recovery points whatever else is due."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import chosen
from dr.cli.context import Context, pass_context
from dr.cli.times import TIME
from dr.cli.verbs import Verbs
from dr.errors import UsageError

if TYPE_CHECKING:
    from dr.evidence.acts import Hold


@click.group("hold", cls=Verbs, default="place")
def hold_command() -> None:
    """Keep a system's points whatever else is due: legal and public-records holds win over everything.

    Without a verb it places one: `dr hold SYSTEM --reason TEXT` is `dr hold place SYSTEM --reason TEXT`.
    """


@hold_command.command("place", short_help="Place a hold on a system's points.")
@click.argument("system", required=False, shell_complete=complete.systems)
@click.option("--reason", default="", help="Who asked for it, and why: it is put on record.")
@click.option("--until", type=TIME, help="When it ends by itself.")
@click.option("--point", metavar="RUN_ID", help="Hold this recovery point only.")
@click.option("--list", "listed", is_flag=True, hidden=True)
@click.option("--release", metavar="ID", hidden=True)
@pass_context
def place_command(
    context: Context,
    system: str | None,
    reason: str,
    until: datetime | None,
    point: str | None,
    listed: bool,
    release: str | None,
) -> None:
    """Place a hold: what it is on is not expired, and its keys are not destroyed, until it is released or ends."""
    if sum((listed, release is not None, bool(reason) and release is None)) != 1:
        raise UsageError(
            "say what to do",
            "dr hold",
            hint="type dr hold SYSTEM --reason TEXT, dr hold list, or dr hold release ID --reason TEXT",
        )
    if listed:
        _list(context, system)
    elif release is not None:
        _release(context, release, reason)
    elif system is None:
        raise UsageError("no system was named", hint="name the system to hold")
    else:
        _place(context, system, reason, until=until, point=point)


@hold_command.command("list", short_help="List the holds.")
@click.argument("system", required=False, shell_complete=complete.systems)
@pass_context
def list_command(context: Context, system: str | None) -> None:
    """List the holds of a system, or all: those in force, those that ended, and those released."""
    _list(context, system)


@hold_command.command("release", short_help="Release a hold.")
@click.argument("hold_id", metavar="ID")
@click.option("--reason", required=True, help="Who allowed it, and why: it is put on record.")
@pass_context
def release_command(context: Context, hold_id: str, reason: str) -> None:
    """Release the hold with this id: `dr hold list` shows it."""
    _release(context, hold_id, reason)


def _place(context: Context, system: str, reason: str, *, until: datetime | None, point: str | None) -> None:
    from dr.operations.holds import place_hold

    loaded = chosen(context, (system,), everything=False)[0]
    _say(context, [place_hold(context.session, loaded, reason=reason, until=until, point=point)])


def _list(context: Context, system: str | None) -> None:
    context.session.reading = True
    holds = context.session.catalog.holds(system)
    _say(context, holds)
    if not holds:
        context.say("no holds")


def _release(context: Context, hold_id: str, reason: str) -> None:
    from dr.operations.holds import release_hold

    _say(context, [release_hold(context.session, hold_id, reason=reason)])


def _say(context: Context, holds: list[Hold]) -> None:
    from dr.report.documents import hold_document

    now = context.session.clock()
    context.put(holds=[hold_document(hold, now=now) for hold in holds])
    for hold in holds:
        state = "in force" if hold.holds(now) else "released" if hold.released else "over"
        on = f"point {hold.point}" if hold.point else "all points"
        until = f" until {hold.until:%Y-%m-%d %H:%M} UTC" if hold.until else ""
        context.say(f"{hold.hold_id}: {state}, {hold.system}, {on}{until}: {hold.reason}")
        if hold.released:
            context.say(f"  released {hold.released:%Y-%m-%d %H:%M} UTC: {hold.released_reason}")
