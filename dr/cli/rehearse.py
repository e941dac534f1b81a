"""The commands of the administrator: drill and recover."""

from __future__ import annotations

import sys
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dr.cli import complete
from dr.cli.choose import chosen, require_target, systems_and_all, unsound_told
from dr.cli.context import Context, pass_context, way_on
from dr.cli.files import files_of, warn_of_holds
from dr.cli.in_place import ask_in_place
from dr.cli.tables import lines_of, refuse_mixed, table_options, tables_in_words
from dr.cli.times import LAST_MOMENT
from dr.cli.typed import whole_path
from dr.errors import UsageError
from dr.late_dataclass import dataclass
from dr.plan.scenario import SCENARIOS
from dr.plan.units import counted, format_bytes, format_duration

if TYPE_CHECKING:
    from dr.evidence.record import Drill
    from dr.operations.lifecycle import Finished
    from dr.plan.declarations import Loaded
    from dr.run.recovery.foresee import RecoveryPlan
    from dr.run.recovery.request import RecoveryRequest


@click.command("drill")
@systems_and_all
@click.option(
    "--scenario",
    type=click.Choice(list(SCENARIOS)),
    metavar="SCENARIO",
    help=f"The loss assumed; the plan's by default. One of: {', '.join(SCENARIOS)}.",
)
@click.option("--at", type=LAST_MOMENT, help="Use the newest point not after this time.")
@click.option("--point", metavar="RUN_ID", help="Use this recovery point, whole or not.")
@click.option("--target", metavar="TARGET", shell_complete=complete.targets, help="Restore from this target.")
@click.option("--keep", is_flag=True, help="Keep the sandbox afterwards.")
@click.option("--kit", type=click.Path(path_type=Path), help="control-loss: begin with this recovery kit.")
@click.option("--share", "shares", multiple=True, type=click.Path(path_type=Path), help="control-loss: a share of it.")
@click.option(
    "--scratch",
    metavar="TARGET",
    shell_complete=complete.targets,
    help="The target whose copy a ransomware drill attacks; the plan's by default.",
)
@pass_context
def drill_command(
    context: Context,
    systems: tuple[str, ...],
    everything: bool,
    due: bool,
    scenario: str | None,
    at: datetime | None,
    point: str | None,
    target: str | None,
    keep: bool,
    kit: Path | None,
    shares: tuple[Path, ...],
    scratch: str | None,
) -> None:
    """Rehearse a recovery in a sandbox: timed, checked, judged against the plan, and recorded."""
    items = chosen(context, systems, everything=everything, due="drill" if due else None)
    for loaded in items:
        require_target(loaded, target)
    _known_point(context, items, point, at)
    from dr.operations.drill import drill
    from dr.queries.elsewhere import require_time
    from dr.run.recovery.request import RecoveryRequest

    require_time(context.session, items, at)
    request = RecoveryRequest(
        scenario=scenario or "", at=at, point=point, target=target, keep=keep, kit=kit, shares=shares, scratch=scratch
    )
    say_drills(context, drill(context.session, items, request))


def _known_point(context: Context, items: list[Loaded], point: str | None, at: datetime | None) -> None:
    if point and at:
        raise UsageError("a point is named, or a time: not both", "--point", hint="leave out --at or --point")
    from dr.queries.elsewhere import require_point

    require_point(context.session, items, point)


def say_drills(context: Context, results: list[Finished[Drill]]) -> None:
    """Tell of drills and recoveries, and note their exit codes."""
    from dr.report.documents import drill_document

    context.put(drills=[drill_document(result.record, evidence_digest=result.digest) for result in results])
    for result in results:
        _say_drill(context, result)
        context.ended(result.exit_code)


