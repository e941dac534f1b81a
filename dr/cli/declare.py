"""The commands around declarations: init, validate, schema."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.context import Context, pass_context
from dr.errors import INVALID, OK, Fault, PlanError, UsageError
from dr.plan.units import counted
from dr.tools.network import is_this_host

if TYPE_CHECKING:
    from dr.plan.declarations import Loaded


@click.command("init")
@pass_context
def init_command(context: Context) -> None:
    """Write a first plan and a first target, to be edited: into --config or DR_CONFIG, else here.

    Nothing that is there is touched. Refused here where /etc/dr is in use and has plans.
    """
    from dr.plan.declarations import OF_MACHINE
    from dr.plan.first import place_of_first, write_first

    named = context.config or os.environ.get("DR_CONFIG")
    place = place_of_first(str(named) if named else None, here=Path.cwd(), of_machine=OF_MACHINE)
    written = write_first(place)
    context.put(written=[str(path) for path in written])
    for path in written:
        context.say(f"wrote {path}")
    context.say("edit them, then run `dr validate` and `dr backup --all`")


@click.command("validate")
@click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)
@click.option(
    "--show",
    metavar="SYSTEM",
    shell_complete=complete.systems,
    help="Print the plan of SYSTEM as it is in force, and where each value comes from.",
)
@pass_context
def validate_command(context: Context, systems: tuple[str, ...], show: str | None) -> None:
    """Say all faults of the plans, targets and site.yaml at once. Exit 2 when a plan cannot be used or kept."""
    from dr.plan.load import load

    if show and systems:
        raise UsageError("--show is of one system, and checks that one", hint=f"write `dr validate --show {show}`")
    systems = (show,) if show else systems

    declarations = load(
        context.session.config, is_here=is_this_host
    )  # read anew: of plans known from before no advice is given
    for name in systems:
        if name not in declarations.plans and not declarations.about([name]):
            raise UsageError(f"there is no plan for the system {name!r}", hint="see `dr validate` without a name")
    faults = (*declarations.about(systems), *(() if systems else _kit_faults(context.config_dir)))
    faults += _of_sizes(context, [each for name, each in declarations.plans.items() if not systems or name in systems])
    for fault in faults:
        context.fault(fault)
    bad = [fault for fault in faults if fault.fails]
    if not declarations.plans and not bad:
        raise UsageError(
            f"there are no plans in {context.config_dir / 'plans'}", hint="run `dr init` to make a first one"
        )
    context.put(plans=sorted(declarations.plans), targets=sorted(declarations.targets))
    context.ended(INVALID if bad else OK)
    if show:
        if show in declarations.plans:
            _show(context, declarations.plans[show])
        return
    advice = len(faults) - len(bad)
    context.say(
        f"{counted(len(declarations.plans), 'plan')}, {counted(len(declarations.targets), 'target')}: "
        f"{counted(len(bad), 'fault')}, {counted(advice, 'warning')}"
    )


def _of_sizes(context: Context, items: list[Loaded]) -> tuple[Fault, ...]:
    """Return what is wrong with plans by what is on record of their targets; a record that cannot be read is said."""
    from dr.queries.proof_budget import unreachable

    with context.session.beside("dr validate"):
        return tuple(unreachable(context.session, items))
    return ()


def _show(context: Context, loaded: Loaded) -> None:
    from dr.plan.effective import as_yaml, effective, nested
    from dr.report.documents import effective_document

    values = effective(loaded, context.config_dir)
    context.put(effective=effective_document(loaded.plan.system, loaded.digest, nested(values), values))
    context.say(as_yaml(values))


def _kit_faults(config: Path) -> tuple[Fault, ...]:
    from dr.plan.kit import load_kit_plan

    try:
        load_kit_plan(config)
    except PlanError as error:
        return error.faults
    return ()


@click.command("schema")
@click.argument("kind", type=click.Choice(("plan", "target", "kit", "site")), default="plan")
@pass_context
def schema_command(context: Context, kind: str) -> None:
    """Print the JSON Schema of plans (the default), targets, kit.yaml or site.yaml, by which editors check."""
    from dr.plan.schema import schema

    if context.as_json:
        context.put(json_schema=schema(kind))
    else:
        with context.going_on(1):
            click.echo(json.dumps(schema(kind), indent=2))
