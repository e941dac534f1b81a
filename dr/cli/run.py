"""The command run: all that is due, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dr.cli.backup import say_backups
from dr.cli.context import Context, pass_context
from dr.cli.verify import say_proofs

if TYPE_CHECKING:
    from dr.operations.due_done import DueDone


@click.command("run")
@pass_context
def run_command(context: Context) -> None:
    """Do all that is due, once: backups, replicas, proofs, retention and drills, the most overdue first."""
    from dr.operations.failed_units import telling_itself
    from dr.operations.run_due import run_due

    with telling_itself(context.session):
        done = run_due(context.session)
    say_all(context, done)
    context.tell_held_back()
    if not done.any and not context.session.held_back:
        context.say("nothing is due")


def say_all(context: Context, done: DueDone) -> None:
    """Tell of all that one run did."""
    context.left_out(done.faults)
    if not done.any and not context.as_json:  # a document has all its keys, however little was done
        return
    from dr.cli.drill_result import say_drills
    from dr.cli.expire import say_expirations
    from dr.cli.replicate import say_replications

    say_backups(context, done.backups)
    say_replications(context, done.replications)
    say_proofs(context, done.proofs)
    say_expirations(context, done.expirations)
    say_drills(context, done.drills)
