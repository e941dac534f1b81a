"""The commands that cron runs: backup, verify, run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dr.cli.choose import chosen, systems_and_all
from dr.cli.context import Context, pass_context
from dr.errors import OK
from dr.plan.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from dr.evidence.record import BackupRun, Proof
    from dr.operations.due_done import DueDone
    from dr.operations.lifecycle import Finished
    from dr.plan.declarations import Loaded


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
    from dr.run.backup.backup import NOT_WHOLE
    from dr.run.backup.capture import NO_TARGET
    from dr.run.backup.unread import in_full

    context.put(runs=[backup_document(result.record, unread=result.details) for result in results])
    for result in results:
        run = result.record
        size, added = sum(s.bytes for s in run.sources), sum(s.bytes_added for s in run.sources)
        files = sum(s.files for s in run.sources)
        took = format_duration((run.finished - run.started).total_seconds())
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
                context.complain(_once(source.error, source.source), where, source.error_hint or _SOURCE_HINT)
        if run.suspect:
            context.complain(f"the point {run.run_id} is suspect: {run.suspect}", run.system, _suspect_hint(run))
        for target in run.targets:
            if target.error and (target.error != NOT_WHOLE or not any(s.error for s in run.sources)):
                context.complain(
                    _once(target.error, f"{run.system} on {target.target}"),
                    f"{run.system}: target {target.target}",
                    target.error_hint or _TARGET_HINT,
                )
        if run.error and not any(s.error for s in run.sources) and not any(t.error for t in run.targets):
            general = "wait until it ends" if run.outcome == "skipped" else "run the backup again when that is fixed"
            context.complain(_once(run.error, run.system), run.system, run.error_hint or general)
        for note in (*run.notes, *result.problems):
            context.warn(note, run.system)
        context.ended(result.exit_code)


def _suspect_hint(run: BackupRun) -> str:
    return (
        "no older point will be expired until somebody has looked; if this was expected, say so: "
        f"dr points trust {run.system} {run.run_id} --because TEXT"
    )


def _once(error: str, where: str) -> str:
    """Leave out the place that an error begins with, where it is said before it."""
    return error.removeprefix(f"{where}: ")


_SOURCE_HINT = "see the source, then run `dr backup` again"
_TARGET_HINT = "fix the target; the next run copies there what is missing"


@click.command("verify")
@systems_and_all
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    default=3,
    show_default=True,
    help="1 structure, 2 stored bytes, 3 a decrypted sample.",
)
@click.option(
    "--whole", is_flag=True, help="Read everything now, and decrypt it at level 3, whatever the plan's `proof` says."
)
@pass_context
def verify_command(
    context: Context, systems: tuple[str, ...], everything: bool, due: bool, level: int, whole: bool
) -> None:
    """Prove what is stored: structure, every stored byte, and a decrypted sample that rotates.

    Everything is listed each time. What is new or changed is read, then what was not read for longest, as much as
    `proof` in the plan says; a small repository is read whole.
    """
    items = chosen(context, systems, everything=everything, due="verify" if due else None)
    from dr.operations.verify import verify_all

    say_proofs(context, verify_all(context.session, items, level=level, whole=whole))


def say_proofs(context: Context, results: list[Finished[Proof]]) -> None:
    """Tell of proofs, and note their exit codes."""
    from dr.report.documents import proof_document

    context.put(proofs=[proof_document(result.record) for result in results])
    for result in results:
        proof = result.record
        if proof.outcome == "skipped" and result.exit_code == OK:
            hint = f"run `dr replicate {proof.system}`"
            context.warn(f"{proof.error}, so nothing is proven there", f"{proof.system} on {proof.target}", hint)
            continue
        context.say(
            f"{proof.system} on {proof.target}: {proof.outcome}, proven to level {proof.level_reached} "
            f"of {proof.level_asked}{_read(proof)} in {format_duration(proof.seconds)}{_covered(proof)}"
        )
        for damage in proof.damage:
            (context.warn if damage.problem == "unreferenced" else context.complain)(
                f"object {damage.object} is {damage.problem}",
                f"{proof.system} on {proof.target}",
                "" if damage.problem == "unreferenced" else _damage_hint(proof),
            )
        if proof.error:
            hint = "wait until it ends" if proof.outcome == "skipped" else "fix it, then run `dr verify` again"
            hint = proof.error_hint or (_damage_hint(proof) if proof.doubtful_points else hint)
            where = f"{proof.system} on {proof.target}"
            context.complain(_once(proof.error, where), where, hint)
        for problem in result.problems:
            context.warn(problem, proof.system)
        context.ended(result.exit_code)


def _read(proof: Proof) -> str:
    """Say how much was read, where stored bytes were looked at."""
    from dr.report.coverage import looked

    return f", {counted(proof.objects, 'object')}, {format_bytes(proof.bytes)}" if looked(proof) else ""


def _covered(proof: Proof) -> str:
    """Say what a proof rests on, where that is more than what this run read."""
    from dr.report.coverage import said

    seen = proof.coverage
    if seen is None or seen.read_objects == seen.objects:
        return ""
    return f"; of {counted(seen.objects, 'object')}, {format_bytes(seen.bytes)}" + (
        f": {said(seen)}" if said(seen) else ""
    )


def _damage_hint(proof: Proof) -> str:
    if proof.error_hint:
        return str(proof.error_hint)
    if proof.lost and all(d.problem == "missing" and d.object.startswith("snapshots/") for d in proof.damage):
        from dr.run.points.presence import begin_again

        return f"recover from another target; only if it is really lost: {begin_again(proof.system, proof.target)}"
    repair = f"run `dr repair {proof.system} --target {proof.target}`"
    if proof.doubtful_points:
        point = proof.doubtful_points[0]
        return f"{repair}; until then `dr recover {proof.system} --point {point} --to DIR` recovers a doubtful point"
    return f"recover from another point or target; {repair}, then back up again"


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
    from dr.cli.expire import say_expirations
    from dr.cli.rehearse import say_drills
    from dr.cli.replicate import say_replications

    say_backups(context, done.backups)
    say_replications(context, done.replications)
    say_proofs(context, done.proofs)
    say_expirations(context, done.expirations)
    say_drills(context, done.drills)
