"""`dr target`: how the targets are kept, and making one the right way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dr.cli import complete
from dr.cli.context import Context, pass_context
from dr.cli.past import history_command, rewind_command
from dr.errors import UsageError

if TYPE_CHECKING:
    from dr.plan.target_kind import Credentials
    from dr.queries.target_posture import Checked


@click.group("target", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def target_command(click_context: click.Context) -> None:
    """Look at targets, make them the right way, and see and undo what was done to them."""
    if click_context.invoked_subcommand is None:
        click.echo(click_context.get_help())


target_command.add_command(history_command)
target_command.add_command(rewind_command)


# -- begin -------------------------------------------------------------------------------------------


@target_command.command("begin", short_help="Give up what a target has lost.")
@click.argument("target", shell_complete=complete.targets)
@click.option(
    "--system",
    "systems",
    multiple=True,
    metavar="SYSTEM",
    shell_complete=complete.systems,
    help="Only this system; may be given again.",
)
@click.option("--because", required=True, metavar="TEXT", help="Why; kept as evidence.")
@pass_context
def begin_command(context: Context, target: str, systems: tuple[str, ...], because: str) -> None:
    """Say that what a target has lost is really lost, so that backups begin there again.

    A target that held recovery points and has no repository now, or another one, fails until somebody says so: its
    disk may be away, or its path wrong. What is there stays; nothing is written to it. Recorded as an act.
    """
    from dr.operations.new_beginning import begin
    from dr.report.documents import beginning_document

    context.put(beginnings=[])
    made = begin(context.session, target, systems, because=because)
    context.put(beginnings=[beginning_document(sealed) for sealed in made])
    if not made:
        context.say(f"{target} holds all that it should: nothing is given up")
    for sealed in made:
        fact: Any = sealed.fact
        context.say(
            f"{fact.system} on {target}: {fact.found} is there; {len(fact.points)} recovery points are given up; "
            f"recorded as {sealed.ref}"
        )
        context.say(f"  now type   dr backup {fact.system}")


# -- adopt -------------------------------------------------------------------------------------------


@target_command.command("adopt", short_help="Confirm that the disk there now is a target's own.")
@click.argument("target", shell_complete=complete.targets)
@pass_context
def adopt_command(context: Context, target: str) -> None:
    """Confirm that the disk that is there now is that of a target whose disk may be taken away (`offline: true`).

    Puts a mark on it, before its first use: from then on no other disk at that path is taken for it.
    """
    from dr.cli.replicate import adopt

    context.put(replications=[])
    adopt(context, target)


# -- check -------------------------------------------------------------------------------------------


@target_command.command("check", short_help="Say how targets are kept; try the keys.")
@click.argument("names", nargs=-1, metavar="[TARGET]...", shell_complete=complete.targets)
@click.option("--no-probe", is_flag=True, help="Try nothing with the backup keys; tell of the last time.")
@pass_context
def check_command(context: Context, names: tuple[str, ...], no_probe: bool) -> None:
    """Say how targets are kept and whether they are offsite; try what their backup keys could destroy, on a canary.

    What a target may declare (`offsite`, `addressing`, `ca_file` and the rest) is in `dr schema target`.

    Exit 3 for a high or medium finding, 1 for a target that cannot be reached, 12 for keys that are refused.
    """
    from dr.queries.target_posture import check, chosen
    from dr.report.documents import posture_document

    context.put(targets=[])
    found = check(context.session, chosen(context.session, names), probing=not no_probe)
    context.put(targets=[posture_document(one.posture) for one in found])
    for one in found:
        _say(context, one)
        context.ended(one.exit_code)


def _say(context: Context, checked: Checked) -> None:
    from dr.evidence.posture import Attempt, Finding

    posture = checked.posture
    context.say(f"{posture.target}: {posture.outcome}")
    if posture.error:
        context.complain(posture.error, posture.target, checked.hint)
    rows: list[Finding | Attempt] = [*posture.findings, *(posture.probe.attempts if posture.probe else ())]
    for row in rows:
        head = f"  {row.severity:<7} {row.what}"
        outcome = f" ({row.outcome})" if isinstance(row, Attempt) else ""
        context.say(f"{head}{outcome}: {row.observed}")
        if row.severity in ("high", "medium"):
            context.warn(row.observed, f"{posture.target}: {row.what}", row.hint)
    if posture.probe:
        why = f", {posture.probe.error}" if posture.probe.error else ", on a canary"
        if posture.probe.error and posture.probe.error_hint:
            context.warn(posture.probe.error, f"{posture.target}: probe", posture.probe.error_hint)
        context.say(f"  probe   {posture.probe.tried:%Y-%m-%d %H:%M:%S} UTC{why}")


# -- create ------------------------------------------------------------------------------------------


@target_command.command("create", short_help="Make the bucket that a target declares.")
@click.argument("name", metavar="TARGET", shell_complete=complete.targets)
@click.option(
    "--credentials",
    type=click.Path(path_type=Path),
    help="Keys that may make buckets, in AWS shared-credentials format.",
)
@click.option("--admin-profile", metavar="PROFILE", help="The same, by their profile in your AWS files.")
@click.option("--admin-env", nargs=2, metavar="ID SECRET", help="The same, by the names of two variables.")
@click.option("--append-only", "principal", metavar="ARN", help="Let this user add, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@pass_context
def create_command(
    context: Context,
    /,
    name: str,
    principal: str | None,
    yes: bool,
    dry_run: bool,
    **keys: Any,
) -> None:
    """Make the bucket a target declares, with Object Lock, versions and lifecycle rules; or bring one nearer to it.

    May be run again. Never weakens a setting; exits 3 if one cannot be applied.
    """
    from dr.operations.create_target import create, foresee
    from dr.queries.target_posture import chosen
    from dr.report.documents import made_target_document

    context.put(targets=[])
    target = chosen(context.session, (name,))[0]
    making = foresee(context.session, target, credentials=_credentials(**keys), principal=principal)
    changes = [change.what for change in making.plan.changes]
    if changes and not dry_run:
        if not yes:
            _confirm(making.plan.where, changes)
        making = create(making)
    plan = making.plan
    context.put(targets=[made_target_document(making.target, changes, plan.stays, done=making.done, new=plan.new)])
    word = "would " if changes and not making.done else ""
    for what in changes:
        context.say(f"{making.target}: {word}{what}" if word else f"{making.target}: done: {what}")
    if not changes:
        context.say(f"{making.target}: nothing to do: {making.plan.where} is as declared, as far as it can be")
    for text in making.plan.stays:
        context.warn(text, making.target)
    context.ended(making.exit_code)


def _credentials(
    *, credentials: Path | None, admin_profile: str | None, admin_env: tuple[str, str] | None
) -> Credentials | None:
    """Return where the keys are read from; None for the target's own. Keys themselves are never arguments."""
    if sum(x is not None for x in (credentials, admin_profile, admin_env)) > 1:
        raise UsageError("name keys once", hint="use --credentials, --admin-profile or --admin-env")
    from dr.plan.target_kind import Credentials, EnvCredentials

    if credentials:
        return Credentials(file=credentials.expanduser().absolute())
    if admin_profile:
        return Credentials(profile=admin_profile)
    if admin_env:
        return Credentials(env=EnvCredentials(access_key_id=admin_env[0], secret_access_key=admin_env[1]))
    return None


def _confirm(where: str, changes: list[str]) -> None:
    if not sys.stdin.isatty():
        raise UsageError("making a bucket asks for confirmation", "--yes", hint="add --yes, or --dry-run to see first")
    click.echo(f"{where}: would " + "; ".join(changes), err=True)
    if not click.confirm("Go on?", default=False, err=True):
        raise UsageError("nothing was done", hint="answer y, or add --yes")
