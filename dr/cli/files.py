"""The commands that ask for single files: ls, find, diff."""

from __future__ import annotations

from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from dr.cli import complete
from dr.cli.context import Context, pass_context
from dr.cli.times import LAST_MOMENT, TIME
from dr.errors import FAILED, DrError, UsageError

if TYPE_CHECKING:
    from dr.evidence.file_version import Difference
    from dr.evidence.record import Point
    from dr.plan.declarations import Loaded
    from dr.queries.files import Files

#: So many changes are printed, unless all are asked for; the JSON document has all.
_SHOWN = 200
_SOURCE = click.option("--source", metavar="SOURCE", help="Only this source of the plan.")
_AT = click.option("--at", type=LAST_MOMENT, metavar="TIME", help="The newest point of this time or before.")
_POINT = click.option("--point", metavar="RUN_ID", help="This point; default: the newest.")
_TARGET = click.option(
    "--target", metavar="TARGET", shell_complete=complete.targets, help="Of the points that have a copy there."
)
_SYSTEM = click.argument("system", shell_complete=complete.systems)


@click.command("ls")
@_SYSTEM
@click.argument("path", required=False)
@_SOURCE
@_POINT
@_AT
@_TARGET
@pass_context
def ls_command(context: Context, /, system: str, path: str | None, **asked: Any) -> None:
    """List what a recovery point holds at a path: size, time, mode, owner, and the hash taken at capture.

    PATH is absolute, or relative to what the plan declares; without it, the top. A `+` behind the mode stands for ACLs
    or other extended attributes.
    """
    from dr.queries.files import Asked
    from dr.report.files import entry_document, entry_row

    context.put(point=None)
    if asked["point"] and asked["at"]:
        raise UsageError("name a point, or a time: one of the two", "--at", hint="leave one out")
    with _files(context, system) as files:
        question = Asked(**asked)
        point = files.point(question)
        entries = files.listed(point, path, question.source)
        first = next(entries, None)
        context.say(_of(point))
        found = chain([first], entries) if first else iter(())
        if context.as_json:
            context.put(point=point.run_id, entries=[entry_document(entry) for entry in found])
        else:
            context.stream_rows(entry_row(entry) for entry in found)


_STARS = "a part of a name needs stars around it: '*part*'"


@click.command("find")
@_SYSTEM
@click.argument("pattern")
@click.option("--since", type=TIME, metavar="TIME", help="Only versions that were there then or later.")
@click.option("--all-versions", is_flag=True, help="Every version of each name, not only the newest.")
@click.option("-i", "--ignore-case", is_flag=True, help="Small and capital letters count as the same.")
@_SOURCE
@pass_context
def find_command(
    context: Context,
    system: str,
    pattern: str,
    since: datetime | None,
    all_versions: bool,
    ignore_case: bool,
    source: str | None,
) -> None:
    """Find files in all recovery points at once, the newest first; each version once.

    PATTERN may have `*`, `?` and `[abc]`. Without a `/` it is held against the last part of a path, with one against
    the whole. The same content is the same version, by the hash taken at capture.
    """
    from dr.report.files import version_document, version_row
    from dr.report.phrases import when

    if not pattern:
        raise UsageError("an empty pattern matches nothing", "PATTERN", hint="find everything with '*'")
    with _files(context, system) as files:
        found = files.versions(pattern, any_case=ignore_case, since=since, source=source)
        near = files.nearest(pattern) if not found else []
    if not all_versions:
        newest = {(each.entry.source, each.entry.path): each for each in reversed(found)}
        found = [each for each in found if newest[(each.entry.source, each.entry.path)] is each]
    context.put(matches=[version_document(each) for each in found])
    context.plain_rows([version_row(each) for each in found])
    if not found:
        stars = f"see what the newest one holds with `dr ls {system}`" if "*" in pattern else _STARS
        hint = f"names like it: {', '.join(near)}" if near else stars
        of_then = f" since {when(since)}" if since else ""
        context.complain(f"no recovery point{of_then} holds {pattern!r}", system, hint)
        context.ended(FAILED)


