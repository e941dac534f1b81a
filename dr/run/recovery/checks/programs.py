"""Programs of the organisation's own, run on what was restored: whether they may be, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dr.run.recovery.checks.context import CheckContext, Restored
from dr.run.recovery.checks.databases import unloaded


def not_run(context: CheckContext) -> str | None:
    """Return why no program is run on what was restored; None when one may be.

    A program that finds no restored server might turn to the live one.
    """
    if context.partial:
        return "not run: this drill restored samples only"
    if any(unloaded(restored) for restored in context.sources.values()):
        return "not run: the dumps were not loaded into a server"
    if any(restored.poured and not restored.instance.connection() for restored in context.sources.values()):
        return "not run: the restored server cannot be reached from here"
    return None


def argv(context: CheckContext, run: Sequence[str]) -> list[str]:
    """Return a plan's command; `./smoke-test` lies beside the plan, not in the sandbox."""
    name = run[0]
    if "/" in name and not name.startswith("/"):
        name = context.works.program((context.plan_dir / name).resolve())
    return [name, *run[1:]]


def environment(context: CheckContext, **more: str) -> dict[str, str]:
    """What a command may know: where the restored data is, how its services are reached, and no secret of ours."""
    kept = context.works.environment()
    places = {_variable(name): str(restored.root) for name, restored in context.sources.items()}
    return {**kept, **connections(context.sources), "DR_SANDBOX": str(context.root), **places, **more}


def connections(sources: Mapping[str, Restored]) -> dict[str, str]:
    """Return the environment by which programs reach the restored services; of several of a kind, the first's."""
    found: dict[str, str] = {}
    for restored in sources.values():
        for name, value in restored.instance.connection().items():
            found.setdefault(name, value)
    return found


def _variable(source: str) -> str:
    return "DR_SOURCE_" + source.upper().replace("-", "_")
