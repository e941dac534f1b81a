"""The command backup, and what is said of backups once they are done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dr.cli.choose import chosen, systems_and_all
from dr.cli.context import Context, pass_context, without_place
from dr.plan.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from dr.evidence.record import BackupRun
    from dr.operations.lifecycle import Finished
    from dr.plan.declarations import Loaded

_SOURCE_HINT = "see the source, then run `dr backup` again"
_TARGET_HINT = "fix the target; the next run copies there what is missing"


@click.command("backup")
@systems_and_all
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@pass_context
def backup_command(context: Context, systems: tuple[str, ...], everything: bool, due: bool, dry_run: bool) -> None:
    """Make recovery points: every source of a system, on every target of its plan."""
    items = chosen(context, systems, everything=everything, due="backup" if due else None)
    if dry_run:
        _say_intent(context, items)
        return
    from dr.operations.backup import backup

    say_backups(context, backup(context.session, items))


def _say_intent(context: Context, items: list[Loaded]) -> None:
    for loaded in items:
        plan = loaded.plan
        sources = ", ".join(f"{name} ({source.kind})" for name, source in plan.sources.items())
        context.say(f"{plan.system}: would capture {sources} to {', '.join(plan.targets)}")
    context.put(dry_run=True, would=[loaded.plan.system for loaded in items])


def say_backups(context: Context, results: list[Finished[BackupRun]]) -> None:
    """Tell of backup runs, and note their exit codes."""
    from dr.report.documents import backup_document
    from dr.run.backup.backup_fact import NOT_WHOLE
    from dr.run.backup.source_capture import NO_TARGET
    from dr.run.backup.unread import in_full

    context.put(runs=[backup_document(result.record, unread=result.details) for result in results])
    for result in results:
        run = result.record
        size, added = sum(s.bytes for s in run.sources), sum(s.bytes_added for s in run.sources)
        files = sum(s.files for s in run.sources)
        took = format_duration(result.seconds)
        context.say(
            f"{run.system}: {run.outcome}, {counted(files, 'file')}, {format_bytes(size)} "
            f"({format_bytes(added)} new) in {took}, point {run.run_id}"
        )
        for lock in run.locks:
            if lock.extended:
                until = (
                    f", {lock.mode}, the first until {lock.protected_until:%Y-%m-%d}" if lock.protected_until else ""
                )
                context.say(f"{run.system}: {lock.extended:,} locks on {lock.target} extended{until}")
        for source in run.sources:
            follows = (source.error or NO_TARGET).startswith(NO_TARGET)  # of what is said of the targets
            where = f"{run.system}: source {source.source}"
            for omission in source.omissions:
                what, hint = in_full(omission, result.details.get(source.source, ()))
                context.complain(what, where, hint or _SOURCE_HINT)
            if source.outcome == "failed" and source.error and not follows:
                context.complain(without_place(source.error, source.source), where, source.error_hint or _SOURCE_HINT)
        if run.suspect:
            context.complain(f"the point {run.run_id} is suspect: {run.suspect}", run.system, _suspect_hint(run))
        for target in run.targets:
            if target.error and (target.error != NOT_WHOLE or not any(s.error for s in run.sources)):
                context.complain(
                    without_place(target.error, f"{run.system} on {target.target}"),
                    f"{run.system}: target {target.target}",
                    target.error_hint or _TARGET_HINT,
                )
        if run.error and not any(s.error for s in run.sources) and not any(t.error for t in run.targets):
            general = "wait until it ends" if run.outcome == "skipped" else "run the backup again when that is fixed"
            context.complain(without_place(run.error, run.system), run.system, run.error_hint or general)
        for note in (*run.notes, *result.problems):
            context.warn(note, run.system)
        context.ended(result.exit_code)


def _suspect_hint(run: BackupRun) -> str:
    return (
        "no older point will be expired until somebody has looked; if this was expected, say so: "
        f"dr points trust {run.system} {run.run_id} --because TEXT"
    )