@click.command("diff")
@_SYSTEM
@click.argument("one", required=False, metavar="[POINT]")
@click.argument("two", required=False, metavar="[POINT]")
@_SOURCE
@click.option("--live", is_flag=True, help="From a point, the newest by default, to what lies there now.")
@click.option("--all", "everything", is_flag=True, help=f"Print every change, not only the first {_SHOWN}.")
@pass_context
def diff_command(
    context: Context, /, system: str, one: str | None, two: str | None, source: str | None, **how: bool
) -> None:
    """Show what changed from one recovery point to a later one; without points, between the two newest.

    A point is a RUN_ID, or a TIME: the newest point of then or before. One point alone is held against the newest.
    `+` added, `-` removed, `M` modified, `m` other owner, mode, times or ACL alone, `>` moved.
    """
    from dr.report.files import difference_document, ends_document, summary_of

    if how["live"] and two:
        raise UsageError("--live holds one point against what lies there now", "--live", hint="name one point at most")
    with _files(context, system) as files:
        before, after = (_one(files, one), None) if how["live"] else _two(files, system, one, two)
        changes = files.differences(before, after, source) if after else files.since_then(before, source)
    context.put(**ends_document(before, after))
    context.put(changes=[difference_document(each) for each in changes], summary=summary_of(changes))
    _print(context, before, after, changes, everything=how["everything"])


def _print(
    context: Context, before: Point, after: Point | None, changes: list[Difference], *, everything: bool
) -> None:
    from dr.report.files import difference_line, summary_line, summary_of

    context.say(f"from {_of(before)}\nto   {_of(after) if after else 'what lies there now'}")
    shown = changes if everything else changes[:_SHOWN]
    for each in shown:
        context.say(difference_line(each))
    if len(shown) < len(changes):
        context.say(f"… and {len(changes) - len(shown):,} more: print them with --all")
    if len(changes) > 1:
        rows = [{name: str(value) for name, value in row.items()} for row in summary_of(changes)[:20]]
        context.plain_rows(rows)
    context.say(summary_line(changes))


def _two(files: Files, system: str, one: str | None, two: str | None) -> tuple[Point, Point]:
    """Return the two points that are meant, the older first."""
    from dr.queries.files import Asked

    files.require(Asked())
    points = files.by_time()
    if one is None:
        if len(points) < 2:
            raise UsageError(
                "there are no two recovery points to compare", system, hint=f"run `dr backup {system}` again"
            )
        return points[-2], points[-1]
    found = [_one(files, each) for each in (one, two) if each]
    found = found if two else [*found, points[-1]]
    if found[0].run_id == found[1].run_id:
        raise UsageError("both are the same point", system, hint=f"see the others with `dr points {system}`")
    before, after = sorted(found, key=lambda point: point.consistency_time)
    return before, after


def _one(files: Files, named: str | None) -> Point:
    """Return the point of a run, or the newest of a time; the newest of all where none is named."""
    from dr.queries.files import Asked

    if named is None:
        return files.point(Asked())
    return files.point(Asked(point=named) if files.names(named) else Asked(at=_time(named)))


def _time(text: str) -> datetime:
    try:
        return LAST_MOMENT.convert(text, None, None)
    except click.BadParameter:
        raise UsageError(
            f"{text!r} is neither a recovery point nor a time", hint="see the points with `dr points`"
        ) from None


def _files(context: Context, system: str) -> Files:
    (loaded,) = context.session.chosen([system])
    return files_of(context, loaded)


def files_of(context: Context, loaded: Loaded) -> Files:
    """Return the files of a system's points, and warn of what cannot be told of them."""
    from dr.queries.files import Files

    def say(what: str, why: DrError) -> None:
        context.warn(f"{what}: {why.what}", why.where or loaded.plan.system, why.hint)

    return Files(context.session, loaded, say=say)


def warn_of_holds(context: Context, loaded: Loaded) -> None:
    """Say that what is brought back is of a system under a hold: it may be evidence."""
    system, now = loaded.plan.system, context.session.clock()
    for hold in context.session.catalog.holds(system):
        if hold.holds(now):
            what = f"it is under the hold {hold.hold_id}: what is brought back may be evidence"
            context.warn(what, system, "say why with --because; see the holds with `dr hold list`")


def _of(point: Point) -> str:
    return f"point {point.run_id} of {point.consistency_time:%Y-%m-%d %H:%M:%S} UTC"
