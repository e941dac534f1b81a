"""The command expire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from dr.cli.choose import chosen, systems_and_all
from dr.cli.context import Context, pass_context, way_on
from dr.errors import UsageError
from dr.plan.units import counted, format_bytes

if TYPE_CHECKING:
    from dr.operations.expire import ExpireResult
    from dr.plan.declarations import Loaded
    from dr.run.expiry.calendar import Day

_LISTED = 10


@click.command("expire")
@systems_and_all
@click.option("--dry-run", is_flag=True, help="Show what would go, now and in the next year; change nothing.")
@click.option("--confirm-many", is_flag=True, help="More than half of a target's points may go at once.")
@click.option("--no-prune", is_flag=True, help="Remove the points only; a later prune frees their space.")
@pass_context
def expire_command(
    context: Context, /, systems: tuple[str, ...], everything: bool, due: bool, dry_run: bool, **told: bool
) -> None:
    """Remove the recovery points that the plan's retention no longer keeps, then free their space and prove the rest.

    Never the last complete, proven or unsuspected point, nor one on hold; nothing while anything is odd. May be run
    again after any interruption.
    """
    from dr.operations.expire import expire_all
    from dr.operations.expire_target import ExpireOptions

    context.put(dry_run=dry_run)
    if due and told["confirm_many"]:
        raise UsageError("--confirm-many is for what a person looked at", "--confirm-many", hint="name the systems")
    if due:
        _due(context, dry_run=dry_run)
        return
    items = chosen(context, systems, everything=everything)
    context.session.reading = dry_run
    options = ExpireOptions(prune=not told["no_prune"], confirmed=told["confirm_many"], dry_run=dry_run)
    results = expire_all(context.session, items, options)
    say_expirations(context, results, dry_run=dry_run)
    for loaded in items:
        if loaded.plan.retention is None:
            context.say(f"{loaded.plan.system}: the plan has no `retention`, so nothing expires")
    without = [loaded.plan.system for loaded in items if loaded.plan.retention is None]
    context.put(without_retention=without)
    if dry_run:
        _say_year(context, results)


def _due(context: Context, *, dry_run: bool) -> None:
    from dr.operations.expire import expire_due

    items, faults = context.session.usable()
    context.left_out(faults)
    results = expire_due(context.session, items, dry_run=dry_run)
    say_expirations(context, results, dry_run=dry_run)
    if not results:
        context.say("nothing is due")


def say_expirations(context: Context, results: Sequence[ExpireResult], *, dry_run: bool = False) -> None:
    """Tell what expired and what was freed, and note the exit codes."""
    from dr.report.documents import expiration_document, going_document

    context.put(
        expirations=[
            expiration_document(
                each.expiration.record if each.expiration else None,
                each.pruning.record if each.pruning else None,
                kept=_staying(each, dry_run=dry_run),
                would=going_document(each.decision.going if each.decision else {}) if dry_run else None,
            )
            for each in results
        ]
    )
    for each in results:
        _say_expired(context, each, dry_run=dry_run)
        _say_pruned(context, each)


def _staying(result: ExpireResult, *, dry_run: bool) -> Mapping[str, str]:
    """Return what stays and why, by run id: all that is there, while something stands in the way."""
    found = result.decision
    if found is None:
        return {}
    waiting = dict.fromkeys(found.going, "nothing expires now") if found.blocked and not dry_run else {}
    return {**found.kept, **waiting}


def _say_expired(context: Context, result: ExpireResult, *, dry_run: bool) -> None:
    if result.expiration is None:
        return
    fact, where = result.expiration.record, f"{result.system} on {result.target}"
    stay = len(_staying(result, dry_run=dry_run))
    if dry_run and result.decision:
        would = result.decision.going
        context.say(f"{where}: {counted(len(would), 'point')} would expire, {stay} stay")
        for run_id, rule in list(would.items())[:_LISTED]:
            context.say(f"  {run_id}  {rule}")
        context.say(f"  and {len(would) - _LISTED} more") if len(would) > _LISTED else None
    elif fact.outcome == "skipped":
        context.say(f"{where}: skipped")
    else:
        context.say(f"{where}: {fact.outcome}, {counted(len(fact.expired), 'point')} expired, {stay} stay")
    if fact.expired and fact.versions_stay:
        ends = f", locked until {fact.destroyable_from:%Y-%m-%d}" if fact.destroyable_from else ""
        context.say(f"{where}: what went stays below as versions{ends}")
    for why in fact.blocked:
        if fact.outcome == "ok":  # a hold, which a person ordered
            context.say(f"{where}: nothing expires: {why}")
        else:
            context.complain(f"nothing expires: {why}", where)
    if fact.error:
        context.complain(fact.error.removeprefix(f"{where}: "), where, fact.error_hint or way_on(fact.outcome))
    for note in dict.fromkeys((*fact.notes, *result.expiration.problems)):
        context.warn(note, where)
    context.ended(result.expiration.exit_code)


def _say_pruned(context: Context, result: ExpireResult) -> None:
    if result.pruning is None:
        return
    from dr.report.acts import freed_in_words

    fact, where = result.pruning.record, f"{result.system} on {result.target}"
    left = f", {format_bytes(fact.stored_bytes)} left" if fact.stored_bytes is not None else ""
    if not fact.error:
        context.say(f"{where}: pruned, {freed_in_words(fact)}{left}; proven to level {fact.level_reached}")
    else:
        context.complain(fact.error.removeprefix(f"{where}: "), where, fact.error_hint or way_on(fact.outcome))
    for note in dict.fromkeys((*fact.notes, *result.pruning.problems)):
        context.warn(note, where)
    context.ended(result.pruning.exit_code)


def _say_year(context: Context, results: Sequence[ExpireResult]) -> None:
    """Tell on which days of the next year the points that are there go."""
    from dr.queries.calendar import year_of

    documents, now = [], context.session.clock()
    for each in results:
        if each.decision is None:
            continue
        here = each.decision.here
        year = year_of(here.plan, each.target, here.points, holds=here.holds, now=now)
        documents.append(year.document())
        for day in year.days:
            for point in (point for point in day.goes if point.run_id and point.run_id not in each.decision.going):
                context.say(f"  {day.day}: {point.run_id} goes, {point.why}")
    context.put(calendar=documents)
    if documents:
        context.say("day by day, with the points still to be made: `dr points --calendar`")


def say_calendar(context: Context, items: list[Loaded]) -> None:
    """Tell day by day for the next year what stays and what goes on each target that backups write to."""
    from dr.queries.calendar import years
    from dr.report.documents import calendar_row

    found = [year for loaded in items if loaded.plan.retention for year in years(context.session, loaded.plan)]
    context.put(calendar=[year.document() for year in found])
    for year in found:
        context.say(f"{year.system} on {year.target}, as if every backup is made and proven in time:")
        rows = [calendar_row(day.day, day.made, day.stay, len(day.goes), _leaving(day)) for day in year.days]
        context.plain_rows(rows)
        if year.on_hold:
            context.say(f"{year.system}: all points are on hold ({', '.join(year.on_hold)}): none goes until that ends")
    for loaded in items:
        if loaded.plan.retention is None:
            context.say(f"{loaded.plan.system}: the plan has no `retention`, so nothing expires")


def _leaving(day: Day) -> str:
    """Say what goes on a day: points that are there by name, those still to be made by number."""
    named = [f"{each.run_id}: {each.why}" for each in day.goes if each.run_id]
    coming = Counter(each.why for each in day.goes if not each.run_id)
    return "; ".join([*named, *(f"{number} still to be made: {why}" for why, number in coming.items())])
