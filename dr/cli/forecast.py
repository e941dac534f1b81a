"""`dr forecast`."""

from __future__ import annotations

import click

from dr.cli import complete
from dr.cli.choose import declared_or_usable
from dr.cli.context import Context, pass_context
from dr.errors import DEGRADED, OK, UsageError


@click.command("forecast")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@click.option("--target", metavar="TARGET", shell_complete=complete.targets, help="Only this target.")
@click.option(
    "--within",
    type=click.FloatRange(min=0),
    metavar="MONTHS",
    help="Exit 3 when a declared capacity or budget is reached within so many months.",
)
@pass_context
def forecast_command(context: Context, systems: tuple[str, ...], target: str | None, within: float | None) -> None:
    """Estimate from history when targets are full, and what they cost.

    What is stored was observed when it was last listed; all else is an ESTIMATE, and is judged only where --within
    asks for it.
    """
    from dr.queries.forecast import forecasts
    from dr.report.forecast_told import forecast_document, forecast_lines

    context.session.reading = True
    items = declared_or_usable(context, systems)
    if target and not any(target in item.plan.places for item in items):
        known = sorted({name for item in items for name in item.plan.places})
        raise UsageError(
            f"no system asked for has a target {target!r}", "--target", hint=f"their targets are {', '.join(known)}"
        )
    found = forecasts(context.session, items, target=target or "")
    context.put(forecasts=[forecast_document(each) for each in found])
    for each in found:
        for line in forecast_lines(each):
            context.say(line)
        for bound in each.reached_within(within) if within is not None else ():
            context.warn(
                f"the declared {bound} is reached within {within:g} months (ESTIMATE)",
                each.target,
                f"raise `{bound}` in the target's file, or keep less there",
            )
            context.ended(DEGRADED)
    context.ended(OK)
