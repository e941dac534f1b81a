"""The commands about who can open what is stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import chosen, require_target
from dr.cli.context import Context, pass_context, way_on
from dr.errors import DEGRADED, INVALID, RefusedError, UsageError

if TYPE_CHECKING:
    from dr.evidence.acts import KeyEvent
    from dr.operations.lifecycle import Finished
    from dr.run.keys.destruction import Verdict


@click.group("keys")
def keys_command() -> None:
    """Say who can open the repositories; rotate passphrases and escrow keys; destroy keys for good."""


@keys_command.command("list")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@pass_context
def list_command(context: Context, systems: tuple[str, ...]) -> None:
    """List the keys of each repository. A key that nobody here made is a finding: exit 3."""
    from dr.queries.keys import list_keys
    from dr.report.keys import key_document, key_row

    context.put(keys=[])
    context.session.reading = True
    items = chosen(context, systems, everything=not systems)
    found = list_keys(context.session, items)
    rows = found.rows
    context.put(keys=[key_document(x.key, system=x.system, target=x.target, kind=x.kind) for x in rows])
    context.plain_rows([key_row(x.key, system=x.system, target=x.target, kind=x.kind) for x in rows])
    for row in found.rows:
        if row.unknown:
            where = f"{row.system} on {row.target}"
            hint = f"if nobody knows it, remove it with `restic key remove {row.key.id[:8]}` and rotate the passphrase"
            context.complain(f"the key {row.key.id[:8]} was not made by this program", where, hint)
            context.ended(DEGRADED)
    for where, error in found.problems:
        context.complain(error.what, where, error.hint)
        context.ended(error.exit_code)


@keys_command.command("rotate")
@click.argument("system", shell_complete=complete.systems)
@click.option("--target", metavar="TARGET", shell_complete=complete.targets, help="On this target only.")
@click.option("--escrow", is_flag=True, help="Change the escrow key, not the passphrase.")
@click.option(
    "--new-passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The new passphrase, for a plan that names its own.",
)
@pass_context
def rotate_command(
    context: Context, system: str, target: str | None, escrow: bool, new_passphrase_file: Path | None
) -> None:
    """Change a system's passphrase while backups go on. May be run again: what was begun is finished."""
    from dr.operations.rotate_keys import rotate_keys

    context.put(changes=[])
    loaded = chosen(context, (system,), everything=False)[0]
    require_target(loaded, target, primaries=True)
    declared = loaded.plan.secrets.passphrase
    if new_passphrase_file and (declared is None or escrow):
        raise UsageError(
            "the passphrase is generated here" if declared is None else "an escrow passphrase is always generated",
            "--new-passphrase-file",
            hint="leave it out",
        )
    if declared and not escrow and not new_passphrase_file:
        raise UsageError(
            "its plan names the passphrase, so it is not changed here alone",
            f"{system}: secrets.passphrase",
            hint="put the new one in a file (0600), and name it with --new-passphrase-file",
        )
    given = _passphrase_in(new_passphrase_file) if new_passphrase_file else None
    _say_change(context, rotate_keys(context.session, loaded, target=target, escrow=escrow, given=given))


def _passphrase_in(path: Path) -> str:
    from dr.plan.secret import SecretPlace
    from dr.sources.secret import read_secret

    line = read_secret(SecretPlace(file=path), "--new-passphrase-file")
    if path.stat().st_mode & 0o077:
        raise RefusedError("the file of the new passphrase is open to others", str(path), hint=f"chmod 600 {path}")
    if len(line) < _SHORTEST:
        raise UsageError(f"the new passphrase is shorter than {_SHORTEST} characters", str(path), hint="make it longer")
    return line


_SHORTEST = 12


