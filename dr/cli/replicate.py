"""The command replicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from dr.cli.choose import chosen, systems_and_all
from dr.cli.context import Context, pass_context
from dr.plan.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from dr.evidence.record import Replication
    from dr.operations.lifecycle import Finished
    from dr.plan.plan import Plan

_HINT = "fix it, then run `dr replicate` again: it goes on where it was"
_WAIT = "wait until it ends"
_TAKEN = "find out who took it; it is still at the replica, and `dr recover --target` has it back"


@click.command("replicate")
@systems_and_all
@click.option("--first-use", metavar="TARGET", hidden=True)
@pass_context
def replicate_command(
    context: Context, systems: tuple[str, ...], everything: bool, due: bool, first_use: str | None
) -> None:
    """Copy the primary's repository to the replicas, and to each target the points it missed.

    May be run again after any interruption, and while backups run: only what is missing is copied.
    """
    from dr.operations.replicate import replicate_all

    if first_use:
        adopt(context, first_use)
        if not (systems or everything or due):
            return
    items = chosen(context, systems, everything=everything, due="replicate" if due else None)
    results = replicate_all(context.session, items, due_only=due)
    say_replications(context, results)
    told = {result.record.system for result in results}
    for loaded in items:
        if loaded.plan.system not in told and not due:
            context.say(f"{loaded.plan.system}: {_nothing_to_do(loaded.plan)}")


def adopt(context: Context, target: str) -> None:
    """Confirm that the disk that is there now is a target's own."""
    from dr.operations.adopt_disk import first_use
    from dr.report.documents import adopted_document

    path = first_use(context.session, target)
    context.put(first_use=adopted_document(target, path))
    context.say(f"the disk at {path} is now known as {target}")
    if not path.is_mount():
        context.warn(f"{path} is not a mount point: is the disk there?", target)


def _nothing_to_do(plan: Plan) -> str:
    if len(plan.places) == 1:
        return "the plan has one target and no replica: there is nowhere to copy to"
    return f"by the record every point is on {', '.join(plan.targets)}; no target was asked"


def say_replications(context: Context, results: list[Finished[Replication]]) -> None:
    """Tell of replications, and note their exit codes."""
    from dr.report.documents import replication_document

    context.put(replications=[replication_document(result.record) for result in results])
    for result in results:
        fact = result.record
        where = f"{fact.system} to {fact.target}"
        if result.absent:
            context.say(f"{where}: skipped, its disk is not there")
        else:
            context.say(f"{where}: {fact.outcome}{_done(fact)}")
            _complain(context, result, where)
        for line in _forgotten(fact):
            context.say(f"{where}: {line}")
        for problem in (*fact.notes, *result.problems):
            context.warn(problem, where)
        context.ended(result.exit_code)


def _done(fact: Replication) -> str:
    if not fact.objects and fact.by == "objects":
        return ""  # it came to nothing before it began, and the error says why
    points = "" if fact.points is None else f"; {counted(len(fact.points), 'point')} there"
    if fact.by == "snapshots":
        return f", what it missed was copied from other targets{points}"
    count = f"{fact.objects_copied} of {fact.objects} objects"
    return f", {count} copied ({format_bytes(fact.bytes_copied)}) in {format_duration(fact.seconds)}{points}"


def _forgotten(fact: Replication) -> Iterator[str]:
    """What the replica's own retention took away, and what it waits for."""
    found = fact.forgetting
    if found is None:
        return
    if found.objects:
        ends = found.destroyable_from
        locked = f", some locked until {ends:%Y-%m-%d}" if ends else ""
        below = f"; their bytes stay below as versions{locked}" if found.versions_stay else ""
        size = format_bytes(found.bytes)
        yield f"forgot {counted(len(found.points), 'point')} ({found.objects} objects, {size}){below}"
    if found.waiting:
        first = min(each.due for each in found.waiting)
        count = counted(len(found.waiting), "point")
        yield f"{count} that {fact.source} no longer has may go there, the first from {first:%Y-%m-%d %H:%M}Z"


def _mend(fact: Replication) -> str:
    return f"run `dr repair {fact.system} --target {fact.source}`, then back up again"


def _complain(context: Context, result: Finished[Replication], where: str) -> None:
    fact = result.record
    for name in fact.corrupt:
        context.complain(f"object {name} of {fact.source} is corrupt", where, _mend(fact))
    for name in fact.missing:
        context.complain(f"object {name} of {fact.source} is missing", where, _mend(fact))
    if fact.error:
        alarm = fact.forgetting.alarm if fact.forgetting else None
        general = _TAKEN if alarm == fact.error else _WAIT if fact.outcome == "skipped" else _HINT
        context.complain(fact.error, where, fact.error_hint or general)
