"""The commands of those who look: points, status, audit, report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dr.cli import complete
from dr.cli.context import Context, pass_context
from dr.cli.times import LAST_MOMENT, TIME
from dr.errors import FAILED, OBJECTIVE_MISSED, OK, DrError, UsageError
from dr.plan.units import format_bytes, format_duration

if TYPE_CHECKING:
    from dr.evidence.acts import Hold
    from dr.evidence.record import Point
    from dr.plan.load import Loaded
    from dr.report.board import Row
    from dr.report.figures import Report
    from dr.report.verdict import Verdict


def _items(context: Context, systems: tuple[str, ...]) -> list[Loaded]:
    if systems:
        return list(context.session.chosen(systems))
    items, faults = context.session.usable()
    context.left_out(faults)
    return list(items)


@click.command("points")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@click.option("--rebuild", "renew", is_flag=True, help="Make the catalog again from the targets.")
@click.option("--at", type=LAST_MOMENT, help="With --rebuild: from the targets as they were at this time.")
@click.option(
    "--adopt",
    multiple=True,
    metavar="ID",
    help="With --rebuild: take over what this other installation made; may be given again.",
)
@click.option("--trust", "trusted", metavar="RUN_ID", help="Mark this suspect recovery point as trusted.")
@click.option("--because", metavar="TEXT", help="Why; kept as evidence.")
@click.option("--calendar", is_flag=True, help="Show day by day for a year what retention keeps and removes.")
@pass_context
def points_command(
    context: Context, /, systems: tuple[str, ...], renew: bool, at: datetime | None, **told: Any
) -> None:
    """List recovery points, newest first, with their proof; or rebuild the catalog from the targets.

    With --trust: say that what is out of the ordinary in a point was expected.
    """
    from dr.queries.expired import expired_now, still_there
    from dr.report.documents import point_document

    context.put(points=[])
    trusted, because = told["trusted"], told["because"]
    _whole_trust(systems, trusted, because)
    context.session.reading = not (renew or trusted)
    if at and not renew:
        raise UsageError("--at goes with --rebuild", "--at", hint="say --rebuild --at TIME")
    items = _items(context, systems)
    if trusted and because:
        _trust(context, items[0], trusted, because)
    if told["adopt"] and not renew:
        raise UsageError("--adopt goes with --rebuild", "--adopt", hint="say --rebuild --adopt ID")
    if renew:
        _rebuild(context, items, at, told["adopt"])
    if told["calendar"]:
        from dr.cli.expire import say_calendar

        say_calendar(context, items)
        return
    points = still_there(context.session, items)
    now = context.session.clock()
    holds = [hold for hold in context.session.catalog.holds() if hold.holds(now)]

    def held(point: Point) -> list[str]:
        return [h.hold_id for h in holds if h.system == point.system and h.point in (None, point.run_id)]

    useless = {run_id for loaded in items for run_id in expired_now(context.session, loaded.plan)}

    def kept_how(point: Point) -> dict[str, object]:
        return {"holds": held(point), "retention": "spent" if point.run_id in useless else "kept"}

    context.put(points=[{**point_document(point), **kept_how(point)} for point in points])
    rows = [
        {
            "system": point.system,
            "as of": f"{point.consistency_time:%Y-%m-%d %H:%M:%S}Z",
            "point": point.run_id,
            "outcome": _ended(point) + (", on hold" if held(point) else ""),
            "size": format_bytes(point.bytes),
            "proof": str(point.proof_level),
            "targets": ", ".join(copy.target for copy in point.usable) or "none",
            **_guarded(point, context.session.clock()),
        }
        for point in points
    ]
    context.plain_rows(rows)
    for loaded in items:
        if frozen := context.session.catalog.retention_frozen(loaded.plan.system):
            context.say(f"{loaded.plan.system}: retention is frozen: {frozen}")
    _strangers(context, items)
    if not rows:
        context.say("no recovery points yet")


def _strangers(context: Context, items: list[Loaded]) -> None:
    """Tell what another installation stores in the same places: it is never used unless a person names it."""
    catalog = context.session.catalog
    runs = catalog.known_runs()
    rows = [
        {
            "system": loaded.plan.system,
            "target": target,
            "run_id": each.run_id,
            "installation": each.installation,
            "machine": each.machine,
        }
        for loaded in items
        for target in loaded.plan.places
        for each in catalog.strangers(loaded.plan.system, target)
        if each.run_id and each.run_id not in runs
    ]
    unique = [row for number, row in enumerate(rows) if row not in rows[:number]]
    context.put(strangers=unique)
    for row in unique:
        by = f" by the installation {row['installation']} on {row['machine']}" if row["installation"] else ""
        context.say(f"{row['system']}: {row['run_id']} on {row['target']} was made{by}, not here: it is not used")


def _ended(point: Point) -> str:
    destroyed = bool(point.copies) and all(copy.destroyed for copy in point.copies)
    lacking = "its keys were destroyed" if destroyed else _lacking(point)
    if not destroyed and any(copy.complete and not copy.missing for copy in point.copies):
        lacking = "doubtful" if any(copy.doubtful for copy in point.copies) else "damaged"
    flaws = [*([] if point.complete else [lacking]), *(["suspect"] if point.suspect else [])]
    return ", ".join([point.outcome, *flaws])


def _lacking(point: Point) -> str:
    """Say why a point is not complete: where it was lost, and when it was last seen there."""
    if point.lost:
        return "; ".join(
            f"lost on {copy.target}" + (f", last seen {copy.seen:%Y-%m-%d %H:%M}Z" if copy.seen else "")
            for copy in point.lost
        )
    return "not complete" if point.copies else "on no target any more"


def _whole_trust(systems: tuple[str, ...], trusted: str | None, because: str | None) -> None:
    if bool(trusted) != bool(because) or (trusted and len(systems) != 1):
        raise UsageError(
            "a point is trusted by one person for one reason",
            "--trust",
            hint="say all three: dr points SYSTEM --trust RUN_ID --because TEXT",
        )


def _trust(context: Context, loaded: Loaded, run_id: str, because: str) -> None:
    from dr.operations.trust import trust

    sealed, system = trust(context.session, loaded, run_id, because=because), loaded.plan.system
    left = context.session.catalog.retention_frozen(system)
    context.put(trusted=run_id, evidence_digest=sealed.digest, retention_frozen=left)
    context.say(f"{system}: the point {run_id} is trusted; recorded as {sealed.ref}")
    if left:
        context.warn(f"retention stays frozen: {left}", system)


def _guarded(point: Point, now: datetime) -> dict[str, str]:
    from dr.report.protection import guard_of

    guard = guard_of(point)
    free = guard.destroyable_from
    return {
        "protected": guard.in_words(now),
        "destroyable": f"from {free:%Y-%m-%d}" if free and free > now else "now",
    }


def _rebuild(context: Context, items: list[Loaded], at: datetime | None, adopt: tuple[str, ...]) -> None:
    from dr.operations.rebuild import rebuild

    done = rebuild(context.session, items, at=at, adopt=adopt)
    fact, read = done.fact, len(done.fact.targets) - len(done.problems)
    context.say(f"rebuilt: {fact.points} points and {fact.records} records from {read} repositories")
    for note in done.notes:
        context.say(f"  {note}")
    for other in done.others:
        context.warn(other, hint="take them over, if that machine is gone, by --rebuild --adopt ID")
    for where, error in done.problems:
        hint = error.hint or "fix the target"
        context.complain(f"{error.what} ({error.cause})" if error.cause else error.what, where, f"{hint}; then rebuild")
    if done.strangers:
        context.warn(
            f"records on the targets that are not of this chain stay there: {done.strangers}",
            hint="they were altered, or the catalog was begun again meanwhile",
        )
    context.ended(done.exit_code)


@click.command("status")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@pass_context
def status_command(context: Context, systems: tuple[str, ...]) -> None:
    """Show each system's objectives against the facts. Exit 4 when any objective is missed."""
    from dr.queries.status import board
    from dr.report.documents import hold_document, status_document

    context.put(systems=[])
    context.session.reading = True
    found = board(context.session, _items(context, systems))
    now = context.session.clock()
    context.put(
        systems=[
            {
                **status_document(entry.row, entry.next_due),
                "holds": [hold_document(hold, now=now) for hold in entry.holds],
            }
            for entry in found
        ]
    )
    rows = [_line(entry.row) for entry in found]
    context.plain_rows(rows)
    for entry in found:
        for problem in entry.row.problems:
            context.say(f"{entry.row.system}: {problem.text}")
        for hold in entry.holds:
            context.say(f"{entry.row.system}: {_held(hold)}")
        for line in _about_copies(entry.row, asked=bool(systems)):
            context.say(f"{entry.row.system}: {line}")
    missed = any("missed" in (entry.row.rpo.word, entry.row.rto.word) for entry in found)
    context.ended(OBJECTIVE_MISSED if missed else OK)


