"""The command repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import chosen, require_target
from dr.cli.context import Context, pass_context, way_on

if TYPE_CHECKING:
    from dr.evidence.acts import Repair
    from dr.operations.lifecycle import Finished


@click.command("repair")
@click.argument("system", shell_complete=complete.systems)
@click.option("--target", metavar="TARGET", shell_complete=complete.targets, help="Only the repository on this target.")
@click.option(
    "--snapshots", "points", multiple=True, metavar="RUN_ID",
    help="Leave out of this point's snapshots what is lost; the point is incomplete then. May be given again.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@pass_context
def repair_command(context: Context, system: str, target: str | None, points: tuple[str, ...], dry_run: bool) -> None:
    """Repair a damaged repository: lost objects are copied back, the index is rebuilt, and a proof follows.

    May be run again after any interruption.
    """
    loaded = chosen(context, (system,), everything=False)[0]
    require_target(loaded, target)
    from dr.operations.repair import repair_system
    from dr.report.documents import repair_document

    results = repair_system(context.session, loaded, target=target, points=points, dry_run=dry_run)
    context.put(repairs=[repair_document(result.record) for result in results], dry_run=dry_run)
    for result in results:
        _say(context, result, dry_run=dry_run)


def _say(context: Context, result: Finished[Repair], *, dry_run: bool) -> None:
    fact = result.record
    where = f"{fact.system} on {fact.target}"
    if not fact.problem and not fact.done and not fact.error:
        context.say(f"{where}: nothing to repair")
    else:
        word = "would be repaired" if dry_run else fact.outcome
        level = "" if dry_run else f", proven to level {fact.level_reached}"
        context.say(f"{where}: {word}{level}")
    if fact.problem:
        context.say(f"  found      {fact.problem}")
    for line in fact.done:
        context.say(f"  done       {line}" if not dry_run else f"  plan       {line}")
    for line in fact.left:
        context.complain(line, where, _hint(fact))
    if fact.error:
        context.complain(fact.error.removeprefix(f"{where}: "), where, fact.error_hint or way_on(fact.outcome))
    for problem in result.problems:
        context.warn(problem, fact.system)
    context.ended(result.exit_code)


def _hint(fact: Repair) -> str:
    return (
        f"back up again: what is still at the source is stored again. `dr verify {fact.system}` tells which points are "
        f"hit; `dr recover {fact.system} --point RUN_ID --to DIR` recovers what is left of one"
    )