def _say_change(context: Context, done: Finished[KeyEvent]) -> None:
    from dr.evidence.seal import encode

    event = done.record
    context.put(changes=[encode(event)])
    context.say(f"{event.system}: {event.what} {event.outcome}, {event.run_id}")
    for change in event.targets:
        added = f", {_short(change.added)} added" if change.added else ""
        removed = f", {_short(change.removed)} removed" if change.removed else ""
        context.say(f"  {change.target}: {change.outcome}{added}{removed}")
        for line in (*change.shown, *change.notes):
            context.say(f"    {line}")
        if change.error:
            where = f"{event.system} on {change.target}"
            error = change.error.removeprefix(f"{where}: ")
            context.complain(error, where, change.error_hint or way_on(change.outcome))
    for limit in event.limits:
        context.say(f"  note: {limit}")
    if event.error:
        context.complain(event.error, event.system, event.error_hint or way_on(event.outcome))
    context.ended(done.exit_code)


def _short(ids: tuple[str, ...]) -> str:
    return f"{'key' if len(ids) == 1 else 'keys'} {', '.join(key[:8] for key in ids)}"


@keys_command.command("destroy", short_help="Make a system's copies unreadable for good.")
@click.argument("system", shell_complete=complete.systems)
@click.option("--confirm", metavar="SYSTEM", help="Without a terminal: the system's name once more.")
@click.option("--confirm-again", metavar="CODE", help="Without a terminal: the code of the first step.")
@pass_context
def destroy_command(context: Context, system: str, confirm: str | None, confirm_again: str | None) -> None:
    """Destroy the keys of a system, so that nobody can read its copies again. Asks twice."""
    from dr.operations.destroy_keys import ask, destroy, require_code

    context.put(changes=[])
    loaded = chosen(context, (system,), everything=False)[0]
    if confirm not in (None, system):
        raise UsageError(f"{confirm!r} is not the system named", "--confirm", hint=f"write --confirm {system}")
    if confirm and confirm_again:
        require_code(context.session, loaded, confirm_again)
        _say_change(context, destroy(context.session, loaded))
        return
    asked = ask(context.session, loaded)
    _say_condemned(context, asked.verdict)
    if confirm is None and confirm_again is None and sys.stdin.isatty() and not context.as_json:
        _typed(system)
        require_code(context.session, loaded, asked.code)
        _say_change(context, destroy(context.session, loaded))
        return
    context.put(code=asked.code, expires=asked.expires.isoformat())
    context.complain(
        "nothing was destroyed: it must be confirmed",
        system,
        f"before {asked.expires:%H:%M:%S} UTC, run "
        f"`dr keys destroy {system} --confirm {system} --confirm-again {asked.code}`",
    )
    context.ended(INVALID)


def _say_condemned(context: Context, verdict: Verdict) -> None:
    from dr.plan.units import counted, format_bytes
    from dr.report.keys import condemned_document

    would = [
        condemned_document(each.target, keys=each.keys, versions=each.traces, points=[x.run_id for x in each.points])
        for each in verdict.repositories
    ]
    context.put(would=would, warnings=list(verdict.warnings))
    for each in verdict.repositories:
        keys, versions = counted(each.keys, "key"), counted(each.traces, "version")
        die = counted(len(each.points), "recovery point")
        context.say(f"{verdict.system} on {each.target}: {keys} ({versions}) would be destroyed, and {die} with them")
        for point in each.points:
            moment = f"{point.consistency_time:%Y-%m-%d %H:%M:%S} UTC"
            context.say(f"  {point.run_id} as of {moment}, {format_bytes(point.bytes)}, proof {point.proof_level}")
    for warning in verdict.warnings:
        context.warn(warning, verdict.system)


def _typed(system: str) -> None:
    from dr.operations.destroy_keys import sentence

    for asked in (system, sentence(system)):
        typed = click.prompt(f"This cannot be undone. Type “{asked}”", default="", show_default=False, err=True)
        if typed.strip() != asked:
            raise UsageError("nothing was destroyed", hint="type exactly what is asked for")