def _held(hold: Hold) -> str:
    on = f"point {hold.point}" if hold.point else "all points"
    until = f" until {hold.until:%Y-%m-%d}" if hold.until else ""
    return f"{on} on hold{until} ({hold.hold_id}): {hold.reason}"


def _about_copies(row: Row, *, asked: bool) -> Iterator[str]:
    """When a disk that is taken away was last there; and what 3-2-1-1-0 lacks, where the system was named."""
    for place in row.places:
        if place.offline:
            seen = f"{place.seen:%Y-%m-%d %H:%M}Z" if place.seen else "never"
            newest = f"{place.newest:%Y-%m-%d %H:%M}Z" if place.newest else "none"
            yield f"the disk {place.target} was last there: {seen}; its newest point: {newest}"
    if asked and row.copies and not row.copies.met:
        yield f"3-2-1-1-0 is not met. Missing: {'; '.join(row.copies.missing)}"


def _line(row: Row) -> dict[str, str]:
    def told(seconds: float | None, none: str) -> str:
        return none if seconds is None else format_duration(seconds)

    def judged(verdict: Verdict, seconds: float | None, none: str, goal: int) -> str:
        """`met (3 s of 4 h)`, or `unknown (no point, 4 h wanted)`."""
        wanted = format_duration(goal)
        known = f"{none}, {wanted} wanted" if seconds is None else f"{format_duration(seconds)} of {wanted}"
        return f"{verdict.word} ({known})"

    undrilled = "not achieved" if row.last_drill else "no drill"
    age = f" ({told(row.proof_age_seconds, '')} ago)" if row.proof_age_seconds is not None else ""
    return {
        "system": row.system,
        "rpo": judged(row.rpo, row.freshness_seconds, "no point", row.rpo_target_seconds),
        "exposure": told(row.exposure_seconds, "unknown"),
        "rto": judged(row.rto, row.last_rta_seconds, undrilled, row.rto_target_seconds),
        "proof": f"{row.proof_level}{age}",
        "3-2-1-1-0": "unknown" if row.copies is None else "met" if row.copies.met else f"no ({row.copies.numbers})",
        "last drill": f"{row.last_drill_outcome} {row.last_drill:%Y-%m-%d}" if row.last_drill else "never",
    }


