"""`dr target history` and `dr target rewind`: what happened to a target, and the way back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.context import Context, pass_context
from dr.cli.times import LAST_MOMENT
from dr.errors import DEGRADED, OK, UsageError

if TYPE_CHECKING:
    from dr.evidence.acts import Rewind
    from dr.operations.lifecycle import Finished
    from dr.operations.rewind import Prospect
    from dr.queries.attack_history import AttackHistory


@click.command("history", short_help="Find when an attack on the copies began.")
@click.argument("name", metavar="TARGET|SYSTEM", shell_complete=complete.targets_and_systems)
@pass_context
def history_command(context: Context, name: str) -> None:
    """Find when an attack on the copies began, from the versions that the bucket keeps. Exit 3 when there was one.

    Needs the target's key pair alone: no passphrase, and nothing of what is on top in the bucket.
    """
    from dr.queries.attack_history import history

    context.put(histories=[])
    told = history(context.session, name)
    context.put(histories=[_history_document(each) for each in told])
    for each in told:
        _say_history(context, each)


def _history_document(told: AttackHistory) -> dict[str, object]:
    from dr.report.attack import history_document, unknown_history

    found = told.history
    if found is None:
        return unknown_history(told.system, told.target, keeps_versions=None if told.error else False)
    return history_document(told.system, told.target, found, onset=found.onset, harm=found.harm)


def _say_history(context: Context, told: AttackHistory) -> None:
    from dr.queries.attack_history import way_back

    found, where = told.history, f"{told.system} on {told.target}"
    if told.error:
        context.failed(told.error)
    elif found is None:
        context.say(f"{where}: the target keeps no versions, so it has no history")
    elif found.onset is None or found.before is None:
        usual = f" ({found.ordinary:,} deleted in the ordinary way)" if found.ordinary else ""
        context.say(f"{where}: no attack found; {found.objects:,} objects in {found.versions:,} versions{usual}")
        context.ended(OK)
    else:
        harm = ", ".join(f"{count:,} {what}" for what, count in found.harm.items())
        context.say(f"{where}: attacked from {found.onset:%Y-%m-%d %H:%M:%S}Z to {found.last:%Y-%m-%d %H:%M:%S}Z")
        context.say(f"  since      {harm}; {found.added:,} objects added")
        context.say(f"  before it  {_typed(found.before)}")
        context.say(f"  now type   {way_back(told.system, told.target, found.before)}")
        context.ended(DEGRADED)


def _typed(moment: datetime) -> str:
    """Return a moment as it is typed after `--at`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@click.command("rewind", short_help="Put a bucket back to what it was.")
@click.argument("target", shell_complete=complete.targets)
@click.option("--at", type=LAST_MOMENT, required=True, help="Put back what was there at this time.")
@click.option("--system", metavar="SYSTEM", shell_complete=complete.systems, help="Only this system's repository.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@pass_context
def rewind_command(context: Context, target: str, at: datetime, system: str | None, yes: bool, dry_run: bool) -> None:
    """Put what is on top in a bucket back to what it was at a time. Deletes no version of any data.

    Recover first: `dr recover --at` needs no rewind. May be run again after an interruption: it does what is left.
    """
    from dr.operations.rewind import foresee_rewind, rewind_all
    from dr.report.attack import rewind_document

    context.put(rewinds=[])
    prospects = foresee_rewind(context.session, target, at, system=system)
    told = "\n".join(_foreseen(prospect) for prospect in prospects)
    if dry_run:
        context.put(dry_run=True, would=told)
        context.say(told)
        return
    if not yes:
        _confirm(told)
    results = rewind_all(context.session, prospects)
    context.put(rewinds=[rewind_document(result.record, result.details) for result in results])
    for result in results:
        _say_rewind(context, result)


_FORESEEN = {
    "uncover": "have their delete markers taken away",
    "lift": "have their old version copied on top",
    "hide": "were added since and are looked at",
}


def _foreseen(prospect: Prospect) -> str:
    acts = [step.act for step in prospect.steps]
    done = ", ".join(f"{acts.count(act):,} would {text}" for act, text in _FORESEEN.items() if act in acts)
    done = done.replace("would were", "were")
    return (
        f"{prospect.loaded.plan.system} on {prospect.place.name} as of {_typed(prospect.moment)}: "
        f"{prospect.objects:,} objects, {prospect.intact:,} as they were{f'; {done}' if done else ''}"
    )


def _confirm(told: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("a rewind asks for confirmation", "--yes", hint="add --yes to rewind without a question")
    click.echo(told, err=True)
    if not click.confirm("Go on?", default=False, err=True):
        raise UsageError("nothing was done", hint="answer y, or add --yes")


def _say_rewind(context: Context, result: Finished[Rewind]) -> None:
    fact, where = result.record, f"{result.record.system} on {result.record.target}"
    context.say(
        f"{where}: rewind {fact.outcome}, {fact.objects:,} objects as of {_typed(fact.moment)}: {fact.intact:,} as "
        f"they were, {fact.uncovered:,} uncovered, {fact.copied:,} copied on top, {fact.hidden:,} hidden; "
        f"{fact.verified:,} read back"
    )
    for name, (why,) in list(result.details.items())[:10]:
        context.complain(why, f"{where}: {name}", "use a key that may, or recover from another target")
    if fact.error:
        context.complain(fact.error, where, fact.error_hint or "fix it, then rewind again: it does what is left")
    if fact.outcome == "ok":
        context.say(f"  now type   dr points rebuild {fact.system}; dr verify {fact.system} --level 2")
    context.ended(result.exit_code)