def _say_drill(context: Context, result: Finished[Drill]) -> None:
    from dr.report import words

    fact = result.record
    what = "recovery" if fact.real else f"drill ({fact.scenario})"
    context.say(f"{fact.system}: {what} {fact.outcome}, {fact.drill_id}")
    for event in fact.events:
        if fact.noticed and event.at <= fact.noticed:
            context.say(f"  before     {event.what}")
    if fact.seen_at:
        context.say(f"  seen       {fact.target} as it was at {fact.seen_at:%Y-%m-%d %H:%M:%S} UTC")
    if fact.run_id:
        restored = f"{counted(fact.files, 'file')}, {format_bytes(fact.bytes)}" if fact.sources else "nothing restored"
        context.say(f"  point      {fact.run_id} from {fact.target}, {restored}")
    if fact.sampled:
        context.say(f"  sampled    {fact.sampled.in_words(format_bytes)}")
    for each in fact.passed_over:
        context.say(f"  passed     {each.run_id} on {each.target}: {each.reason}")
    for lack in fact.lacks:
        context.say(f"  LACKING    {lack}")
    if fact.suspect:
        context.say(f"  SUSPECT    the last point before it that is not: {fact.last_unsuspected_point or 'none'}")
    phases = ", ".join(f"{name} {format_duration(seconds)}" for name, seconds in fact.phases.items())
    if phases:
        context.say(f"  phases     {phases}")
    for check in fact.checks:
        about = f"{check.check} {check.source}" if check.source else check.check
        need = "" if check.mandatory else " (not mandatory)"
        context.say(
            f"  check      {about}{need}: {check.outcome}; expected {check.expected}; observed {check.observed}"
        )
    (_say_selected if fact.selected else _say_objectives)(context, fact)
    if fact.because:
        context.say(f"  because    {fact.because}")
    if not fact.selected:
        context.say(f"  sandbox    {fact.sandbox}")
    if fact.isolated is not None:
        context.say(f"  isolated   {words.isolated(fact)}")
    context.say(f"  evidence   {result.digest}")
    for name, why in fact.hollow.items():
        what, hint = f"it holds nothing ({why}), and proves no recovery", "see why its data is not there"
        context.complain(what, f"{fact.system}: source {name}", hint)
    if fact.error:
        there = f"{fact.system} on "  # where an error that names its place begins
        where = "" if fact.error.startswith(there) else fact.system
        context.complain(
            fact.error.removeprefix(f"{fact.system}: "),
            where,
            "; ".join(filter(None, (fact.error_hint, result.hint))) or way_on(fact.outcome),
        )
    elif result.hint:
        context.complain("what came back is not what was stored", fact.system, result.hint)
    for check in fact.checks:
        if check.outcome == "failed":
            context.complain(
                f"check {check.check} failed: expected {check.expected}, observed {check.observed}",
                f"{fact.system}: {check.source or 'the system'}",
            )


def _say_objectives(context: Context, fact: Drill) -> None:
    from dr.report.verdict import rpo_verdict, rto_estimate, rto_verdict

    rta = "not achieved" if fact.rta_seconds is None else f"back in {format_duration(fact.rta_seconds)}"
    if (estimate := rto_estimate(fact)) is not None:
        rta = f"the sample was {rta}; ESTIMATE for the whole {format_duration(estimate)}"
    rta = "nothing was recovered" if fact.of_nothing else rta
    rpa = "not measured" if fact.rpa_seconds is None else f"data lost {format_duration(fact.rpa_seconds)}"
    if fact.outcome == "aborted":
        rta = rpa = "it was interrupted"
    wanted = fact.objectives
    context.say(f"  RTO        {rto_verdict(fact).word}: {rta}; objective {format_duration(wanted.rto_seconds)}")
    context.say(f"  RPO        {rpo_verdict(fact).word}: {rpa}; objective {format_duration(wanted.rpo_seconds)}")


def _say_selected(context: Context, fact: Drill) -> None:
    """Tell of files and tables that a person named: the system's objectives are not judged by them."""
    for line in lines_of(fact):
        context.say(line)
    for event in fact.events:
        if " in its place: " in event.what:
            context.say(f"  in place   {event.what.replace(' in its place: ', ': ', 1)}")
    if fact.rta_seconds is not None:
        context.say(f"  took       {format_duration(fact.rta_seconds)}")
    if fact.rpa_seconds is not None:
        context.say(f"  as of      {format_duration(fact.rpa_seconds)} before it was asked for")