@click.command("audit")
@pass_context
def audit_command(context: Context) -> None:
    """Verify the chain of evidence: name the first record that was edited, removed or reordered."""
    context.session.reading = True
    result = context.session.catalog.audit()
    bad = result.first_bad
    context.put(
        records=result.records,
        head=result.head,
        outcome=result.outcome,
        first_bad={"record": bad[0], "problem": bad[1]} if bad else None,
    )
    context.say(f"{result.records} records, head {result.head}: {result.outcome}")
    if bad:
        context.complain(
            f"record {bad[0]} was {bad[1]}",
            "the chain of evidence",
            "compare it with the records beside the repositories, under _evidence",
        )
    context.ended(FAILED if bad else OK)


@click.command("report")
@click.option("--drill", "drill_id", metavar="ID", help="Tell of one drill or recovery, by its id.")
@click.option("--system", metavar="SYSTEM", shell_complete=complete.systems, help="Tell of one system.")
@click.option("--since", type=TIME, help="Tell of what happened since this time.")
@click.option("--format", "form", type=click.Choice(("html", "md", "json")), default="html", show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file; `-` is stdout."
)
@pass_context
def report_command(
    context: Context,
    drill_id: str | None,
    system: str | None,
    since: datetime | None,
    form: str,
    output: Path | None,
) -> None:
    """Write a report for reviewers: one file, readable offline and on paper."""
    from dr.queries.report import report

    context.session.reading = True
    items = _items(context, (system,) if system else ())
    made = report(context.session, items, drill=drill_id, since=None if drill_id else since)
    if drill_id and system and made.focus[0].fact.system != system:
        raise UsageError(f"the drill {drill_id} is not one of {system}", "--drill", hint="name the drill alone")
    text = _rendered(made, form)
    if output and str(output) != "-":
        _write(output, text)
        context.put(report=str(output.absolute()), format=form)
        context.say(f"wrote {output}")
    elif context.as_json:
        context.put(format=form, report=json.loads(text) if form == "json" else text)
    else:
        click.echo(text, nl=False)


def _rendered(made: Report, form: str) -> str:
    if form == "html":
        from dr.report.html import render

        return render(made)
    if form == "md":
        from dr.report.text import render as render_text

        return render_text(made)
    from dr.report.json import document

    return json.dumps(document(made), indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    """Write whole or not at all: an old report is better than half a new one.

    Through a link into what it leads to; and into a device or a pipe, which no file is to take the place of.
    """
    to = path if path.exists() and not path.is_file() else path.resolve()
    beside = to.with_name(f".{to.name}.new")
    try:
        if to.exists() and not to.is_file():
            to.write_text(text, "utf-8")
            return
        beside.write_text(text, "utf-8")
        beside.replace(to)
    except OSError as error:
        raise DrError(
            "the report cannot be written", str(path), error.strerror or "", hint="see the directory and its space"
        ) from error
    finally:
        beside.unlink(missing_ok=True)
