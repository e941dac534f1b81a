"""The command drill: a recovery rehearsed in a sandbox."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import chosen, require_target, systems_and_all
from dr.cli.context import Context, pass_context
from dr.cli.drill_result import say_drills
from dr.cli.times import LAST_MOMENT
from dr.errors import UsageError
from dr.plan.scenario import SCENARIOS

if TYPE_CHECKING:
    from dr.plan.declarations import Loaded


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
    known_point(context, items, point, at)
    from dr.operations.drill import drill
    from dr.queries.recovery_points import require_time
    from dr.run.recovery.request import RecoveryRequest

    require_time(context.session, items, at)
    request = RecoveryRequest(
        scenario=scenario or "", at=at, point=point, target=target, keep=keep, kit=kit, shares=shares, scratch=scratch
    )
    say_drills(context, drill(context.session, items, request))


def known_point(context: Context, items: list[Loaded], point: str | None, at: datetime | None) -> None:
    """Refuse a point beside a time, and one that no system has."""
    if point and at:
        raise UsageError("a point is named, or a time: not both", "--point", hint="leave out --at or --point")
    from dr.queries.recovery_points import require_point

    require_point(context.session, items, point)
