"""What a recovery would do: said, and asked, before anything is touched."""

from __future__ import annotations

import sys
from dataclasses import field, replace
from typing import TYPE_CHECKING

import click

from dr.cli.context import Context
from dr.cli.files import files_of
from dr.errors import UsageError
from dr.late_dataclass import dataclass
from dr.plan.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from dr.plan.declarations import Loaded
    from dr.run.recovery.foresee import RecoveryPlan
    from dr.run.recovery.request import RecoveryRequest


def agreed_to(
    context: Context, loaded: Loaded, request: RecoveryRequest, selected: Selected | None, *, yes: bool, dry_run: bool
) -> bool:
    """Show what would be done, and ask; False when only that was wanted."""
    if yes and not dry_run:
        return True
    from dr.queries.recovery_plan import intent

    foreseen = intent(context.session, loaded, request)
    if selected:
        foreseen = replace(foreseen, bytes=selected.bytes, sources=tuple(sorted(selected.sources)))
    if request.tables:
        told = tables_in_words(foreseen, len(request.tables))
    else:
        told = foreseen_in_words(foreseen, selected=selected.count if selected else 0)
    if dry_run:
        steps, seconds = list(foreseen.steps), foreseen.estimate_seconds
        context.put(dry_run=True, would=told, steps=steps, estimate_seconds=seconds)
        context.put(suspect=foreseen.suspect, last_unsuspected_point=foreseen.last_unsuspected_point)
        context.say(told)
        return False
    _confirm(told)
    return True


@dataclass
class Selected:
    """How many files and folders were named, the bytes of the files, and the sources they are of."""

    count: int = 0
    bytes: int = 0
    sources: set[str] = field(default_factory=set)


def selected_by(context: Context, loaded: Loaded, request: RecoveryRequest) -> Selected | None:
    """Count the files that are named; refuses, before anything is touched, what goes with none of them."""
    if not request.paths:
        return None
    from dr.queries.files import Asked

    told = Selected()
    with files_of(context, loaded) as files:
        if request.at and not files.by_time():
            return None  # nothing is on record: the view of the target's past has what there was
        point = files.point(Asked(source=request.source, point=request.point, at=request.at, target=request.target))
        if not files.lists(point, request.source):
            return None
        for entry in files.selected(point, request.paths, request.source):
            told.count += 1
            told.bytes += entry.size if entry.kind == "file" else 0
            told.sources.add(entry.source)
    return told


def foreseen_in_words(foreseen: RecoveryPlan, *, selected: int = 0) -> str:
    """Return what a recovery would do. How long the system takes says nothing of a few files of it."""
    estimated = f"{selected:,} files and folders" if selected else _estimated(foreseen)
    verb = "go on with the unfinished recovery of" if foreseen.resumes else "recover"
    size = "nobody knows how large" if foreseen.bytes is None else format_bytes(foreseen.bytes)
    room = "" if foreseen.fits else f"; there is room for {format_bytes(foreseen.available_bytes)} only"
    return (
        f"would {verb} {foreseen.system} into {foreseen.to}: {', '.join(foreseen.sources)}, "
        f"{size}, {_as_of(foreseen)}{room}{_steps(foreseen)}\n  {estimated}{_notes(foreseen)}"
    )


def tables_in_words(foreseen: RecoveryPlan, number: int) -> str:
    """Return what a recovery of so many tables would do."""
    what = f"would bring back {counted(number, 'table')} of {foreseen.system}"
    return f"{what}, {_as_of(foreseen)}{_steps(foreseen)}{_notes(foreseen)}"


def _as_of(foreseen: RecoveryPlan) -> str:
    return (
        f"as of {foreseen.consistency_time:%Y-%m-%d %H:%M:%S} UTC "
        f"(point {foreseen.run_id} on {foreseen.target}, proof level {foreseen.proof_level})"
    )


def _steps(foreseen: RecoveryPlan) -> str:
    return "".join(f"\n  {number}. {step}" for number, step in enumerate(foreseen.steps, 1))


def _notes(foreseen: RecoveryPlan) -> str:
    return "".join(f"\n  note: {note}" for note in foreseen.notes)


def _estimated(foreseen: RecoveryPlan) -> str:
    if foreseen.estimate_seconds is None:
        return "how long it takes is not known: no drill of the whole system has succeeded yet"
    many = "1 drill" if foreseen.drills == 1 else f"the last {foreseen.drills} drills"
    return f"ESTIMATE: {format_duration(foreseen.estimate_seconds)}, as in {many} that succeeded"


def _confirm(foreseen: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("a recovery asks for confirmation", "--yes", hint="add --yes to recover without a question")
    click.echo(foreseen, err=True)
    if not click.confirm("Go on?", default=False, err=True):
        raise UsageError("nothing was done", hint="answer y, or add --yes")