@click.command("recover")
@click.argument("system", shell_complete=complete.systems)
@click.option("--to", "to", type=click.Path(path_type=Path), help="The directory to recover into.")
@click.option("--at", type=LAST_MOMENT, help="Use the newest point not after this time.")
@click.option("--point", metavar="RUN_ID", help="Recover this point: of one that is not whole, what is there.")
@click.option("--target", metavar="TARGET", shell_complete=complete.targets, help="Recover from this target.")
@click.option("--replace", "replaced", multiple=True, metavar="DATABASE", help="Replace this live database.")
@click.option(
    "--accept-missing", "accepted", multiple=True, metavar="OBJECT",
    help="Go on without this object, DATABASE.OBJECT, where the server refuses it.",
)  # fmt: skip
@click.option("--dumps", "as_files", is_flag=True, help="Leave database dumps as files; load them into no server.")
@click.option(
    "--path",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Bring back this file or folder only: absolute, or relative to what the plan declares; `*` and `**` match "
    "many; may be given again.",
)
@table_options
@click.option("--source", metavar="SOURCE", help="With --path or --table: of this source only.")
@click.option(
    "--in-place",
    is_flag=True,
    help="With --path: put the files back where they were; what they overwrite is kept beside.",
)
@click.option("--because", default="", metavar="TEXT", help="Why, and for whom; kept as evidence.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Recover into a directory that holds other data.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@pass_context
def recover_command(context: Context, /, system: str, to: Path | None, yes: bool, dry_run: bool, **asked: Any) -> None:
    """Recover a system for real: files into a directory, databases into their server, beside the live ones.

    With --path only the files named, each proven by the hash taken at capture; with --table only the tables named,
    their rows counted in what was restored and in what was written. The system itself is left as it is then.
    May be run again after an interruption: it goes on.
    """
    loaded = chosen(context, (system,), everything=False, tell=False)[0]
    hurried = yes and not dry_run and bool(asked["paths"]) and not asked["in_place"]
    with unsound_told(context, [loaded], after=hurried):
        _recover(context, loaded, to, yes=yes, dry_run=dry_run, **asked)


def _recover(context: Context, loaded: Loaded, to: Path | None, /, *, yes: bool, dry_run: bool, **asked: Any) -> None:
    require_target(loaded, asked["target"])
    _known_point(context, [loaded], asked["point"], asked["at"])
    from dr.operations.drill import recover
    from dr.run.recovery.request import RecoveryRequest

    replaced, accepted = (frozenset(asked.pop(key)) for key in ("replaced", "accepted"))
    to = whole_path(to) if to else None
    request = RecoveryRequest(to=to, replaced=replaced, accepted=accepted, **asked)
    refuse_mixed(request)
    _fits_together(request)
    if request.paths:
        warn_of_holds(context, loaded)
    if request.in_place:
        agreed = ask_in_place(context, loaded, request, yes=yes, dry_run=dry_run)
        if agreed is None:
            return
        request = agreed
    else:
        selected = _selected(context, loaded, request)
        if not _agreed(context, loaded, request, selected, yes=yes, dry_run=dry_run):
            return
        request = replace(request, size=selected.bytes if selected else None)
    done = recover(context.session, loaded, request)
    say_drills(context, [done])
    if request.to and request.paths and done.record.outcome in ("ok", "degraded"):
        for source in done.record.sources:
            context.say(f"  lies in    {request.to / source}, each file by its whole path")
    for table in done.record.tables if request.to else ():
        context.say(f"  lies in    {request.to}: {table.table}.sql and .csv")


def _agreed(
    context: Context, loaded: Loaded, request: RecoveryRequest, selected: Selected | None, *, yes: bool, dry_run: bool
) -> bool:
    """Show what would be done, and ask; False when only that was wanted."""
    if yes and not dry_run:
        return True
    from dr.queries.recovery_plan import intent

    foreseen = intent(context.session, loaded, request)
    if selected:
        foreseen = replace(foreseen, bytes=selected.bytes, sources=tuple(sorted(selected.sources)))
    told = foreseen_in_words(foreseen, selected=selected.count if selected else 0)
    if request.tables:
        told = tables_in_words(foreseen, request)
    if dry_run:
        steps, seconds = list(foreseen.steps), foreseen.estimate_seconds
        context.put(dry_run=True, would=told, steps=steps, estimate_seconds=seconds)
        context.put(suspect=foreseen.suspect, last_unsuspected_point=foreseen.last_unsuspected_point)
        context.say(told)
        return False
    _confirm(told)
    return True


def _fits_together(request: RecoveryRequest) -> None:
    """Refuse, before anything is touched, options that do not go together."""
    if not request.in_place and not request.beside and request.to is None:
        hint = (
            "name a directory; or, for files named with --path, say --in-place to put them back where they were;"
            " or, for a table, --beside NAME"
        )
        raise UsageError("say where to recover to", "--to", hint=hint)
    if request.in_place and (request.to or request.force):
        raise UsageError(
            "--in-place puts files back where they were: it goes with no other place", "--in-place",
            hint="leave out --to and --force, or leave out --in-place",
        )  # fmt: skip
    if not request.paths and request.in_place:
        raise UsageError("--in-place goes with --path", "--in-place", hint="name the files with --path")
    if not request.selected and request.source:
        hint = "name the files with --path, or a table with --table"
        raise UsageError("--source goes with --path or --table", "--source", hint=hint)
    if request.paths and (request.replaced or request.accepted or request.as_files):
        raise UsageError(
            "--path brings back files, and loads no database", "--path",
            hint="leave out --replace, --accept-missing and --dumps, or recover the system without --path",
        )  # fmt: skip


@dataclass
class Selected:
    """How many files and folders were named, the bytes of the files, and the sources they are of."""

    count: int = 0
    bytes: int = 0
    sources: set[str] = field(default_factory=set)


def _selected(context: Context, loaded: Loaded, request: RecoveryRequest) -> Selected | None:
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
    steps = "".join(f"\n  {number}. {step}" for number, step in enumerate(foreseen.steps, 1))
    notes = "".join(f"\n  note: {note}" for note in foreseen.notes)
    return (
        f"would {verb} {foreseen.system} into {foreseen.to}: {', '.join(foreseen.sources)}, "
        f"{size}, as of {foreseen.consistency_time:%Y-%m-%d %H:%M:%S} UTC "
        f"(point {foreseen.run_id} on {foreseen.target}, proof level {foreseen.proof_level}){room}"
        f"{steps}\n  {estimated}{notes}"
    )


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
