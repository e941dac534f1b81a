"""`dr recover --in-place`: what it would overwrite is shown, and agreed to, before anything is touched."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from dr.cli.context import Context
from dr.cli.files import files_of
from dr.errors import RefusedError, UsageError
from dr.plan.units import counted, format_bytes

if TYPE_CHECKING:
    from dr.evidence.file_version import Found, InPlace
    from dr.plan.declarations import Loaded
    from dr.run.recovery.request import RecoveryRequest

#: So many names of each kind are shown; the JSON document has more.
_SHOWN = 20


def ask_in_place(
    context: Context, loaded: Loaded, request: RecoveryRequest, *, yes: bool, dry_run: bool
) -> RecoveryRequest | None:
    """Show what would be put back over what, and ask; return the request that was agreed to, or None.

    Raises `UsageError` where something is in the way, `RefusedError` when nobody is there to agree: nothing is touched.
    """
    from dr.queries.files import Asked
    from dr.queries.in_place import in_place
    from dr.queries.recovery_plan import intent
    from dr.report.files import in_place_document

    system = loaded.plan.system
    foreseen = intent(context.session, loaded, request)
    with files_of(context, loaded) as files:
        point = files.point(Asked(point=foreseen.run_id) if files.names(foreseen.run_id) else Asked(at=request.at))
        with closing(files.selected(point, request.paths, request.source)) as selected:
            told = in_place(loaded, point, selected)
    context.put(in_place=in_place_document(told))
    text = _in_words(told, f"{point.consistency_time:%Y-%m-%d %H:%M:%S} UTC (point {point.run_id})", foreseen.notes)
    if told.blocked:
        context.say(text)
        entry, why = told.blocked[0]
        raise UsageError(
            f"{counted(len(told.blocked), 'name')} cannot be put back, and nothing was touched: "
            f"{_name(entry)}: {why}", system,
            hint="move that aside, or allow writing there; or bring the files into a directory with --to",
        )  # fmt: skip
    if dry_run:
        context.put(dry_run=True, would=text, steps=list(foreseen.steps))
        context.put(suspect=foreseen.suspect, last_unsuspected_point=foreseen.last_unsuspected_point)
    if dry_run or told.nothing_to_do:
        context.say(text)
        return None
    if yes:
        context.say(text)
    else:
        _confirm(text)
    return replace(request, agreed=point.run_id)


def _confirm(text: str) -> None:
    if not sys.stdin.isatty():
        raise RefusedError(
            "putting files back in place asks for a yes, and nobody is there to say it: nothing was touched", "--yes",
            hint="see what would be overwritten with --dry-run, then add --yes",
        )  # fmt: skip
    click.echo(text, err=True)
    if not click.confirm("Put them back?", default=False, err=True):
        raise UsageError("nothing was done", hint="answer y, or add --yes")


def _in_words(told: InPlace, when: str, notes: Sequence[str]) -> str:
    """Return what would become of what lies there."""
    if told.nothing_to_do:
        return f"nothing to put back: {counted(told.counts['same'], 'name')} compared, all as they were {when}"
    lines = [f"puts back as they were {when}, {format_bytes(told.bytes)}:"]
    lines += _listed("overwritten, each kept beside as NAME.before-RECOVERY_ID", told.counts["other"], told.overwritten)
    lines += _listed("not there now", told.counts["absent"], told.absent)
    lines += _listed("the same, with other owner, mode or ACL: those are put back", told.counts["rights"], told.rights)
    if told.blocked:
        lines.append(f"  {len(told.blocked):,} in the way:")
        lines += [f"    {_name(entry)}: {why}" for entry, why in told.blocked[:_SHOWN]]
    if many := told.counts["same"]:
        lines.append(f"  {many:,} the same already, and left")
    if told.owners:
        lines.append(f"  note: {told.owners:,} belong to other users; only root gives them back to those")
    return "\n".join([*lines, *(f"  note: {note}" for note in notes)])


def _listed(what: str, count: int, names: Sequence[Found]) -> list[str]:
    if not count:
        return []
    lines = [f"  {count:,} {what}:", *(f"    {_name(entry)}" for entry in names[:_SHOWN])]
    return [*lines, f"    … and {count - _SHOWN:,} more"] if count > _SHOWN else lines


def _name(entry: Found) -> str:
    from dr.report.files import shown

    return shown(entry.path) + ("/" if entry.kind == "dir" else "")
