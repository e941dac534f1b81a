"""Which systems a command is about: named, all, or those due."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from dr.cli import complete
from dr.cli.context import Context
from dr.errors import UsageError

if TYPE_CHECKING:
    from dr.plan.declarations import Loaded

F = TypeVar("F", bound=Callable[..., Any])


def systems_and_all(command: F) -> F:
    """Add `[SYSTEM…|--all|--due]` to a command."""
    command = click.option("--due", is_flag=True, help="Only the systems for which it is due now.")(command)
    command = click.option("--all", "everything", is_flag=True, help="Every system that has a plan.")(command)
    return click.argument("systems", nargs=-1, metavar="[SYSTEM]...", shell_complete=complete.systems)(command)


def chosen(
    context: Context,
    systems: tuple[str, ...],
    *,
    everything: bool,
    due: Literal["backup", "replicate", "verify", "drill"] | None = None,
    tell: bool = True,
) -> list[Loaded]:
    """Return the plans asked for; refuses a contradictory question, and says their plans' other faults if to `tell`."""
    if sum((bool(systems), everything, bool(due))) > 1:
        raise UsageError("name systems, or use --all, or --due: one of the three", hint="see --help")
    session = context.session
    items: list[Loaded]
    if due:
        items, faults = session.usable()
        context.left_out(faults)
    else:
        if not (systems or everything):
            _refuse_taken(context)
        items = session.chosen(systems, everything=everything)
    if items and tell:
        _tell_unsound(context, items)
    if due:
        from dr.queries.schedule import due_now, replicas_due

        items = replicas_due(session, items) if due == "replicate" else due_now(session, items, due)
        context.tell_held_back()
        if not items and not session.held_back:
            context.say("nothing is due")
    return items


@contextmanager
def unsound_told(context: Context, items: Sequence[Loaded], *, after: bool) -> Iterator[None]:
    """Say what is wrong with plans that stops nothing: before the work, or `after` it, where somebody waits for it."""
    if not after:
        _tell_unsound(context, items)
    try:
        yield
    finally:
        if after:
            _tell_unsound(context, items)


def _tell_unsound(context: Context, items: Sequence[Loaded]) -> None:
    for fault in context.session.declarations.about([item.plan.system for item in items]):
        if fault.severity == "unsound":
            context.warn(fault.what, fault.where, fault.hint)


def declared_or_usable(context: Context, systems: tuple[str, ...]) -> list[Loaded]:
    """Return the systems named; without a name all whose plans can be used, and say the faults of the others."""
    if systems:
        return list(context.session.chosen(systems))
    items, faults = context.session.usable()
    context.left_out(faults)
    return list(items)


def _refuse_taken(context: Context) -> None:
    """Say which option took the system's name, where that is why none is left."""
    for option, value in context.taken.items():
        if value in context.session.declarations.plans:
            raise UsageError(
                f"no system was named: {value!r} was taken for the value of {option}",
                option,
                hint=f"write the value of {option} before the system, or leave {option} out",
            )


def require_target(loaded: Loaded, target: str | None, *, primaries: bool = False) -> None:
    """Raise `UsageError` when a target is named that the plan does not: its replicas count, unless `primaries`."""
    known = loaded.plan.targets if primaries else loaded.plan.places
    if target and target not in known:
        raise UsageError(
            f"the plan of {loaded.plan.system} has no target {target!r}",
            "--target",
            hint=f"its targets are {', '.join(known)}",
        )
